"""The PDF: every text can be set, none is read as source, the evidence is inside, the same input gives the same bytes."""

import json
import re
import subprocess
import sys
import zlib

import pytest
import typst
from hypothesis import given, settings
from hypothesis import strategies as st

from services.reporter.document import canonical
from services.reporter.formats import Extras, render
from services.reporter.formats.pdf import drawable, drawn
from tests.report_document import document, event, sealed
from tests.service_process import ROOT
from tests.unit.test_report_escape import HOSTILE

_, PROOFS, POLICY = sealed()
EXTRAS = Extras(PROOFS, {}, POLICY)
SOURCES = [
    '#panic("read as source")',
    '$ x $ #eval("1")',
    "*bold* _it_ = Heading",
    "@label <label>",
    "\\ #[",
    "//",
    "/*",
]


def pdf_of(text):
    return render(document(text), "pdf", EXTRAS)


def streams(data):
    """The unpacked streams of a PDF, those that are packed with Flate."""
    for found in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL):
        try:
            yield zlib.decompress(found[1])
        except zlib.error:
            yield found[1]


@pytest.mark.parametrize(
    "text",
    [
        " ".join(SOURCES),
        " ".join(one[:200] for one in HOSTILE),
        "\u0001\uffff\ue000 \u4e2d\u6587 \U0001f600 \u05d0\u0628",
        "",
    ],
)
def test_any_text_can_be_set(text):
    assert pdf_of(text).startswith(b"%PDF-1.7")


@settings(max_examples=12, deadline=None)
@given(st.text(min_size=1, max_size=80))
def test_no_text_stops_a_report(text):
    assert pdf_of(text).startswith(b"%PDF-1.7")


def test_no_naughty_string_and_no_injection_stops_a_report(shared_data):
    strings = json.loads((shared_data / "naughty-strings.json").read_text())
    injections = [
        json.loads(line) for line in (shared_data / "prompt-injections.jsonl").read_text().splitlines()
    ]
    texts = [*strings, *(str(one) for one in injections)]
    bare = {key: document()[key] for key in ("format", "period", "made", "integrity")}
    for at in range(0, len(texts), 100):
        events = [event(text[:2000]) for text in texts[at : at + 100]]
        made = bare | {"high_risk": {"shown": len(events), "of": len(events), "events": events}}
        assert render(made, "pdf").startswith(b"%PDF-1.7")


def test_what_cannot_be_drawn_is_written_as_its_number():
    assert (
        drawn("a\u4e2db \U0001f600 \u05d0 \u202e \ue000") == "a[U+4E2D]b [U+1F600] [U+05D0] [U+202E] [U+E000]"
    )
    assert drawn("Zażółć Ελληνικά Привет – “x”") == "Zażółć Ελληνικά Привет – “x”"  # noqa: RUF001 - other alphabets


def test_the_fonts_can_draw_all_that_is_taken_for_drawable():
    """In PDF/A, typst refuses a character without a glyph: so one page with each of them is the proof."""
    source = b"""#set document(title: "x", date: datetime(year: 2026, month: 1, day: 1))
#set text(font: ("Libertinus Serif", "DejaVu Sans Mono"))
#for letter in json(bytes(sys.inputs.letters)) [#letter #sym.space]
#strong(for letter in json(bytes(sys.inputs.letters)) [#letter #sym.space])"""
    letters = json.dumps([chr(point) for point in sorted(drawable())])
    compiler = typst.Compiler(source, ignore_system_fonts=True, sys_inputs={"letters": letters})
    assert compiler.compile(format="pdf", pdf_standards="a-3b").startswith(b"%PDF")
    assert len(drawable()) > 3000


def test_the_evidence_is_inside_byte_for_byte():
    made = document("plain")
    inside = list(streams(render(made, "pdf", EXTRAS)))
    assert canonical(made) in inside
    assert POLICY in inside
    assert any(b'"records":{"1:1"' in one for one in inside)


@pytest.mark.long
def test_verapdf_finds_pdf_a_3a_and_pdf_ua_1_kept(tmp_path):
    """And finds fault with a file that keeps neither."""
    files = {"plain": pdf_of("plain"), "hostile": pdf_of(" ".join([*SOURCES, *HOSTILE])[:4000])}
    files["none"] = typst.Compiler(b"x", ignore_system_fonts=True).compile(format="pdf")
    for name, data in files.items():
        (tmp_path / f"{name}.pdf").write_bytes(data)
    paths = {name: str(tmp_path / f"{name}.pdf") for name in files}
    command = [sys.executable, "-m", "tests.verapdf", *paths.values()]
    found = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    good = {"PDF/A-3a": [], "PDF/UA-1": []}
    assert found[paths["plain"]] == good
    assert found[paths["hostile"]] == good
    assert all(found[paths["none"]].values())
