"""Personal fields encrypted under a key of their subject: tokens, places, rules, keys, and the door that events pass."""

import json
import stat
import subprocess
import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.shredding.cipher import BadTokenError, Number, SubjectKey, canonical
from schemas.shredding.places import Tree, find_spots, replaced
from schemas.shredding.token import read_shown, read_token, shown
from services.cli.erasure.keys import Keyring, Subject
from services.common.ai.redactor import Redactor
from services.common.errors import ConfigurationError, TransientError
from services.common.shredding.door import (
    KEY_SECONDS,
    Door,
    Message,
    RefusedError,
    configured_door,
    open_door,
)
from services.common.shredding.keys import Destroyed, SubjectKeys
from services.common.shredding.opening import Opener, State
from services.common.shredding.rules import Rule, read_rules
from services.common.shredding.settings import SubjectKeySettings
from services.ingest.encrypting import FieldDoor
from services.ingest.metrics import Metrics
from services.ingest.problems import ProblemError
from services.ingest.reading import Record

KEY = SubjectKey(bytes(range(32)))
PLACE = "actor.email"
VECTOR = (
    "shred:1:50629e2afb31cf2e5dafe0437b83b8b9:_BtGACk1dRNA7gLsiaa"
    "MUyCYqf6kFSF7Yh1PysS75bHuuvPB5DPqVBlg6E7uEG5N0eaup_YIcjoAII1BvsFl9mgoO"
    "83k7uLQ92QpgybON4O4cSXxeYk3D7ONcagnCcTXBzjH9atqmhQMW-Pu-KjGsA"
)
HOSTILE = ["../../x", "a\0b", "x" * 1_000_000, "\ud800", "/", ".", "", " ", "ü", "shred:1:", "\r\n"]


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "keys"
    made.mkdir()
    return made


def test_a_token_is_what_the_format_says():
    """Whoever changes the format changes this: what was written by it must stay readable."""
    assert str(KEY.seal('"jo@example.com"', PLACE)) == VECTOR
    token = read_token(VECTOR)
    assert KEY.open(token, PLACE) == "jo@example.com"


@settings(max_examples=30)
@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_whatever_json_goes_in_comes_out(value):
    text = canonical(json.loads(json.dumps(value), parse_int=Number))
    assert KEY.open(KEY.seal(text, PLACE), PLACE) == value


def test_numbers_keep_every_digit_and_members_have_one_order():
    read = json.JSONDecoder(parse_int=Number, parse_float=Number).decode
    assert canonical(read('{"b": 1.10, "a":[1E2,123456789012345678901234567890]}')) == (
        '{"a":[1E2,123456789012345678901234567890],"b":1.10}'
    )
    assert KEY.seal(canonical(read('{"a":1, "b":2}')), PLACE) == KEY.seal(
        canonical(read('{"b":2,"a":1}')), PLACE
    )


def test_the_same_value_gives_the_same_token_and_no_other_does():
    tokens = {KEY.seal('"a"', PLACE), KEY.seal('"a"', PLACE)}
    others = {KEY.seal('"b"', PLACE), KEY.seal('"a"', "actor.name"), SubjectKey(bytes(32)).seal('"a"', PLACE)}
    assert len(tokens) == 1
    assert len(tokens | others) == 4


def test_short_values_do_not_show_their_length():
    assert len({len(str(KEY.seal(json.dumps("x" * length), PLACE))) for length in range(30)}) == 1


def test_a_token_opens_only_whole_under_its_key_at_its_place():
    token = KEY.seal('"secret"', PLACE)
    raw = urlsafe_b64decode(token.sealed + "==")
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(BadTokenError):
            KEY.open(token._replace(sealed=urlsafe_b64encode(changed).rstrip(b"=").decode()), PLACE)
    for wrong in (raw[:-1], raw[:47], b"", raw + b"x"):
        with pytest.raises(BadTokenError):
            KEY.open(token._replace(sealed=urlsafe_b64encode(wrong).rstrip(b"=").decode()), PLACE)
    with pytest.raises(BadTokenError, match="another place"):
        KEY.open(token, "actor.name")
    with pytest.raises(BadTokenError, match="another key"):
        SubjectKey(bytes(32)).open(token, PLACE)


