"""The view audit_events: a plain table to query, whatever was recorded."""

import base64
import json
from datetime import UTC, datetime

import asyncpg
import msgspec
import pytest

from schemas.enrichment import Enrichment, RuleHit, Who
from schemas.record import ABSENT, Kind
from tests.builders import TIME_MS, Log, annotation, structured
from tests.orders import order
from tests.recording import TOPICS, Recorder


@pytest.fixture
async def reporter(database):
    connection = await asyncpg.connect(database.reporter_dsn)
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    yield connection
    await connection.close()


def enrichment(form="structured", **fields) -> bytes:
    told = {
        "source": "/apps/test",
        "id": "x",
        "type": "data_export",
        "summary": "said",
        "risk": "low",
        "tags": ["a:b"],
    }
    return msgspec.json.encode(Enrichment(form, **(told | fields)))


async def test_an_event_has_every_column(database, reporter):
    log = Log(partition=2)
    who = Who("42", "export", "ds-99", "10.0.0.1", "success")
    said = enrichment(
        subject="s",
        who=who,
        log_source="catalog",
        rules=[RuleHit("r1", "Rule", "high")],
        risk="high",
        tags=["b:c", "a:b"],
    )
    async with Recorder(database.writer_dsn, partition=2) as writer:
        await writer.record(
            log.event(0, -1, value=structured("/apps/test", "x", "data_export", 7), enrichment=said)
        )
    row = dict(await reporter.fetchrow("SELECT * FROM audit_events"))
    assert row.pop("record_hash")
    assert row.pop("appended_at").tzinfo is not None
    assert row == {
        "id": 2**48 + 1,
        "event_type": "data_export",
        "event_data": {"user_id": 7, "dataset_id": "ds-99"},
        "ai_summary": "said",
        "ai_tags": ["a:b", "b:c"],
        "event_time": datetime.fromtimestamp(TIME_MS / 1000, UTC),
        "source": "/apps/test",
        "event_id": "x",
        "subject": "s",
        "risk": "high",
        "risk_floor": "high",
        "risk_ai": None,
        "summary_by": "rules",
        "ai_pending": False,
        "actor": "42",
        "action": "export",
        "resource": "ds-99",
        "origin": "10.0.0.1",
        "outcome": "success",
        "rules": [{"id": "r1", "title": "Rule", "level": "high"}],
        "log_source": "catalog",
        "kafka_topic": "audit.events",
        "kafka_partition": 2,
        "kafka_offset": 0,
        "kind": "event",
        "chain_no": 1,
        "seq": 1,
        "review": None,
        "reviewed_at": None,
    }


VALUES = {
    "structured": (b'{"specversion":"1.0","data":{"a":1}}', None, {"a": 1}),
    "structured base64": (b'{"data_base64":"AAE="}', None, "AAE="),
    "structured null": (b'{"data":null}', None, None),
    "short": (b'{"event_type":"x","event_data":[1,2]}', None, [1, 2]),
    "bare": (b'{"whole":true}', None, {"whole": True}),
    "bare number": (b"5", None, 5),
    "binary json": (b'{"a":1}', "application/json", {"a": 1}),
    "binary +json": (b'{"a":1}', "application/x+json; charset=utf-8", {"a": 1}),
    "binary text": (b'{"a":1}', "text/plain", '{"a":1}'),
    "binary bytes": (b"\xff\0", "application/octet-stream", {"base64": "/wA="}),
    "binary broken json": (b"{broken", None, "{broken"),
    "binary null": (None, None, None),
}


@pytest.mark.parametrize("name", VALUES)
async def test_the_data_is_found_by_form(database, reporter, name):
    value, content_type, expected = VALUES[name]
    said = enrichment(name.split()[0], content_type=content_type)
    async with Recorder(database.writer_dsn) as writer:
        await writer.record(Log().event(0, -1, value=value or b"", enrichment=said)._replace(value=value))
    assert await reporter.fetchval("SELECT event_data FROM audit_events") == expected


