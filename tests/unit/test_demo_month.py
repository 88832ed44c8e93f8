"""The demo month: deterministic, believable, and every path of Piperoll taken."""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from hashlib import sha256

import pytest

from schemas.catalog import load_catalog
from schemas.events import PoisonError, read_message
from schemas.mapping import load_mappings
from services.cli.demo_month.days import Month, month_before, parse_month
from services.cli.demo_month.incident import ATTACKER, STEPS
from services.cli.demo_month.month import declare, generate

OCTOBER = Month(2026, 10)


@pytest.fixture(scope="module")
def october():
    return generate(OCTOBER, seed=1)


@pytest.fixture(scope="module")
def small():
    return generate(OCTOBER, seed=1, events=2000)


def digest(made):
    return sha256(repr(made.messages).encode()).hexdigest()


def attributes(message):
    if message.form == "binary":
        return {name[3:]: text.decode() for name, text in message.headers if name.startswith("ce_")}
    return json.loads(message.value)


def moment(message):
    """When an event happened, as its sender says."""
    text = json.loads(message.value)["eventTime"] if message.form == "bare" else attributes(message)["time"]
    return datetime.fromisoformat(text)


def events(made, kind):
    return [message for message in made.messages if message.type == kind and message.fate == "event"]


def by_hour(messages):
    hours = Counter(moment(message).hour for message in messages)
    return [hours[hour] for hour in range(24)]


