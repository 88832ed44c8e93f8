"""Templates to pages. HTML is escaped by Jinja; in Markdown whatever is not `Trusted` becomes a code span."""

from __future__ import annotations

import base64
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from schemas.record import Kind
from services.reporter.charts import day_chart, share_bar
from services.reporter.escape import Trusted, cut, markdown, visible
from services.reporter.report import KINDS, Report
from services.reporter.summary import number, parts_of, plural, share

_TEMPLATES = Path(__file__).with_name("templates")


def render_html(report: Report) -> str:
    """One self-contained page that asks for nothing and runs nothing."""
    style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    page = _environment("html").get_template("report.html.j2")
    return page.render(report=report, style=Markup(style), style_hash=digest)  # noqa: S704 - our own file


def render_markdown(report: Report) -> str:
    """The same as Markdown (GitHub's tables)."""
    return _environment("md").get_template("report.md.j2").render(report=report)


@cache
def _environment(target: Literal["html", "md"]) -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=target == "html",
        finalize=_for_html if target == "html" else _for_markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cut": cut, "when": when, "number": number, "trusted": Trusted}
    environment.globals |= {
        "day_chart": day_chart,
        "share_bar": share_bar,
        "plural": plural,
        "share": share,
        "parts_of": parts_of,
        "KINDS": KINDS,
        "Kind": Kind,
    }
    return environment


def when(moment: datetime) -> Trusted:
    """2026-10-03 12:00:05, in UTC as everything here."""
    return Trusted(moment.strftime("%Y-%m-%d %H:%M:%S"))


def _for_html(value: Any) -> Any:
    """Before Jinja escapes it: hidden characters made visible. Markup comes from our own code alone."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup | Trusted) else value


def _for_markdown(value: Any) -> Any:
    return markdown(value) if isinstance(value, str) and not isinstance(value, Trusted) else value