ODD = {
    "nul": b'{"data":"\\u0000"}',
    "surrogate": b'{"data":"\\ud800"}',
    "nan": b'{"data":NaN}',
    "huge number": b'{"data":1e999999}',
    "huge in disguise": b'{"a":[ -1.5E+00000400]}',
    "long number": b'{"data":' + b"9" * 200_000 + b"}",
    "deep": b"[" * 200_000,
    "not utf-8": b'{"data":"\xff\xfe"}',
    "nul byte": b"\0",
    "empty": b"",
    "cut": b'{"data":',
    "array": b"[1]",
    "text": b'"just text"',
    "duplicate keys": b'{"data":1,"data":2}',
    "control": b'{"data":"\x01"}',
}


@pytest.mark.parametrize("form", ["structured", "short", "bare", "binary", "poison"])
async def test_no_recorded_bytes_make_the_view_raise(database, reporter, form):
    log = Log()
    async with Recorder(database.writer_dsn) as writer:
        for offset, value in enumerate(ODD.values()):
            await writer.record(
                log.event(offset, offset - 1, value=value, enrichment=enrichment(form, id=f"{offset}"))
            )
    rows = await reporter.fetch("SELECT * FROM audit_events ORDER BY seq")
    found = {name: row["event_data"] for name, row in zip(ODD, rows, strict=True)}
    for name in (
        "nul",
        "nan",
        "cut",
        "surrogate",
        "control",
        "huge number",
        "huge in disguise",
        "long number",
    ):
        assert found[name] == ODD[name].decode(), name
    assert base64.b64decode(found["not utf-8"]["base64"]) == ODD["not utf-8"]
    assert found["nul byte"] == {"base64": "AA=="}


ENRICHMENTS = [
    b"",
    b"\xff",
    b"null",
    b"[]",
    b"5",
    b'{"tags":5}',
    b'{"tags":[1,null,{"a":1},"ok"]}',
    b'{"rules":5,"risk":7}',
    b'{"rules":[{"level":{}},{"level":"nonsense"},5]}',
    b'{"who":5,"type":{"a":1}}',
    b'{"risk":"nonsense","by":5}',
    b'{"pending":"yes","summary":["x"]}',
    b'{"source":"\\u0000"}',
    b"{" * 100_000,
    b'{"writer_tags":{}}',
]


@pytest.mark.parametrize("text", ["1e20", "-1.5e-308", '"x 1e999"', '"ab1e9993f"', "12345678901234567890123"])
async def test_ordinary_numbers_and_strings_are_not_taken_for_huge_ones(database, reporter, text):
    async with Recorder(database.writer_dsn) as writer:
        await writer.record(Log().event(0, -1, value=text.encode(), enrichment=enrichment("bare")))
    found = await reporter.fetchval("SELECT event_data FROM audit_events")
    assert found == json.loads(text)
    assert type(found) is type(json.loads(text)) or text == "1e20"


async def test_the_time_of_poison_is_kafkas(database, reporter):
    async with Recorder(database.writer_dsn) as writer:
        await writer.record(Log().poison(0, -1))
    assert await reporter.fetchval("SELECT event_time FROM audit_events") == datetime.fromtimestamp(
        TIME_MS / 1000, UTC
    )


async def test_no_enrichment_makes_the_view_raise(database, reporter):
    log = Log()
    async with Recorder(database.writer_dsn) as writer:
        for offset, said in enumerate(ENRICHMENTS):
            await writer.record(log.event(offset, offset - 1, enrichment=said))
    rows = await reporter.fetch("SELECT * FROM audit_events ORDER BY seq")
    assert len(rows) == len(ENRICHMENTS)
    assert rows[6]["ai_tags"] == ["ok"]


@pytest.mark.parametrize("us", [ABSENT, ABSENT + 1, -1, 0, 2**62, 2**63 - 1, -(10**17), 10**18])
async def test_no_time_makes_the_view_raise(database, reporter, us):
    async with Recorder(database.writer_dsn) as writer:
        await writer.record(Log().event(0, -1, event_time_us=us))
    assert await reporter.fetchval("SELECT event_time FROM audit_events") is not None
    assert await reporter.fetchval("SELECT count(*) FROM audit_events WHERE event_time >= '2020-01-01'") in {
        0,
        1,
    }


