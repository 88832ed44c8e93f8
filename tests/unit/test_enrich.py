"""Every message becomes an event or poison; whatever is in it, nothing is raised and the document fits PostgreSQL."""

import hashlib
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.catalog import load_catalog
from schemas.commitment import ABSENT_HASH, event_id, identity_hash, producer_id
from schemas.enrichment import RISKS, Enrichment
from schemas.record import ABSENT, Kind
from schemas.text import word
from services.common.errors import ConfigurationError
from services.enricher.enrich import Coordinates, EnrichSettings, Message, load_enricher
from services.enricher.readings import Readings
from tests.shipped import shipped_enricher

AT = Coordinates(bytes(range(16)), 3, 77, 1_700_000_000_000)
SALT = bytes(32)
EXPORT = {
    "user_id": 42,
    "dataset_id": "ds-99",
    "export_time": "2026-05-01T12:00:00Z",
    "export_reason": "regulator request",
}
CLOUDEVENT = {"specversion": "1.0", "id": "a-1", "source": "/shop", "type": "data_export", "data": EXPORT}
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["ce_id", "ce_type", "ce_source", "ce_specversion", "ce_time", "content-type", "x"])
        | st.text(max_size=5),
        st.none()
        | st.binary(max_size=20)
        | st.sampled_from([b"1.0", b"piperoll/x", b"text/plain", b"9999-12-31"]),
    ),
    max_size=8,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=25,
)


@pytest.fixture(scope="module")
def enricher():
    return load_enricher(event_limit=100_000, ai=Readings(load_catalog(), "small-model", "shape-1"))


def message(value):
    return Message(None, value, [], AT, SALT)


def take(enricher, value, headers=(), key=None, at=AT):
    raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    result = enricher.enrich(key, raw, list(headers), at, SALT)
    check(result)
    return result


def check(result):
    """What holds for every message."""
    document = msgspec.json.encode(result.document)
    assert len(document) < 64 * 1024
    assert b"\\u0000" not in document
    text = document.decode("utf-8")
    assert not any(
        "\ud800" <= letter <= "\udfff" for letter in json.dumps(json.loads(text), ensure_ascii=False)
    )
    assert msgspec.json.decode(document, type=Enrichment) == result.document
    assert result.document.risk in RISKS
    assert result.document.summary.isprintable()
    assert all(tag == tag.lower() and ":" in tag for tag in result.document.tags)
    assert -(2**63) <= result.event_time_us < 2**63
    assert 0 <= result.producer_seq < 2**64
    assert (len(result.producer_id), len(result.event_id)) == (16, 32)


def test_a_catalogued_cloudevent(enricher):
    result = take(
        enricher, CLOUDEVENT | {"time": "2026-05-01T12:00:01Z", "sequence": "9", "subject": "datasets/99"}
    )
    document = result.document
    assert document.summary == "User 42 exported dataset ds-99 (reason: regulator request)."
    assert (document.form, document.source, document.id, document.type) == (
        "structured",
        "/shop",
        "a-1",
        "data_export",
    )
    assert (document.risk, document.tags, document.rules) == ("informational", ["data:export"], [])
    assert (document.by, document.pending, document.log_source) == ("rules", True, "catalog")
    assert (result.kind, result.withheld, result.producer_seq) == (Kind.EVENT, False, 9)
    assert (result.event_time_us, document.time_from) == (1_777_636_801_000_000, "event")
    assert result.producer_id == producer_id("/shop")
    assert result.event_id == event_id(SALT, "/shop", "a-1")
    assert result.identity_hash == identity_hash("/shop", "a-1")
    assert set(document.versions) == {"catalog", "mappings", "rules"}


def test_the_short_form_gets_its_identity_from_the_coordinates(enricher):
    document = take(enricher, {"event_type": "data_export", "event_data": EXPORT}).document
    assert (document.form, document.source, document.id) == ("short", "unknown", f"{AT.topic_id.hex()}/3/77")
    assert document.time_from == "mapped"


