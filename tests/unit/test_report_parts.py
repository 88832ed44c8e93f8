"""The parts of a report: periods, fixed sentences, summary, charts."""

import json
from datetime import UTC, date, datetime

import pytest

from schemas.verification.findings import Change, Finding, Part
from services.common.errors import ConfigurationError
from services.reporter import charts, integrity
from services.reporter.account import as_json, as_lines
from services.reporter.contents import words as said
from services.reporter.contents.reads import range_in_words
from services.reporter.deliver.editions.letter import letter_of
from services.reporter.figures import read_hits
from services.reporter.formats import render
from services.reporter.formats.blocks import Bar
from services.reporter.formats.words import duration
from services.reporter.period import last_days, month
from tests.report_document import document
from tests.report_parts import FINDING, report, verification


def page_of(made, name="html"):
    return render(made, name).decode()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"edition": "month/2026-10/1"}, "edition month/2026-10/1"),
        ({"record": "3:17", "source": None, "event_id": None, "content": True}, "record 3:17, with content"),
        ({"period": "2026-10", "n": 30, "by": ["risk", "source"]}, "period 2026-10, n 30, by risk, source"),
        ({"since": None, "until": None}, "as by default"),
        ({"content": False, "odd": {"a": [1]}}, 'without content, odd {"a": [1]}'),
        ("what was said", "what was said"),
        (["a", None, 3], "a, , 3"),
        (None, ""),
        ({"x": "y" * 3000}, "x " + "y" * 1997 + "…"),
    ],
)
def test_what_was_read_is_told_in_words(given, words):
    assert range_in_words(given) == words


def test_examples_are_not_called_the_records_that_a_fact_was_counted_over():
    made = document()
    one = made["facts"][0]
    facts = [one | {"over": over, "records": 5} for over in ("all", "examples", "this-period", "none")]
    lines = page_of(made | {"facts": facts}, "md").splitlines()
    rows = [line for line in lines if line.startswith("| 30,912 events are recorded")]
    assert [line.split("|")[3].strip() for line in rows] == ["5", "5 examples", "5", "\N{EN DASH}"]
    assert [one["records_sha256"] in line for line in rows] == [True, True, True, False]


def test_the_first_report_of_a_log_compares_nothing_and_says_so_once():
    made = document()
    told = page_of(made | {"changes": made["changes"] | {"nothing_before": True}}, "md")
    assert told.count("There is no record before this period: nothing to compare with.") == 1
    assert "New actors" in page_of(made, "md")
    assert "New actors" not in told
    assert "Against the last period" not in told


def test_what_was_erased_stands_under_what_is_open_and_beside_the_figures():
    made = document()
    whole = page_of(made, "md")
    assert "2 events erased or retained away: type, source and risk are in no figure here." in whole
    assert "2 events erased or retained away: counted by day" in whole
    nothing = {"shown": 0, "of": 0, "events": []}
    assert "for this period, among those whose content is there." in page_of(
        made | {"high_risk": nothing}, "md"
    )
    totals = made["totals"] | {"erased": made["totals"]["erased"] | {"events": 0}}
    without = page_of(made | {"totals": totals, "high_risk": nothing}, "md")
    assert "erased or retained away" not in without
    assert "is recorded for this period." in without


LOST = Finding(1, Change.EXPIRED, Part.RECORD, "lost", 3)
WAITING = Finding(1, Change.NOT_ARRIVED, Part.CHAIN, "waits", source_offset=20)
FORBIDDEN = ("tamper-proof", "tamperproof", "compliant", "compliance", "guarantee", "immutable")


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-10", datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-12", datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        ("2028-02", datetime(2028, 2, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
    ],
)
def test_a_month_is_half_open_and_selects_by_event_time(text, start, end):
    period = month(text)
    assert (period.start, period.end, period.rule) == (start, end, "event")
    assert "by event time" in period.explanation
    assert period.days == (end - start).days