def test_the_same_seed_gives_the_same_bytes_in_another_process():
    code = (
        "from hashlib import sha256; from services.cli.demo_month.month import generate;"
        "from services.cli.demo_month.days import Month;"
        "print(sha256(repr(generate(Month(2026, 10), 7, 2000).messages).encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "99", "TZ": "Pacific/Auckland"}
    other = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == digest(generate(OCTOBER, 7, 2000))


def test_another_seed_or_month_gives_other_events(small):
    assert digest(small) != digest(generate(OCTOBER, 2, 2000))
    other = generate(Month(2026, 9), 1, 2000)
    assert not {m.id for m in small.messages if m.id} & {m.id for m in other.messages if m.id}


@pytest.mark.parametrize("month", [Month(2026, 2), Month(2026, 12)], ids=str)
def test_a_month_has_about_fifty_thousand_events_all_within_it(month):
    made = generate(month)
    assert 44_000 < len(made.messages) < 56_000
    for message in made.messages:
        if message.form in ("structured", "binary") and message.fate == "event":
            assert (moment(message).year, moment(message).month) == month


def test_the_number_of_events_can_be_chosen(october, small):
    assert len(small.messages) < 3500
    assert 22_000 < len(generate(OCTOBER, events=25_000).messages) < 29_000


def test_every_cloudevent_is_complete_and_names_its_declaration(october):
    for message in october.messages:
        if message.form in ("structured", "binary") and message.fate == "event":
            found = attributes(message)
            assert found["specversion"] == "1.0"
            assert found["backfill"] == october.declaration
            assert found["partitionkey"].encode() == message.key
            assert (found["source"], found["id"], found["type"]) == (message.source, message.id, message.type)


def test_the_short_form_names_its_declaration_in_a_member(october):
    short = [json.loads(message.value) for message in october.messages if message.form == "short"]
    assert short
    assert {body["backfill"] for body in short} == {october.declaration}


def test_bare_json_names_its_declaration_in_a_header(october):
    bare = [message for message in october.messages if message.form == "bare" and message.fate == "event"]
    assert len(bare) > 4000
    assert all(("backfill", october.declaration.encode()) in message.headers for message in bare)


def test_sequence_numbers_have_no_gap_within_a_source(october):
    seen = defaultdict(set)
    for message in october.messages:
        if message.form in ("structured", "binary") and message.fate == "event":
            seen[message.source].add(int(attributes(message)["sequence"]))
    assert len(seen) >= 7
    for source, numbers in seen.items():
        assert numbers == set(range(1, len(numbers) + 1)), source


def test_piperoll_reads_every_message_as_the_generator_says(october):
    mappings = load_mappings()
    for message in october.messages:
        if message.fate == "poison":
            continue
        event = read_message(message.value, message.headers)
        assert event.form == message.form
        if message.form in ("structured", "binary"):
            assert (event.source, event.id) == (message.source, message.id)
        if message.form == "bare":
            mapping = mappings.recognise(event.data)
            assert (mapping.source(event.data), mapping.id(event.data)) == (message.source, message.id)
        assert not event.tags


def test_each_kind_of_poison_is_refused(october):
    poison = [message for message in october.messages if message.fate == "poison"]
    assert {m.flaw for m in poison} >= {
        "cut off",
        "not UTF-8",
        "binary",
        "empty",
        "null",
        "nested",
        "too large",
    }
    for message in poison:
        if message.flaw == "too large":
            assert 1024 * 1024 < len(message.value) < 1024 * 1024 + 2048
            continue
        with pytest.raises(PoisonError):
            read_message(message.value, message.headers)


def test_a_repeat_is_the_same_message_sent_again_later(october):
    first = {m.id: m for m in october.messages if m.fate == "event" and m.flaw != "conflict"}
    repeats = [message for message in october.messages if message.fate == "duplicate"]
    assert 100 < len(repeats) < 400
    for again in repeats:
        original = first[again.id]
        assert again.arrives > original.arrives
        assert again[1:6] == original[1:6]


def test_identities_are_unique_but_for_repeats_and_the_forerunner(october):
    seen = Counter((m.source, m.id) for m in october.messages if m.fate == "event")
    twice = [identity for identity, times in seen.items() if times > 1]
    assert len(twice) == 1
    first, second = [m for m in october.messages if (m.source, m.id) == twice[0]]
    assert first.flaw == "conflict"
    assert second.story == "export"
    assert first.value != second.value


def test_some_events_lack_a_field_and_some_have_an_unknown_type(october):
    flaws = Counter(message.flaw for message in october.messages)
    assert 10 < flaws["incomplete"] < 60
    assert 15 < flaws["unknown"] < 90


def test_catalogued_types_have_all_their_fields_but_for_the_marked_ones(october):
    catalog = load_catalog(None)
    types = Counter()
    for message in october.messages:
        if message.form == "bare" or message.fate == "poison":
            continue
        event = read_message(message.value, message.headers)
        missing = catalog.missing(event.type, event.data)
        expected = {"unknown": missing is None, "incomplete": bool(missing)}.get(message.flaw, missing == [])
        assert expected or event.source.startswith("piperoll/"), (event.type, missing)
        types[event.type] += 1
    assert len(types) > 30


def test_offices_sleep_at_night_and_machines_do_not(october):
    staff = [m for m in events(october, "user_login") if attributes(m)["data"]["user_id"].startswith("u-")]
    logins = by_hour(staff)
    assert sum(logins[2:20]) > 0.97 * sum(logins)  # Bengaluru's morning to Boston's afternoon
    assert sum(logins[20:24]) < 0.02 * sum(logins)
    models = by_hour(events(october, "model_inference"))
    assert min(models) > 0.01 * sum(models)
    assert max(models) < 0.08 * sum(models)


def test_weekends_are_quiet_for_staff_and_busy_in_hospitals(october):
    def share(prefix):
        days = Counter(
            moment(m).date()
            for m in events(october, "user_login")
            if attributes(m)["data"]["user_id"].startswith(prefix)
        )
        weekend = [n for day, n in days.items() if day.weekday() >= 5]
        week = [n for day, n in days.items() if day.weekday() < 5]
        return (sum(weekend) / len(weekend)) / (sum(week) / len(week))

    assert share("u-") < 0.1
    assert 0.5 < share("c-") < 0.95


def test_some_sign_ins_fail_but_few(october):
    failed = len(events(october, "login_failed")) + len(events(october, "mfa_challenge_failed"))
    assert 0.04 < failed / len(events(october, "user_login")) < 0.16


def test_nightly_exports_run_every_night_at_two_in_london(october):
    nightly = [m for m in events(october, "data_export") if m.key == b"svc-reporting"]
    assert {moment(m).date() for m in nightly} == {date(2026, 10, day) for day in range(1, 32)}
    summer = [moment(m).hour for m in nightly if moment(m) < datetime(2026, 10, 25, tzinfo=UTC)]
    assert set(summer) == {1}  # British Summer Time
    assert {moment(m).hour for m in nightly if moment(m).day > 25} == {2}


def test_the_incident_is_there_in_the_order_of_its_steps(october):
    told = [message for message in october.messages if message.story]
    assert {message.story for message in told} == set(STEPS)
    assert 70 < len(told) < 120
    first = {}
    for message in sorted(told, key=moment):
        first.setdefault(message.story, moment(message))
    assert list(first) == list(STEPS)


def test_the_attacker_is_seen_nowhere_but_in_the_incident(october):
    assert not [
        m
        for m in october.messages
        if ATTACKER.encode() in (m.value or b"")
        and not m.story
        and m.flaw != "conflict"
        and m.fate == "event"
    ]


def test_ways_in_are_all_used(october):
    routes = Counter(message.route for message in october.messages)
    assert routes["kafka"] > 0.9 * routes.total()
    assert routes["batch"] > 300
    assert routes["audit"] >= 5
    for message in october.messages:
        if message.route != "kafka":
            assert (message.fate, message.flaw) == ("event", "")


def test_the_last_complete_month_is_the_default():
    assert month_before(date(2026, 11, 24)) == Month(2026, 10)
    assert month_before(date(2027, 1, 1)) == Month(2026, 12)


@pytest.mark.parametrize("text", ["2026-13", "2026", "2026-1", "october", "1969-12", ""])
def test_what_is_no_month_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="2026-10"):
        parse_month(text)


def test_the_declaration_says_what_is_filled_in(small):
    said = declare(small, "demo")
    assert said["from"] == "2026-10-01T00:00:00.000Z"
    assert said["to"] == "2026-11-01T00:00:00.000Z"
    assert said["messages"] == len(small.messages)
    assert said["reason"] == "demo"