def test_bare_json_is_known_by_its_shape(enricher):
    trail = {
        "eventSource": "cloudtrail.amazonaws.com",
        "eventName": "StopLogging",
        "awsRegion": "eu-west-1",
        "eventTime": "2026-05-01T12:00:00Z",
        "eventID": "e-9",
        "recipientAccountId": "1234",
        "userIdentity": {"type": "IAMUser", "userName": "ann"},
        "requestParameters": {"name": "main"},
        "errorCode": "AccessDenied",
        "sourceIPAddress": "192.0.2.1",
    }
    document = take(enricher, trail).document
    assert (document.source, document.id, document.log_source) == ("cloudtrail/1234", "e-9", "aws.cloudtrail")
    assert document.type == "cloudtrail.amazonaws.com/StopLogging"
    assert document.summary == (
        "IAMUser ann called StopLogging of cloudtrail.amazonaws.com on main from 192.0.2.1 (failure: AccessDenied)."
    )
    assert document.risk == "high"
    assert [hit.level for hit in document.rules] == ["high", "low"]
    assert {"attack:t1562.008", "cloud:logging-off", "cloud:denied"} <= set(document.tags)
    assert "catalog:unknown" not in document.tags
    wrapped = take(enricher, CLOUDEVENT | {"type": "aws", "data": trail}).document
    assert (wrapped.source, wrapped.id, wrapped.log_source, wrapped.risk) == (
        "/shop",
        "a-1",
        "aws.cloudtrail",
        "high",
    )


@pytest.mark.parametrize(
    "value", [{}, {"a": 1}, [1, 2], "text", 5, b"null", {"Records": [{"eventName": "x"}]}]
)
def test_what_nothing_knows_is_recorded_whole_as_unknown(enricher, value):
    result = take(enricher, value)
    document = result.document
    assert (document.form, document.source, document.type) == ("bare", "unknown", "unknown")
    assert (document.id, document.tags) == (f"{AT.topic_id.hex()}/3/77", ["catalog:unknown"])
    assert (result.event_time_us, document.time_from) == (1_700_000_000_000_000, "kafka")


def test_a_binary_event_may_have_null_or_other_data(enricher):
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/s"), ("ce_type", b"data_export")]
    assert take(enricher, None, headers).document.tags == [
        "catalog:incomplete",
        "data:export",
        "data:no-reason",
        "quality:incomplete",
    ]
    document = take(enricher, b"\xff\0", [*headers, ("content-type", b"image/png")]).document
    assert (document.form, document.content_type, document.risk) == ("binary", "image/png", "medium")


def test_an_incomplete_event_says_so(enricher):
    document = take(enricher, CLOUDEVENT | {"type": "user_login", "data": {"user_id": 1}}).document
    assert document.tags == ["catalog:incomplete", "auth:login", "quality:incomplete"]
    assert document.risk == "low"


def test_an_event_in_an_envelope_is_judged_as_what_it_is(enricher):
    audit = {
        "apiVersion": "audit.k8s.io/v1",
        "auditID": "a-1",
        "stage": "ResponseComplete",
        "verb": "create",
        "user": {"username": "ann"},
        "objectRef": {"resource": "pods", "name": "p"},
    }
    envelope = {"category": "kube-audit", "operationName": "x", "properties": {"log": json.dumps(audit)}}
    document = take(enricher, envelope).document
    assert (document.log_source, document.who.actor, document.id) == (
        "kubernetes.audit",
        "ann",
        "a-1/ResponseComplete",
    )
    for log in ("{", "{" * 500, "text", ""):
        assert take(enricher, envelope | {"properties": {"log": log}}).document.log_source != "catalog"


@pytest.mark.parametrize("source", ["piperoll", "piperoll/", "piperoll/writer"])
def test_reserved_sources_are_high_and_tagged(enricher, source):
    for event in (CLOUDEVENT | {"source": source}, {"event_type": "x", "event_data": 1, "source": source}):
        document = take(enricher, event).document
        assert document.risk == "high"
        assert "source:reserved" in document.tags


