"""The edition document on a real database: what it counts, up to which record, and that it can be made again."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import UTC
from itertools import islice

import asyncpg
import msgspec
import pytest
from jsonschema import Draft202012Validator

from schemas import commitment
from schemas.enrichment import Enrichment
from schemas.record import Kind
from schemas.seal import Seal, SealedChain, encode_seal
from services.common.errors import ConfigurationError
from services.reporter.cutting import find_cut
from services.reporter.document import (
    Cut,
    Filters,
    Inputs,
    canonical,
    gone_since,
    make_document,
)
from services.reporter.facts_kept import check_facts, keep_facts
from services.reporter.formats import with_detail
from services.reporter.period import following, period_named
from services.reporter.store import open_snapshot
from tests.audit_tables import extend, fill
from tests.chain_rows import START_US, ChainRows
from tests.report_month import DAY_US, HOUR_US, Month
from tests.service_process import ROOT

SCHEMA = Draft202012Validator(json.loads((ROOT / "schemas/report/v2.schema.json").read_text()))
OCTOBER = period_named("2026-10", "Europe/Berlin", "schedule")


async def document(database, period=OCTOBER, **more):
    async with open_snapshot(database.reporter_dsn) as snapshot:
        cut = more.pop("cut", None) or await find_cut(snapshot)
        return await make_document(snapshot, Inputs("monthly", period, cut, made_us=1, **more))


async def ask(database, sql, *arguments):
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        return await connection.fetch(sql, *arguments)
    finally:
        await connection.close()


async def run(database, sql):
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def test_every_number_is_that_of_plain_sql_whether_facts_are_kept_or_not(database):
    """Against queries of the view, written apart; the view shows no review here, so the one withdrawn raise is told apart."""
    await fill(database.admin_dsn, Month().chains)
    rows = await ask(database, "SELECT * FROM audit_events")
    by_rows = [dict(row) for row in rows]
    told = await document(database, period_named("2026-10", "UTC", "append"))
    assert await keep_facts(database.reporter_dsn) == sum(len(chain.rows) for chain in Month().chains)
    kept = await document(database, period_named("2026-10", "UTC", "append"))
    told["cut"]["time"] = kept["cut"]["time"]
    assert canonical(told) == canonical(kept)
    assert await keep_facts(database.reporter_dsn) == 0

    def counted(name, key, wanted=lambda _row: True):
        expected = Counter(row[key] for row in by_rows if wanted(row) and row[key] is not None)
        found = {row["key"]: row["events"] for row in kept["tables"][name]["rows"]}
        assert found == dict(expected.most_common(20)), name
        assert kept["tables"][name]["keys"] == len(expected)

    is_event = lambda row: row["kind"] == "event"  # noqa: E731 - short here
    counted("type", "event_type", is_event)
    counted("source", "source", is_event)
    counted("actor", "actor")
    counted("by", "summary_by")
    tags = Counter(tag for row in by_rows for tag in row["ai_tags"])
    assert {row["key"]: row["events"] for row in kept["tables"]["tag"]["rows"]} == tags
    high = [row for row in by_rows if row["risk"] in ("high", "critical")]
    assert kept["totals"]["all"]["events"] == len(by_rows) == sum(day["events"] for day in kept["by_day"])
    assert kept["totals"]["all"]["high_risk"] == len(high) - 1  # withdrawn by a review
    assert kept["high_risk"]["of"] == len(high) - 1
    assert kept["totals"]["pending"]["events"] == sum(row["ai_pending"] for row in by_rows)
    assert kept["totals"]["poison"]["events"] == sum(row["kind"] == "poison" for row in by_rows) == 1
    days = Counter(row["appended_at"].astimezone(UTC).date().isoformat() for row in by_rows)
    assert {day["day"]: day["events"] for day in kept["by_day"] if day["events"]} == days
    kinds = dict(
        await ask(database, "SELECT kind, count(*) FROM audit.record WHERE kind NOT IN (1, 3) GROUP BY kind")
    )
    others: Counter = Counter()
    for row in kept["other_records"]:
        others[row["kind"]] += row["records"]
    assert others == kinds
    # what Piperoll itself said twice is no repeat of an event
    assert [row["records"] for row in kept["other_records"] if row["kind"] == Kind.DUPLICATE] == [2, 1]
    assert kept["totals"]["duplicates"]["events"] == 2
    hashes = {
        f"{row['chain_no']}:{row['seq']}": row["record_hash"].hex()
        for row in await ask(database, "SELECT chain_no, seq, record_hash FROM audit.record")
    }
    assert kept["cited"]
    assert all(hashes[one["record"]] == one["hash"] for one in kept["cited"])


async def test_the_contents_of_a_month_with_something_of_everything(database):
    """Reviews, AI, alerts, outages, late events, sequences, the completeness account."""
    await fill(database.admin_dsn, Month().chains)
    told = await document(database)
    assert told["completeness"]["balanced"]
    numbers = told["completeness"]
    assert (numbers["in_kafka"], numbers["enriched"], numbers["chained"], numbers["in_report"]) == (
        392,
        387,
        387,
        387,
    )
    assert numbers["emitted_by_sequence"] == {"sources": 1, "numbers": 300, "recorded": 298, "missing": 2}
    assert [(one["count"], one["explained"]) for one in numbers["differences"]] == [(2, False), (5, True)]
    assert {one["reason"]: one["events"] for one in told["late"]} == {"future": 1, "late": 1, "no-zone": 1}
    skew = told["clock_skew"]
    assert (skew["ahead"]["events"], skew["behind"]["events"], skew["sources"]) == (1, 1, 2)
    assert {one["source"]: one["behind"]["events"] for one in skew["by_source"]} == {
        "app/late": 1,
        "app/future": 0,
    }
    assert skew["ahead"]["most_s"] == (START_US + 300 * DAY_US - (START_US + 83 * 7 * HOUR_US)) / 1e6
    judged = {one["rules"]: one["events"] for one in told["judged_by"]["versions"]}
    assert judged == {"rules-1": 200, "rules-2": 100}
    assert told["judged_by"]["unstated"] == 84
    reviews = told["reviews"]
    assert (reviews["reviewable"], reviews["reviewed"], reviews["open"]) == (18, 2, 16)
    assert {one["status"]: one["events"] for one in reviews["by_status"]} == {
        "false-positive": 1,
        "incident": 1,
        "none": 15,
        "open": 1,
    }
    incident = next(one for one in told["high_risk"]["events"] if one["record"] == "1:8")
    assert incident["review"]["status"] == "incident"
    assert incident["rules"][0]["level"] == "high"
    raised = next(one for one in told["high_risk"]["events"] if one["record"] == "1:2")
    assert (raised["risk"], raised["risk_floor"], raised["ai"][0]["evidence"]) == (
        "critical",
        "informational",
        "three exports in a minute",
    )
    ai = told["ai"]
    assert (ai["requests"], ai["tokens_in"], ai["failed"]) == (3, 300, 1)
    assert ai["raised_to_high_by_ai_alone"]["events"] == 3
    assert ai["withdrawn_by_review"]["events"] == 1
    assert [one["severity"] for one in told["alerts"]] == ["critical", "high"]
    assert [one["name"] for one in told["outages"]] == ["silent_source"]
    assert told["erasures"][0]["events"] == 2
    assert told["drill"]["passed"] is True
    assert [told["listed"][name]["of"] for name in ("reads", "backfills", "signatures")] == [1, 1, 1]
    assert told["changes"]["nothing_before"]
    assert [told["changes"][f"new_{name}"]["of"] for name in ("actors", "types", "sources")] == [0, 0, 0]
    assert told["changes"]["against_last_period"] == []
    assert [fact["sentence"] for fact in told["facts"] if fact["topics"] == ["changes"]] == [
        "There is no record before this period: nothing to compare with."
    ]
    lines = {(line["framework"], line["clause"]): line for line in told["controls"]}
    assert len(lines) > 50
    assert any(
        "Events of high risk that somebody reviewed: 2; still open: 16" in line["shows"]
        for line in lines.values()
    )
    assert "conform" not in told["controls_note"]
    SCHEMA.validate(json.loads(canonical(told)))
    assert told["tables"]["tag"]["shown"] == len(told["tables"]["tag"]["rows"])


async def test_facts_that_somebody_changed_are_found(database):
    await fill(database.admin_dsn, Month().chains)
    await keep_facts(database.reporter_dsn)
    async with open_snapshot(database.reporter_dsn) as snapshot:
        checked = await check_facts(snapshot)
    assert (checked.good, checked.facts) == (True, sum(len(chain.rows) for chain in Month().chains))
    await run(database, "UPDATE tally.fact SET floor = 1 WHERE chain_no = 1 AND seq = 8")
    async with open_snapshot(database.reporter_dsn) as snapshot:
        checked = await check_facts(snapshot)
    assert (checked.different, checked.first) == (1, "1:8")


async def test_a_log_that_has_grown_gives_the_same_bytes_and_an_erasure_is_named(database):
    """The same cut before and after events, readings, reviews, alerts and erasures that came later, with facts kept or not."""
    month = Month()
    await fill(database.admin_dsn, month.chains)
    sizes = {chain.chain_no: chain.count for chain in month.chains}
    cut = Cut(None, None, START_US + 30 * DAY_US, dict(sizes))
    first = await document(database, cut=cut)
    month.first.event(time_us=START_US + DAY_US, risk="critical", source="app/new")
    month.annotations.annotation(month.first.topic_id, 0, 50, risk="critical", summary="came later")
    month.review(month.first, 7, "false-positive")
    month.own("alert", "piperoll/alerter", name="silent_source", severity="high", text="later")
    month.erase(300)
    await extend(database.admin_dsn, month.chains, sizes)
    assert canonical(await document(database, cut=cut)) == canonical(first)
    await keep_facts(database.reporter_dsn)
    assert canonical(await document(database, cut=cut)) == canonical(first)
    now = await document(database)
    events, alerts = ([one["totals"]["all"]["events"], one["listed"]["alerts"]["of"]] for one in (first, now))
    assert (events, alerts) == ([385, 2], [386, 3])
    inputs = Inputs("monthly", OCTOBER, cut)
    assert Inputs.from_json(json.loads(json.dumps(inputs.as_json()))) == inputs
    async with open_snapshot(database.reporter_dsn) as snapshot:
        (named,) = await gone_since(snapshot, inputs)
    assert (named["what"], named["by"], named["reason"], named["events"]) == (
        "erasure",
        "casey",
        "Art. 17",
        1,
    )


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
async def test_what_is_erased_is_gone_from_the_facts_too(database, kept):
    """By the database's own erasure: neither type nor actor nor tags are left, and the record still counts, as erased, and as
    no type, source or risk of its own."""
    month = Month()
    await fill(database.admin_dsn, month.chains)
    if kept:
        await keep_facts(database.reporter_dsn)
    before = await document(database)
    topic = month.first.topic_id.hex()
    await run(
        database, f"INSERT INTO audit.erasure VALUES ('\\x{topic}', 0, 7, 4, 1), ('\\x{topic}', 0, 0, 4, 1)"
    )
    gone = "DELETE FROM audit.payload WHERE (chain_no, seq) IN ((1, 1), (1, 8), (3, 1))"
    await run(database, f"SET ROLE piperoll_eraser; {gone}")
    after = await document(database)
    assert after["totals"]["all"]["events"] == before["totals"]["all"]["events"]
    assert after["totals"]["erased"]["events"] == 2
    assert after["high_risk"]["of"] == before["high_risk"]["of"] - 1
    totals, tables = after["totals"], after["tables"]
    for name in ("type", "source"):
        assert tables[name]["keys"] == before["tables"][name]["keys"], name
        assert all(row["key"] for row in tables[name]["rows"])
        assert sum(row["events"] for row in tables[name]["rows"]) == totals["typed"]["events"]
    assert totals["readable"]["events"] == totals["typed"]["events"] + 2
    assert sum(row["events"] for row in tables["risk"]["rows"]) == totals["all"]["events"] - 2
    assert sum(row["events"] for row in after["by_day"]) == totals["all"]["events"]
    facts = {fact["id"]: fact for fact in after["facts"]}
    told = facts["events.erased"]
    assert told["sentence"] == (
        "2 events were erased or retained away: their type, source and risk are in no figure here."
    )
    assert (told["must"], told["records"]) == (True, 2)
    assert told["sentence"] in [one["text"] for one in after["summary"]["sentences"]]
    assert "events.erased" not in {fact["id"] for fact in before["facts"]}
    assert not [fact["sentence"] for fact in after["facts"] if "(empty)" in fact["sentence"]]
    later = (await document(database, next(following(OCTOBER))))["changes"]["against_last_period"]
    compared = {row["figure"]: row["before"] for row in later if not row["key"]}
    assert (compared["types of events"], compared["sources"]) == (
        tables["type"]["keys"],
        tables["source"]["keys"],
    )
    acted = [
        one["facts"]["actor"]["exceptions"]
        for made in (before, after)
        for one in made["controls"]
        if "actor" in one["facts"]
    ]
    assert acted
    assert not any(acted)
    SCHEMA.validate(json.loads(canonical(after)))
    if kept:
        (row,) = await ask(database, "SELECT * FROM tally.fact WHERE chain_no = 1 AND seq = 8")
        assert (row["blank"], row["type"], row["source"], row["actor"], row["tags"]) == (
            True,
            "",
            None,
            None,
            [],
        )
        rows = await ask(
            database,
            "SELECT * FROM tally.fact EXCEPT SELECT d.* FROM audit.chain_head, tally.derive(chain_no, 0, next_seq) d",
        )
        assert not rows


async def test_what_was_retained_away_is_gone_from_the_facts_too(database):
    """Of the first ten days, once its payloads are gone; a second look finds nothing more to do."""
    chain_of_days = ChainRows(step_us=DAY_US)
    for _ in range(40):
        chain_of_days.event()
    await fill(database.admin_dsn, [chain_of_days])
    await keep_facts(database.reporter_dsn)
    await run(database, "INSERT INTO audit.retention VALUES (1, 1, '2026-10-11')")
    await run(database, "SET ROLE piperoll_eraser; DELETE FROM audit.payload WHERE seq BETWEEN 1 AND 9")
    await keep_facts(database.reporter_dsn, batch=4)
    rows = await ask(
        database, "SELECT count(*) FILTER (WHERE blank) AS blank, count(actor) AS actors FROM tally.fact"
    )
    assert tuple(rows[0]) == (9, 31)
    (row,) = await ask(database, "SELECT until_us = 1791676800000000 AS done FROM tally.blanked")
    assert row["done"]
    told = await document(database)
    facts = {fact["id"]: fact["sentence"] for fact in told["facts"]}
    assert facts["events.erased"].startswith("9 events were erased or retained away")
    assert facts["risk.high"].endswith("is among those whose content is there.")
    assert facts["ai.none"].startswith("All summaries and risks of events whose content is there were")
    assert [row["events"] for row in told["tables"]["type"]["rows"]] == [told["totals"]["all"]["events"] - 9]


async def test_the_periods_of_a_schedule_have_every_record_once(database):
    """Months and days in a zone with daylight saving: events before, after, at and around every bound, recorded early and late."""
    chance = random.Random(7)
    berlin = period_named("2026-10-23", "Europe/Berlin", "schedule")
    days = [berlin, *islice(following(berlin), 7)]
    bounds = [day.start_us for day in days] + [days[-1].end_us]
    near = [
        0,
        1,
        -1,
        300_000_000,
        300_000_001,
        -300_000_000,
        3_600_000_000,
        3_599_999_999,
        -40 * DAY_US,
        40 * DAY_US,
    ]
    recorded = sorted(
        chance.choice(bounds[1:-1]) + chance.choice([*near[:8], chance.randrange(-DAY_US, DAY_US)])
        for _ in range(1500)
    )
    recorded = [us for us in recorded if bounds[0] <= us < bounds[-1] - 2 * 3_600_000_000]
    said = []
    for us in recorded:
        stated = chance.choice([0, 0, 0, 1, 2])
        said.append((stated, chance.choice([us, *bounds]) + chance.choice(near), us))
    found: Counter = Counter()
    for day in days:
        rows = await ask(
            database,
            "SELECT n, tally.counted_us('schedule', $1, $2, $3, $4, s::smallint, t, a) AS at"
            " FROM unnest($5::int[], $6::bigint[], $7::bigint[]) WITH ORDINALITY AS x (s, t, a, n)",
            *(day.start_us, day.end_us, day.before_us, day.grace_us),
            *map(list, zip(*said, strict=True)),
        )
        inside = {row["n"]: row["at"] for row in rows if row["at"] is not None}
        assert all(day.start_us <= at < day.end_us for at in inside.values())
        found.update(list(inside))
    assert len(said) > 1000
    assert [found[number] for number in range(1, len(said) + 1)] == [1] * len(said)


async def test_all_records_are_in_the_periods_of_a_schedule(database):
    """Events, repeats, skips, readings and own events of the month: the days, weeks and months around it sum up to them all."""
    await fill(database.admin_dsn, Month().chains)
    await keep_facts(database.reporter_dsn)
    total = {
        row["kind"]: row["count"]
        for row in await ask(database, "SELECT kind, count(*) FROM audit.record GROUP BY kind")
    }
    first = period_named("2026-W40", "America/New_York", "schedule")
    summed: Counter = Counter()
    for week in [first, *islice(following(first), 5)]:
        told = await document(database, week)
        summed[Kind.EVENT] += told["totals"]["readable"]["events"]
        summed[Kind.POISON] += told["totals"]["poison"]["events"]
        for row in told["other_records"]:
            summed[row["kind"]] += row["records"]
    assert summed == total


async def test_filters_leave_out_events_and_the_account_says_so(database):
    await fill(database.admin_dsn, Month().chains)
    told = await document(database, filters=Filters(sources=("app/billing",)))
    assert told["totals"]["all"]["events"] == 80
    assert [row["key"] for row in told["tables"]["source"]["rows"]] == ["app/billing"]
    (left,) = [one for one in told["completeness"]["differences"] if "filters" in one["sentence"]]
    assert left["count"] == 305
    assert (await document(database, filters=Filters(tags=("catalog:unknown",))))["totals"]["all"][
        "events"
    ] == 10
    assert (await document(database, filters=Filters(types=("no such type",))))["totals"]["all"][
        "events"
    ] == 0


async def test_what_is_unreadable_on_our_own_topics_is_in_no_figure_of_events_whatever_the_filters(database):
    system = ChainRows(chain_no=2, topic="audit.system", seed=4, step_us=HOUR_US)
    said = Enrichment(
        "poison", "", "", "", "unreadable message", "high", ["poison:own-topic"], reason="no JSON"
    )
    for _ in range(2):
        body = commitment.encode_body(None, b"\xff", [])
        system.append(
            Kind.POISON,
            body,
            msgspec.json.encode(said),
            source_offset=system.next_offset,
            kafka_ts_ms=START_US // 1000,
            kafka_ts_type=0,
        )
        system.next_offset += 1
    await fill(database.admin_dsn, [ChainRows(step_us=HOUR_US).events(30), system])
    for filters, count in (
        (Filters(), 30),
        (Filters(types=("user_login",)), 30),
        (Filters(tags=("poison:own-topic",)), 0),
    ):
        told = await document(database, filters=filters)
        SCHEMA.validate(told)
        account = told["completeness"]
        assert account["in_report"] == count
        assert [(one["count"], bool(one["cites"])) for one in account["of_these"] if one["count"]] == (
            [(count, True)] if count else []
        )
        assert [one["count"] for one in account["differences"]] == ([] if count else [30])


async def test_an_event_time_of_before_all_times_stops_no_report(database):
    chain = ChainRows(step_us=HOUR_US).events(5)
    chain.event(time_us=-(2**63) + 1)
    await fill(database.admin_dsn, [chain])
    told = await document(database)
    SCHEMA.validate(told)
    assert told["totals"]["all"]["events"] == 6


async def test_what_is_new_and_what_is_gone_against_the_period_before(database):
    """An empty month says which sources are silent, and reports at all; a name is new once, and not in the log's first month."""
    chain = ChainRows(step_us=DAY_US)
    for day in range(60):
        new = day in (35, 36)
        chain.event(source="app/new" if new else "app/old", type="odd" if new else "user_login")
    await fill(database.admin_dsn, [chain])
    await keep_facts(database.reporter_dsn)
    for rule in ("schedule", "event", "append"):
        first = (await document(database, period_named("2026-10", "UTC", rule)))["changes"]
        assert first["nothing_before"]
        assert (first["new_sources"]["of"], first["against_last_period"]) == (0, [])
    whole = await document(database, period_named("2026-11", "UTC", "schedule"))
    SCHEMA.validate(json.loads(canonical(whole)))
    facts = {fact["id"]: (fact["over"], fact["records"]) for fact in whole["facts"]}
    assert facts["changes.new-sources"] == ("examples", 1)
    assert facts["changes.events"] == facts["changes.sources"] == ("this-period", 30)
    assert facts["changes.events-of-critical-risk"] == ("this-period", 0)
    november = whole["changes"]
    assert not november["nothing_before"]
    assert [row["key"] for row in november["new_sources"]["rows"]] == ["app/new"]
    assert [row["key"] for row in november["new_types"]["rows"]] == ["odd"]
    assert november["new_actors"]["of"] == 0
    compared = {
        row["figure"]: (row["before"], row["now"])
        for row in november["against_last_period"]
        if not row["key"]
    }
    assert (compared["events"], compared["sources"]) == ((30, 30), (1, 2))
    december = await document(database, period_named("2026-12", "UTC", "schedule"))
    assert december["totals"]["all"]["events"] == 0
    assert len(december["by_day"]) == 31
    assert [one["key"] for one in december["changes"]["silent_sources"]] == ["app/old", "app/new"]
    chain.step_us = 2 * DAY_US
    chain.event(source="app/old")  # after a month without any: its sources are not compared one by one
    await extend(database.admin_dsn, [chain], {chain.chain_no: 61})
    january = (await document(database, period_named("2027-01", "UTC", "schedule")))["changes"]
    assert not january["nothing_before"]
    assert [row["now"] for row in january["against_last_period"]] == [1, 0, 0, 0, 1, 1, 1]
    assert december["summary"]["sentences"][0]["text"] == "No events are recorded for December 2026."


