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
                    at = in_hours(rng, person, day)
                    yield _view(rng, company, at, person.id, "larkfield", person.address)


def exports(company: Company, month: Month, rng: Random) -> Iterator[Draft]:
    """Exports by people: a few a day, more at the end of the month."""
    people = company.with_role("scientist", "finance", "success")
    for day in month.workdays():
        busy = 2.2 if day.day >= 26 else 1.0
        for _ in range(count(rng, busy * len(people) / 5)):
            person = rng.choice(people)
            at = in_hours(rng, person, day)
            reason = rng.choice(_EXPORT_REASONS).format(number=rng.randrange(100, 9000))
            yield export(rng, at, person, rng.choice(DATASETS), reason, rng.randrange(80, 40_000))


def export(rng: Random, at: int, person: Person, dataset: str, reason: str, rows: int) -> Draft:
    data = {
        "user_id": person.id,
        "dataset_id": dataset,
        "export_time": iso(at),
        "export_reason": reason,
        "row_count": rows,
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
                at = in_hours(rng, admin, day)
                kind, subject, about = _change(rng, company, admin.id)
                yield change(at, admin.id, admin.address, kind, subject, about)


def change(at: int, actor: str, address: str, kind: str, subject: str, about: dict[str, Any]) -> Draft:
    """An administrative change, in the words of the catalogue."""
    data = {"actor_id": actor, **about, "timestamp": iso(at), "ip_address": address}
    return Draft(at, ADMIN, kind, subject, data, actor)


def login(
    at: int, user: str, address: str, country: str, *, device: str = "unknown", mfa: str = "totp"
) -> Draft:
    """A sign-in that succeeded."""
    about = {"country": country, "method": f"password and {mfa}", "device": device}
    return _access(at, "user_login", user, address, about)


def failed_login(at: int, user: str, address: str, country: str, reason: str) -> Draft:
    """One that failed: at the password, or at the second factor."""
    kind = "login_failed" if reason == "wrong password" else "mfa_challenge_failed"
    return _access(at, kind, user, address, {"country": country, "reason": reason})


def _access(at: int, kind: str, user: str, address: str, about: dict[str, Any]) -> Draft:
    data = {"user_id": user, "timestamp": iso(at), "ip_address": address, **about}
    return Draft(at, IDENTITY, kind, f"users/{user}", data, user)


def _presence(person: Person, day: date) -> float:
    if day.weekday() < 5:
        return 0.91
    return 0.12 if person.role == "admin" else 0.04 if person.role == "engineer" else 0.008


def _staff_day(rng: Random, person: Person, day: date, site: Site) -> Iterator[Draft]:
    at = moment(day, person.starts + rng.gauss(0, 0.3), site.zone)
    address = person.address if site is person.site else f"{site.office}.{rng.randrange(2, 250)}"
    yield from _slips(rng, at, person.id, address, site.country)
    yield login(at, person.id, address, site.country, device=person.device)
    if rng.random() < 0.3:
        again = at + int(rng.uniform(4, 6) * _HOUR)
        yield login(again, person.id, address, site.country, device=person.device)
    leaves = at + int(max(2.0, rng.gauss(person.hours, 0.8)) * _HOUR)
    if rng.random() < 0.6:
        yield _access(leaves, "user_logout", person.id, address, {})


def _slips(rng: Random, before: int, user: str, address: str, country: str) -> Iterator[Draft]:
    """Failed attempts before a sign-in: mostly none."""
    for number in range(rng.choices((0, 1, 2, 3), (93, 5, 1.5, 0.5))[0], 0, -1):
        reason = "wrong password" if rng.random() < 0.85 else "code expired"
        yield failed_login(before - number * rng.randrange(9_000, 40_000), user, address, country, reason)


def _shift(rng: Random, company: Company, clinician: Clinician, day: date) -> Iterator[Draft]:
    hour = 19.6 if clinician.night else rng.choice((6.8, 7.9, 12.7))
    begins = moment(day, hour + rng.gauss(0, 0.25), clinician.site.zone)
    who, where, country = clinician.id, clinician.address, clinician.site.country
    yield from _slips(rng, begins, who, where, country)
    yield login(begins, who, where, country, device="hospital workstation", mfa="badge")
    for _ in range(count(rng, 5.2)):
        at = begins + int(rng.uniform(0.05, 8.5) * _HOUR)
        yield _view(rng, company, at, who, clinician.hospital, where)


def _view(rng: Random, company: Company, at: int, user: str, tenant: str, address: str) -> Draft:
    """A record looked at, one in nine times also changed."""
    patient = rng.choice(company.patients)
    data = {
        "user_id": user,
        "record_id": patient,
        "timestamp": iso(at),
        "ip_address": address,
        "tenant": tenant,
        "reason": rng.choice(_VIEW_REASONS),
    }
    if rng.random() < 0.11:
        data["changed_fields"] = rng.choice(("notes", "medication", "contact", "alert limits"))
        return Draft(at, PORTAL, "record_updated", f"patients/{patient}", data, user)
    return Draft(at, PORTAL, "record_viewed", f"patients/{patient}", data, user)


def in_hours(rng: Random, person: Person, day: date) -> int:
    """A moment of a person's working day: two humps, before and after lunch."""
    middle = 0.27 if rng.random() < 0.52 else 0.74
    share = min(0.99, max(0.01, rng.gauss(middle, 0.13)))
    return moment(day, person.starts + share * person.hours, person.site.zone)


def _change(rng: Random, company: Company, admin: str) -> tuple[str, str, dict[str, Any]]:
    """One everyday change: (type, subject, fields)."""
    target = rng.choice(company.staff).id
    kind = rng.choices(("role", "user", "password", "setting", "key"), (34, 22, 26, 12, 6))[0]
    if kind == "role":
        role = rng.choice(("viewer", "analyst", "care-team", "billing"))
        return "role_granted", f"users/{target}", {"user_id": target, "role": role}
    if kind == "user":
        return "user_created", f"users/{target}", {"user_id": target, "role": "staff"}
    if kind == "password":
        return "password_changed", f"users/{target}", {"user_id": target, "reason": "service desk"}
    if kind == "setting":
        name = rng.choice(("session_minutes", "export_row_limit", "alert_threshold", "banner_days"))
        values = {"old_value": rng.randrange(10, 60), "new_value": rng.randrange(10, 60)}
        return "config_changed", f"settings/{name}", {"setting": name, **values}
    name = f"key-{rng.randrange(10**6):06d}"
    return "api_key_created", f"keys/{name}", {"user_id": admin, "key_id": name, "scopes": "ingest"}
