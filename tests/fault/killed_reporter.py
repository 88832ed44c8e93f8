"""`python -m tests.fault.killed_reporter`: for each step of a run, a reporter that kills itself (SIGKILL) before or after it,
and then one that goes on. Prints, as JSON, what there is after each. Everything is imported once, each reporter is a fork."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from services.common.settings import KafkaSettings
from services.reporter.period import microseconds
from services.reporter.runs import delivering, directory
from services.reporter.runs.filing import Filing
from services.reporter.runs.ledger import Ledger
from services.reporter.runs.own_events import SystemTopic
from tests.report_runs import Reporting, schedules_file

STEPS: list[tuple[str, Any, str]] = [
    ("the run is noted", Ledger, "add_run"),
    ("the edition and its intents are written", Ledger, "add_edition"),
    ("its hash goes to audit.system", SystemTopic, "record"),
    ("that it is recorded is noted", Ledger, "note_recorded"),
    ("the files are written", delivering, "write_files"),
    ("their hashes go to audit.system", Filing, "file"),
    ("the delivery begins", Ledger, "begin"),
    ("the folder is put in place", directory, "put"),
    ("that it is delivered is noted", Ledger, "note_sent"),
]
"""What a run does, in order, and the function that does it."""
AT = "2026-10-02T02:00+00:00"


def main() -> None:
    """Arguments: bootstrap servers, topic prefix, the reporter's database address, a folder."""
    servers, prefix, dsn, folder = sys.argv[1:]
    kafka = KafkaSettings(bootstrap_servers=servers, topic_prefix=prefix)
    told = []
    for number, (what, place, name) in enumerate(STEPS):
        for when in ("before", "after"):
            home = Path(folder) / f"{number}-{when}"
            home.mkdir()
            schedule = f"case-{number}-{when}"
            file = schedules_file(home, f"name: {schedule}, every: daily, first: 2026-10-01, formats: [json]")
            died = forked(lambda at=(place, name, when): _turn(kafka, dsn, home, file, at))  # noqa: B023
            left = forked(lambda: _turn(kafka, dsn, home, file, None))  # noqa: B023
            told.append(
                {
                    "schedule": schedule,
                    "what": what,
                    "when": when,
                    "died": died == -signal.SIGKILL,
                    "went_on": left == 0,
                    "folder": str(home / "reports"),
                }
            )
    print(json.dumps(told))


def forked(run: Callable[[], None]) -> int:
    """The exit status of a process that runs it; negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - the parent is to know, whatever it is
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _turn(kafka: KafkaSettings, dsn: str, home: Path, file: Path, at: tuple[Any, str, str] | None) -> None:
    if at is not None:
        die_at(*at)
    reporting = Reporting(kafka, dsn, home, file)
    reporting.now_us = microseconds(datetime.fromisoformat(AT))
    asyncio.run(reporting.runs.turn())


def die_at(place: Any, name: str, when: str) -> None:
    """`name@2`: at the second call."""
    name, _, nth = name.partition("@")
    real, calls = getattr(place, name), count(1)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def later(*arguments: Any, **options: Any) -> Any:
        its_turn = next(calls) == int(nth or 1)
        if its_turn and when == "before":
            die()
        answer = await real(*arguments, **options)
        if its_turn:
            die()
        return answer

    def at_once(*arguments: Any, **options: Any) -> Any:
        its_turn = next(calls) == int(nth or 1)
        if its_turn and when == "before":
            die()
        answer = real(*arguments, **options)
        if its_turn:
            die()
        return answer

    setattr(place, name, later if asyncio.iscoroutinefunction(real) else at_once)


if __name__ == "__main__":
    main()
