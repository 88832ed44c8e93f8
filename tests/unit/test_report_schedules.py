"""Schedules: the calendar of periods, what is due when, and what reports.yaml may say. The clock is given."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import ConfigurationError
from services.reporter.runs.account import lateness
from services.reporter.runs.by_hand import chosen_period
from services.reporter.runs.calendar import Calendar
from services.reporter.runs.configuration import DEFAULT_FILE, read_configuration
from services.reporter.runs.due import due_spans, next_span, period_of
from services.reporter.runs.making import counts_of, differences
from services.reporter.runs.rows import Run

ZONES = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("right"))
UNITS = st.sampled_from(
    [
        ("month", None),
        ("week", None),
        ("day", None),
        ("fire", "30 2 * * *"),
        ("fire", "*/20 * * * *"),
        ("fire", "0 0 31 * *"),
    ]
)
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@given(UNITS, st.sampled_from(ZONES), MOMENTS)
def test_every_moment_lies_in_exactly_one_period_in_every_zone(unit, zone, moment):
    calendar = Calendar(unit[0], zone, unit[1])
    span = calendar.span_at(moment)
    assert span.start <= moment < span.end
    assert calendar.span_at(span.start) == span
    assert calendar.span_at(span.end - timedelta(microseconds=1)) == span
    following = calendar.after(span)
    assert following.start == span.end < following.end
    assert calendar.before(following) == span
    assert following.label != span.label


@pytest.mark.parametrize(
    ("unit", "zone", "moment", "label", "start", "end"),
    [
        # a leap month, and one that is none
        ("month", "UTC", "2028-02-29T12:00Z", "2028-02", "2028-02-01T00:00Z", "2028-03-01T00:00Z"),
        ("month", "UTC", "2026-02-28T23:59:59Z", "2026-02", "2026-02-01T00:00Z", "2026-03-01T00:00Z"),
        # clocks forward: 23 hours; back: 25
        ("day", "Europe/Berlin", "2026-03-29T12:00Z", "2026-03-29", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        ("day", "Europe/Berlin", "2026-10-25T12:00Z", "2026-10-25", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
        # a month with both ends in other offsets
        ("month", "Europe/Berlin", "2026-03-31T21:59Z", "2026-03", "2026-02-28T23:00Z", "2026-03-31T22:00Z"),
        # a day without a midnight, and one that never was
        ("day", "America/Sao_Paulo", "2018-11-04T12:00Z", "2018-11-04", "2018-11-04T03:00Z", "2018-11-05T02:00Z"),
        ("day", "Pacific/Apia", "2011-12-30T12:00Z", "2011-12-31", "2011-12-30T10:00Z", "2011-12-31T10:00Z"),
        # an ISO week over the turn of a year
        ("week", "UTC", "2027-01-02T00:00Z", "2026-W53", "2026-12-28T00:00Z", "2027-01-04T00:00Z"),
    ],
)  # fmt: skip
def test_a_period_begins_and_ends_by_the_wall_clock(unit, zone, moment, label, start, end):
    assert Calendar(unit, zone).span_at(at(moment)) == (label, at(start), at(end))


def test_a_time_of_cron_that_the_clock_jumps_over_is_the_moment_of_the_jump():
    calendar = Calendar("fire", "Europe/Berlin", "30 2 * * *")
    span = calendar.span_at(at("2026-03-29T12:00Z"))
    assert span.start == at("2026-03-29T01:00Z")  # 03:00, where 02:00 would have been
    assert calendar.span_at(at("2026-10-25T12:00Z")).start == at("2026-10-25T00:30Z")  # the first 02:30


def schedule(tmp_path, text: str, name="s"):
    file = tmp_path / "reports.yaml"
    recipients = 'recipients: [{name: a, target: "directory:a", detail: full}]'
    file.write_text(f"schedules: [{{name: {name}, {text}, {recipients}}}]")
    return read_configuration(file).schedules[0]


def labels(one, last, now, since=None):
    return [span.label for span in due_spans(one, last, at(now), since and at(since))]


def test_after_downtime_all_missed_periods_are_due_the_oldest_first(tmp_path):
    monthly = schedule(tmp_path, "every: monthly, time_zone: Europe/Berlin")
    last = monthly.calendar.span_at(at("2026-06-15T00:00Z"))
    assert labels(monthly, last, "2026-10-31T23:59Z") == ["2026-07", "2026-08", "2026-09"]
    assert labels(monthly, last, "2026-07-31T22:30Z") == []  # over, and its grace is not


def test_a_period_is_due_once_its_grace_is_over_and_never_before(tmp_path):
    daily = schedule(tmp_path, "every: daily, grace: 90m, first: 2028-02-28")
    assert labels(daily, None, "2028-02-29T01:29:59Z") == []
    assert labels(daily, None, "2028-02-29T01:30Z") == ["2028-02-28"]
    assert labels(daily, None, "2028-03-02T00:00Z") == ["2028-02-28", "2028-02-29"]


def test_cron_says_when_a_finished_month_is_reported(tmp_path):
    third = schedule(tmp_path, 'every: cron, cron: "0 6 3 * *", period: month, time_zone: Europe/Berlin')
    september = third.calendar.span_at(at("2026-09-01T00:00Z"))
    assert labels(third, september, "2026-11-03T04:59Z") == []
    assert labels(third, september, "2026-11-03T05:00Z") == ["2026-10"]


def test_a_new_schedule_begins_with_the_last_period_that_had_records(tmp_path):
    monthly = schedule(tmp_path, "every: monthly")
    assert labels(monthly, None, "2026-11-26T00:00Z", "2026-03-01T00:00Z") == ["2026-10"]
    assert labels(monthly, None, "2026-11-26T00:00Z", "2026-11-20T00:00Z") == []
    span, made = next_span(monthly, None, at("2026-11-26T00:00Z"), at("2026-11-20T00:00Z"))
    assert (span.label, made) == ("2026-11", at("2026-12-01T01:00Z"))


def test_the_period_of_a_run_has_the_zone_the_grace_and_the_period_before(tmp_path):
    monthly = schedule(tmp_path, "every: monthly, time_zone: Europe/Berlin, grace: 2h")
    span = monthly.calendar.span_at(at("2026-03-15T00:00Z"))
    run = Run(1, "s", span.label, span, "Europe/Berlin", {}, None)
    period = period_of(monthly, run)
    assert (period.start.isoformat(), period.end.isoformat()) == (
        "2026-03-01T00:00:00+01:00",
        "2026-04-01T00:00:00+02:00",
    )
    assert period.before is not None
    assert (period.before.date(), period.grace_us, period.rule) == (
        date(2026, 2, 1),
        7_200_000_000,
        "schedule",
    )


def test_the_schedule_that_piperoll_brings_can_be_read():
    [monthly] = read_configuration(None).schedules
    assert (monthly.name, monthly.every, monthly.recipients[0].target) == (
        "monthly",
        "monthly",
        "directory:.",
    )
    assert read_configuration(DEFAULT_FILE) == read_configuration(None)


GOOD = """\
schedules:
  - name: board
    every: weekly
    recipients:
      - name: cfo
        target: directory:cfo
