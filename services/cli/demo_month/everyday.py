"""The small change of a month: consents, payments, overridden models, shared files, one of each now and then."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from services.cli.demo_month.company import DOMAIN, MODELS, Company, Person, Role
from services.cli.demo_month.days import Month, count, iso
from services.cli.demo_month.drafts import PORTAL, TRIAGE, Draft
from services.cli.demo_month.people import in_hours

BILLING = f"https://billing.{DOMAIN}"
FILES = f"https://files.{DOMAIN}"


class Habit(NamedTuple):
    """What people of some roles do `mean` times a working day, all of them together, at the company's full size.
    `fields`: texts with alternatives between bars and names in braces."""

    type: str
    source: str
    mean: float
    roles: tuple[Role, ...]
    fields: dict[str, str]


_PERSON = {"user_id": "{person}"}
_CONSENT = {"user_id": "{patient}", "purpose": "monitoring|research|messages", "by": "{person}"}
_MONEY = {"payment_id": "pay-{number}", "amount": "{amount}", "currency": "GBP"}
_FILE = _PERSON | {"file_id": "f-{number}", "file_name": "review-{number}.pdf|cohort-{number}.csv"}
HABITS = (
    Habit("consent_given", PORTAL, 16, ("care",), _CONSENT),
    Habit("consent_withdrawn", PORTAL, 0.7, ("care",), _CONSENT),
    Habit("erasure_requested", PORTAL, 0.3, ("care",), {"user_id": "{patient}", "request_id": "er-{number}"}),
    Habit(
        "model_decision_overridden",
        TRIAGE,
        4,
        ("care",),
        _PERSON
        | {"decision_id": "d-{number}", "reason": "seen at the bedside|sensor was loose|known history"},
    ),
    Habit(
        "impersonation_started",
        PORTAL,
        1.4,
        ("success",),
        {"actor_id": "{person}", "user_id": "{clinician}", "reason": "ticket {number}"},
    ),
    Habit("file_shared", FILES, 5, ("success", "scientist"), _FILE | {"shared_with": "{colleague}"}),
    Habit("file_downloaded", FILES, 14, ("success", "scientist", "finance"), _FILE),
    Habit("payment_authorized", BILLING, 12, ("finance",), {"user_id": "{patient}"} | _MONEY),
    Habit(
        "payment_failed",
        BILLING,
        0.9,
        ("finance",),
        {"user_id": "{patient}", "reason": "card expired"} | _MONEY,
    ),
    Habit(
        "payment_refunded",
        BILLING,
        0.6,
        ("finance",),
        {"actor_id": "{person}", "reason": "billed twice"} | _MONEY,
    ),
    Habit(
        "data_import",
        FILES,
        1.2,
        ("scientist",),
        _PERSON | {"dataset_id": "triage-labels", "row_count": "{number}"},
    ),
    Habit(
        "model_deployed",
        TRIAGE,
        0.12,
        ("scientist",),
        {"actor_id": "{person}", "model_version": "|".join(MODELS), "environment": "staging"},
    ),
)


def everyday(company: Company, month: Month, rng: Random, scale: float) -> Iterator[Draft]:
    """All habits, on working days, in the hours of whoever has them."""
    for day in month.workdays():
        for habit in HABITS:
            people = company.with_role(*habit.roles)
            for _ in range(count(rng, habit.mean * scale)):
                person = rng.choice(people)
                at = in_hours(rng, person, day)
                about = _filled(habit.fields, rng, company, person)
                data = about | {"timestamp": iso(at), "ip_address": person.address}
                yield Draft(at, habit.source, habit.type, f"users/{person.id}", data, person.id)


def _filled(fields: dict[str, str], rng: Random, company: Company, person: Person) -> dict[str, Any]:
    names = {
        "person": person.id,
        "patient": rng.choice(company.patients),
        "clinician": rng.choice(company.clinicians).id,
        "colleague": rng.choice(company.staff).id,
        "number": str(rng.randrange(1000, 99_999)),
        "amount": f"{rng.lognormvariate(5, 1):.2f}",
    }
    return {field: rng.choice(text.split("|")).format_map(names) for field, text in fields.items()}