@pytest.mark.parametrize(
    ("time", "micros", "origin", "tags"),
    [
        ("2026-05-01T12:00:00", 1_777_636_800_000_000, "event", {"time:no-zone"}),
        ("nonsense", 1_700_000_000_000_000, "kafka", {"time:invalid"}),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000_000, "event", set()),
        ("9999-12-31T23:59:59-23:59", 253_402_387_139_000_000, "event", set()),
        (5, 1_700_000_000_000_000, "kafka", set()),
    ],
)
def test_event_times_are_read_or_tagged(enricher, time, micros, origin, tags):
    result = take(enricher, CLOUDEVENT | {"type": "x", "data": {}, "time": time})
    assert (result.event_time_us, result.document.time_from) == (micros, origin)
    assert set(result.document.tags) == tags | {"catalog:unknown"}


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        (1_777_636_800, 1_777_636_800_000_000),
        (1_777_636_800_123, 1_777_636_800_123_000),
        (1_777_636_800_123_456, 1_777_636_800_123_456),
        (1_777_636_800.5, 1_777_636_800_500_000),
        (-1, -1_000_000),
    ],
)
def test_numbers_are_seconds_milliseconds_or_microseconds_by_their_size(enricher, value, micros):
    result = take(enricher, {"event_type": "x", "event_data": {"timestamp": value}})
    assert (result.event_time_us, result.document.time_from) == (micros, "mapped")


@pytest.mark.parametrize("value", [10**30, True, [], {}, "x", 1e300, -(10**18)])
def test_a_mapped_time_that_is_none_gives_way_to_kafkas(enricher, value):
    result = take(enricher, {"event_type": "x", "event_data": {"timestamp": value}})
    assert (result.document.time_from, "time:invalid" in result.document.tags) == ("kafka", True)


@pytest.mark.parametrize("timestamp", [-1, ABSENT, 2**62])
def test_without_any_time_it_is_absent(enricher, timestamp):
    for value in (b"{}", b"nope"):
        assert (
            take(enricher, value, at=msgspec.structs.replace(AT, timestamp_ms=timestamp)).event_time_us
            == ABSENT
        )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", 7),
        ("0", 0),
        (str(2**64 - 1), 2**64 - 1),
        (str(2**64), 0),
        ("-1", 0),
        ("٣", 0),
        ("x", 0),
        ("1" * 5000, 0),
    ],
)
def test_sequence_numbers_are_unsigned_decimals_of_64_bits(enricher, text, number):
    assert take(enricher, CLOUDEVENT | {"sequence": text}).producer_seq == number


def test_over_the_limit_is_withheld_poison(enricher):
    big = b'{"a":"' + b"x" * 99_970 + b'"}'
    assert take(enricher, big, [("h", b"v" * 20)], b"k").kind == Kind.EVENT
    result = take(enricher, big, [("h", b"v" * 20)], b"key")
    document = result.document
    assert (result.kind, result.withheld, document.form, document.length) == (
        Kind.POISON,
        True,
        "poison",
        100_002,
    )
    assert "100,000 are the limit (EVENT_MAX_BYTES)" in (document.reason or "")
    assert document.tags == ["poison:too-large"]


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"{", b"[" * 5000, b"{'a':1}"])
def test_what_cannot_be_read_is_poison_with_a_reason(enricher, value):
    result = take(enricher, value)
    assert (result.kind, result.withheld, result.document.form) == (Kind.POISON, False, "poison")
    assert (result.producer_id, result.event_id, result.identity_hash) == (bytes(16), ABSENT_HASH, 0)
    assert result.event_time_us == 1_700_000_000_000_000
    assert result.document.reason
    assert result.document.pending is False


def test_a_fault_of_ours_is_recorded_at_high_risk_not_raised(monkeypatch):
    enricher = shipped_enricher()
    monkeypatch.setattr(type(enricher.rules), "match", lambda *_: 1 / 0)
    document = take(enricher, CLOUDEVENT).document
    assert (document.risk, "enrichment:failed" in document.tags) == ("high", True)


