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
            "recorded": "2026-10-01T00:00:01Z",
            "kind": 1,
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
    return {"rows": rows, "shown": len(rows), "keys": max(len(rows), 1) + (40 if len(rows) > 3 else 0)}


def event(text: str, at: int = 0, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "event_time": f"2026-10-{14 + at % 5:02d}T02:1{at % 10}:09+00:00",
        "event_type": text,
        "source": text,
        "subject": text,
        "event_id": text,
        "counted": "2026-10-14T02:10:09Z",
        "recorded": "2026-10-14T02:10:10Z",
        "late": "",
        "erased": False,
        "review": "open",
        "record": f"1:{at % 12 + 1}",
        "place": {"topic_id": "ab" * 16, "partition": 0, "source_offset": at},
        "ai": [],
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
            "share_percent": round(size / 3, 1),
            "cites": [_cite(at % 12 + 1)],
        }
        for at, size in enumerate(shape)
    ]


def document(text: str = "plain", **changes: Any) -> dict[str, Any]:
    """October 2026 with `text` as every text of an event, an AI or a user."""
    made: dict[str, Any] = {
        "format": "piperoll-report/v2",
        "edition": {"id": "monthly/2026-10/2", "schedule": "monthly", "number": 2, "replaces": "monthly/2026-10/1", "why": text, "by": text,
                    "differs": [{"figure": text, "before": 3, "after": 4}]},
        "period": {"label": "2026-10", "start": "2026-10-01T00:00:00+02:00", "end": "2026-11-01T00:00:00+01:00",
                   "time_zone": "Europe/Berlin", "selected_by": "event time", "title": "October 2026", "rule": "schedule", "days": 31},
        "cut": {"seal_no": 48_211, "root": _HEX, "time": "2026-11-02T04:00:00Z", "chains": [{"chain_no": 1, "chain_id": "ab" * 16, "topic": "audit.events", "partition": 0, "size": 41, "last_hash": _HEX, "last_recorded": "2026-10-31T23:00:00Z"}]},
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
        "drill": _own(1, attacks=14, detected=14, passed=True, slowest_seconds=0.41, missed=[text]),
        "completeness": {"emitted_by_sequence": {"sources": 2, "numbers": 30_877, "recorded": 30_874, "missing": 3}, "in_kafka": 31_107, "enriched": 31_107,
                         "chained": 31_107, "in_report": 30_912, "balanced": True, "unreadable_in_log": 9,
                         "differences": [{"between": ["in_kafka", "in_report"], "count": 195, "sentence": text, "explained": True, "cites": [_cite(9)]}],
                         "of_these": [{"what": "events", "count": 30_903, "cites": [_cite(1)]}]},
        "summary": {"by": text, "label": "written by AI, checked against facts", "survived_percent": 92.0,
                    "sentences": [{"text": f"30,912 events are recorded for October 2026. {text}", "cites": [_cite(1)], "facts": ["events.all"], "by": "ai"},
                                  {"text": f"97 events are of high or critical risk, 4 of them critical. {text}", "cites": [_cite(2), _cite(3)], "facts": ["risk.high"],
                                   "by": "rules"}]},
        "facts": [_fact("events.all", f"30,912 events are recorded for October 2026. {text}", 30_912, 1),
                  _fact("risk.high", f"97 events are of high or critical risk, 4 of them critical. {text}", 97, 2),
                  _fact("drill", f"A fact without a number. {text}", None, 3)],
        "totals": {"all": figure(30_912, 97), "poison": figure(9), "pending": figure(12), "ai": figure(300), "unchecked": figure(1), "readable": figure(30_903), "erased": figure(2),
                   "named": figure(30_000), "duplicates": figure(183)},
        "tables": {name: table(text) for name in ("type", "source", "actor", "by", "noticed", "risk", "tag")}
        | {"rule": table(f'["{_json(text)}", "{_json(text)}", "high"]'), "catalogue": table(f'["{_json(text)}", "catalog:unknown"]')},
        "by_day": by_day(),
        "high_risk": {"shown": 3, "of": 97, "events": [event(text, at) for at in range(3)]},
        "reviews": {"open": 2, "reviewed": 95, "reviewable": 97, "median_hours": 5.25, "by_status": [{"status": "explained", "events": 95, "cites": [_cite(4)]}],
                    "carried_over_of": 1, "carried_over": [{"record": "1:4", "risk": "high", "status": "open", "event_time": "2026-09-12T00:00:00Z",
                                                            "recorded": "2026-09-12T00:00:01Z", "cites": [_cite(4)]}]},
        "changes": {"last_period": {"label": "2026-09", "start": "2026-09-01T00:00:00+02:00", "end": "2026-10-01T00:00:00+02:00"},
                    **{name: {"rows": [{"key": text, "events": 3, "high_risk": 1, "cites": [_cite(4)]}], "shown": 1, "of": 1} for name in ("new_actors", "new_types", "new_sources")},
                    "silent_sources": [{"key": text, "events_before": 3, "last_event": "2026-09-30T00:00:00Z", "cites": [_cite(4)]}],
                    "against_last_period": [{"figure": "events", "key": "", "before": 28_000, "now": 30_912, "change": 2_912, "change_percent": 10.4}]},
        "controls_version": "c91b618f7b48",
        "controls_note": "Whether a rule is met is for whoever audits to say.",
        "controls": [
            {"framework": "SOC 2", "edition": "2017", "clause": at, "says": text, "shows": [text, text], "not_shown": text, "source": text, "state": state, "cites": [_cite(5)]}
            for at, state in (("CC7.2", "operation"), ("CC7.3", "exception"), ("CC7.4", "nothing"))
        ],
        "ai": {"requests": 41, "failed": 1, "tokens_in": 9_000, "tokens_out": 700,
               "by_model": [{"model": text, "outcome": "answered", "prompt_version": text, "purpose": "high", "requests": 41, "tokens_in": 9_000, "tokens_out": 700,
                             "median_latency_ms": 800, "cites": [_cite(5)]}]}
        | {name: {"events": 3, "cites": [_cite(5)]} for name in ("pending", "raised", "raised_to_high_by_ai_alone", "read", "withdrawn_by_review")},
        "alerts": [_own(6, name=text, severity="high", text=text)],
        "outages": [_own(6, name=text, severity="high", text=text)],
        "erasures": [_own(6, by=text, reason=text, events=2, part=1, parts=1, request=text, ticket=text)],
        "destroyed_keys": [_own(6, by=text, reason=text, request=text, ticket=text, key="0f" * 16, rows="kept")],
        "restores": [], "editions": [], "key_changes": [], "passed_by": [],
        "reads": [_own(7, by=text, what="export", count=30_912, range=text, finished=True)],
        "retention": {"orders": [], "payloads_gone_to_the_end_of": None},
        "backfills": [_own(7, by=text, reason=text, file=text)],
        "late": [{"reason": "late", "sentence": "Late:", "events": 1, "high_risk": 0, "cites": [_cite(7)],
                  "first": [{"record": "1:7", "event_time": "2026-09-12T00:00:00Z", "recorded": "2026-10-12T00:00:00Z"}]}],
        "clock_skew": {"ahead_limit_s": 300, "behind_limit_s": 3600, "ahead": _skewed(1, 400.0, 7), "behind": _skewed(3, 7_200.5, 8), "sources": 1,
                       "by_source": [{"source": text, "ahead": _skewed(1, 400.0, 7), "behind": _skewed(3, 7_200.5, 8)}]},
        "judged_by": {"versions": [{"rules": text, "mappings": text, "catalog": text, "events": 30_000, "cites": [_cite(1)]}], "shown": 1, "of": 1, "unstated": 2},
        "listed": {name: {"shown": 1, "of": 2} for name in ("alerts", "outages", "erasures", "destroyed_keys", "reads", "backfills", "signatures")}
        | {name: {"shown": 0, "of": 0} for name in ("restores", "editions", "key_changes", "passed_by", "retentions", "unfinished_reads")},
        "duplicates": {"repeats": figure(183), "unchecked": figure(1)},
        "filters": {"sources": [], "types": [], "tags": []}, "language": "en", "template": None,
        "glossary": [{"term": "annotation", "meaning": "A reading of an event by AI that came after."}], "method": ["Every number is counted by SQL."],
        "sequence_gaps": [{"source": text, "missing": 3, "gaps": 2, "numbers": "17-18, 25", "cites": [_cite(7)]}],
        "unreadable": [{"record": "1:8", "recorded": "2026-10-09T07:07:07Z", "topic": text, "partition": 0, "offset": 7, "reason": text, "erased": False, "cites": [_cite(8)]}],
        "other_records": [{"kind": 2, "name": "Repeats of an event already recorded", "records": 183, "cites": [_cite(8)]}],
        "signatures": [_own(9, edition="monthly/2026-10/2", by=text, role=text, statement=text, sha256=_HEX, reason=text)],
        "attachments": [{"name": "events.csv", "about": "all events for spreadsheets", "rows": 30_912, "size": 9_111_222, "sha256": _HEX}],
        "cited": cited(),
    }  # fmt: skip
    return made | changes


def _own(record: int, **more: Any) -> dict[str, Any]:
    """An own event of the period, as the document lists it."""
    return {
        "record": f"1:{record}",
        "recorded": "2026-10-14T02:15:00Z",
        "source": "piperoll/test",
        "cites": [_cite(record)],
    } | more


def _skewed(events: int, most_s: float, record: int) -> dict[str, Any]:
    return {"events": events, "most_s": most_s, "cites": [_cite(record)]}


def _fact(name: str, sentence: str, value: int | None, record: int) -> dict[str, Any]:
    return {
        "id": name,
        "sentence": sentence,
        "topics": ["volume"],
        "value": value,
        "sql": "counts",
        "records": value or 1,
        "records_sha256": _HEX,
        "must": True,
        "cites": [_cite(record)],
    }


def _json(text: str) -> str:
    from json import dumps  # noqa: PLC0415 - for this alone

    return dumps(text)[1:-1]
