"""The report as one HTML file: readable without scripts, and with them it checks itself on opening. It asks for nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup, escape

from services.reporter.charts import day_chart, share_bar
from services.reporter.document import canonical
from services.reporter.escape import Trusted, visible
from services.reporter.formats.blocks import Chart, Cite, Code, Mark, Page, Piece, Strong, Text
from services.reporter.formats.likeness import likeness
from services.reporter.formats.proofs import bundle

_FOLDER = Path(__file__).parent
_NO_HASH = "0" * 64


def render_html(
    document: Mapping[str, Any], page: Page, proofs: Mapping[str, bytes], policy: bytes = b""
) -> bytes:
    """`proofs`: proof files of cited records, by record; `policy`: whose signatures count, where the reader gives none."""
    data = canonical(document)
    style, script = _style(), _script()
    seal = {"document": sha256(data).hexdigest(), "likeness": _NO_HASH, "policy": policy.decode()}
    parts = {
        "page": page,
        "style": Markup(style),  # noqa: S704 - our own file
        "script": Markup(script),  # noqa: S704 - our own files
        "style_hash": _csp_hash(style),
        "script_hash": _csp_hash(script),
        "document": _embedded(data.decode()),
        "proofs": _embedded(json.dumps(bundle(proofs), separators=(",", ":"))),
    }
    template = _environment().get_template("page.html.j2")
    made = template.render(**parts, seal=_embedded(json.dumps(seal)))
    return made.replace(f'"likeness": "{_NO_HASH}"', f'"likeness": "{likeness(made)}"').encode()


def _embedded(text: str) -> Markup:
    """JSON inside a page's element: it can neither end the element nor begin another. page.js undoes it."""
    safe = text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")
    return Markup(safe)  # noqa: S704 - nothing is left that could be markup


def _csp_hash(text: str) -> str:
    return base64.b64encode(sha256(text.encode()).digest()).decode()


@cache
def _style() -> str:
    return (_FOLDER / "templates" / "page.css").read_text(encoding="utf-8")


@cache
def _script() -> str:
    return "".join((_FOLDER / "web" / name).read_text(encoding="utf-8") for name in ("verify.js", "page.js"))


@cache
def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "inline": _inline,
        "plain": plain,
        "kind": lambda block: type(block).__name__,
        "chart": _chart,
        "share_bar": share_bar,
    }
    return environment


def _shown(value: Any) -> Any:
    """Before Jinja escapes it: hidden characters made visible. Markup comes from our own code alone."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _inline(piece: Piece) -> Markup:
    match piece:
        case Strong(text):
            return Markup("<strong><bdi>{}</bdi></strong>").format(visible(text))
        case Code(text):
            return Markup("<code>{}</code>").format(visible(text))
        case Mark(tone, text):
            marked = Markup('<span class="state {}"><span aria-hidden="true">{}</span> {}</span>')
            return marked.format(tone, piece.sign, visible(text))
        case Cite(record):
            cited = Markup(' <a class="cite" href="#r-{}">[{}]</a>')
            return cited.format(record.replace(":", "-"), record)
        case Trusted():
            return escape(visible(piece))
    return Markup("<bdi>{}</bdi>").format(visible(_text_of(piece)))


def _text_of(piece: Piece) -> str:
    match piece:
        case Cite(record):
            return f" [{record}]"
        case str():
            return piece
    return piece.text


def plain(text: Text) -> str:
    """`text` without marks."""
    return "".join(_text_of(piece) for piece in text)


def _chart(block: Chart) -> Markup:
    return day_chart(block.bars, block.description)