async def test_a_read_is_one_read_however_many_records_tell_of_it(database):
    """An intent and its outcome are two records, in two periods even; a proof over HTTP is one; some reads never end."""
    system = ChainRows(topic="audit.system", step_us=6 * HOUR_US, seed=9)

    def note(what, request, **more):
        said = {
            "by": "audrey",
            "what": what,
            "request": request,
            "range": {"edition": "month/2026-10/1"},
        } | more
        return system.own_event(type="piperoll.read", source="piperoll/read", data=said).seq

    for at in range(62):  # the last of them begins in October and ends in November
        note("rebuild", f"r-{at}")
        note("rebuild", f"r-{at}", count=381)
    held = note("export", "killed")
    note("proof", "http", count=1, range={"record": "1:7", "content": True})
    note("rebuild", "r-0", by="mallory", count=1)  # by somebody else: another read, whatever it calls itself
    await fill(database.admin_dsn, [ChainRows().events(3), system])
    wholes = []
    for label in ("2026-10", "2026-11"):
        told = await document(database, period_named(label, "UTC", "schedule"))
        SCHEMA.validate(json.loads(canonical(told)))
        wholes.append([told["listed"][name]["of"] for name in ("reads", "unfinished_reads")])
    assert wholes == [[62, 0], [3, 1]]
    whole = await document(database, period_named("2026-10", "UTC", "event"))
    assert whole["listed"]["reads"] == {"shown": 50, "of": 65}
    first = whole["reads"][0]
    assert (first["range"], first["count"], first["finished"]) == ("edition month/2026-10/1", 381, True)
    assert [one["record"] for one in first["cites"]] == ["2:1", "2:2"]
    fact = next(one for one in whole["facts"] if one["id"] == "own.reads")
    assert (fact["value"], fact["over"]) == (65, "examples")  # of the 50 that are listed
    assert fact["sentence"] == "65 reads of the records are on record; 1 is begun, without an outcome."
    said = [
        text for line in whole["controls"] for text in line["shows"] if text.startswith("Reads of the log")
    ]
    assert set(said) == {
        "Reads of the log that were recorded (exports, proofs, reports): 65; begun, without an outcome on record: 1"
    }
    november = await document(database, period_named("2026-11", "UTC", "schedule"))
    (open_one,) = [one for one in november["reads"] if not one["finished"]]
    assert (open_one["record"], open_one["what"]) == (f"2:{held}", "export")