async def test_every_file_of_the_json_test_suite_can_be_selected(database, reporter, shared_data):
    files = sorted((shared_data / "json-test-suite").rglob("*.json"))
    assert len(files) > 200
    log = Log()
    async with Recorder(database.writer_dsn) as writer:
        await writer.record(
            *(
                log.event(
                    offset, offset - 1, value=file.read_bytes(), enrichment=enrichment("bare", id=f"{offset}")
                )
                for offset, file in enumerate(files)
            )
        )
    rows = await reporter.fetch("SELECT event_data FROM audit_events ORDER BY seq")
    assert len(rows) == len(files)


async def test_naughty_strings_come_back_as_they_were(database, reporter, shared_data):
    strings = json.loads((shared_data / "naughty-strings.json").read_text())
    log = Log()
    async with Recorder(database.writer_dsn) as writer:
        messages = [
            log.event(
                offset,
                offset - 1,
                value=json.dumps(text).encode(),
                enrichment=enrichment("bare", id=f"{offset}", summary=text.replace("\0", "")),
            )
            for offset, text in enumerate(strings)
        ]
        await writer.record(*messages)
    rows = await reporter.fetch("SELECT event_data, ai_summary FROM audit_events ORDER BY seq")
    for text, row in zip(strings, rows, strict=True):
        assert row["event_data"] == text or "\0" in text


async def test_duplicates_and_own_records_are_left_out_and_poison_is_in(database, reporter):
    log, same = Log(), structured("/a", "x", "login", 1)
    async with Recorder(database.writer_dsn) as writer:
        await writer.record(
            log.event(0, -1, source="/a", identifier="x", value=same),
            log.event(3, 0, source="/a", identifier="x", value=same),
            log.poison(4, value=b"\xff", reason="not UTF-8 JSON"),
            log.withheld(5, commitment=bytes(32)),
        )
    rows = await reporter.fetch(
        "SELECT kind, event_type, ai_summary, event_data, risk FROM audit_events ORDER BY seq"
    )
    assert [tuple(row) for row in rows][1:] == [
        ("poison", "", "not UTF-8 JSON", {"base64": "/w=="}, "high"),
        ("poison", "", "too large", None, "high"),
    ]
    assert rows[0]["kind"] == "event"


async def test_a_conflicting_repeat_is_tagged_and_high(database, reporter):
    log = Log()
    async with Recorder(database.writer_dsn) as writer:
        await writer.record(log.event(0, -1, identifier="x", value=b'{"data":1}'))
        await writer.record(log.event(1, identifier="x", value=b'{"data":2}'))
        await writer.record(log.event(2, identifier="x", value=b'{"data":2}'))
    rows = await reporter.fetch("SELECT risk, risk_floor, ai_tags, event_data FROM audit_events ORDER BY seq")
    assert [(row["risk"], row["risk_floor"], row["event_data"]) for row in rows] == [
        ("medium", "medium", 1),
        ("high", "high", 2),
    ]
    assert rows[1]["ai_tags"] == ["identity:conflict", "test:event"]


