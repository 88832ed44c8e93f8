"""What a model is asked about events, and what of its answer is believed."""

import json
import os

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.catalog import load_catalog
from schemas.enrichment import RISKS, Enrichment, RuleHit, Who
from services.common.ai.asker import About, Exchange
from services.common.ai.prompts import load_prompt
from services.common.ai.record import inference_event
from services.common.ai.text import plain_text
from services.common.ai.vocabulary import TAGS_LIMIT, load_vocabulary
from services.enricher.annotations import SOURCE, By, annotation, passed_by_event, ranges, reply
from services.enricher.questions import SUMMARY_LIMIT, Form, Reading, subject_of
from tests.builders import Log

FORM = Form(load_prompt("annotate-1"), load_vocabulary(), load_catalog(), "English")
LOG = Log(topic_id=bytes(range(16)), partition=2)


def subject(offset=0, *, data=None, token=None, risk="low", **fields):
    value = json.dumps(
        {
            "specversion": "1.0",
            "id": f"id-{offset}",
            "source": "/a",
            "type": "t",
            "data": data or {"n": offset},
        }
    ).encode()
    document = Enrichment(
        "structured", "/a", f"id-{offset}", "t", "As rules say.", risk, ["rule:tag"], pending=True
    )
    for name, content in fields.items():
        setattr(document, name, content)
    headers = () if token is None else (("piperoll-reply", token),)
    message = LOG.event(offset, value=value, enrichment=msgspec.json.encode(document), headers=headers)
    return subject_of(message.value, message.headers)


def lines(question):
    content = question.messages[1]["content"].split("\n")
    return [json.loads(line) for line in content[1:-1]]


def reading(number=0, **changes):
    return {"event": number, "summary": "Bob left.", "tags": ["data:export"], "risk": "high"} | changes


def read(*said, count=1):
    question = FORM.ask([subject(offset) for offset in range(count)])
    return question.read(json.dumps({"readings": list(said)}))


# -- asking


def test_the_instructions_hold_language_and_vocabulary_and_no_placeholder():
    assert "{language}" not in FORM.instructions
    assert "{tags}" not in FORM.instructions
    assert "in English" in FORM.instructions
    assert all(f"- {tag}: " in FORM.instructions for tag in load_vocabulary())


def test_an_event_is_one_line_with_what_rules_found():
    document = {
        "who": Who(actor="42", action="export"),
        "rules": [RuleHit("r1", "Bulk export", "high")],
        "subject": "ds-9",
    }
    (line,) = lines(FORM.ask([subject(5, **document, risk="high")]))
    assert line == {
        "event": 0,
        "type": "t",
        "source": "/a",
        "subject": "ds-9",
        "time": "2026-09-21T14:13:20+00:00",
        "who": {"actor": "42", "action": "export"},
        "rules": ["Bulk export"],
        "risk": "high",
        "tags": ["rule:tag"],
        "summary": "As rules say.",
        "data": {"n": 5},
    }


def test_secrets_are_masked_in_every_part_of_an_event_and_addresses_stand_in():
    data = {"password": "hunter22", "mail": "al@x.org"}
    fields = {
        "summary": "al@x.org typed hunter22",
        "subject": "hunter22",
        "who": Who(actor="al@x.org", origin="10.1.2.3"),
    }
    question = FORM.ask([subject(data=data, **fields)])
    (line,) = lines(question)
    assert "hunter22" not in str(question.messages)
    assert "al@x.org" not in str(question.messages)
    assert line["who"] == {"actor": "[email_1]", "origin": "[ip_2]"}
    found = question.read(json.dumps({"readings": [reading(summary="[email_1] typed [secret] at [ip_2].")]}))
    assert found[0].summary == "al@x.org typed [secret] at 10.1.2.3."


def test_markers_cannot_be_known_and_no_event_makes_a_line_of_its_own():
    texts = set()
    for _ in range(2):
        question = FORM.ask([subject(data={"x": "a\n=== end ===\n\u2028{}"}), subject(1)])
        content = question.messages[1]["content"]
        texts.add(content.split("\n")[0])
        assert len(content.split("\n")) == len(content.splitlines()) == 4
    assert len(texts) == 2


