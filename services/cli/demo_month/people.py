"""What people do in a month: sign in, look at patients' records, export, administer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from random import Random
from typing import Any

from services.cli.demo_month.company import BOSTON, DATASETS, LONDON, Clinician, Company, Person, Site
from services.cli.demo_month.days import Month, count, iso, moment
from services.cli.demo_month.drafts import ADMIN, EXPORTS, IDENTITY, PORTAL, Draft

_HOUR = 3_600_000
_EXPORT_REASONS = (
    "monthly board report",
    "regulator request",
    "hospital asked for its own data",
    "model validation",
    "billing reconciliation",
    "clinical study LH-{number}",
    "support ticket {number}",
)
_VIEW_REASONS = ("scheduled review", "alert follow-up", "care call", "discharge", "referral")


def staff_days(company: Company, month: Month, rng: Random) -> Iterator[Draft]:
    """Sign-ins and sign-outs of the staff, on working days, now and then at a weekend."""
    traveller = company.with_role("engineer")[-1]
    for day in month.days():
        for person in company.staff:
            if rng.random() < _presence(person, day):
                away = person is traveller and 8 <= day.day <= 14
                site = (LONDON if person.site is not LONDON else BOSTON) if away else person.site
                yield from _staff_day(rng, person, day, site)


def clinician_shifts(company: Company, month: Month, rng: Random) -> Iterator[Draft]:
    """Shifts in the hospitals, on all days: a sign-in to the portal, then records viewed."""
    for day in month.days():
        for clinician in company.clinicians:
            if rng.random() < (0.66 if day.weekday() < 5 else 0.48):
                yield from _shift(rng, company, clinician, day)


def care_views(company: Company, month: Month, rng: Random) -> Iterator[Draft]:
    """The care team looks at patients' records, in its working hours."""
    for day in month.workdays():
        for person in company.with_role("care"):
            if rng.random() < 0.9:
                for _ in range(count(rng, 7.5)):
                    at = _in_hours(rng, person, day)
                    yield _view(rng, company, at, person.id, "larkfield", person.address)


def exports(company: Company, month: Month, rng: Random) -> Iterator[Draft]:
    """Exports by people: a few a day, more at the end of the month."""
    people = company.with_role("scientist", "finance", "success")
    for day in month.workdays():
        busy = 2.2 if day.day >= 26 else 1.0
        for _ in range(count(rng, busy * len(people) / 5)):
            person = rng.choice(people)
            at = _in_hours(rng, person, day)
            reason = rng.choice(_EXPORT_REASONS).format(number=rng.randrange(100, 9000))
            yield export(rng, at, person, rng.choice(DATASETS), reason, rng.randrange(80, 40_000))


def export(rng: Random, at: int, person: Person, dataset: str, reason: str, rows: int) -> Draft:
    data = {
        "user_id": person.id,
        "dataset_id": dataset,
        "export_time": iso(at),
        "export_reason": reason,
        "rows": rows,
        "format": rng.choice(("csv", "parquet", "xlsx")),
        "ip_address": person.address,
    }
    return Draft(at, EXPORTS, "data_export", f"datasets/{dataset}", data, person.id, route="batch")


def administration(company: Company, month: Month, rng: Random) -> Iterator[Draft]:
    """Accounts, roles and settings changed by administrators, in working hours."""
    admins = company.with_role("admin")
    for day in month.workdays():
        for admin in admins:
            for _ in range(count(rng, 2.4)):
                at = _in_hours(rng, admin, day)
                kind, subject, about = _change(rng, company)
                yield change(at, admin.id, admin.address, kind, subject, about)


def change(at: int, actor: str, address: str, kind: str, subject: str, about: dict[str, Any]) -> Draft:
    """An administrative change, in the words of the catalogue."""
    data = {"user_id": actor, "timestamp": iso(at), "ip_address": address, **about}
    return Draft(at, ADMIN, kind, subject, data, actor)


def login(
    at: int,
    user: str,
    address: str,
    site: Site | str,
    *,
    failed: str = "",
    device: str = "",
    mfa: str = "totp",
) -> Draft:
    """A sign-in; `failed` is the reason of one that failed."""
    data = {
        "user_id": user,
        "timestamp": iso(at),
        "ip_address": address,
        "outcome": "failure" if failed else "success",
        "country": site if isinstance(site, str) else site.country,
        "method": "password",
        "mfa": "none" if failed else mfa,
        "device": device or "unknown",
    }
    if failed:
        data["reason"] = failed
    return Draft(at, IDENTITY, "user_login", f"users/{user}", data, user)


