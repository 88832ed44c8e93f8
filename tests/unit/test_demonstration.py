"""The parts of `piperoll demo`: what it says is wrong, what it leaves alone, how its screen reads."""

import io
import os
from collections import Counter
from datetime import UTC, datetime

import pytest
from rich.console import Console

from deploy.local.errors import StackError
from deploy.local.home import Home
from services.cli.demo_month.days import Month
from services.cli.demo_month.month import generate
from services.cli.demonstration import place
from services.cli.demonstration.check import (
    CONFLICT,
    FAILED,
    TAGS,
    Event,
    Findings,
    Recorded,
    Verdict,
    incident_of,
    judge,
)
from services.cli.demonstration.counts import Counts
from services.cli.demonstration.evidence import Evidence
from services.cli.demonstration.recording import MonthRecorded
from services.cli.demonstration.screen import Screen, Step
from services.cli.demonstration.sending import Single
from services.cli.demonstration.summary import Shown, show_summary, unnoticed
from services.cli.producing import Place

KIND = {"event": 1, "duplicate": 2, "poison": 3}
WHEN = datetime(2026, 10, 15, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def made():
    return generate(Month(2026, 10), seed=1, events=500)


@pytest.fixture
def sent(made):
    """Everything through Kafka, one message after the other in one partition."""
    through = [message for message in made.messages if message.route == "kafka"]
    return [(message, Place(0, offset)) for offset, message in enumerate(through)]


def tags_of(message):
    """The tags that tell of its flaw."""
    return [TAGS[message.flaw]] if message.flaw in TAGS else [CONFLICT] if message.flaw == "conflict" else []


@pytest.fixture
def recorded(made, sent):
    """What a database has where all is well."""
    kinds = {at: [KIND[message.fate]] for message, at in sent}
    events = [
        Event(m.source, m.id, m.type, "high" if m.story else "low", WHEN, tags_of(m), at)
        for m, at in sent
        if m.fate == "event"
    ]
    others = [m for m in made.messages if m.route != "kafka"]
    events += [Event(m.source, m.id, m.type, "low", WHEN, [], Place(1, n)) for n, m in enumerate(others)]
    kinds |= {Place(1, n): [1] for n in range(len(others))}
    return Recorded(kinds, events)


def offset_of(sent, fate):
    return next(at for message, at in sent if message.fate == fate)


def test_a_month_recorded_as_it_was_sent_is_good(made, sent, recorded):
    assert judge(made.messages, sent, recorded) == Verdict([], [], [])


@pytest.mark.parametrize("fate", ["event", "duplicate", "poison"])
def test_a_message_without_a_record_is_lost(made, sent, recorded, fate):
    del recorded.kinds[offset_of(sent, fate)]
    verdict = judge(made.messages, sent, recorded)
    assert len(verdict.lost) == 1
    assert not verdict.good


def test_a_message_that_was_not_acknowledged_is_lost(made, sent, recorded):
    sent[5] = (sent[5][0], "KafkaTimeoutError: no")
    assert "KafkaTimeoutError" in judge(made.messages, sent, recorded).lost[0]


def test_an_event_over_http_that_is_not_in_the_view_is_lost(made, sent, recorded):
    gone = recorded.events.pop()
    assert judge(made.messages, sent, recorded).lost == [f"{gone.source} {gone.id}"]


def test_two_records_of_one_place_are_doubled(made, sent, recorded):
    recorded.kinds[Place(0, 7)].append(1)
    assert len(judge(made.messages, sent, recorded).doubled) == 1


def test_an_event_that_nobody_sent_is_doubled(made, sent, recorded):
    recorded.events.append(recorded.events[3])
    recorded.events.append(Event("x", "y", "z", "low", WHEN, [], Place(2, 0)))
    assert len(judge(made.messages, sent, recorded).doubled) == 2


@pytest.mark.parametrize(("fate", "kind"), [("event", 2), ("duplicate", 1), ("poison", 1), ("event", 4)])
def test_a_record_of_another_kind_is_mistaken(made, sent, recorded, fate, kind):
    recorded.kinds[offset_of(sent, fate)] = [kind]
    assert len(judge(made.messages, sent, recorded).mistaken) == 1


def test_another_event_at_the_place_is_mistaken(made, sent, recorded):
    at = next(n for n, event in enumerate(recorded.events) if event.place == offset_of(sent, "event"))
    recorded.events[at] = recorded.events[at]._replace(id="another")
    assert len(judge(made.messages, sent, recorded).mistaken) == 1


def test_an_event_without_the_tag_of_its_flaw_is_mistaken(made, sent, recorded):
    at = next(n for n, event in enumerate(recorded.events) if event.tags and event.tags != [CONFLICT])
    recorded.events[at] = recorded.events[at]._replace(tags=[])
    assert "without the tag catalog:" in judge(made.messages, sent, recorded).mistaken[0]


def test_two_events_of_one_identity_without_the_tag_of_a_conflict_are_mistaken(made, sent, recorded):
    at = next(n for n, event in enumerate(recorded.events) if event.tags == [CONFLICT])
    recorded.events[at] = recorded.events[at]._replace(tags=[])
    assert CONFLICT in judge(made.messages, sent, recorded).mistaken[0]


def test_an_event_that_could_not_be_judged_is_mistaken(made, sent, recorded):
    recorded.events[3] = recorded.events[3]._replace(tags=[FAILED])
    assert FAILED in judge(made.messages, sent, recorded).mistaken[0]


def test_the_incident_is_found_by_the_places_of_its_events(sent, recorded):
    found = incident_of(sent, recorded)
    assert sum(map(len, found.values())) == sum(1 for m, _ in sent if m.story and m.fate == "event")
    assert not unnoticed(found)
    found["export"] = [event._replace(risk="low") for event in found["export"]]
    assert unnoticed(found) == ["export"]


def test_the_demo_keeps_away_from_the_brokers_and_databases_of_the_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://prod/audit\nOPENAI_API_KEY=sk-1\n")
    for name in (*place._GIVEN, *place._AI):
        monkeypatch.setenv(name, "")
        monkeypatch.setenv(f"{name}_FILE", "")
        monkeypatch.delenv(name)
        monkeypatch.delenv(f"{name}_FILE")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "prod:9092")
    assert place.keep_apart(ai=False) == ["KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "OPENAI_API_KEY"]
    variables = place.environment()
    assert not variables["KAFKA_BOOTSTRAP_SERVERS"]
    assert not variables["DATABASE_URL"]
    assert not os.environ["OPENAI_API_KEY"]


def test_a_second_demo_is_refused_while_the_first_one_runs(tmp_path):
    home = Home(tmp_path / "demo")
    with place.clean_place(home, lambda _line: None):
        (home.folder / "data").touch()
        with (
            pytest.raises(StackError, match="already runs"),
            place.clean_place(home, lambda _line: None),
        ):
            pass
        assert (home.folder / "data").exists()
    with place.clean_place(home, lambda _line: None):
        assert not (home.folder / "data").exists()


def page(shown, width, *, stay=True):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    show_summary(Screen(console), shown, stay=stay)
    return console.file.getvalue()


@pytest.fixture
def shown(made, sent, recorded, tmp_path):
    class State:
        def url(self, service):
            return f"http://127.0.0.1:8080/{service}"

    risks = {"high": 44, "low": 100}
    findings = Findings(
        judge(made.messages, sent, recorded),
        Counter(kind for kinds in recorded.kinds.values() for kind in kinds),
        Counter(risks),
        incident_of(sent, recorded),
    )
    month = MonthRecorded([Single(b"{}", 200, {})], sent, 14, [], 3.2)
    report = tmp_path / "demo" / "reports" / "report.html"
    evidence = Evidence(8, 1234, 1234, [], "by-hand/2026-10/1", "ab" * 32, report)
    return Shown(made, month, findings, evidence, Home(tmp_path / "demo"), State())


def test_the_last_page_says_what_came_of_the_month_in_80_columns(shown):
    text = page(shown, 80)
    assert "every event recorded exactly once, every chain verified" in text
    assert "0 lost, 0 doubled, 0 mistaken" in text
    assert "8 verified, 1,234 records" in text
    assert "44 events   (44 high, 100 low)" in text
    assert "mass export at night" in text
    facts = text.split("look further")[0]
    paths = ("  report", "  logs")  # to copy: never wrapped
    assert all(len(line) <= 80 for line in facts.splitlines() if not line.startswith(paths))
    assert '-d \'{"event_type":"data_export"' in text  # to copy: on one line


def test_a_demo_that_ends_by_itself_gives_no_commands_that_need_it(shown):
    text = page(shown, 80, stay=False)
    assert "report.html" in text
    assert "without EXIT=1 (--exit)" in text
    assert "psql" not in text
    assert "curl" not in text


def test_what_is_wrong_is_on_the_last_page_and_the_demo_is_not_good(shown):
    bad = shown._replace(evidence=shown.evidence._replace(wrong=["chain 3, record 17: changed"]))
    assert not bad.good
    assert "chain 3, record 17: changed" in page(bad, 80)
    assert "every chain verified" not in page(bad, 80)
    assert shown.good


def test_a_step_shows_how_far_recording_has_come():
    console = Console(file=io.StringIO(), width=80)
    step = Step("recording the month")
    step.count(Counts(400, 300, 200, 1), 500, 1000)
    console.print(step)
    text = console.file.getvalue()
    for name, count in (("emitted", 500), ("in Kafka", 400), ("enriched", 300), ("recorded", 200)):
        (line,) = [line for line in text.splitlines() if name in line]
        assert line.rstrip().endswith(str(count))