@pytest.mark.parametrize(
    "text", ["2026", "2026-13", "2026-00", "26-10", "2026-10-01", "x", "", "0000-01", "9999-12"]
)
def test_what_is_no_month_is_refused_with_an_example(text):
    with pytest.raises(ConfigurationError, match="2026-10"):
        month(text)


def test_without_a_month_the_last_thirty_days_are_selected_by_append_time():
    now = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
    period = last_days(int(now.timestamp()) * 1_000_000)
    assert (period.end, (period.end - period.start).days, period.rule) == (now, 30, "append")
    assert "by append time" in period.explanation
    assert (period.title, period.days) == ("the last 30 days", 31)


def test_a_good_verification_is_told_in_the_fixed_sentences():
    assert integrity.assurance(verification()) == [
        "Records are consistent with each other. Someone who can rewrite the whole database could hide a change.",
        "It says nothing about events that were never sent, nor whether their content is true.",
    ]
    assert integrity.verdict(verification()) == "OK: 21 records in 1 chain verified"


def test_a_bad_verification_never_says_that_records_are_consistent():
    found = verification(FINDING)
    assert not any("consistent with each other" in sentence for sentence in integrity.assurance(found))
    assert integrity.verdict(found) == "NOT OK: 1 finding in 1 chain; 21 records in 1 chain read"


def test_events_that_expired_are_told_apart_from_changes_and_are_not_ok():
    found = verification(LOST)
    assert "events were lost" in integrity.assurance(found)[0]
    assert integrity.verdict(found).startswith("NOT OK")


@pytest.mark.parametrize(
    ("findings", "told"),
    [
        ((WAITING,), "events are missing that have not arrived"),
        ((WAITING, LOST), "events were lost"),
        ((WAITING, FINDING), "not as they were written"),
    ],
)
def test_events_that_have_not_arrived_are_not_ok_and_not_called_a_change(findings, told):
    found = verification(*findings)
    assert told in integrity.assurance(found)[0]
    assert integrity.verdict(found).startswith("NOT OK")


def test_nothing_recorded_is_not_called_consistent():
    empty = verification()
    empty.chains.clear()
    assert integrity.assurance(empty)[0] == "There are no records to verify."


@pytest.mark.parametrize("findings", [(), (FINDING,), (LOST,), (WAITING,)])
def test_no_report_claims_what_nobody_can_know(findings):
    made = report(findings=findings)
    pages = [
        page_of(made),
        page_of(made, "md"),
        json.dumps(made["integrity"]),
        json.dumps(said.GLOSSARY + said.METHOD),
        *as_lines(verification(*findings)),
    ]
    for page in pages:
        assert not [word for word in FORBIDDEN if word in page.lower()]


def test_a_broken_chain_is_the_first_line_of_every_format():
    made = report(findings=(FINDING,))
    page = page_of(made)
    body = page[page.index("<body>") :]
    assert body.index("NOT OK: 1 finding in 1 chain") < body.index("<h1>")
    assert "<title>NOT VERIFIED" in page
    assert page_of(made, "md").startswith("**NOT OK: 1 finding in 1 chain")
    assert json.loads(page_of(made, "json"))["integrity"]["good"] is False
    assert "record 17" in page


def test_the_terminal_lines_name_the_finding_and_each_chain():
    lines = as_lines(verification(FINDING))
    assert lines[0].startswith("NOT OK")
    assert (
        "chain 1, record 17 (source offset 16): payload edited: body or salt is not what the record commits to"
        in lines
    )
    assert any(
        line.startswith("ok   chain 1, audit.events partition 0: 21 records, source offsets 0 to 19")
        for line in lines
    )
    assert as_json(verification(FINDING))["findings"][0]["change"] == "edited"


def test_a_period_without_events_is_reported_too():
    block = {"by": "rules", "sentences": [{"text": "No events are recorded for October 2026.", "cites": []}]}
    bare = {"format", "period", "made", "integrity"}
    empty = {key: value for key, value in report().items() if key in bare} | {"summary": block}
    for name in ("html", "md"):
        assert "No events are recorded for October 2026." in page_of(empty, name)
        assert "No event of high or critical risk is recorded for this period." in page_of(empty, name)
    assert page_of(empty, "json")
    assert render(empty, "pdf").startswith(b"%PDF")


