"""The whole month, in the order in which it is sent."""

from __future__ import annotations

from itertools import chain
from random import Random
from typing import Any, NamedTuple

from schemas.topics import EVENT_LIMIT
from services.cli.demo_month.cloudtrail import console, infrastructure
from services.cli.demo_month.company import Company, found_company
from services.cli.demo_month.days import Month, iso
from services.cli.demo_month.drafts import Draft
from services.cli.demo_month.everyday import everyday
from services.cli.demo_month.flaws import alarms, forerunners, leave_out, poison, repeats
from services.cli.demo_month.incident import incident
from services.cli.demo_month.machines import deployments, inferences, nightly_jobs, old_ledger
from services.cli.demo_month.messages import Message, Scribe
from services.cli.demo_month.people import (
    administration,
    care_views,
    clinician_shifts,
    exports,
    staff_days,
)

EVENTS = 50_000
"""About how many events a month of the company at its full size has."""


class DemoMonth(NamedTuple):
    """A generated month. `declaration` is the id of the back-fill's declaration, which every message names."""

    month: Month
    seed: int
    declaration: str
    messages: list[Message]


def generate(
    month: Month,
    seed: int = 1,
    events: int = EVENTS,
    *,
    declaration: str = "",
    event_limit: int = EVENT_LIMIT,
) -> DemoMonth:
    """The month of about `events` events. Pure: the same arguments give the same bytes."""
    declaration = declaration or f"backfill-{month}-{seed}"

    def dice(what: str) -> Random:
        return Random(f"larkfield {month} {seed} {what}")  # noqa: S311 - a demo's dice, repeatable on purpose

    drafts = leave_out(_drafts(month, events / EVENTS, dice), dice("left out"))
    scribe = Scribe(dice("scribe"), declaration)
    messages = [scribe.write(draft) for draft in drafts]
    messages += repeats(messages, dice("repeats"))
    messages += forerunners(messages)
    messages += poison(month, dice("poison"), event_limit)
    messages.sort(key=lambda message: message.arrives)
    return DemoMonth(month, seed, declaration, messages)


def _drafts(month: Month, scale: float, dice: Any) -> list[Draft]:
    company: Company = found_company(dice("company"), scale)
    told = chain(
        staff_days(company, month, dice("staff")),
        clinician_shifts(company, month, dice("shifts")),
        care_views(company, month, dice("care")),
        exports(company, month, dice("exports")),
        administration(company, month, dice("admin")),
        everyday(company, month, dice("everyday"), scale),
        inferences(company, month, dice("models"), scale),
        deployments(month, dice("ci"), scale),
        nightly_jobs(month, dice("nights")),
        old_ledger(month, dice("ledger")),
        infrastructure(month, dice("cloud"), scale),
        console(company, month, dice("console")),
        alarms(company, month, dice("alarms")),
        incident(company, month, dice("incident")),
    )
    within = [draft for draft in told if month.begins <= draft.at < month.ends]
    return sorted(within, key=lambda draft: draft.at)


def declare(made: DemoMonth, reason: str) -> dict[str, Any]:
    """What the declaration of this back-fill says beside its reason."""
    return {
        "reason": reason,
        "from": iso(made.month.begins),
        "to": iso(made.month.ends),
        "messages": len(made.messages),
        "sources": sorted({message.source for message in made.messages if message.source}),
    }
