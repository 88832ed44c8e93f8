"""A report's document with one text put in every place where somebody's text can stand, and sealed records that it cites."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from typing import Any

from tests.chain_rows import ChainRows
from tests.sealed_log import SealedLog

DAYS = 31
_HEX = "ab" * 32


@cache
def sealed() -> tuple[SealedLog, dict[str, bytes], bytes]:
    """A sealed log, the proofs of its records by record, and its policy."""
    events, own = ChainRows(chain_no=1, seed=5), ChainRows(chain_no=9, seed=6, topic="audit.system")
    log = SealedLog(events, own)
    events.events(20)
    own.own_event()
    log.seal()
    events.events(20)
    log.seal()
    proofs = {f"1:{seq}": log.proof(events, seq).encode() for seq in range(1, 13)}
    return log, proofs, log.policy()


@cache
def _cited() -> tuple[dict[str, Any], ...]:
    log, _, _ = sealed()
    rows = log.chains[0].rows
    return tuple(
        {
            "record": f"1:{seq}",
            "hash": rows[seq].record_hash.hex(),
            "appended_at": "2026-10-01T00:00:01+00:00",
        }
        for seq in range(1, 13)
    )


def cited() -> list[dict[str, Any]]:
    """The first records of the sealed log, with their hashes."""
    return [dict(one) for one in _cited()]


def figure(events: int, high: int = 0, record: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "events": events,
        "high_risk": high,
        "share_percent": round(events / 310, 1),
        "cites": [_cite(record)],
    } | more


def _cite(record: int) -> dict[str, Any]:
    return {"record": f"1:{record}", "hash": _cited()[record - 1]["hash"]}


def table(*keys: str, events: int = 9000) -> dict[str, Any]:
    rows = [figure(events // (at + 1), 40 // (at + 1), at % 12 + 1, key=key) for at, key in enumerate(keys)]
    return {"rows": rows, "keys": max(len(rows), 1) + (40 if len(rows) > 3 else 0)}


def event(text: str, at: int = 0, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "event_time": f"2026-10-{14 + at % 5:02d}T02:1{at % 10}:09+00:00",
        "event_type": text,
        "source": text,
        "summary": text,
        "by": text,
        "risk": "critical" if at == 0 else "high",
        "risk_floor": "high" if at else "medium",
        "risk_ai": "critical" if at == 0 else None,
        "tags": [text, text],
        "who": dict.fromkeys(("actor", "action", "resource", "origin", "outcome"), text),
        "rules": [{"id": text, "title": text, "level": text}],
        "cites": [_cite(at % 12 + 1)],
    }
    return made | more


def by_day() -> list[dict[str, Any]]:
    first = date(2026, 10, 1)
    shape = [
        9,
        11,
        3,
        2,
        10,
        12,
        11,
        10,
        9,
        3,
        2,
        11,
        12,
        14,
        13,
        10,
        3,
        2,
        9,
        11,
        10,
        12,
        9,
        3,
        2,
        10,
        11,
        12,
        9,
        8,
        2,
    ]
    return [
        {
            "day": (first + timedelta(days=at)).isoformat(),
            "events": 90 * size,
            "high_risk": 60 if at == 13 else size // 3,
        }
        for at, size in enumerate(shape)
    ]


def document(text: str = "plain", **changes: Any) -> dict[str, Any]:
    """October 2026 with `text` as every text of an event, an AI or a user."""
    made: dict[str, Any] = {
        "format": "piperoll-report/v2",
        "edition": {"id": "monthly/2026-10/2", "schedule": "monthly", "number": 2, "replaces": "monthly/2026-10/1", "why": text, "by": text,
                    "differs": [{"figure": text, "before": 3, "now": 4}]},
        "period": {"label": "2026-10", "start": "2026-10-01T00:00:00+02:00", "end": "2026-11-01T00:00:00+01:00",
                   "time_zone": "Europe/Berlin", "selected_by": "event time"},
        "cut": {"seal_no": 48_211, "root": _HEX, "time": "2026-11-02T04:00:00Z", "chains": [{"chain_no": 1, "size": 41}]},
        "made": "2026-11-02T04:00:09Z",
        "software": {"piperoll": "0.1.0", "rules": _HEX, "mappings": _HEX, "template": text},
        "integrity": {
            "good": True, "verdict": "OK: 31,204 records in 3 chains verified",
            "assurance": ["Changes by database administrators would be found; changes by whoever holds the signing key and all copies of the checkpoints might not.",
                          "It says nothing about events that were never sent, nor whether their content is true."],
            "taken": "2026-11-02T04:00:01.000000Z", "records": 31_204, "erased": 2, "retained": 0, "found": 0, "findings": [],
            "checkpoints": {"compared_with": [{"place": text, "size": 48_212, "root": _HEX, "cosigned_by": [text]}], "seals": 48_212,
                            "last_seal": "2026-11-02T03:59:59Z", "unsealed_records": 0, "key_from_the_same_place": True},
            "chains": [{"chain_no": at, "topic": "audit.events", "partition": at - 1, "good": True, "records": 10_401, "events": 10_333, "duplicates": 61,
                        "poison": 3, "skips": 4, "first_offset": 0, "last_offset": 10_399, "last_hash": _HEX} for at in (1, 2, 3)],
        },
        "drill": {"record": "9:1", "time": "2026-10-28T03:00:00Z", "passed": True, "attacks": 14, "detected": 14, "slowest_seconds": 0.41, "missed": [text]},
        "completeness": {"emitted_by_sequence": 30_874, "in_kafka": 31_107, "enriched": 31_107, "chained": 31_107, "in_report": 30_912,
                         "differences": [{"between": "in Kafka and in this report", "records": 195, "reason": text}]},
        "summary": {"by": text, "label": "written by AI, checked against facts", "survived_percent": 92.0,
                    "sentences": [{"text": f"30,912 events are recorded for October 2026. {text}", "cites": [_cite(1)], "facts": ["total"]},
                                  {"text": f"97 events are of high or critical risk, 4 of them critical. {text}", "cites": [_cite(2), _cite(3)], "facts": ["high"]}]},
        "totals": {"all": figure(30_912, 97), "poison": figure(9), "pending": figure(12), "ai": figure(300), "unchecked": figure(1)},
        "tables": {name: table(text) for name in ("type", "source", "actor", "by", "noticed", "risk")}
        | {"rule": table(f'["{_json(text)}", "{_json(text)}", "high"]'), "catalogue": table(f'["{_json(text)}", "catalog:unknown"]')},
        "by_day": by_day(),
        "high_risk": {"shown": 3, "of": 97, "events": [event(text, at) for at in range(3)]},
        "reviews": {"open": 2, "reviewed": 95, "median_hours": 5.25, "carried_over": [{"record": "1:4", "hash": _HEX, "event_type": text, "since": "2026-09-12T00:00:00Z"}]},
        "changes": {"new_actors": [{"actor": text, "events": 3}], "new_types": [{"type": text, "events": 1}],
                    "against_last_period": [{"figure": "events", "before": 28_000, "now": 30_912}]},
        "controls": [{"framework": "SOC 2", "control": "CC7.2", "shows": text, "does_not_show": text, "state": "operation", "cites": [_cite(5)]}],
        "ai": {"model": text, "requests": 41, "cost_eur": 0.62, "models": [{"model": text, "events": 41}]},
        "alerts": [{"time": "2026-10-14T02:15:00Z", "title": text, "state": "delivered", "cites": [_cite(6)]}],
        "erasures": [{"time": "2026-10-20T10:00:00Z", "by": text, "reason": text, "events": 2}],
        "reads": [{"by": text, "what": "export", "count": 30_912}],
        "outages": [], "retention": {"months_kept": 13, "dropped": [text]}, "backfills": [{"reason": text, "events": 40}], "late": [],
        "sequence_gaps": [{"source": text, "missing": 3, "gaps": 2, "numbers": "17-18, 25", "cites": [_cite(7)]}],
        "unreadable": [{"appended_at": "2026-10-09T07:07:07+00:00", "kafka_topic": text, "kafka_partition": 0, "kafka_offset": 7, "reason": text, "cites": [_cite(8)]}],
        "other_records": {"Repeats of an event already recorded": 183},
        "signatures": [{"by": text, "role": text, "statement": text, "time": "2026-11-03T09:00:00Z", "despite": True, "reason": text}],
        "attachments": [{"name": "events.csv", "about": "all events for spreadsheets", "rows": 30_912, "size": 9_111_222, "sha256": _HEX}],
        "cited": cited(),
    }  # fmt: skip
    return made | changes


def _json(text: str) -> str:
    from json import dumps  # noqa: PLC0415 - for this alone

    return dumps(text)[1:-1]