def test_a_fault_of_ours_touches_no_other_event_of_its_batch(monkeypatch):
    enricher = shipped_enricher()
    messages = [message(json.dumps(CLOUDEVENT | {"id": str(number)}).encode()) for number in range(4)]
    alone = enricher.enrich_all(messages[3:])[0]
    match = enricher.rules.match
    monkeypatch.setattr(
        enricher.rules,
        "match",
        lambda source, data, event: match(source, data, event) if event.id != "2" else 1 / 0,
    )
    results = enricher.enrich_all([*messages, message(b"poison")])
    failed = ["enrichment:failed" in result.document.tags for result in results]
    assert failed == [False, False, True, False, False]
    assert results[3] == alone
    assert [result.kind for result in results] == [Kind.EVENT] * 4 + [Kind.POISON]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(range(9)), min_size=1, max_size=20))
def test_an_event_is_judged_alike_in_every_company(order):
    """What stands beside an event in a batch changes no byte of its enrichment."""
    trail = {"eventSource": "s3.amazonaws.com", "eventName": "GetObject", "userIdentity": {"type": "Root"}}
    values = [
        json.dumps(CLOUDEVENT).encode(),
        json.dumps(CLOUDEVENT | {"data": None, "source": "piperoll/x", "sequence": "7"}).encode(),
        json.dumps({"event_type": "data_export", "event_data": EXPORT | {"row_count": 10**7}}).encode(),
        json.dumps({"event_type": "user_login", "event_data": {"user_id": "\u202e\0"}}).encode(),
        json.dumps(trail | {"eventVersion": "1.08", "eventTime": "2026-01-01T00:00:00Z"}).encode(),
        b'{"a":1,"a":NaN}',
        b"[" * 5000,
        b'"x"',
        None,
    ]
    together = shipped_enricher().enrich_all([message(values[one]) for one in order])
    assert together == [shipped_enricher().enrich(None, values[one], [], AT, SALT) for one in order]


def test_the_largest_document_stays_below_64_kib():
    enricher = shipped_enricher()
    wide = "\x01\u20ac" * 4000
    event = dict.fromkeys(("id", "source", "type", "subject", "datacontenttype", "time"), wide)
    event |= {
        "specversion": "1.0",
        "data": dict.fromkeys(("user", "action", "target", "ip", "outcome"), wide),
    }
    document = take(enricher, event).document
    assert len(document.source) == len(document.id) == 2048
    export = dict.fromkeys(EXPORT, wide) | {"ip_address": wide, "row_count": wide, "destination": wide}
    take(enricher, CLOUDEVENT | event | {"type": "data_export", "data": export})


def test_no_secret_is_in_a_summary(enricher):
    data = {"user_id": 1, "password": "hunter2", "token": "hunter2", "timestamp": "2026-01-01T00:00:00Z"}
    for kind in ("password_changed", "user_login", "never_heard_of"):
        assert "hunter2" not in take(enricher, {"event_type": kind, "event_data": data}).document.summary


@given(st.none() | st.binary(max_size=200), HEADERS, st.none() | st.binary(max_size=5))
def test_any_bytes_and_headers_are_taken(enricher, value, headers, key):
    take(enricher, value, headers, key)


@given(JSON)
def test_any_json_is_taken(enricher, value):
    take(enricher, json.dumps(value).encode())
    take(enricher, json.dumps(CLOUDEVENT | {"data": value}).encode())
    take(enricher, json.dumps({"event_type": "user_login", "event_data": value}).encode())


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *EXPORT,
                "time",
                "timestamp",
                "ip_address",
                "row_count",
                "id",
                "source",
                "type",
                "subject",
                "sequence",
            ]
        ),
        JSON,
    ),
    st.sampled_from(["data_export", "user_login", "model_inference", "role_granted", "admin_action", "x"]),
)
@settings(max_examples=60)
def test_known_fields_may_hold_anything(enricher, fields, kind):
    take(enricher, json.dumps(CLOUDEVENT | fields | {"type": kind, "data": fields}).encode())
    take(enricher, json.dumps({"event_type": kind, "event_data": fields} | fields).encode())


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "eventSource",
                "eventName",
                "awsRegion",
                "userIdentity",
                "eventTime",
                "requestParameters",
                "errorCode",
                "verb",
                "objectRef",
                "action",
                "actor",
                "org",
                "apiVersion",
                "eventType",
                "published",
            ]
        ),
        JSON,
    )
)
@settings(max_examples=60)
def test_shapes_of_known_sources_may_hold_anything(enricher, data):
    take(enricher, json.dumps(data).encode())


