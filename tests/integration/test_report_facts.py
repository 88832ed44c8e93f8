"""Facts of a report on a real database: each rests on records that plain SQL, written apart, finds too."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import asyncpg

from services.reporter.cutting import find_cut
from services.reporter.document import Inputs, canonical, make_document
from services.reporter.escape import Trusted
from services.reporter.facts_kept import keep_facts
from services.reporter.grounding.words import TOPICS
from services.reporter.period import period_named
from services.reporter.store import open_snapshot
from tests.audit_tables import fill
from tests.report_month import Month


async def test_every_fact_names_its_records_and_the_summary_is_made_of_facts(database):
    await fill(database.admin_dsn, Month().chains)
    await keep_facts(database.reporter_dsn)
    chosen = {
        "outcome": "answered",
        "model": "gpt-x",
        "prompt": "summary-1",
        "returned": 2,
        "survived": 1,
        "refused": {"words": 1},
    }
    chosen["sentences"] = [
        {"text": "Regarding types: {type.1}; also {risk.high}.", "cites": ["type.1", "risk.high"]}
    ]
    async with open_snapshot(database.reporter_dsn) as snapshot:
        inputs = Inputs(
            "monthly", period_named("2026-10", "UTC", "append"), await find_cut(snapshot), summary=chosen
        )
        told = await make_document(snapshot, inputs)
        asked = []

        async def remember(facts):
            asked.extend(facts)
            return chosen

        assert canonical(await make_document(snapshot, replace(inputs, summary=None), remember)) == canonical(
            told
        )
        empty = await make_document(
            snapshot, replace(inputs, period=period_named("2027-12", "UTC", "append"), summary=None)
        )
    assert [one["text"] for one in empty["summary"]["sentences"]] == [
        "No events are recorded for December 2027.",
        "16 events of high or critical risk of earlier periods are still open.",
        "The last tamper drill found 26 of 26 attacks on a copy of the log.",
    ]
    assert any("<script>" in piece for fact in asked for piece in fact.pieces)
    for fact in asked:
        assert all(isinstance(piece, Trusted) or piece for piece in fact.pieces)
        assert not any("<script>" in piece for piece in fact.pieces if isinstance(piece, Trusted))
        assert "<script>" not in fact.for_model()
        assert fact.topics <= set(TOPICS)
    assert len({fact.id for fact in asked}) == len(asked)
    facts = {fact["id"]: fact for fact in told["facts"]}
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        rows = await connection.fetch(
            "SELECT id, kind, event_type, source, actor, ai_tags, risk, risk_ai, risk_floor, appended_at"
            " FROM audit_events ORDER BY id"
        )
        repeats = [
            row["id"]
            for row in await connection.fetch(
                "SELECT (chain_no::bigint << 48) | seq AS id FROM audit.record WHERE kind = 2 AND chain_no < 3 ORDER BY id"
            )
        ]
        settled = [(1 << 48) | 1, (1 << 48) | 8]  # a false positive, an incident
    finally:
        await connection.close()

    def rests_on(name, wanted):
        numbers = [row["id"] for row in rows if wanted(row)]
        fact = facts[name]
        assert fact["records"] == len(numbers), name
        assert fact["records_sha256"] == sha256(b"".join(one.to_bytes(8) for one in numbers)).hexdigest(), (
            name
        )
        assert [cite["record"] for cite in fact["cites"]] == [
            f"{one >> 48}:{one & (2**48 - 1)}" for one in numbers[:5]
        ]

    rests_on("events.all", lambda _row: True)
    rests_on("completeness.unreadable", lambda row: row["kind"] == "poison")
    for name in ("type", "source", "actor"):
        key = told["tables"][name]["rows"][0]["key"]
        column = "event_type" if name == "type" else name
        rests_on(
            f"{name}.1", lambda row, column=column, key=key: row[column] == key and row["kind"] == "event"
        )
    counted = [
        fact
        for fact in told["facts"]
        if fact["sql"] in ("counts", "grave_reviews") and fact["value"] and fact["records"] > 1
    ]
    assert len(counted) >= 10
    assert [fact["id"] for fact in counted if fact["records"] != fact["value"]] == []
    rests_on(
        "events.busiest-day",
        lambda row: row["appended_at"].date().isoformat() in facts["events.busiest-day"]["sentence"],
    )
    assert facts["events.busiest-day"]["records"] == facts["events.busiest-day"]["value"] > 1
    raised = ("informational", "low", "medium")
    rests_on(
        "risk.ai-alone",
        lambda row: row["risk_ai"] in ("high", "critical") and row["risk_floor"] in raised,
    )

    def is_of(fact, numbers, records):
        assert fact["records"] == len(numbers) == records
        assert fact["records_sha256"] == sha256(b"".join(one.to_bytes(8) for one in numbers)).hexdigest()

    is_of(facts["completeness.repeats"], repeats, 2)
    is_of(facts["completeness.unchecked"], repeats[1:], 1)
    carried = {fact["id"]: fact for fact in empty["facts"]}["review.carried-over"]
    is_of(
        carried,
        [row["id"] for row in rows if row["risk"] in ("high", "critical") and row["id"] not in settled],
        16,
    )
    overs = {fact["id"]: fact["over"] for fact in told["facts"]}
    assert overs["completeness.gaps"] == "examples"
    assert all(
        (fact["over"] == "all") == (fact["records"] == fact["value"])
        for fact in told["facts"]
        if fact["value"] and fact["id"] not in ("completeness.gaps", "own.reads")
    )
    said = told["summary"]
    assert said["by"] == "gpt-x"
    assert said["survived_percent"] == 50
    first = said["sentences"][0]
    assert first["text"].startswith("Regarding types: type “")
    assert f"; also {told['totals']['all']['high_risk']} events are of high or critical risk" in first["text"]
    assert {one["record"] for one in first["cites"]} <= {one["record"] for one in told["cited"]}
    must = {fact["id"] for fact in told["facts"] if fact["must"]}
    assert must <= {name for sentence in said["sentences"] for name in sentence["facts"]}