@pytest.mark.parametrize("first", ["event", "annotation"])
async def test_annotations_give_the_latest_text_and_raise_the_risk_whichever_comes_first(
    database, reporter, first
):
    log = Log()
    said = [
        annotation(log.topic_id, 0, 0, summary="first", risk="critical", tags=["ai:one"]),
        annotation(log.topic_id, 0, 0, summary="second", risk="low", tags=["ai:two"], run="2"),
        annotation(log.topic_id, 0, 1, summary="of another", risk="low"),
    ]

    async def tell():
        async with Recorder(database.writer_dsn, TOPICS.annotations) as annotations:
            for value in said:
                await annotations.record(log.event(0)._replace(value=value, headers=[], key=None))

    if first == "annotation":
        await tell()
    async with Recorder(database.writer_dsn) as writer:
        pending = enrichment(pending=True, risk="medium", summary="by rules")
        await writer.record(log.event(0, -1, enrichment=pending), log.event(1, risk="high"), log.event(2))
    if first == "event":
        await tell()
    rows = await reporter.fetch(
        "SELECT ai_summary, risk, risk_floor, risk_ai, ai_tags, summary_by, ai_pending FROM audit_events ORDER BY seq"
    )
    assert tuple(rows[0]) == (
        "by rules second",
        "critical",
        "medium",
        "critical",
        ["a:b", "ai:one", "ai:two"],
        "small-model",
        False,
    )
    assert tuple(rows[1])[:4] == ("event 1 of another", "high", "high", "low")
    assert tuple(rows[2])[:4] == ("event 2", "medium", "medium", None)


async def test_the_reading_of_a_shape_stands_behind_the_rules_sentence_and_only_raises(database, reporter):
    ai = {
        "summary": "By shape.",
        "tags": ["ai:s"],
        "risk": "medium",
        "model": "m",
        "prompt_version": "shape-1",
    }
    log = Log()
    async with Recorder(database.writer_dsn) as writer:
        low = enrichment(risk="low", summary="By rules.", ai=ai)
        high = enrichment(risk="high", summary="By rules.", ai=ai | {"risk": "informational"})
        await writer.record(log.event(0, -1, enrichment=low), log.event(1, enrichment=high))
    rows = await reporter.fetch(
        "SELECT ai_summary, risk, risk_floor, risk_ai, ai_tags, summary_by FROM audit_events ORDER BY seq"
    )
    assert tuple(rows[0]) == ("By rules. By shape.", "medium", "low", "medium", ["a:b", "ai:s"], "m")
    assert tuple(rows[1])[:4] == ("By rules. By shape.", "high", "high", "informational")


@pytest.mark.parametrize(
    "value",
    [b"[]", b"5", b'{"risk":5}', b'{"summary":["x"],"tags":5,"risk":"nonsense"}', b'{"summary":"\\u0000"}'],
)
async def test_no_annotation_makes_the_view_raise(database, reporter, value):
    log = Log()
    target = {"topic_id": log.topic_id.hex(), "partition": 0, "offset": 0}
    body = json.loads(annotation(log.topic_id, 0, 0))
    parsed = json.loads(value) if value.startswith(b"{") else {}
    async with Recorder(database.writer_dsn) as writer:
        await writer.record(log.event(0, -1))
    async with Recorder(database.writer_dsn, TOPICS.annotations) as annotations:
        for sent in (value, json.dumps(body | parsed | target).encode()):
            await annotations.record(log.event(0)._replace(value=sent, headers=[]))
    row = await reporter.fetchrow("SELECT * FROM audit_events WHERE kind = 'event'")
    assert row["risk"] in {"medium", "high"}


async def test_ai_raises_over_the_rules_and_never_lowers(database, reporter):
    hit = [RuleHit("r", "Rule", "high")]
    log = Log()
    async with Recorder(database.writer_dsn) as writer:
        await writer.record(
            log.event(0, -1, enrichment=enrichment(by="model", risk="low", rules=hit)),
            log.event(1, enrichment=enrichment(by="model", risk="critical", rules=hit, id="2")),
        )
    rows = await reporter.fetch("SELECT risk, risk_floor, risk_ai FROM audit_events ORDER BY seq")
    assert [tuple(row) for row in rows] == [("high", "high", "low"), ("critical", "high", "critical")]


async def test_an_erased_payload_leaves_the_row(database, reporter):
    async with Recorder(database.writer_dsn) as writer:
        await writer.record(Log().event(0, -1))
    admin = await asyncpg.connect(database.admin_dsn)
    await admin.execute("SET ROLE piperoll_eraser")
    await admin.execute("DELETE FROM audit.payload WHERE seq = 1")
    await admin.close()
    row = await reporter.fetchrow("SELECT * FROM audit_events")
    assert (row["event_type"], row["event_data"], row["ai_summary"], row["kind"]) == ("", None, None, "event")


