"""What machines do in a month: model inferences, deployments, nightly jobs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from random import Random

from services.cli.demo_month.company import DATASETS, HOSPITALS, MODELS, Company
from services.cli.demo_month.days import Month, count, draw_hour, iso, moment
from services.cli.demo_month.drafts import DELIVERY, EXPORTS, LEDGER, TRIAGE, Draft

_MINUTE = 60_000
# Vitals come in at all hours, most in the day.
_VITALS = (4, 3, 3, 3, 4, 6, 9, 11, 12, 11, 10, 10, 10, 9, 9, 9, 10, 11, 12, 11, 9, 8, 6, 5)
_DEPLOYS = (0, 0, 0, 0, 0, 0, 0, 1, 4, 8, 10, 9, 5, 8, 9, 8, 5, 2, 1, 1, 0, 0, 0, 0)
_REPOSITORIES = ("portal", "triage", "ingest-gateway", "mobile-app", "infra", "billing")


def inferences(company: Company, month: Month, rng: Random, scale: float) -> Iterator[Draft]:
    """Triage and risk models scoring vitals, by service accounts, day and night."""
    for day in month.days():
        weekend = 0.86 if day.weekday() >= 5 else 1.0
        for _ in range(count(rng, 400 * scale * weekend)):
            at = moment(day, draw_hour(rng, _VITALS), "Europe/London")
            yield _inference(rng, at, _model(rng, day), rng.choice(company.patients))


def _model(rng: Random, day: date) -> str:
    """The triage model changes its version in the middle of the month."""
    triage = MODELS[0] if day.day < 14 else MODELS[1]
    return rng.choices((triage, MODELS[2], MODELS[3]), (70, 18, 12))[0]


def _inference(rng: Random, at: int, model: str, patient: str) -> Draft:
    tenant = rng.choice(HOSPITALS)[0]
    score = min(0.999, max(0.001, rng.betavariate(1.4, 9)))
    data = {
        "user_id": f"svc-{model.partition('-')[0]}",
        "model_version": model,
        "input_hash": f"sha256:{rng.getrandbits(256):064x}",
        "output_hash": f"sha256:{rng.getrandbits(256):064x}",
        "timestamp": iso(at),
        "tenant": tenant,
        "score": round(score, 3),
        "label": "urgent" if score > 0.45 else "watch" if score > 0.2 else "routine",
        "latency_ms": round(rng.lognormvariate(3.6, 0.4)),
    }
    return Draft(at, TRIAGE, "model_inference", f"patients/{patient}", data, patient, form="binary")


def deployments(month: Month, rng: Random, scale: float) -> Iterator[Draft]:
    """Builds and deployments by the CI account: in working hours, none on a Friday evening."""
    for day in month.workdays():
        for _ in range(count(rng, 26 * scale)):
            at = moment(day, draw_hour(rng, _DEPLOYS), "Europe/London")
            yield from _deployment(rng, at, rng.choice(_REPOSITORIES))


def _deployment(rng: Random, at: int, repository: str) -> Iterator[Draft]:
    version = f"{rng.getrandbits(28):07x}"
    subject = f"repositories/{repository}"
    artifact = {
        "user_id": "svc-ci",
        "file_id": f"{repository}-{version}",
        "file_name": f"{repository}-{version}.tar.zst",
        "timestamp": iso(at),
    }
    yield Draft(at, DELIVERY, "file_uploaded", subject, artifact, repository)
    if rng.random() < 0.62:
        later = at + rng.randrange(4 * _MINUTE, 25 * _MINUTE)
        release = {
            "actor_id": "svc-ci",
            "service": repository,
            "version": version,
            "timestamp": iso(later),
            "environment": "production",
        }
        yield Draft(later, DELIVERY, "service_deployed", subject, release, repository)


def nightly_jobs(month: Month, rng: Random) -> Iterator[Draft]:
    """At two every night the reporting account exports each data set, and the backups are checked."""
    for day in month.days():
        for number, dataset in enumerate(DATASETS):
            at = moment(day, 2 + number / 12 + rng.random() / 30, "Europe/London")
            data = {
                "user_id": "svc-reporting",
                "dataset_id": dataset,
                "export_time": iso(at),
                "export_reason": "nightly warehouse load",
                "row_count": rng.randrange(1_000, 90_000),
                "format": "parquet",
                "ip_address": "10.20.0.14",
            }
            yield Draft(
                at, EXPORTS, "data_export", f"datasets/{dataset}", data, "svc-reporting", route="batch"
            )
        at = moment(day, 3.5 + rng.random() / 10, "Europe/London")
        backup = {"backup_id": f"main-{day}", "service": "svc-backup", "timestamp": iso(at)}
        yield Draft(at, DELIVERY, "backup_completed", "databases/main", backup, "svc-backup")


def old_ledger(month: Month, rng: Random) -> Iterator[Draft]:
    """The billing ledger is old: it knows only the short form, and POSTs each event alone."""
    for day in month.workdays()[:6]:
        at = moment(day, 17 + rng.random(), "Europe/London")
        data = {
            "user_id": 42,
            "dataset_id": "billing-ledger",
            "export_time": iso(at),
            "export_reason": "end of day",
            "row_count": rng.randrange(100, 900),
        }
        yield Draft(
            at, LEDGER, "data_export", "datasets/billing-ledger", data, "", form="short", route="audit"
        )
