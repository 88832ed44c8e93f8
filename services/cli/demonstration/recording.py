"""The month sent and recorded: declares, sends, and waits until the last message is in a chain."""

from __future__ import annotations

import time
from typing import NamedTuple

from deploy.local.errors import StackError
from deploy.local.home import Home
from deploy.local.state import load_services
from services.cli.demo_month.month import DemoMonth
from services.cli.demonstration.check import Sent
from services.cli.demonstration.counts import Counter, Counts, open_counter
from services.cli.demonstration.screen import Screen, Step
from services.cli.demonstration.sending import Sending, Single, declare_backfill, post_singles, sending
from services.common.settings import KafkaSettings

STALLED_S = 60.0
_PAUSE_S = 0.2


class MonthRecorded(NamedTuple):
    """What was sent, and how fast it was recorded. `refused`: reasons of ingest; `seconds`: of the recording."""

    singles: list[Single]
    sent: Sent
    batched: int
    refused: list[str]
    seconds: float


def record_month(
    screen: Screen, home: Home, settings: KafkaSettings, url: str, dsn: str, made: DemoMonth
) -> MonthRecorded:
    """Everything from the declaration to the last record. Raises StackError where recording stops half-way."""
    with open_counter(settings, dsn) as counter:
        with screen.step("declaring the back-fill, sending the first events one by one") as step:
            declare_backfill(settings, made)
            singles = post_singles(url, made)
            step.done = f"declared the back-fill; POSTed {len(singles)} events one by one"
        if singles:
            screen.answer(singles[0])
        begun = time.monotonic()
        with screen.step("recording the month") as step, sending(settings, url, made) as work:
            total = len(made.messages)
            _wait(step, home, counter, work, total, len(singles))
            seconds = time.monotonic() - begun
            step.done = f"recorded {total:,} messages, {(total - len(singles)) / seconds:,.0f} a second"
    assert work.outcomes is not None
    assert work.posted is not None
    posted = work.posted.result()
    sent = list(zip(work.through_kafka, work.outcomes.result(), strict=True))
    return MonthRecorded(singles, sent, posted.taken, posted.refused, seconds)


def _wait(step: Step, home: Home, counter: Counter, work: Sending, total: int, before: int) -> None:
    """Until all that Kafka has is recorded, the declaration too, or nothing has moved for a minute."""
    last, moved = None, time.monotonic()
    while True:
        done = work.done
        counts = counter.read()
        step.count(counts, work.acknowledged + before, total)
        if done and counts.recorded >= counts.in_kafka and counts.own:
            return
        if (counts, work.acknowledged) != last:
            last, moved = (counts, work.acknowledged), time.monotonic()
        elif time.monotonic() - moved > STALLED_S:
            raise StackError(_stalled(home, counts))
        time.sleep(_PAUSE_S)


def _stalled(home: Home, counts: Counts) -> str:
    restarts = [
        f"{name} was restarted {s.restarts} times" for name, s in load_services(home).items() if s.restarts
    ]
    return (
        f"recording has not moved for {STALLED_S:.0f} s: {counts.in_kafka:,} messages in Kafka, {counts.enriched:,} "
        f"enriched, {counts.recorded:,} recorded, {counts.own} own events recorded. "
        + "".join(f"{text}. " for text in restarts)
        + f"The logs are in {home.folder}/logs"
    )