def test_an_account_with_reasons_is_balanced_and_one_with_losses_is_not():
    """On the first page of every format, and in the letter: what is explained is not open."""
    made = document("plain words")
    pages = [page_of(made, name) for name in ("html", "md")] + [letter_of(made, "ab").text]
    for page in pages:
        assert "Balanced, with 1 named item: nothing is missing" in page
        assert "plain words" in page
        assert "difference" not in page.partition("Signatures")[0]
    lost = {"between": ["in_kafka", "enriched"], "count": 7, "sentence": "7 expired.", "explained": False}
    made["completeness"]["differences"].append(lost | {"cites": []})
    for page in [page_of(made, name) for name in ("html", "md")] + [letter_of(made, "ab").text]:
        assert "Not balanced: 1 difference not explained" in page
        assert "1 difference in the account of completeness that nothing explains." in page


def test_filters_and_a_period_that_is_not_over_are_told_on_the_first_page():
    made = document("plain words")
    whole = [page_of(made, name) for name in ("html", "md")] + [letter_of(made, "ab").text]
    assert not any("Figures are of these alone" in page or "was not over" in page for page in whole)
    made["filters"] = {"sources": ["<b>bill", "shop"], "types": [], "tags": ["data:export"]}
    made["made"] = "2026-10-20T12:00:00+00:00"
    for page in [page_of(made, name) for name in ("html", "md")] + [letter_of(made, "ab").text]:
        first = page.partition("Signatures")[0]
        assert "data:export" in first
        assert "Figures are of these alone; integrity and completeness of the whole log." in first
        assert "The period was not over when this edition was made" in first
    assert "<b>bill" not in page_of(made, "html")
    assert "filtered: see the first page" in page_of(made, "html")


def test_clocks_and_what_judged_the_events_are_told():
    page = page_of(document("plain words"), "md")
    assert (
        "1 event dated more than 5 min ahead of being recorded: a clock that is fast; the furthest by 6.7 min."
        in page
    )
    assert "the records do not tell which; the furthest by 2.0 h." in page
    assert "2 events do not state it" in page
    assert [str(duration(seconds)) for seconds in (None, 3.21, 300, 5400, 90_000, 259_200)] == [
        "\N{EN DASH}",
        "3.2 s",
        "5 min",
        "1.5 h",
        "25 h",
        "3 days",
    ]


def test_a_table_that_is_cut_says_how_much_is_left_out():
    made = report()
    made["tables"]["type"]["keys"] = 4711
    for name in ("html", "md"):
        assert "The 1 most frequent of 4,711; all are in the attachments." in page_of(made, name)


@pytest.mark.parametrize(
    "raw", [None, "null", "{}", "[1, null, []]", "not json", '{"id": 1}', '[{"id": "a"}, 5]', '"x"']
)
def test_rules_of_an_odd_form_are_read_as_far_as_they_go(raw):
    assert all(isinstance(hit.title, str) for hit in read_hits(raw))


@pytest.mark.parametrize(
    ("number", "ceiling"), [(0, 1), (1, 1), (3, 4), (5, 10), (39, 40), (41, 100), (999, 1000)]
)
def test_an_axis_ends_at_a_round_number(number, ceiling):
    assert charts.nice_ceiling(number) == ceiling


@pytest.mark.parametrize("counts", [{}, {date(2026, 10, 1): 0}, {date(2026, 10, 1): 10**9}])
def test_a_chart_of_nothing_or_of_much_is_a_chart(counts):
    bars = [Bar(str(day), events, events // 2) for day, events in counts.items()]
    drawn = charts.day_chart(bars, "Events by day")
    assert drawn.count("<svg") == 1
    assert drawn.count('class="bar"') == sum(1 for bar in bars if bar.events)
    assert 'aria-label="Events by day"' in drawn
    assert "NaN" not in drawn