async def test_open_reviews_are_carried_over(database):
    chain, system = ChainRows(step_us=DAY_US), ChainRows(topic="audit.system", step_us=DAY_US, seed=9)
    for _ in range(4):
        chain.event(risk="high")
    month = Month.__new__(Month)
    month.system = system
    month.review(chain, 1, "explained")
    await fill(database.admin_dsn, [chain, system])
    told = (await document(database, period_named("2026-11", "UTC", "schedule")))["reviews"]
    assert (told["reviewable"], told["carried_over_of"]) == (0, 3)
    assert [one["record"] for one in told["carried_over"]] == ["1:1", "1:3", "1:4"]


async def test_an_empty_database_is_reported_too(database):
    for rule in ("schedule", "event", "append"):
        told = await document(database, period_named("2026-10", "UTC", rule))
        assert told["totals"]["all"]["events"] == 0
        assert told["completeness"]["in_kafka"] == 0
        assert told["cited"] == []


async def test_the_cut_is_the_last_seal_with_a_checkpoint_else_where_the_chains_end(database):
    month = Month()
    await fill(database.admin_dsn, month.chains)
    heads = {chain.chain_no: chain.count for chain in month.chains}
    async with open_snapshot(database.reporter_dsn) as snapshot:
        assert (await find_cut(snapshot)).sizes == heads
    sealed = sorted(SealedChain(chain.chain_id, 10 + chain.chain_no, bytes(32), 0) for chain in month.chains)
    for number, chains in enumerate((sealed[:2], sealed, [one._replace(size=30) for one in sealed])):
        leaf = encode_seal(Seal(number, START_US + number, tuple(chains)))
        await ask(database, "INSERT INTO audit.seal VALUES ($1, $2, $3)", number, START_US + number, leaf)
    signed = "INSERT INTO audit.checkpoint VALUES (0, $1, $2, '', 0, $3, 0)"
    for number in (0, 1):  # the third seal is not signed yet
        await ask(database, signed, number + 1, bytes([number]) * 32, number)
    async with open_snapshot(database.reporter_dsn) as snapshot:
        cut = await find_cut(snapshot)
        assert cut == Cut(
            1, "01" * 32, START_US + 1, {chain.chain_no: 10 + chain.chain_no for chain in month.chains}
        )
        assert (await find_cut(snapshot, 0)).seal_no == 0
        with pytest.raises(ConfigurationError, match="no seal 2 with a checkpoint"):
            await find_cut(snapshot, 2)
    told = await document(database)
    assert (told["cut"]["seal_no"], told["cut"]["chains"][0]["size"]) == (1, 11)
    assert told["totals"]["all"]["events"] == 10 + 11


@pytest.mark.parametrize("detail", ["full", "pseudonymous", "figures"])
async def test_what_a_recipient_sees_fits_the_published_schema(database, detail):
    await fill(database.admin_dsn, Month().chains)
    told = await document(database)
    seen = with_detail(told | {"attachments": []}, detail)
    assert [(list(error.path), error.message[:200]) for error in SCHEMA.iter_errors(seen)] == []