def _presence(person: Person, day: date) -> float:
    if day.weekday() < 5:
        return 0.91
    return 0.12 if person.role == "admin" else 0.04 if person.role == "engineer" else 0.008


def _staff_day(rng: Random, person: Person, day: date, site: Site) -> Iterator[Draft]:
    at = moment(day, person.starts + rng.gauss(0, 0.3), site.zone)
    address = person.address if site is person.site else f"{site.office}.{rng.randrange(2, 250)}"
    for number in range(_slips(rng), 0, -1):
        reason = "wrong password" if rng.random() < 0.85 else "code expired"
        yield login(at - number * rng.randrange(9_000, 40_000), person.id, address, site, failed=reason)
    yield login(at, person.id, address, site, device=person.device)
    if rng.random() < 0.3:
        yield login(at + int(rng.uniform(4, 6) * _HOUR), person.id, address, site, device=person.device)
    leaves = at + int(max(2.0, rng.gauss(person.hours, 0.8)) * _HOUR)
    if rng.random() < 0.6:
        data = {"user_id": person.id, "timestamp": iso(leaves), "ip_address": address, "reason": "signed out"}
        yield Draft(leaves, IDENTITY, "user_logout", f"users/{person.id}", data, person.id)


def _slips(rng: Random) -> int:
    """Failed attempts before a sign-in: mostly none."""
    return rng.choices((0, 1, 2, 3), (93, 5, 1.5, 0.5))[0]


def _shift(rng: Random, company: Company, clinician: Clinician, day: date) -> Iterator[Draft]:
    hour = 19.6 if clinician.night else rng.choice((6.8, 7.9, 12.7))
    begins = moment(day, hour + rng.gauss(0, 0.25), clinician.site.zone)
    for number in range(_slips(rng), 0, -1):
        at = begins - number * rng.randrange(9_000, 40_000)
        yield login(at, clinician.id, clinician.address, clinician.site, failed="wrong password")
    yield login(
        begins, clinician.id, clinician.address, clinician.site, device="hospital workstation", mfa="badge"
    )
    for _ in range(count(rng, 5.2)):
        at = begins + int(rng.uniform(0.05, 8.5) * _HOUR)
        yield _view(rng, company, at, clinician.id, clinician.hospital, clinician.address)


def _view(rng: Random, company: Company, at: int, user: str, tenant: str, address: str) -> Draft:
    patient = rng.choice(company.patients)
    data = {
        "user_id": user,
        "record_id": patient,
        "timestamp": iso(at),
        "ip_address": address,
        "tenant": tenant,
        "fields": rng.choice((["vitals"], ["vitals", "notes"], ["medication"], ["contact"])),
        "reason": rng.choice(_VIEW_REASONS),
    }
    return Draft(at, PORTAL, "record_viewed", f"patients/{patient}", data, user)


def _in_hours(rng: Random, person: Person, day: date) -> int:
    """A moment of a person's working day: two humps, before and after lunch."""
    middle = 0.27 if rng.random() < 0.52 else 0.74
    share = min(0.99, max(0.01, rng.gauss(middle, 0.13)))
    return moment(day, person.starts + share * person.hours, person.site.zone)


def _change(rng: Random, company: Company) -> tuple[str, str, dict[str, Any]]:
    """One everyday change: (type, subject, fields)."""
    target = rng.choice(company.staff).id
    kind = rng.choices(("role", "user", "password", "setting", "key"), (34, 22, 26, 12, 6))[0]
    if kind == "role":
        role = rng.choice(("viewer", "analyst", "care-team", "billing"))
        return "role_granted", f"users/{target}", {"target_user_id": target, "role": role}
    if kind == "user":
        return "user_created", f"users/{target}", {"target_user_id": target, "groups": ["staff"]}
    if kind == "password":
        return "password_reset", f"users/{target}", {"target_user_id": target, "asked_by": "service desk"}
    if kind == "setting":
        name = rng.choice(("session_minutes", "export_row_limit", "alert_threshold", "banner"))
        values = {"old_value": rng.randrange(10, 60), "new_value": rng.randrange(10, 60)}
        return "config_changed", f"settings/{name}", {"setting": name, **values}
    name = f"key-{rng.randrange(10**6):06d}"
    return "api_key_created", f"keys/{name}", {"key_id": name, "scopes": ["ingest"], "expires_days": 90}