def test_a_commitment_that_does_not_fit_is_found_although_the_ciphertext_is_authentic():
    one, other = (urlsafe_b64decode(KEY.seal(text, PLACE).sealed + "==") for text in ('"a"', '"b"'))
    mixed = urlsafe_b64encode(other[:32] + one[32:]).rstrip(b"=").decode()
    with pytest.raises(BadTokenError, match="commitment"):
        KEY.open(KEY.seal('"a"', PLACE)._replace(sealed=mixed), PLACE)


def test_only_whole_tokens_are_taken_for_tokens():
    token = str(KEY.seal('"a"', PLACE))
    for text in (
        token + " ",
        " " + token,
        token[:40],
        token.upper(),
        "shred:2" + token[7:],
        token + "\n",
        5,
        None,
    ):
        assert read_token(text) is None
    assert shown({"a": [token, 1], "b": f"see {token}"}) == {
        "a": [f"subject:{KEY.id[:16]}", 1],
        "b": f"see {token}",
    }


@pytest.mark.parametrize(
    ("paths", "text", "expected"),
    [
        (["a.b"], '{"a": {"b": "X", "c": 1.10}}', '{"a": {"b": #, "c": 1.10}}'),
        (["a.b"], '{"a.b":"X","a":{"b":[1,{}]}}', '{"a.b":#,"a":{"b":#}}'),
        (["a.b.c"], '{"a":{"b.c":1,"b":{"c":2}}}', '{"a":{"b.c":#,"b":{"c":#}}}'),
        (["l.x"], '{"l":[{"x":1},{"y":2},[{"x":3}],4]}', '{"l":[{"x":#},{"y":2},[{"x":#}],4]}'),
        (["l.0"], '{"l":["X","Y"]}', '{"l":[#,"Y"]}'),
        (["a", "a.b"], '{"a":{"b":1}}', '{"a":#}'),
        (["a"], '{"a":null}', '{"a":null}'),
        (["a"], ' \n{ "\\u0061" : "\\ud800\\"}" , "b":[ ] } ', ' \n{ "\\u0061" : # , "b":[ ] } '),
        (["a"], '[{"a":1},{"a":2}]', '[{"a":#},{"a":#}]'),
        (["a"], '{"a":1,"a":2}', '{"a":#,"a":#}'),
        (["a"], '"a"', '"a"'),
    ],
)
def test_declared_values_are_replaced_and_no_other_byte_changes(paths, text, expected):
    tree = Tree()
    for path in paths:
        tree.add(path, 0)
    spots = find_spots(text, tree)
    assert replaced(text, spots, ["#"] * len(spots)) == expected


def test_a_model_is_shown_the_subject_and_no_token():
    seen = Redactor().data(shown({"user_id": str(KEY.seal('"jo"', "user_id")), "n": 1}))
    assert seen == {"user_id": f"subject:{KEY.id[:16]}", "n": 1}
    assert Redactor().data({"user_id": str(KEY.seal('"jo"', "user_id"))})["user_id"].startswith("shred:1:")


def test_a_place_has_no_positions():
    tree = Tree()
    tree.add("l.x", 0)
    assert {spot.place for spot in find_spots('{"l":[{"x":1},{"x":2}],"l.x":3}', tree)} == {"l.x"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- subject: a\n", "line 1, [0].fields: is missing"),
        ("- subject: a\n  fields: [b]\n  feilds: [c]\n", "line 3, [0].feilds: no such key"),
        ("- subject: a\n  fields:\n  - b\n  - ''\n", "line 4, [0].fields[1]: a path is keys with dots"),
        ('- subject: a\n  fields: ["@id"]\n', "line 2, [0].fields[0]: @id must stay readable"),
        ('- subject: a\n  fields: ["@Sub ject"]\n', "an attribute is @ and its name"),
        ("- subject: 5\n  fields: [b]\n", "line 1, [0].subject"),
        (
            "- {subject: a, fields: [b]}\n- {subject: c, fields: [d, b]}\n",
            "line 2, [1].fields[1]: b is under the key of rule [0]",
        ),
        ("[]", "no rule stands here"),
        ("a: [", "no YAML"),
        ("", "line 1"),
    ],
)
def test_a_wrong_file_of_rules_is_told_with_line_and_key(tmp_path, text, told):
    file = tmp_path / "fields.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        read_rules(file)
    assert told in str(error.value)
    assert str(file) in str(error.value)