def test_settings_add_rules_and_event_types(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "c.yaml").write_text("- event: door_opened\n  fields: [door]\n")
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "r.yml").write_text(
        "title: Door\nid: 5f113a8f-8b61-41ca-b90f-d374fa7e4a39\nlevel: critical\ntags: [attack.t1]\n"
        "logsource: {product: piperoll}\ndetection: {s: {ce.type: door_opened}, condition: s}\n"
    )
    enricher = load_enricher(EnrichSettings(CATALOG_DIR=tmp_path / "c", RULES_DIR=tmp_path / "r"))
    document = take(enricher, {"event_type": "door_opened", "event_data": {"door": 1}}).document
    assert (document.risk, document.tags) == ("critical", ["attack:t1"])
    assert [hit.title for hit in document.rules] == ["Door"]


def test_a_wrong_catalogue_stops_the_start(tmp_path):
    (tmp_path / "c.yaml").write_text("- event: 1\n")
    with pytest.raises(ConfigurationError, match=r"CATALOG_DIR.*c\.yaml"):
        load_enricher(EnrichSettings(CATALOG_DIR=tmp_path))
    with pytest.raises(ConfigurationError, match="no such folder"):
        load_enricher(EnrichSettings(RULES_DIR=tmp_path / "none"))


def test_the_same_message_always_gives_the_same_document(enricher):
    first, second = (msgspec.json.encode(take(enricher, CLOUDEVENT).document) for _ in range(2))
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()


def test_the_enricher_keeps_a_bounded_memory_of_sources(enricher):
    for number in range(12_000):
        enricher.enrich(None, b'{"event_type":"x","event_data":1,"source":"s%d"}' % number, [], AT, SALT)
    assert len(enricher._sources) <= 10_000


@pytest.mark.data
def test_jsontestsuite_and_naughty_strings_are_taken(enricher, shared_data):
    for file in sorted((shared_data / "json-test-suite").glob("*.json")):
        value = file.read_bytes()
        result = take(enricher, value)
        assert result.kind == Kind.EVENT or not file.name.startswith("y_"), file.name
    for text in json.loads((shared_data / "naughty-strings.json").read_text()):
        data = {"user_id": text, "dataset_id": text, "export_time": text, "export_reason": text}
        take(enricher, CLOUDEVENT | {"data": data, "id": text or "x", "source": text or "x"})
        take(enricher, text)


@pytest.mark.data
def test_all_real_events_are_taken_and_described(enricher, shared_data):
    for file in sorted(shared_data.glob("*.jsonl")):
        for line in file.read_bytes().splitlines():
            result = take(enricher, line)
            assert result.kind == Kind.EVENT or len(line) > 100_000, file.name
            assert "enrichment:failed" not in result.document.tags


@pytest.mark.data
def test_every_summary_of_a_real_event_begins_with_a_clause_of_who_did_what(enricher, shared_data):
    """Made by code from the mapped facts: actor and action stand in it, and origin and outcome where there are any."""
    told = 0
    for file in sorted(shared_data.glob("*.jsonl")):
        for line in file.read_bytes().splitlines():
            document = enricher.enrich(None, line, [], AT, SALT).document
            if document.log_source in ("unknown", "catalog") or not document.who.actor:
                continue
            told += 1
            for fact in (document.who.actor, document.who.action, document.who.origin, document.who.outcome):
                shown = None if fact is None else (word(fact) or "").strip('"')[:60]
                assert shown is None or shown in document.summary, (
                    document.log_source,
                    fact,
                    document.summary,
                )
    assert told > 3000
