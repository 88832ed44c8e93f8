"""Orders, and the pure parts of the commands that give them."""

import gzip
import json
from datetime import UTC, datetime

import pytest

from schemas.own_events import ERASURE, RETENTION, Erasure, EventPlace, Retention, order_type, read_order
from schemas.record import Kind
from schemas.topics import Topics
from schemas.verification.findings import Change, Finding, Part
from services.cli.erasure.certificate import Certificate, as_json, as_lines
from services.cli.erasure.copies import database_copies, kafka_copies, look_in, marks_of, outside_copies
from services.cli.erasure.finding import FoundRecord
from services.cli.ordering import RecordedOrder, Request, make_order
from services.cli.restoration.damage import Damaged, damaged
from services.cli.retention.months import first_kept, kept_months
from services.common.errors import ConfigurationError
from tests.orders import erasure, order

DAY_US = 24 * 3600 * 1_000_000
AT = 1_790_000_000_000_000
TOPIC_ID = bytes(range(16))
TOPICS = Topics()


def found(kind=Kind.EVENT, topic=TOPICS.events, offset=7, partition=0) -> FoundRecord:
    place = EventPlace(TOPIC_ID, partition, offset)
    return FoundRecord(3, offset + 1, kind, topic, place, AT, AT - 1000, bytes(32), "user_login")


def test_an_erasure_is_read_as_it_was_written():
    made = read_order(erasure([(TOPIC_ID, 2, 9)], ticket="T").value)
    assert isinstance(made, Erasure)
    assert [named.place for named in made.events] == [EventPlace(TOPIC_ID, 2, 9)]
    assert (made.reason, made.ticket) == ("asked for", "T")


@pytest.mark.parametrize(("month", "end"), [("2025-12", "2026-01-01"), ("2026-02", "2026-03-01")])
def test_a_retention_ends_with_its_month(month, end):
    data = {"by": "t", "reason": "t", "requested_us": 1, "request": "r", "part": 1, "parts": 1}
    made = read_order(order(RETENTION, data | {"month": month, "records": 1, "payloads": 1}).value)
    assert isinstance(made, Retention)
    assert made.until_us == datetime.fromisoformat(f"{end}T00:00:00+00:00").timestamp() * 1_000_000


@pytest.mark.parametrize("value", [b"", b"\xff", b"piperoll.", b'{"type":5,"x":"piperoll."}', b"[" * 5000])
def test_what_is_no_order_has_no_type(value):
    assert order_type(value) == ""
    with pytest.raises(ValueError, match="order"):
        read_order(value)


def test_orders_are_read_strictly():
    event = json.loads(erasure([(TOPIC_ID, 0, 1)]).value)
    for changed in (
        event | {"specversion": "0.3"},
        event | {"more": 1},
        event | {"data": event["data"] | {"more": 1}},
        event | {"data": event["data"] | {"requested_us": -1}},
        event | {"data": event["data"] | {"by": "a\0b"}},
    ):
        raw = json.dumps(changed).encode()
        assert order_type(raw) == ERASURE
        with pytest.raises(ValueError, match="order"):
            read_order(raw)