def test_the_settings_go_together(tmp_path):
    assert configured_door(SubjectKeySettings()) is None
    with pytest.raises(ConfigurationError, match="SUBJECT_FIELDS"):
        configured_door(SubjectKeySettings(folder=tmp_path))
    with pytest.raises(ConfigurationError, match="SUBJECT_KEYS_DIR"):
        configured_door(SubjectKeySettings(fields=tmp_path / "f"))
    with pytest.raises(ConfigurationError, match="mkdir -m 700"):
        SubjectKeys(tmp_path / "none", create=True)
    with pytest.raises(ConfigurationError, match="no file `master`"):
        SubjectKeys(tmp_path, create=False)


def test_keys_are_files_that_name_nobody_and_only_their_owner_reads(folder):
    keys = SubjectKeys(folder, create=True)
    made = {subject: keys.key_of(subject) for subject in HOSTILE}
    assert len({key.id for key in made.values()}) == len(HOSTILE)
    again = SubjectKeys(folder, create=True)
    assert all(again.key_of(subject).id == key.id for subject, key in made.items())
    assert all(again.by_id(key.id).id == key.id for key in made.values())
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert len(files) == 2 + 2 * len(HOSTILE)
    assert not any(path.name.startswith(".") for path in files)
    assert [path.name for path in folder.parent.iterdir()] == ["keys"]


def destroyed(keys, key_id, request):
    with keys.destroyed(key_id, request) as stone:
        return stone


def test_two_ways_to_write_a_letter_are_one_subject_and_namespaces_keep_ids_apart(folder):
    keys = SubjectKeys(folder, create=True)
    assert keys.key_of("J\u00fcrgen").id == keys.key_of("Ju\u0308rgen").id
    assert (
        len({keys.key_of("42").id, keys.key_of("42", "customers").id, keys.key_of("mers42", "custo").id}) == 3
    )


def test_a_destroyed_key_stays_destroyed_and_the_subject_gets_another(folder):
    keys = SubjectKeys(folder, create=True, clock=lambda: 1_792_000_000_000_000)
    first = keys.key_of("jo")
    assert destroyed(keys, first.id, "erasure-1") == Destroyed(
        first.id, "2026-10-14T17:46:40+00:00", "erasure-1"
    )
    assert not list((folder / "keys").iterdir())
    assert not list((folder / "subjects").iterdir())
    assert keys.by_id(first.id).request == "erasure-1"
    assert destroyed(keys, first.id, "erasure-2").request == "erasure-1"
    assert keys.find("jo") is None
    second = keys.key_of("jo")
    assert second.id != first.id
    assert keys.by_id("0" * 32) is None
    assert keys.by_id("../master") is None


@pytest.mark.parametrize("cut", ["destroyed", "keys"])
def test_a_destruction_that_was_cut_short_is_finished_by_the_next(folder, cut, monkeypatch):
    """Ended right after the tombstone, or right after the key file has gone."""
    keys = SubjectKeys(folder, create=True)
    first = keys.key_of("jo")

    def crash(path):
        if path.parent.name == {"destroyed": "keys", "keys": "subjects"}[cut]:
            raise KeyboardInterrupt
        path.unlink()

    with monkeypatch.context() as patched:
        patched.setattr("services.common.shredding.keys._remove", crash)
        with pytest.raises(KeyboardInterrupt):
            destroyed(keys, first.id, "erasure-1")
    assert isinstance(keys.by_id(first.id), Destroyed)
    if cut == "keys":
        assert keys.key_of("other").id != first.id
    assert keys.find("jo") == first.id
    destroyed(keys, first.id, "erasure-1")
    assert not (folder / "keys" / first.id).exists()
    assert keys.find("jo") is None
    assert keys.key_of("jo").id != first.id


