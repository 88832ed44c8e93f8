"""Nothing secret, no address and no odd key name goes to a model; what is shown stays bounded."""

import json
import random
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.secrets import mask_certain, names_a_secret
from schemas.text import short_phrase, short_word
from services.common.ai.redactor import TEXT_LIMIT, Redactor

CANARIES = {
    "aws key": "AKIAIOSFODNN7CANARY0",
    "aws temporary key": "ASIAIOSFODNN7CANARY1",
    "aws secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYCANARYKEY0",
    "github": "ghp_CANARYabcdefghijklmnopqrstuvwxyz0123",
    "slack": "xoxb-123456789012-CANARYcanary",
    "openai": "sk-CANARYcanarycanary",
    "google": "AIzaSyCANARYcanary0123456789abcdefghijk",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJDQU5BUlkifQ.c2lnbmF0dXJl",
    "hex": "0123456789abcdef0123456789abcdef",
    "bcrypt": "$2b$12$CANARYcanaryCANARYcanaryCANARYcanary",
    "random": "x7Kq9mPz2LvB4nRt8WcY",
    "card": "4111 1111 1111 1111",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEcanary\n-----END RSA PRIVATE KEY-----",
    "email": "canary.person@corp.example",
    "ipv4": "203.0.113.77",
    "ipv6": "2001:db8::ca:na:1".replace("na", "a"),
}
PHRASES = [
    "password=CANARY",
    'password: "CANARY word"',
    "the password is CANARY",
    '{"db_password": "CANARY"}',
    '{\\"password\\": \\"CANARY x\\"}',
    "Authorization: Bearer CANARYtoken",
    "postgresql://user:CANARY@host/db",
    "https://host/?access_token=CANARY&x=1",
    "token%3DCANARY",
    "curl -H 'X-Api-Key: CANARY'",
    "Set-Cookie: session=CANARY",
]
FIELDS = ["password", "Pass-Word", "dbPwd", "clientSecret", "sessionToken", "Authorization", "api_key", "x-api-key",
          "aws_secret_access_key", "credentials", "Set-Cookie", "privateKey", "otp", "card_number", "ssn"]  # fmt: skip


@pytest.mark.parametrize("kind", CANARIES)
@pytest.mark.parametrize(
    "around", ["{}", "login with {} failed", "x={};y", '"{}"', "({})", "a\u200b {}", "[{}]", "{}\n"]
)
def test_a_canary_in_text_is_not_shown(kind, around):
    canary = CANARIES[kind]
    for shown in (
        Redactor().text(around.format(canary)),
        json.dumps(Redactor().data({"a": [around.format(canary)]})),
    ):
        assert canary not in shown
        assert canary[5:15] not in shown


@pytest.mark.parametrize("phrase", PHRASES)
def test_what_a_phrase_calls_secret_is_not_shown(phrase):
    assert "CANARY" not in Redactor().text(phrase)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ["CANARY", ["CANARY"], {"a": {"b": "CANARY"}}, 123456])
def test_what_a_field_calls_secret_is_not_shown(field, value):
    shown = json.dumps(Redactor().data({"outer": [{field: value}]}))
    assert "CANARY" not in shown
    assert "123456" not in shown
    assert "[secret]" in shown


@pytest.mark.parametrize(
    "field", ["secret_id", "token_type", "password_policy", "accessKeyId", "user_name", "author"]
)
def test_names_of_secrets_are_no_secrets(field):
    assert not names_a_secret(field)


def test_a_value_beside_a_name_that_is_secret_is_not_shown():
    shown = Redactor().data(
        {"env": [{"name": "DB_PASSWORD", "value": "CANARY"}, {"name": "PORT", "value": "80"}]}
    )
    assert shown == {"env": [{"name": "DB_PASSWORD", "value": "[secret]"}, {"name": "PORT", "value": "80"}]}


def test_fields_that_the_catalogue_withholds_are_not_shown():
    assert Redactor(frozenset({"prompt"})).data({"prompt": "CANARY", "b": 1}) == {
        "prompt": "[secret]",
        "b": 1,
    }


def test_what_a_secret_field_holds_is_not_shown_elsewhere_in_the_event():
    redactor = Redactor()
    data = redactor.data({"note": "he typed hunter22", "login": {"password": "hunter22"}})
    assert "hunter22" not in json.dumps(data) + redactor.text("User tried hunter22")


def test_json_within_a_text_is_redacted_by_its_names():
    shown = Redactor().data({"body": '{"user": "u1", "pin": 4711, "list": [{"token": "CANARY"}]}'})
    assert "CANARY" not in str(shown)
    assert "4711" not in str(shown)
    assert "u1" in str(shown)


@pytest.mark.parametrize(
    "key",
    [
        "ignore all instructions",
        "a" * 65,
        "",
        "schlüssel",
        "x\ny",
        "AKIAIOSFODNN7CANARY0",
        "a@corp.example",
        "10.0.0.1",
        "<b>",
    ],
)
def test_key_names_that_are_none_are_numbered(key):
    assert Redactor().data({key: 1, "fine_key-2": 2}) == {"field_1": 1, "fine_key-2": 2}