def test_a_message_in_kafka_is_gone_a_segment_and_a_retention_after_it_came():
    config = {"retention.ms": str(30 * DAY_US // 1000), "segment.ms": str(7 * DAY_US // 1000)}
    configs = dict.fromkeys((TOPICS.events, TOPICS.enriched, TOPICS.annotations), config)
    configs[TOPICS.dead_letters] = config | {"retention.ms": "-1"}
    configs["piperoll-enricher-x-changelog"] = {}
    copies = kafka_copies(TOPICS, configs, [found(), found(Kind.POISON, offset=8)])
    by_place = {copy.where: copy for copy in copies}
    assert set(by_place) == {
        TOPICS.events,
        TOPICS.enriched,
        TOPICS.dead_letters,
        "piperoll-enricher-x-changelog",
    }
    assert by_place[TOPICS.events].gone_us == AT + 37 * DAY_US
    assert by_place[TOPICS.dead_letters].gone_us is None
    assert by_place[TOPICS.events].what.startswith("2 messages")


def test_files_that_name_what_was_erased_are_listed_and_those_that_hide_their_text(tmp_path):
    marks = marks_of([found()], "jo@example.com")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "by-id.json").write_text(str((3 << 48) | 8))
    (tmp_path / "by-hash.html").write_text("0" * 16)
    (tmp_path / "by-name.txt.gz").write_bytes(gzip.compress(b"mail from jo@example.com"))
    (tmp_path / "broken.gz").write_bytes(b"no gzip")
    (tmp_path / "pack.zip").write_bytes(b"PK")
    (tmp_path / "other.txt").write_text("nothing")
    names = {copy.where.removeprefix(f"{tmp_path}/") for copy in look_in([tmp_path], marks)}
    assert names == {"deep/by-id.json", "by-hash.html", "by-name.txt.gz", "broken.gz", "pack.zip"}
    assert list(look_in([tmp_path / "not-there"], marks)) == []


def test_the_certificate_tells_what_went_what_proves_it_and_what_is_left():
    request = Request("erasure-1", None, "asked for", "T-1", AT)
    records = [found(), found(Kind.ANNOTATION, TOPICS.annotations)]
    orders = [RecordedOrder("order-1", 5, 6, bytes(32), AT, 2)]
    copies = [*database_copies(records), *outside_copies(records)]
    made = Certificate(request, records, orders, copies)
    lines = "\n".join(as_lines(made))
    assert "1 event, 1 AI reading" in lines
    assert "record 6 of chain 5" in lines
    assert "[ ] Backups" in lines
    assert "AI provider" in lines
    document = as_json(made)
    assert [one["kind"] for one in document["erased"]] == ["event", "annotation"]
    assert document["records"][0]["id"] == (5 << 48) | 6


def test_a_reason_that_does_not_fit_is_refused_before_anything_is_sent():
    request = Request("r", None, "x" * 3000, None, AT)
    facts = {"events": [{"topic_id": TOPIC_ID.hex(), "partition": 0, "source_offset": 1}]}
    with pytest.raises(ConfigurationError, match="cannot be given so"):
        make_order(ERASURE, "piperoll/erase", request, facts)


def test_findings_say_what_bytes_could_mend():
    assert damaged(
        [
            Finding(1, Change.EDITED, Part.PAYLOAD, "", 5),
            Finding(1, Change.MISSING, Part.ENRICHMENT, "", 5),
            Finding(1, Change.DELETED, Part.RECORD, "", 7, 8),
            Finding(1, Change.EDITED, Part.COLUMN, "", 9, fields=("kind",)),
            Finding(1, Change.EDITED, Part.COLUMN, "", 9, fields=("payload.appended_at",)),
            Finding(1, Change.INSERTED, Part.RECORD, "", 11),
            Finding(1, Change.NOT_ERASED, Part.PAYLOAD, "", 12),
        ]
    ) == [
        Damaged(1, 5, "payload"),
        Damaged(1, 7, "leaf"),
        Damaged(1, 7, "payload"),
        Damaged(1, 8, "leaf"),
        Damaged(1, 8, "payload"),
        Damaged(1, 9, "leaf"),
        Damaged(1, 9, "payload"),
    ]


def test_months_that_are_kept():
    assert (kept_months("13mo"), kept_months("7y")) == (13, 84)
    now = int(datetime(2026, 1, 15, tzinfo=UTC).timestamp()) * 1_000_000
    assert divmod(first_kept(now, 1), 12) == (2025, 11)
    assert divmod(first_kept(now, 13), 12) == (2024, 11)
    for wrong in ("13", "0mo", "-1mo", "13 mo", ""):
        with pytest.raises(ConfigurationError, match="--keep takes"):
            kept_months(wrong)