@pytest.mark.parametrize("again", ["by subject", "by key id"])
def test_an_event_after_half_a_destruction_gets_a_new_key_and_the_old_one_goes(folder, again, monkeypatch):
    """Killed right after the tombstone; then comes an event; then the command is run again."""
    keys = SubjectKeys(folder, create=True)
    first = keys.key_of("jo")

    def crash(_path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("services.common.shredding.keys._remove", crash)
        with pytest.raises(KeyboardInterrupt):
            destroyed(keys, first.id, "erasure-1")
    second = keys.key_of("jo")
    assert second.id != first.id
    assert [file.name for file in (folder / "keys").iterdir()] == [second.id]
    if again == "by key id":
        destroyed(keys, first.id, "erasure-1")
        assert keys.find("jo") == second.id, "what leads to the new key stays"
    else:
        destroyed(keys, keys.find("jo"), "erasure-1")
        assert not list((folder / "keys").iterdir())


def test_a_destruction_that_is_not_on_record_yet_is_found_by_the_subject(folder):
    keys = SubjectKeys(folder, create=True)
    first = keys.key_of("jo")
    with pytest.raises(TransientError), keys.destroyed(first.id, "erasure-1"):
        raise TransientError("the broker is away")
    assert not (folder / "keys" / first.id).exists()
    assert keys.find("jo") == first.id
    destroyed(keys, first.id, "erasure-1")
    assert keys.find("jo") is None


def test_lost_damaged_and_exchanged_files_are_told_and_nothing_is_made_in_their_place(folder):
    keys = SubjectKeys(folder, create=True)
    key = keys.key_of("jo")
    file = folder / "keys" / key.id
    content = file.read_text()
    file.write_text("00" * 32 + content[64:])
    with pytest.raises(TransientError, match="damaged"):
        keys.key_of("jo")
    file.unlink()
    with pytest.raises(TransientError, match="missing and was not destroyed"):
        keys.key_of("jo")
    file.write_text(content)
    master = (folder / "master").read_text()
    (folder / "master").write_text("11" * 32)
    with pytest.raises(TransientError, match="another folder"):
        keys.key_of("jo")
    (folder / "master").unlink()
    with pytest.raises(ConfigurationError, match="has keys and no file `master`"):
        SubjectKeys(folder, create=True)
    (folder / "master").write_text(master[:10])
    with pytest.raises(ConfigurationError, match="damaged"):
        SubjectKeys(folder, create=True)
    (folder / "master").write_text(master)
    (folder / "destroyed").rmdir()
    with pytest.raises(ConfigurationError, match="no folder `destroyed`"):
        SubjectKeys(folder, create=True)


MAKES_KEYS = """
import sys, time
from pathlib import Path
from services.common.shredding.keys import SubjectKeys
folder, start = Path(sys.argv[1]), float(sys.argv[2])
time.sleep(max(0, start - time.time()))
keys = SubjectKeys(folder, create=True)
print(*(keys.key_of(f"subject-{number}").id for number in range(20)))
"""


def test_processes_that_meet_a_subject_at_once_use_one_key(folder):
    command = [sys.executable, "-c", MAKES_KEYS, str(folder), str(time.time() + 3)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = [worker.communicate(timeout=60)[0].split() for worker in workers]
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == len(list((folder / "keys").iterdir())) == 20


RULES = [
    Rule(
        source="/shop*",
        subject=["user_id"],
        fields=["user_id", "email", "@subject", "@partitionkey", "seen.by"],
    ),
    Rule(
        source="/shop*",
        namespace="customers",
        subject=["customer.id"],
        fields=["customer.id", "email", "customer.name"],
    ),
]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def door(folder):
    return Door(RULES, SubjectKeys(folder, create=True), Clock())


def message(data, key=b"/shop", **more) -> Message:
    event = {"specversion": "1.0", "id": "1", "source": "/shop/a", "type": "login"} | more
    return Message(
        key, json.dumps(event | {"data": data}).encode(), [("content-type", b"application/cloudevents+json")]
    )


def opened(door, sent):
    opener = Opener(door.keys)
    return opener.event(sent.value, sent.headers), opener.fields


def test_an_event_leaves_the_door_without_what_was_declared_and_opens_again(door):
    data = {
        "user_id": "jo@x",  # no base64 has a @ or a blank
        "email": "j@y",
        "n": 1,
        "seen": [{"by": "an n"}, {"by": {"z": 1.5}}],
        "customer": {"id": 7, "name": "Jo X"},
    }
    came = message(data, b"jo@x", subject="jo@x", partitionkey="jo@x")
    sent = door.encrypt(came)
    assert not any(word in sent.value + sent.key for word in (b"@", b"an n", b"Jo X", b": 7", b"1.5"))
    assert door.encrypt(came) == sent
    event, fields = opened(door, sent)
    assert event == json.loads(came.value)
    assert {field.state for field in fields} == {State.OPENED}
    told = json.loads(sent.value)
    one = {told["subject"], told["partitionkey"], told["data"]["user_id"], sent.key.decode()}
    assert len(one) == 1, "one subject has one token"
    keys = {read_token(told["data"]["customer"]["id"]).key_id, read_token(told["data"]["user_id"]).key_id}
    assert len(keys) == 2
    assert read_token(told["data"]["email"]).key_id == read_token(one.pop()).key_id, (
        "the first rule takes a field"
    )
    assert read_shown(sent.value, sent.headers).data["customer"]["name"].startswith("subject:")


def test_other_events_go_through_byte_for_byte(door):
    for came in (
        message({"user_id": "jo"}, source="/blog"),
        message({"n": 1}),
        message(None),
        message(["x"]),
        Message(None, None, []),
        Message(None, b'{"other":"jo"}', []),
    ):
        assert door.encrypt(came) is came or door.encrypt(came) == came


def test_binary_events_keep_their_form(door):
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", b"/shop"),
        ("ce_type", b"t"),
        ("ce_subject", b"j@x"),
    ]
    came = Message(b"k", b'{ "user_id":"j@x" }', [*headers, ("content-type", b"application/json")])
    sent = door.encrypt(came)
    assert (sent.value[:13], sent.value[-2:], b"@" in sent.value) == (b'{ "user_id":"', b" }", False)
    assert opened(door, sent)[0]["subject"] == "j@x"
    assert [name for name, _ in sent.headers] == [name for name, _ in came.headers]
    assert dict(sent.headers)["ce_subject"].startswith(b"shred:1:")


@pytest.mark.parametrize("form", ["short", "no id", "no ce_id", "bare"])
def test_what_is_not_quite_a_cloudevent_does_not_slip_through(folder, form):
    rules = [Rule(source="/shop", subject=["user_id"], fields=["user_id"])]
    door = Door(rules, SubjectKeys(folder, create=True))
    values = {
        "short": {"event_type": "t", "source": "/shop", "event_data": {"user_id": "j@x"}},
        "no id": {"specversion": "1.0", "source": "/shop", "type": "t", "data": {"user_id": "j@x"}},
        "no ce_id": {"user_id": "j@x"},
        "bare": {"user_id": "j@x"},
    }
    headers = [("ce_source", b"/shop")] if form == "no ce_id" else []
    sent = door.encrypt(Message(None, json.dumps(values[form]).encode(), headers))
    assert b"j@x" not in sent.value
    [field] = opened(door, sent)[1]
    assert (field.place, field.state) == ("user_id", State.OPENED)


@pytest.mark.parametrize(
    "subject",
    [{}, {"user_id": None}, {"user_id": ""}, {"user_id": 1.5}, {"user_id": ["j@x"]}, {"user_id": True}],
)
def test_a_declared_field_without_a_subject_is_refused_with_its_path(door, subject):
    with pytest.raises(RefusedError) as error:
        door.encrypt(message(subject | {"email": "jo@x"}))
    assert error.value.path == "user_id"
    assert "jo@x" not in str(error.value)


@pytest.mark.parametrize(
    "value",
    [
        b"\xef\xbb\xbf" + b'{"event_type":"t","event_data":{"user_id":"jo"}}',
        '{"specversion":"1.0","id":"1","source":"/shop","type":"t","data":{"user_id":"jö"}}'.encode(
            "latin-1"
        ),
        b'{"specversion":"1.0","id":"1","source":"/shop","type":"t","data":{"user_id":"jo","deep":'
        + b"[" * 200
        + b"]" * 200
        + b"}}",
        b'{"user_id":"jo"',
        b'{"user_id":"jo"}{"user_id":"jo"}',
    ],
    ids=["byte order mark", "latin-1", "too deep", "cut off", "two"],
)
def test_what_cannot_be_read_is_refused(door, value):
    with pytest.raises(RefusedError, match="cannot be looked into"):
        door.encrypt(Message(None, value, []))


def test_headers_of_an_event_without_its_body_are_refused(door):
    headers = [("ce_source", b"/shop"), ("ce_type", b"t"), ("ce_subject", b"j@x")]
    with pytest.raises(RefusedError):
        door.encrypt(Message(None, b"no JSON", headers))


@pytest.mark.parametrize("key", [b"42", b'"42"', b"/shop"])
def test_a_kafka_key_that_is_a_declared_value_is_its_token(door, key):
    sent = door.encrypt(message({"user_id": 42 if key == b"42" else "42"}, key))
    token = json.loads(sent.value)["data"]["user_id"].encode()
    assert sent.key == (b"/shop" if key == b"/shop" else token)


def test_a_header_beside_a_structured_event_does_not_slip_through(door):
    came = message({"user_id": "jo"}, subject="j@x")
    sent = door.encrypt(came._replace(headers=[*came.headers, ("ce_subject", b"j@x")]))
    assert b"j@x" not in sent.value + dict(sent.headers)["ce_subject"]


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (b"<user_id>jo</user_id>", {"content-type": b"application/xml"}),
        (b'{"specversion":"1.0","data":{"user_id":"jo"}}', {"content-type": b"application/json"}),
        (b'[{"specversion":"1.0","data":{"user_id":"jo"}}]', {"content-type": b"application/json"}),
    ],
    ids=["not JSON", "an event in an event", "several in one"],
)
def test_a_binary_events_body_that_hides_its_fields_is_refused(door, value, headers):
    attributes = {"ce_specversion": b"1.0", "ce_id": b"1", "ce_source": b"/shop", "ce_type": b"t"}
    with pytest.raises(RefusedError, match="must be JSON"):
        door.encrypt(Message(None, value, list((attributes | headers).items())))