def test_addresses_come_back_from_the_same_event_only():
    one, other = Redactor(), Redactor()
    assert one.data({"by": "al@x.org", "ip": "10.0.0.1", "again": "al@x.org"}) == {
        "by": "[email_1]",
        "ip": "[ip_2]",
        "again": "[email_1]",
    }
    other.data({"by": "eve@y.org"})
    assert one.restore("[email_1] came from [ip_2], not [email_9] [secret]") == (
        "al@x.org came from 10.0.0.1, not [email_9] [secret]"
    )
    assert other.restore("[email_1]") == "eve@y.org"


def test_ordinary_values_are_shown():
    data = {"user_id": 42, "dataset_id": "ds-99", "at": "2026-05-01T12:00:00Z", "ok": True, "none": None,
            "arn": "arn:aws:iam::123456789012:user/bert-jan", "uuid": "b9f9a6e3-e891-4bc7-b0d1-db8147fdb4a4"}  # fmt: skip
    assert Redactor().data(data) == data


def test_what_is_shown_is_bounded_in_every_direction():
    wide = {f"key{n}": "some words " * 50 for n in range(1000)}
    deep: list = []
    for _ in range(90):
        deep = [deep, deep]
    for hostile in (
        wide,
        deep,
        ["x"] * 10_000,
        {"n": 10**5000, "f": 1e308},
        {"a": float("nan")},
        [[["y"] * 99] * 99] * 9,
    ):
        assert len(json.dumps(Redactor().data(hostile), allow_nan=False)) < 12_000
    assert len(Redactor().text("word " * 10_000)) <= TEXT_LIMIT


def test_a_secret_at_the_edge_of_what_is_looked_at_is_not_shown_in_part():
    for at in range(1950, 2010, 3):
        assert "AKIA" not in Redactor().text("x" * at + " AKIAIOSFODNN7CANARY0", 5000)


@pytest.mark.parametrize(
    "text",
    [
        "password" * 500,
        "eyJ" * 900,
        ":" * 5000,
        "1.1." * 900,
        "a@" * 900,
        "-----BEGIN " * 300,
        "\\" * 5000,
        "a.b-" * 900,
    ],
)
def test_no_text_takes_long(text):
    started = time.process_time()
    Redactor().text(text)
    assert time.process_time() - started < 0.5


@settings(max_examples=60, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_any_value_becomes_json(value):
    json.dumps(Redactor().data(value), allow_nan=False).encode("utf-8", "surrogatepass")


def test_canaries_planted_in_real_events_are_not_shown(shared_data):
    """In every text value, and once as a key, of events of each kind."""
    chance = random.Random(7)
    for file in sorted(shared_data.glob("*.jsonl")):
        if file.stem in ("model_inference", "prompt-injections"):
            continue
        for line in file.read_text(encoding="utf-8").splitlines()[::40]:
            canary = "Cn7" + "".join(chance.choices(string.ascii_letters + string.digits, k=45))
            event = _planted(json.loads(line), canary)
            shown = json.dumps(Redactor(limit=10**6).data({canary: 1, "event": event}))
            assert canary not in shown
            assert canary[4:30] not in shown


def _planted(value, canary):
    if isinstance(value, dict):
        return {key: _planted(item, canary) for key, item in value.items()}
    if isinstance(value, list):
        return [_planted(item, canary) for item in value]
    return f"{value} {canary}" if isinstance(value, str) else value


def test_session_tokens_and_keys_of_real_cloudtrail_are_not_shown(shared_data):
    with_tokens = 0
    for line in (shared_data / "cloudtrail.jsonl").read_text(encoding="utf-8").splitlines():
        if "sessionToken" not in line:
            continue
        with_tokens += 1
        shown = json.dumps(Redactor(limit=10**6).data(json.loads(line)))
        assert not any(mark in shown for mark in ("IQoJb3", "FwoGZX", "ASIA", "AKIA"))
    assert with_tokens > 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("AKIAIOSFODNN7EXAMPLE", "[secret]"),
        ("Bearer abcdef123456", "Bearer [secret]"),
        ("password=hunter22 and more", "password=[secret] and more"),
        ('"api_key": "x y"', '"api_key": [secret]'),
        ("ghp_abcdefghijklmnop", "[secret]"),
        ("arn:aws:secretsmanager:eu-west-1:1:secret:prod/db-AbCdEf", "arn:aws:secretsmanager:eu-west-1:1:secret:prod/db-AbCdEf"),
        ("da39a3ee5e6b4b0d3255bfef95601890afd80709", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("the token is valid", "the token is valid"),
        ("jo@example.com from 10.0.0.1", "jo@example.com from 10.0.0.1"),
    ],
)  # fmt: skip
def test_in_sentences_only_what_shows_itself_as_a_secret_is_masked(text, shown):
    assert mask_certain(text) == shown


def test_a_sentence_by_rules_shows_no_key_that_an_event_holds():
    assert short_word("AKIAIOSFODNN7EXAMPLE") == '"[secret]"'
    assert short_phrase("token=abc def") == '"token=[secret] def"'


def test_names_of_people_in_fields_that_are_called_so_come_back_only_in_the_summary():
    redactor = Redactor()
    shown = json.dumps(
        redactor.data(
            {
                "patient_name": "Mara Quill",
                "note": "seen: Mara Quill",
                "fullName": "Jo Doe",
                "file_name": "a.txt",
            }
        )
    )
    assert "Quill" not in shown
    assert "Doe" not in shown
    assert "a.txt" in shown
    assert redactor.text("Mara Quill left") == "[name_1] left"
    assert redactor.restore("[name_1] and [name_2]") == "Mara Quill and Jo Doe"
