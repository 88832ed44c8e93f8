"""What goes wrong on the way: clients that repeat themselves, fields left out, types nobody knows, unreadable messages.

Every path through Piperoll is taken at least once in a month.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random

from services.cli.demo_month.company import DOMAIN, Company
from services.cli.demo_month.days import Month, count, draw_hour, iso, moment
from services.cli.demo_month.drafts import Draft
from services.cli.demo_month.messages import Message, compact

BEDSIDE = f"https://bedside.{DOMAIN}"
_REPEATED = 0.004
_INCOMPLETE = 0.0006
_LEFT_OUT = {"user_login": "ip_address", "record_viewed": "record_id", "model_inference": "output_hash"}


def leave_out(drafts: list[Draft], rng: Random) -> list[Draft]:
    """The same drafts, a few of them without a field that the catalogue requires."""
    return [
        _incomplete(draft)
        if draft.type in _LEFT_OUT and not draft.story and rng.random() < _INCOMPLETE
        else draft
        for draft in drafts
    ]


def _incomplete(draft: Draft) -> Draft:
    missing = _LEFT_OUT[draft.type]
    return draft._replace(
        data={name: value for name, value in draft.data.items() if name != missing}, flaw="incomplete"
    )


def alarms(company: Company, month: Month, rng: Random) -> Iterator[Draft]:
    """Bedside monitors send a type that is in no catalogue yet."""
    for day in month.days():
        for _ in range(count(rng, 1.6)):
            at = moment(day, draw_hour(rng, (1,) * 24), "UTC")
            bed = f"bed-{rng.randrange(1, 60):02d}"
            data = {
                "bed": bed,
                "patient": rng.choice(company.patients),
                "raised_at": iso(at),
                "level": "amber",
            }
            yield Draft(at, BEDSIDE, "bedside_alarm", f"beds/{bed}", data, bed, flaw="unknown")


def repeats(messages: list[Message], rng: Random) -> list[Message]:
    """Retries of clients that saw no answer: the very same message, seconds to minutes later."""
    chosen = [
        message for message in messages if message.route == "kafka" and rng.random() < _REPEATED
    ] or messages[:1]
    return [
        message._replace(arrives=message.arrives + rng.randrange(2_000, 95_000), fate="duplicate")
        for message in chosen
    ]


def forerunners(messages: list[Message]) -> list[Message]:
    """A harmless event sent just before one of the stolen exports, under the same source and id: whoever takes the
    second for a repeat of the first loses the theft."""
    thefts = [message for message in messages if message.story == "export" and message.form == "structured"]
    real = thefts[20]
    event = json.loads(real.value or b"")
    event["data"] |= {"row_count": 12, "export_reason": "monthly board report"}
    return [real._replace(arrives=real.arrives - 900, value=compact(event), flaw="conflict", story="")]


def poison(month: Month, rng: Random, event_limit: int) -> list[Message]:
    """Messages that are no events: each reason once or twice, spread over the month."""
    cut_off = (
        b'{"specversion":"1.0","id":"4f1e","source":"https://portal.larkfield.example","type":"record_vie'
    )
    values: list[tuple[str, bytes | None]] = [
        ("cut off", cut_off),
        ("cut off", cut_off[: rng.randrange(20, 60)]),
        ("not UTF-8", b'{"event_type":"user_login","event_data":{"user_id":"Andr\xe9"}}'),
        ("binary", bytes(rng.getrandbits(8) for _ in range(180))),
        ("binary", b"\x00\x00\x00\x00\x07" + bytes(rng.getrandbits(8) for _ in range(60))),
        ("plain text", b"2026-02-30 ERROR audit sink unavailable, retrying"),
        ("empty", b""),
        ("null", None),
        ("nested", b'{"a":' * 150 + b"1" + b"}" * 150),
        ("too large", b'{"blob":"' + b"x" * event_limit + b'"}'),
    ]
    days = month.workdays()
    return [
        _unreadable(moment(rng.choice(days), 8 + 10 * rng.random(), "UTC"), reason, value)
        for reason, value in values
    ]


def _unreadable(at: int, reason: str, value: bytes | None) -> Message:
    return Message(at, b"misdirected", value, [], "kafka", "bare", "poison", "", "", "", flaw=reason)