@pytest.mark.parametrize(
    "more",
    [
        {"data_base64": "eyJ1c2VyX2lkIjoiam8ifQ=="},
        {"data_base64": "/w==", "datacontenttype": "image/png"},
        {"data": "<user_id>jo</user_id>", "datacontenttype": "application/xml"},
    ],
)
def test_data_that_cannot_be_looked_into_is_refused(door, more):
    event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "t"} | more
    with pytest.raises(RefusedError, match="must be JSON"):
        door.encrypt(Message(None, json.dumps(event).encode(), []))


def test_a_subject_that_is_zero_or_named_by_a_fall_back_has_a_key(folder):
    door = Door(
        [Rule(subject=["user_id", "email"], fields=["user_id", "email"])], SubjectKeys(folder, create=True)
    )
    assert opened(door, door.encrypt(message({"user_id": 0})))[0]["data"] == {"user_id": 0}
    sent = door.encrypt(message({"user_id": None, "email": "jo@x"}))
    assert door.keys.find("jo@x") == read_token(json.loads(sent.value)["data"]["email"]).key_id


def test_a_destroyed_key_is_used_no_longer_than_two_seconds_and_never_opens(door):
    came = message({"user_id": "jo"})
    sent = door.encrypt(came)
    destroyed(door.keys, door.keys.find("jo"), "erasure-1")
    assert door.encrypt(came) == sent, "from memory"
    event, [field] = opened(door, sent)
    assert (field.state, event["data"]["user_id"]) == (
        State.DESTROYED,
        json.loads(sent.value)["data"]["user_id"],
    )
    assert "erasure-1" in field.why
    door._clock.now += KEY_SECONDS
    assert door.encrypt(came) != sent
    assert opened(door, door.encrypt(came))[0] == json.loads(came.value)


