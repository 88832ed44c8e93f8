"""What ingest makes of a body: records for audit.events, or a problem that says what to do."""

from __future__ import annotations

import json

import pytest

from schemas.catalog import load_catalog
from schemas.commitment import encode_body
from schemas.events import read_message
from schemas.topics import KEY_HEADER, REPLY_HEADER
from services.ingest.keys import ApiKey
from services.ingest.media import Form, form_of, refuse_encoding
from services.ingest.problems import ProblemError
from services.ingest.reading import Reader, Record, Request

READER = Reader(load_catalog(), event_limit=2000, batch_events=5)
EXPORT = {"user_id": 42, "dataset_id": "d", "export_time": "2026-05-01T12:00:00Z", "export_reason": "r"}
EVENT = {"specversion": "1.0", "id": "1", "source": "/app", "type": "t"}


def one(body, form=Form.JSON, *, headers=(), content_type="application/json", idempotency_key=None, key=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return READER.one(Request(form, headers, content_type, idempotency_key, key, raw))


def problem(*args, **kwargs) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        one(*args, **kwargs)
    return caught.value


async def many(body: bytes, form=Form.LINES, **fields) -> list[Record]:
    fields = {"idempotency_key": None, "key": None} | fields
    return await READER.many(Request(form, [], "", body=body, **fields))


async def problem_of_many(*args, **kwargs) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        await many(*args, **kwargs)
    return caught.value


def test_a_short_form_becomes_a_structured_cloudevent():
    record = one(
        {"event_type": "data_export", "event_data": EXPORT, "id": "7", "source": "/x", "subject": "d"}
    )
    event = read_message(record.value, record.headers)
    assert (event.form, event.id, event.source, event.type, event.subject) == (
        "structured",
        "7",
        "/x",
        "data_export",
        "d",
    )
    assert event.data == EXPORT
    assert event.tags == []
    assert (record.id, record.key) == ("7", b"/x")
    assert dict(record.headers)["content-type"].startswith(b"application/cloudevents+json")


def test_a_short_form_is_given_an_id_and_a_source():
    first, second = (one({"event_type": "t", "event_data": None}) for _ in range(2))
    assert first.id != second.id
    assert json.loads(first.value)["source"] == "http"
    named = one({"event_type": "t", "event_data": None}, key=ApiKey("billing", "0" * 64))
    assert json.loads(named.value)["source"] == "billing"


def test_a_repeat_with_the_same_id_has_the_same_bytes():
    bodies = [one({"event_type": "t", "event_data": 1}, idempotency_key="k") for _ in range(2)]
    assert bodies[0] == bodies[1]
    assert bodies[0].id == "k"
    assert bodies[0] == one({"event_type": "t", "event_data": 1, "id": "k"})


def test_an_idempotency_key_that_is_not_the_id_is_refused():
    assert problem({"event_type": "t", "event_data": 1, "id": "a"}, idempotency_key="b").status == 400
    assert problem(EVENT, Form.STRUCTURED, idempotency_key="b").status == 400
    assert one(EVENT, Form.STRUCTURED, idempotency_key="1").id == "1"


def test_the_data_of_a_short_form_keeps_its_bytes():
    record = one(b'{"event_type":"t","event_data": {"n": 1.10, "m": 1E400} }')
    assert b'{"n": 1.10, "m": 1E400}' in record.value


def test_a_structured_event_goes_on_byte_for_byte():
    body = b' {"specversion" : "1.0","id":"1","source":"/app","type":"t","data":{"n":1.10}} '
    for form in (Form.STRUCTURED, Form.JSON):
        assert one(body + b"\n", form).value == body.strip()


def test_a_binary_event_goes_on_as_a_binary_one():
    headers = [(b"ce-specversion", b"1.0"), (b"ce-id", b"1"), (b"ce-source", b"/app"), (b"ce-type", b"t")]
    record = one(b"\x00\xff", Form.BINARY, headers=headers, content_type="image/png")
    assert record.value == b"\x00\xff"
    assert dict(record.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"1",
        "ce_source": b"/app",
        "ce_type": b"t",
        "content-type": b"image/png",
    }
    assert one(b"", Form.BINARY, headers=headers, content_type="application/json").value is None
    assert one(b"", Form.BINARY, headers=headers, content_type=None).value is None


def test_the_partitionkey_is_the_key_of_the_message():
    assert one(EVENT | {"partitionkey": "p"}).key == b"p"


@pytest.mark.parametrize("body", [{}, [], "text", 1, None, {"event_data": 1}, {"event_type": "t"}, {"a": 1}])
def test_what_is_no_event_is_refused_naming_what_is_missing(body):
    found = problem(body)
    assert found.status == 422
    assert found.kind == "missing-fields"
    assert set(found.members["missing"]) == {"event_type", "event_data"} - (
        set(body) if isinstance(body, dict) else set()
    )


def test_nothing_in_a_short_form_is_dropped_silently():
    found = problem({"event_type": "t", "event_data": 1, "user": "x", "\ud800": 1})
    assert found.status == 422
    assert found.members["unknown"] == ["user", "?"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("event_type", ""),
        ("event_type", 5),
        ("event_type", None),
        ("id", ""),
        ("id", 5),
        ("source", "a b"),
        ("time", "yesterday"),
        ("subject", ""),
        ("backfill", ""),
    ],
)
def test_a_wrong_member_of_a_short_form_is_named(name, value):
    found = problem({"event_type": "t", "event_data": 1} | {name: value})
    assert found.status == 400
    assert [error["attribute"] for error in found.members["errors"]] == [name]