"""


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("every: weekly", "every: fortnightly"), 3, "schedules[0].every: Input should be 'monthly', 'weekly'"),
        (("name: board", "name: Board Report"), 2, "schedules[0].name"),
        (("name: board", "name: by-hand"), 2, "take another"),
        (("every: weekly", "every: weekly\n    time_zone: Europe/Berln"), 4, "no such time zone"),
        (("every: weekly", "every: weekly\n    time_zone: ../../etc"), 4, "no such time zone"),
        (("every: weekly", "every: weekly\n    due: soon"), 4, "a duration is a number and"),
        (("every: weekly", "every: weekly\n    due: 30m"), 2, "`due` must come after `grace`"),
        (("every: weekly", "every: weekly\n    first: 2026-02-30"), 4, "schedules[0].first: Input should be a valid date"),
        (("every: weekly", "every: weekly\n    first: !!timestamp 2026-02-30"), 1, "no YAML"),
        (("every: weekly", "every: weekly\n    colour: red"), 4, "schedules[0].colour: no such key"),
        (("every: weekly", "every: cron"), 2, "`cron` and `every: cron` belong together"),
        (("every: weekly", 'every: cron\n    cron: "0 25 * * *"'), 4, "not a cron expression: Bad hour"),
        (("every: weekly", 'every: cron\n    cron: "0 0 31 2 *"'), 4, "not a cron expression"),
        (("every: weekly", "every: weekly\n    formats: [html, docx]"), 4, "a format is one of html"),
        (("every: weekly", "every: weekly\n    language: de"), 4, "reports are written in en only"),
        (("every: weekly", "every: weekly\n    template: none.md"), 4, "no such file"),
        (("target: directory:cfo", "target: ftp:cfo"), 6, "recipients[0].target: a target is one of directory:"),
        (("target: directory:cfo", "target: directory:cfo\n        detail: most"), 7, "detail"),
        (("target: directory:cfo", "role: cfo"), 5, "target: is missing: add it"),
        (("every: weekly", "every: weekly\n    name: twice"), 4, "stands twice"),
        (("schedules:\n", "schedules: [\n"), 2, "no YAML"),
        ((GOOD, "- a\n"), 1, "should be a valid"),
        ((GOOD, GOOD + GOOD.partition("\n")[2]), 1, "two schedules are called board"),
        (("target: directory:cfo", "target: directory:cfo\n    alarm: {name: ops, target: directory:cfo}"), 2, "somebody else"),
        (("target: directory:cfo", "target: directory:cfo\n      - {name: cfo, target: directory:x}"), 2, "one name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_line_and_key(tmp_path, change, line, words):
    file = tmp_path / "reports.yaml"
    assert change[0] in GOOD
    file.write_text(GOOD.replace(*change, 1))
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(file)
    told = str(caught.value)
    assert str(file) in told
    assert words in told
    assert f"line {line}" in told or words == "no YAML"


def test_the_first_day_of_a_schedule_is_a_date(tmp_path):
    file = tmp_path / "reports.yaml"
    file.write_text(GOOD.replace("every: weekly", "every: weekly\n    first: 2026-02-28"))
    assert read_configuration(file).schedules[0].first == date(2026, 2, 28)


def test_what_a_mail_server_said_reaches_nobody_as_control_characters():
    one = {
        "kind": "edition",
        "sent_at": None,
        "recipient": "cfo",
        "role": "reader",
        "state": "waiting",
        "last_error": "550 \x1b[2J\u202egone",
    }
    text = lateness(
        {"due": "2026-11-01T03:00:00", "edition": "a/b/1", "last_error": None, "deliveries": [one]}
    )
    assert "cfo (reader) does not have it, waiting: 550 " in text
    assert not {"\x1b", "\u202e"} & set(text)


def test_a_period_that_has_not_begun_is_not_reported_on():
    now_us = 1_764_000_000_000_000  # November 2025
    assert chosen_period("2025-11", "UTC", now_us).label == "2025-11"
    for text in ("2025-12", "2025-W52", "2025-12-24"):
        with pytest.raises(ConfigurationError, match="has not begun"):
            chosen_period(text, "UTC", now_us)


def test_a_file_that_is_missing_or_no_text_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        read_configuration(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="utf-8"):
        read_configuration(tmp_path / "b.yaml")


def test_editions_are_compared_by_their_counts():
    first = {
        "totals": {"all": {"events": 3, "cites": [1]}},
        "tables": {"actor": {"rows": [{"key": "Ada", "events": 3}]}},
    }
    second = {
        "totals": {"all": {"events": 4}, "late": {"events": 1}},
        "by_day": [{"day": "2026-10-01", "events": 4}],
    }
    assert counts_of(first) == {"totals.all.events": 3}
    assert differences(counts_of(first), counts_of(second)) == [
        {"figure": "by_day.2026-10-01.events", "before": None, "after": 4},
        {"figure": "totals.all.events", "before": 3, "after": 4},
        {"figure": "totals.late.events", "before": None, "after": 1},
    ]