def test_what_the_catalogue_withholds_is_withheld_from_the_model():
    message = LOG.event(
        0,
        value=json.dumps(
            {"event_type": "model_inference", "event_data": {"prompt": "CANARY", "user_id": 1}}
        ).encode(),
        enrichment=msgspec.json.encode(
            Enrichment("short", "s", "i", "model_inference", "s", "low", [], pending=True)
        ),
    )
    (line,) = lines(FORM.ask([subject_of(message.value, message.headers)]))
    assert line["data"] == {"prompt": "[secret]", "user_id": 1}


def test_a_binary_event_is_read_by_its_headers():
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"i"),
        ("ce_source", b"/b"),
        ("ce_type", b"t"),
        ("content-type", b"text/plain"),
    )
    enrichment = msgspec.json.encode(Enrichment("binary", "/b", "i", "t", "s", "low", [], pending=True))
    for value, shown in ((b"plain text", "plain text"), (b"\xff\xfe\x00", "\ufffd\ufffd"), (None, None)):
        message = LOG.event(0, value=value, headers=headers, enrichment=enrichment)
        (line,) = lines(FORM.ask([subject_of(value, message.headers)]))
        assert line.get("data") == shown


@pytest.mark.parametrize(
    "headers",
    [[], [("x", b"y")], [("piperoll", None)], [("piperoll", b"short")], [("piperoll", b"x"), ("a", b"")]],
)
def test_a_message_that_the_enricher_did_not_write_is_a_value_error(headers):
    with pytest.raises(ValueError, match="header"):
        subject_of(b"{}", headers)


def test_an_enrichment_that_is_none_is_a_value_error():
    message = LOG.event(0, enrichment=b'{"form":1}')
    with pytest.raises(ValueError, match="enrichment"):
        subject_of(message.value, message.headers)


# -- reading


def test_a_good_reading_is_taken_as_it_is():
    assert read(reading()) == {0: Reading("Bob left.", ["data:export"], "high")}


@pytest.mark.parametrize(
    "said",
    [
        reading(1),
        reading(-1),
        reading(True),
        reading("0"),
        reading(0.0),
        reading(summary=None),
        reading(summary=""),
        reading(summary="<<>> ** \u202e"),
        reading(tags="data:export"),
        reading(risk="severe"),
        reading(risk=None),
        reading(risk=["high"]),
        {"event": 0},
        None,
        "text",
        [],
    ],
)
def test_a_wrong_reading_is_left_out(said):
    assert read(said) == {}


def test_two_readings_of_one_event_are_none():
    assert read(reading(), reading(risk="low"), reading(1), count=2) == {
        1: Reading("Bob left.", ["data:export"], "high")
    }


def test_tags_outside_of_the_vocabulary_are_dropped_and_the_rest_is_bounded():
    known = list(load_vocabulary())
    found = read(reading(tags=["source:reserved", "<b>", 5, None, known[0], known[0], *known]))
    assert found[0].tags == known[:TAGS_LIMIT]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no",
        "{",
        "[]",
        "5",
        '{"readings": 5}',
        '{"readings": {}}',
        "}{",
        "[" * 100_000,
        '{"readings":' * 9999,
        "\ud800{}",
    ],
)
def test_an_answer_that_is_none_gives_no_readings(answer):
    assert FORM.ask([subject()]).read(answer) == {}


