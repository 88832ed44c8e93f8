"""Users' report templates: their own Jinja2, which can neither reach out, nor stop a report, nor turn an event into markup."""

from __future__ import annotations

import json

import pytest

from services.common.errors import ConfigurationError
from services.reporter.templating.apart import Limits, render_template
from services.reporter.templating.child import prose, render
from services.reporter.templating.variables import variables_of

DEFAULT = Limits()
ISSUE_TEMPLATE = """\
## Executive Summary
{{ai_summary}}
## High-Risk Events
{% for event in high_risk_events %}
- Event: {{event.event_type}} | Time: {{event.event_time}} | Tags: {{event.ai_tags}}
{% endfor %}
"""
DOCUMENT = {
    "summary": {
        "sentences": [
            {"text": "12 events are recorded."},
            {"text": "The most frequent type is “<b>*x*</b>”."},
        ]
    },
    "high_risk": {
        "events": [
            {
                "event_type": "data_export",
                "event_time": "2026-05-01T12:00:00+00:00",
                "tags": ["data:export", "pii"],
                "who": {"actor": "jo"},
            },
            {"event_type": "[x](http://evil.example)", "event_time": "2026-05-02", "tags": [], "who": None},
        ]
    },
    "period": {"label": "2026-05"},
    "integrity": {"good": True, "verdict": "OK: 12 records in 1 chain verified"},
}


async def rendered(tmp_path, text, limits=DEFAULT, **more):
    path = tmp_path / "mine.md.j2"
    path.write_text(text, encoding="utf-8")
    return await render_template(path, variables_of(DOCUMENT) | more, limits)


async def test_the_template_that_users_bring_works_unchanged(tmp_path):
    assert await rendered(tmp_path, ISSUE_TEMPLATE) == (
        "## Executive Summary\n"
        "12 events are recorded. The most frequent type is `“<b>*x*</b>”`.\n"
        "## High-Risk Events\n"
        "- Event: data_export | Time: 2026-05-01T12:00:00+00:00 | Tags: data:export, pii\n"
        "- Event: `[x](http://evil.example)` | Time: 2026-05-02 | Tags: \n"
    )


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a\n{{ ai_sumary }}", 2, "there is no variable ai_sumary; did you mean ai_summary?"),
        ("a\nb\n{% for event in events", 3, "unexpected end of template"),
        (
            "{% for event in high_risk_events %}\n{{ event.colour }}\n{% endfor %}",
            2,
            "has no attribute 'colour'",
        ),
        ("\n{{ 1 / 0 }}", 2, "ZeroDivisionError"),
        ("{{ ''.__class__.__mro__ }}", 1, "not allowed in a template"),
        ("{% include '/etc/passwd' %}", 1, "no loader"),
        ("{{ period.update({}) }}", 1, "not allowed in a template"),
    ],
)
async def test_a_wrong_template_is_told_by_file_line_and_variable(tmp_path, text, line, why):
    with pytest.raises(ConfigurationError) as raised:
        await rendered(tmp_path, text)
    assert str(raised.value).startswith(f"{tmp_path / 'mine.md.j2'}, line {line}: ")
    assert why in str(raised.value)


@pytest.mark.parametrize(
    ("text", "limits", "why"),
    [
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            Limits(cpu_seconds=1),
            "processor time",
        ),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            Limits(seconds=0.5),
            "within 0.5 s",
        ),
        ("{{ 'x' * 2000000000 }}", Limits(), "memory"),
        (
            "{% for a in range(99999) %}{{ 'x' * 999 }}{% endfor %}",
            Limits(output_bytes=1024 * 1024),
            "more than 1 MiB",
        ),
    ],
)
async def test_a_template_that_takes_too_much_is_ended(tmp_path, text, limits, why):
    with pytest.raises(ConfigurationError, match=why):
        await rendered(tmp_path, text, limits)


async def test_a_template_that_is_not_there_or_no_text_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await render_template(tmp_path / "none.j2", {})
    (tmp_path / "binary.j2").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await render_template(tmp_path / "binary.j2", {})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("data_export", "data_export"),
        ("_emphasis_", "`_emphasis_`"),
        ("jo@example.com", "`jo@example.com`"),
        ("see https://evil.example", "`see https://evil.example`"),
        ("www.evil.example", "`www.evil.example`"),
        ("# heading", "`# heading`"),
        ("1. first", "`1. first`"),
        ("- item", "`- item`"),
        ("a\n\nb", "`a[U+000A][U+000A]b`"),
        ("a | b", "`a │ b`"),
        ("", ""),
    ],
)
def test_a_value_is_never_markup(text, shown):
    assert prose(text) == shown


def test_hostile_texts_of_others_stay_one_line_without_markup(shared_data):
    for text in json.loads((shared_data / "naughty-strings.json").read_text(encoding="utf-8")):
        made = render("t", "{{ x }}|", {"x": text})["text"]
        assert "\n" not in made
        assert "<" not in made or made.startswith("`")
