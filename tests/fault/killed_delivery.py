"""`python -m tests.fault.killed_delivery`: for each step of a delivery by one way out, a reporter that kills itself (SIGKILL)
before or after it, and then one that goes on. Each case is a schedule of its own; all editions are made first, at once.

Where mail, webhook and bucket are stands in the environment, as for the reporter; the servers are another process's.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import aiosmtplib
import httpx
from botocore.client import BaseClient

from services.common.settings import KafkaSettings
from services.reporter.deliver.editions.mail import Mail
from services.reporter.period import microseconds
from services.reporter.runs import delivering, directory, loop
from services.reporter.runs.delivering import Deliverer
from services.reporter.runs.filing import Filing
from services.reporter.runs.ledger import Ledger
from tests.fault.killed_reporter import AT, die_at, forked
from tests.report_runs import Reporting, schedules_file

ONCE = (1, "sent")
UNSURE = (1, "maybe-twice")
"""It arrived once; whoever died did not know how far the other side had come."""
TWICE = (2, "maybe-twice")
"""It arrived, under the same name, once more: the one uncertain window."""


class Step(NamedTuple):
    """A step, the function that does it, and what has arrived in the end where a reporter was killed before and after it."""

    what: str
    place: Any
    name: str
    before: tuple[int, str] = ONCE
    after: tuple[int, str] = ONCE


_MADE = [
    Step("the files are written", delivering, "write_files"),
    Step("their hashes go to audit.system", Filing, "file"),
]
_BEGUN = Step("it is noted that it begins", Ledger, "begin")
_NOTED = Step("it is noted that it is delivered", Ledger, "note_sent")
_SAID = [
    Step("the receipt is made out", loop, "delivery_event"),
    Step("the receipt goes to audit.system", loop.SystemTopic, "record@2"),  # the first: the hashes
    Step("it is noted that the receipt is recorded", Ledger, "note_receipted"),
]
WAYS: dict[str, list[Step]] = {
    "directory": [
        Step("a folder is made beside", directory, "prepare"),
        *_MADE,
        _BEGUN,
        Step("the folder is on the disk", directory, "_sync"),
        Step("the folder is renamed", Path, "rename"),
        Step("its name is on the disk", directory, "_sync@2"),
        _NOTED,
        *_SAID,
    ],
    "mail": [
        *_MADE,
        Step("it connects", aiosmtplib.SMTP, "connect"),
        Step("it signs in", Mail, "_sign_in"),
        _BEGUN._replace(after=UNSURE),
        Step("it names the sender", aiosmtplib.SMTP, "mail", UNSURE, UNSURE),
        Step("it names the recipient", aiosmtplib.SMTP, "rcpt", UNSURE, UNSURE),
        Step("it sends the message, and the server says 250", aiosmtplib.SMTP, "data", UNSURE, TWICE),
        _NOTED._replace(before=TWICE),
        *_SAID,
    ],
    "webhook": [
        *_MADE,
        _BEGUN._replace(after=UNSURE),
        Step("it sends the request, and the server says 200", httpx.AsyncClient, "post", UNSURE, TWICE),
        _NOTED._replace(before=TWICE),
        *_SAID,
    ],
    "s3": [
        *_MADE,
        _BEGUN,
        Step("the first object is put", BaseClient, "_make_api_call"),
        Step("the last object is put", BaseClient, "_make_api_call@2"),
        _NOTED,
        *_SAID,
    ],
}
"""What a delivery does by each way out, in order."""


class Case(NamedTuple):
    """One reporter killed."""

    schedule: str
    way: str
    at: tuple[Any, str, str]
    step: str
    expected: tuple[int, str]

    def target(self, hook: str) -> str:
        """One that no other case has."""
        rest = {
            "directory": self.schedule,
            "mail": f"{self.schedule}@example.org",
            "webhook": f"{hook}?case={self.schedule}",
            "s3": f"reports/{self.schedule}",
        }
        return f"{self.way}:{rest[self.way]}"


def cases(way: str) -> list[Case]:
    """Every step of a way, before and after."""
    return [
        Case(f"{way}-{number}-{when}", way, (step.place, step.name, when), step.what, getattr(step, when))
        for number, step in enumerate(WAYS[way])
        for when in ("before", "after")
    ]


def main() -> None:
    """Arguments: the way, bootstrap servers, topic prefix, the reporter's database address, a folder, the webhook's address."""
    way, servers, prefix, dsn, folder, hook = sys.argv[1:]
    kafka = KafkaSettings(bootstrap_servers=servers, topic_prefix=prefix)
    home = Path(folder)
    made = forked(lambda: _make_all(kafka, dsn, home, cases(way), hook))
    told = []
    for case in cases(way):
        died = forked(lambda one=case: _turn(kafka, dsn, home, one, killed=True))
        left = forked(lambda one=case: _turn(kafka, dsn, home, one, killed=False))
        told.append({"schedule": case.schedule, "died": died == -signal.SIGKILL, "went_on": left == 0})
    print(json.dumps({"made": made, "cases": told}))


def _make_all(kafka: KafkaSettings, dsn: str, home: Path, made: list[Case], hook: str) -> None:
    """Every edition, recorded, and nothing delivered."""
    home.mkdir()

    async def nothing(*_arguments: Any) -> None:
        pass

    Deliverer.deliver = nothing  # type: ignore[method-assign]
    told = [
        f'name: {case.schedule}, every: daily, first: 2026-10-01, formats: [json], recipients: [{{name: jo, target: "{case.target(hook)}", '
        "detail: figures}]"
        for case in made
    ]
    _run(Reporting(kafka, dsn, home, schedules_file(home, *told)))


def _turn(kafka: KafkaSettings, dsn: str, home: Path, case: Case, *, killed: bool) -> None:
    """A turn that sees the deliveries of this case alone."""
    real = Ledger.open_intents

    async def its_own(self: Ledger, now: datetime) -> list[Any]:
        return [intent for intent in await real(self, now) if intent.schedule == case.schedule]

    Ledger.open_intents = its_own  # type: ignore[method-assign]
    if killed:
        die_at(*case.at)
    _run(Reporting(kafka, dsn, home, home / "reports.yaml"))


def _run(reporting: Reporting) -> None:
    reporting.now_us = microseconds(datetime.fromisoformat(AT))
    asyncio.run(reporting.runs.turn())


if __name__ == "__main__":
    main()