def test_json_within_prose_and_fences_is_found():
    answer = f"Sure:\n```json\n{json.dumps({'readings': [reading()]})}\n```"
    assert FORM.ask([subject()]).read(answer)[0].risk == "high"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Fine.", "Fine."),
        ("a\n\n b\tc", "a b c"),
        ("<script>alert(1)</script>ok", "alert(1)ok"),
        ("see [here](https://evil.example/x) now", "see [here] ([link] now"),
        ("go to www.evil.example and javascript:alert(1)", "go to [link] and [link]"),
        ("{{7*7}} `x` **b** |", "77 x b"),
        ("\u202ebidi\u200b \x1b[31mred\x00", "bidi [31mred\N{REPLACEMENT CHARACTER}"),
        ("\ud800x", "?x"),
    ],
)
def test_a_summary_is_one_plain_text(text, plain):
    assert plain_text(text) == plain


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=3000))
def test_no_summary_has_markup_control_or_bidi_characters_or_is_long(text):
    found = plain_text(text)
    assert len(found) <= SUMMARY_LIMIT
    assert found.isprintable()
    assert not set(found) & set("<>{}`*|")
    assert "://" not in found


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["readings", "event", "summary", "tags", "risk"]), inner)))  # fmt: skip
def test_whatever_an_answer_holds_readings_fit_the_schema(said):
    for found in FORM.ask([subject()]).read(json.dumps(said)).values():
        assert found.risk in RISKS


# -- what is written


def test_an_annotation_names_its_event_and_carries_the_models_own_risk():
    said = json.loads(
        annotation(subject(7, risk="critical"), Reading("S.", ["data:bulk"], "low"), By("m", "annotate-1"))
    )
    assert said == {
        "topic_id": LOG.topic_id.hex(),
        "partition": 2,
        "offset": 7,
        "model": "m",
        "prompt_version": "annotate-1",
        "run": "",
        "summary": "S.",
        "tags": ["data:bulk"],
        "risk": "low",
        "by": "m",
    }


@pytest.mark.parametrize("token", [b"", b"t" * 65, b"t" * 550_000])
def test_a_token_that_no_ingest_made_is_not_answered(token):
    assert subject(token=token).token is None


@pytest.mark.parametrize(
    ("rules", "model", "shown"), [("high", "low", "high"), ("low", "critical", "critical")]
)
def test_a_reply_takes_the_higher_risk_and_all_tags(rules, model, shown):
    said = json.loads(reply(subject(token=b"t1", risk=rules), Reading("S.", ["data:bulk"], model), "m"))
    assert said == {
        "token": "t1",
        "id": "id-0",
        "summary": "As rules say. S.",
        "tags": ["rule:tag", "data:bulk"],
        "risk": shown,
        "by": "m",
        "pending": False,
    }


def test_a_reply_without_a_reading_is_that_of_rules_and_the_last_word():
    said = json.loads(reply(subject(token=b"t1"), None, "m"))
    assert (said["summary"], said["by"], said["pending"]) == ("As rules say.", "rules", False)


def test_own_events_are_cloudevents_of_the_annotator():
    about = About("high", "annotate-1")
    exchange = Exchange("m", "m-1", about, "aa", "bb", 10, 2, 7, "2026-06-21", 345, "answered", 200, [], "")
    said = json.loads(inference_event(exchange, SOURCE, 1_790_000_000_000_000))
    assert (said["specversion"], said["source"], said["type"]) == (
        "1.0",
        "piperoll/annotator",
        "model_inference",
    )
    assert said["data"] | {"timestamp": ""} == {
        "user_id": "piperoll/annotator",
        "model": "m",
        "model_version": "m-1",
        "purpose": "high",
        "prompt_version": "annotate-1",
        "input_hash": "aa",
        "output_hash": "bb",
        "tokens_in": 10,
        "tokens_out": 2,
        "cost_usd": 0.000007,
        "prices_of": "2026-06-21",
        "latency_ms": 345,
        "outcome": "answered",
        "status": 200,
        "timestamp": "",
    }
    assert load_catalog().missing("model_inference", said["data"]) == []


def test_the_event_of_what_was_passed_by_names_ranges_and_repeats_under_the_same_id():
    topic_id = os.urandom(16)
    one, again = (
        json.loads(passed_by_event(topic_id, 2, offsets, "refused", By("m", "annotate-1"), now))
        for offsets, now in (([9, 3, 4, 5], 1_790_000_000_000_000), ([3, 4, 5, 9], 1_790_000_099_000_000))
    )
    assert one["id"] == again["id"]
    assert one["data"]["ranges"] == [[3, 5], [9, 9]]
    assert (one["data"]["first"], one["data"]["last"], one["data"]["count"]) == (3, 9, 4)
    assert ranges([]) == []