def test_without_the_folder_nothing_leaves(door, folder):
    door.encrypt(message({"user_id": "known"}))
    folder.rename(folder.with_name("away"))
    with pytest.raises((TransientError, ConfigurationError)):
        door.encrypt(message({"user_id": "jo"}))
    door._clock.now += KEY_SECONDS
    with pytest.raises((TransientError, ConfigurationError)):
        door.encrypt(message({"user_id": "known"}))


def test_an_app_opens_a_door_by_two_paths(tmp_path, folder):
    file = tmp_path / "fields.yaml"
    file.write_text("- {subject: user_id, fields: [user_id]}\n")
    sent = open_door(file, folder).encrypt(message({"user_id": "jo"}))
    assert b"shred:1:" in sent.value


def test_tokens_of_others_and_moved_ones_are_told(door, tmp_path):
    sent = door.encrypt(message({"user_id": "jo", "email": "jo@x"}))
    told = json.loads(sent.value)
    told["data"]["email"], told["data"]["note"] = str(KEY.seal('"a"', "email")), told["data"]["email"]
    _, fields = opened(door, sent._replace(value=json.dumps(told).encode()))
    assert [(field.place, field.state) for field in fields] == [
        ("user_id", State.OPENED),
        ("email", State.UNKNOWN),
        ("note", State.BAD),
    ]