def test_missing_fields_of_a_catalogued_type_are_named():
    del (data := dict(EXPORT))["export_reason"]
    found = problem({"event_type": "data_export", "event_data": data | {"user_id": None}})
    assert found.status == 422
    assert found.members == {"event_type": "data_export", "missing": ["user_id", "export_reason"]}
    assert problem(EVENT | {"type": "data_export", "data": []}, Form.STRUCTURED).members["missing"] == list(
        EXPORT
    )


def test_an_unknown_type_is_taken():
    assert one({"event_type": "never seen", "event_data": {}})


@pytest.mark.parametrize("source", ["piperoll/writer", "piperoll/", "piperoll"])
def test_sources_of_piperoll_are_refused(source):
    assert problem({"event_type": "t", "event_data": 1, "source": source}).status == 403
    assert problem(EVENT | {"source": source}, Form.STRUCTURED).status == 403


def test_a_key_bound_to_sources_sends_only_as_these():
    key = ApiKey("k", "0" * 64, sources=("/billing/*", "exact"))
    assert one(EVENT | {"source": "/billing/eu/1"}, key=key)
    assert one(EVENT | {"source": "exact"}, key=key)
    for source in ("/billing", "exactly", "/other", "/BILLING/x"):
        assert problem(EVENT | {"source": source}, key=key).kind == "source-not-allowed"


def test_the_name_of_the_key_is_recorded_with_the_event():
    assert dict(one(EVENT, key=ApiKey("billing", "0" * 64)).headers)[KEY_HEADER] == b"billing"
    assert KEY_HEADER not in dict(one(EVENT).headers)


def test_the_size_counts_key_headers_and_a_reply_token():
    record = one(EVENT)
    full = [*record.headers, (REPLY_HEADER, b"0" * 32)]
    assert 0 <= record.size - len(encode_body(record.key, record.value, full)) < 64
    room = 2000 - record.size
    assert one(EVENT | {"data": "x" * (room - len(', "data": ""'))})
    found = problem(EVENT | {"data": "x" * room})
    assert (found.status, found.members["limit"]) == (413, 2000)


def test_a_byte_order_mark_is_named():
    found = problem(b"\xef\xbb\xbf{}")
    assert (found.status, found.members) == (400, {"line": 1, "column": 1})
    assert "byte order mark stands before it: leave it out" in found.detail


def test_bad_json_is_refused_with_its_place():
    found = problem(b'{"event_type":\n "t" 1}')
    assert (found.status, found.members) == (400, {"line": 2, "column": 6})
    assert problem(b'{"event_type":"t","event_data":NaN}').members == {"line": 1, "column": 32}
    assert problem(b'{"event_type":"t","event_data":1,"event_data":2}').status == 400


async def test_json_lines_are_taken_in_order_each_as_it_is():
    lines = [json.dumps(EVENT | {"id": str(n)}) for n in range(3)] + ['{"event_type":"t","event_data":3}']
    records = await many("\r\n".join(["", *lines, " ", ""]).encode())
    assert [record.value for record in records[:3]] == [line.encode() for line in lines[:3]]
    assert json.loads(records[3].value)["data"] == 3