async def test_a_plain_query_reads_no_event_data(database, reporter):
    """What is not selected is not decoded: neither the data nor the annotations."""
    async with Recorder(database.writer_dsn) as writer:
        await writer.record(Log().event(0, -1))
    plan = await reporter.fetch(
        "EXPLAIN (VERBOSE) SELECT event_type, count(*) FROM audit_events WHERE event_time >= '2020-01-01' GROUP BY 1"
    )
    text = "\n".join(row[0] for row in plan)
    assert "event_data" not in text
    assert "annotation" not in text
    assert Kind.EVENT == 1


def review(log, offset, status, *, partition=0, **changes):
    """A review as `piperoll review` puts it on audit.system."""
    event = {"topic_id": log.topic_id.hex(), "partition": partition, "source_offset": offset}
    data = {"by": "Ada", "event": event, "status": status, "reason": "looked at it"}
    return order("piperoll.review", data | changes)


async def test_only_a_review_withdraws_what_ai_alone_has_raised_and_never_the_floor(database, reporter):
    log = Log(partition=0)
    floor = enrichment(rules=[RuleHit("r1", "Rule", "medium")], risk="medium")
    said = {"summary": "raised", "risk": "critical"}
    async with (
        Recorder(database.writer_dsn) as writer,
        Recorder(database.writer_dsn, TOPICS.annotations) as annotator,
        Recorder(database.writer_dsn, TOPICS.system) as system,
    ):
        await writer.record(log.event(0, -1, enrichment=floor), log.event(1, enrichment=floor))

        async def now():
            rows = await reporter.fetch(
                "SELECT risk, risk_floor, risk_ai, review FROM audit_events ORDER BY id"
            )
            assert tuple(rows[1]) == ("medium", "medium", None, None)  # the event beside it is left alone
            return tuple(rows[0])

        await annotator.record(
            log.event(0)._replace(value=annotation(log.topic_id, 0, 0, **said), headers=[])
        )
        assert await now() == ("critical", "medium", "critical", None)
        await system.record(review(log, 0, "explained"))
        assert await now() == ("critical", "medium", "critical", "explained")
        linked = await system.record(
            review(log, 0, "never-mind"), review(log, 0, "false-positive", by=""), review(log, -1, "open")
        )
        assert {alert.name for alert in linked.alerts} == {"order_unusable"}
        assert await now() == ("critical", "medium", "critical", "explained")
        await system.record(review(log, 0, "false-positive"))
        assert await now() == ("medium", "medium", "critical", "false-positive")
        later = annotation(log.topic_id, 0, 0, **(said | {"risk": "high", "model": "another"}))
        await annotator.record(log.event(0)._replace(value=later, headers=[]))
        assert await now() == ("high", "medium", "critical", "false-positive")
        await system.record(review(log, 0, "open"))
        assert await now() == ("critical", "medium", "critical", "open")


async def test_a_row_of_the_index_of_reviews_by_itself_changes_nothing(database, reporter):
    """Only what an own event's payload says, to which the chain commits, is shown."""
    log = Log(partition=0)
    raised = enrichment(risk="high", by="gpt-x")
    async with (
        Recorder(database.writer_dsn) as writer,
        Recorder(database.writer_dsn, TOPICS.system) as system,
    ):
        await writer.record(log.event(0, -1, enrichment=raised), log.event(1, enrichment=raised))
        await system.record(review(log, 1, "false-positive"), order("piperoll.drill", {"status": "x"}))
    admin = await asyncpg.connect(database.admin_dsn)
    await admin.execute(
        "INSERT INTO audit.review SELECT $1, 0, 0, r.chain_no, r.seq, audit.moment(r.appended_us)"
        " FROM audit.record r WHERE r.kind = 8",
        log.topic_id,
    )
    await admin.close()
    rows = await reporter.fetch("SELECT risk, review FROM audit_events ORDER BY id")
    assert [tuple(row) for row in rows] == [("high", None), ("informational", "false-positive")]