async def test_ingest_refuses_what_has_become_too_large_and_counts_the_rest(door):
    metrics = Metrics()
    fields = FieldDoor(door, 500, metrics)
    key, value, headers = message({"user_id": "jo", "email": "jo@x"})
    record = Record("1", key, value, headers)
    with pytest.raises(ProblemError) as error:
        await fields.one(record)
    assert error.value.status == 413
    [made] = await FieldDoor(door, 7000, metrics).many([record], [{"line": 1}])
    assert (made.id, made.value.count(b"shred:1:")) == ("1", 2)
    assert metrics.encrypted._value.get() == 4


def test_an_erasure_finds_the_key_by_id_in_any_namespace_or_by_its_own_id(folder, tmp_path):
    fields = tmp_path / "fields.yaml"
    fields.write_text("- {subject: a, fields: [a]}\n- {subject: b, namespace: customers, fields: [b]}\n")
    keys = SubjectKeys(folder, create=True)
    places = [("1", ""), ("2", "customers"), ("3", ""), ("3", "customers")]
    made = {place: keys.key_of(*place).id for place in places}
    keyring = Keyring({"SUBJECT_KEYS_DIR": str(folder), "SUBJECT_FIELDS": str(fields)})
    assert keyring.subject("1", None) == Subject("1", made["1", ""])
    assert keyring.subject("2", None) == Subject("2", made["2", "customers"])
    assert keyring.subject("2", "") == Subject("2", None)
    assert keyring.subject(made["1", ""], None).key_id == made["1", ""]
    assert keyring.subject("4", None).names == ["4"]
    assert keyring.subject("1", None).names == ["1", f"subject:{made['1', ''][:16]}"]
    with pytest.raises(ConfigurationError, match="--namespace"):
        keyring.subject("3", None)
    with pytest.raises(ConfigurationError, match="SUBJECT_KEYS_DIR"):
        Keyring({}).subject("1", "customers")
    assert Keyring({}).subject("1", None) == Subject("1", None)


def test_an_erasure_without_the_rules_says_that_it_knows_no_namespaces(folder, capsys):
    SubjectKeys(folder, create=True).key_of("2", "customers")
    assert Keyring({"SUBJECT_KEYS_DIR": str(folder)}).subject("2", None) == Subject("2", None)
    assert "SUBJECT_FIELDS is not set" in capsys.readouterr().err


def test_a_duplicate_key_is_refused(door):
    value = b'{"specversion":"1.0","id":"1","source":"/shop","type":"t","data":{"user_id":"jo","n":1,"n":2}}'
    with pytest.raises(RefusedError, match="each key once"):
        door.encrypt(Message(None, value, []))


def test_a_whole_number_too_long_for_python_opens_as_text():
    digits = "7" * 5000
    assert KEY.open(KEY.seal(digits, PLACE), PLACE) == digits


async def test_a_folder_that_hangs_or_is_away_is_trouble_until_it_is_back(door, folder, monkeypatch):
    fields = FieldDoor(door, 7000, Metrics())
    monkeypatch.setattr("services.ingest.encrypting._PATIENCE_S", 0.05)
    with monkeypatch.context() as patched:
        patched.setattr(door.keys, "check", lambda: time.sleep(0.3))
        await fields.look()
    assert "does not answer" in fields.trouble
    await fields.look()
    assert fields.trouble is None
    away = folder.rename(folder.with_name("away"))
    await fields.look()
    assert "no file `master`" in fields.trouble
    away.rename(folder)
    await fields.look()
    assert fields.trouble is None