async def test_a_batch_keeps_the_bytes_of_each_event():
    events = ['{"specversion":"1.0", "id":"1","source":"/a","type":"t","data":"]},{"}']
    events.append('{"specversion":"1.0","id":"2","source":"/a","type":"t","data":[{"\\"":[]}]}')
    records = await many(f" [ {events[0]} ,\n{events[1]}]\n".encode(), Form.BATCH)
    assert [record.value.decode() for record in records] == events
    assert await many(b"[]", Form.BATCH) == []


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"{}", (1, 1)),
        (b"", (1, 1)),
        (b"[", (1, 2)),
        (b"[1]", (1, 2)),
        (b"[{}", (1, 4)),
        (b"[{},]", (1, 5)),
        (b"[{}\n,\n,{}]", (3, 1)),
        (b"[{} {}]", (1, 5)),
        (b"[] x", (1, 4)),
        (b'[{"a":"}]', (1, 10)),
        (b"[[1]]", (1, 2)),
        (b"[" * 3000, (1, 2)),
    ],
)
async def test_an_array_that_is_none_is_refused_with_its_place(body, place):
    found = await problem_of_many(body, Form.BATCH)
    assert (found.status, found.members["line"], found.members["column"]) == (400, *place)


async def test_one_wrong_event_refuses_all_and_each_wrong_one_is_named():
    good = json.dumps(EVENT)
    lines = [
        good,
        "{",
        json.dumps({"event_type": "data_export", "event_data": {}}),
        good,
        '{"specversion":"1.0"}',
    ]
    found = await problem_of_many("\n".join(lines).encode())
    assert found.status == 400
    assert [(error["line"], error["status"]) for error in found.members["errors"]] == [
        (2, 400),
        (3, 422),
        (5, 422),
    ]
    assert found.members["errors"][1]["missing"] == list(EXPORT)
    assert found.members["errors"][2]["missing"] == ["id", "source", "type"]
    batch = f"[{good},{{}},{good}]".encode()
    assert [error["index"] for error in (await problem_of_many(batch, Form.BATCH)).members["errors"]] == [1]


async def test_wrong_events_of_one_kind_give_their_status():
    lines = [json.dumps({"event_type": "data_export", "event_data": {}})] * 2
    assert (await problem_of_many("\n".join(lines).encode())).status == 422


async def test_a_short_form_does_not_belong_in_a_cloudevents_batch():
    assert (await problem_of_many(b'[{"event_type":"t","event_data":1}]', Form.BATCH)).status == 400


async def test_a_body_of_blank_lines_is_no_success():
    assert (await problem_of_many(b"\n \n")).status == 400


async def test_too_many_events_are_refused():
    lines = [json.dumps(EVENT)] * 6
    assert (await problem_of_many("\n".join(lines).encode())).status == 413
    assert len(await many("\n".join(lines[:5]).encode())) == 5


async def test_a_line_over_the_limit_of_an_event_is_refused_by_its_number():
    body = json.dumps(EVENT) + "\n" + json.dumps(EVENT | {"data": "x" * 2000})
    found = await problem_of_many(body.encode())
    assert (found.status, found.members["errors"][0]["line"]) == (413, 2)


async def test_an_idempotency_key_is_not_for_many():
    assert (await problem_of_many(json.dumps(EVENT).encode(), idempotency_key="k")).status == 400


CE = [(b"ce-id", b"1")]


@pytest.mark.parametrize(
    ("content_type", "headers", "form"),
    [
        ("application/json", [], Form.JSON),
        ("Application/JSON; charset=UTF-8", [], Form.JSON),
        ('application/json;charset="utf-8"', [], Form.JSON),
        ("application/json", CE, Form.BINARY),
        ("text/xml; charset=latin1", CE, Form.BINARY),
        (None, CE, Form.BINARY),
        ("application/cloudevents+json", CE, Form.STRUCTURED),
        ("application/cloudevents-batch+json; charset=utf-8", [], Form.BATCH),
        ("application/x-ndjson", [], Form.LINES),
        ("application/jsonl", [], Form.LINES),
    ],
)
def test_the_headers_tell_the_form(content_type, headers, form):
    assert form_of(content_type, headers, many=True) is form


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "application/cloudevents+xml",
        "application/cloudevents",
        "multipart/form-data",
        "application/xml",
    ],
)
def test_other_content_types_are_refused_and_the_answer_says_what_is_taken(content_type):
    with pytest.raises(ProblemError) as caught:
        form_of(content_type, [], many=True)
    assert caught.value.status == 415
    assert "application/json" in caught.value.detail


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/cloudevents-batch+json"])
def test_where_one_event_is_taken_many_are_refused(content_type):
    with pytest.raises(ProblemError, match="/v1/events"):
        form_of(content_type, [], many=False)


def test_compressed_bodies_are_refused():
    refuse_encoding(None, many=True)
    refuse_encoding(b"identity", many=True)
    with pytest.raises(ProblemError):
        refuse_encoding(b"gzip", many=True)
