"""What gets a proof as a file of an edition: what was made of the document whose hash the edition's row has, and nothing else."""

import json
from datetime import UTC, datetime

import pytest
from markdown_it import MarkdownIt

from services.common.errors import FatalError
from services.reporter.document import Cut, Inputs, edition_hash
from services.reporter.formats import FORMATS, Extras, render
from services.reporter.formats.manifest import recorded
from services.reporter.formats.other import OTHER
from services.reporter.period import month
from services.reporter.runs.editions import Rebuilt
from services.reporter.runs.filing import files_event
from services.reporter.runs.making import Wish
from services.reporter.runs.others import marked
from services.reporter.runs.rows import Edition
from tests.report_document import document

ID = "monthly/2026-10/2"


def edition(of):
    inputs = Inputs("monthly", month("2026-10"), Cut(None, None, None, {}), 2, 0, {}, {})
    at = datetime(2026, 11, 1, tzinfo=UTC)
    return Edition(ID, 1, 2, None, None, "tests", at, inputs, edition_hash(of), 0, {}, {}, [], True, "ok")


def filed(row, made, files, detail="full"):
    event, _ = files_event(row, made, Wish(("json",), detail), "cfo", files, 0)
    return json.loads(event)["data"]


def files_of(made):
    return [recorded("report.json", render(made, "json"))]


@pytest.mark.parametrize("detail", ["full", "pseudonymous", "figures"])
def test_the_record_of_files_names_the_hash_of_the_editions_row(detail):
    made = document("plain")
    files = [recorded("report.json", render(made, "json", Extras(detail=detail)))]
    said = filed(edition(made), made, files, detail)
    assert (said["edition"], said["sha256"], said["detail"]) == (ID, edition_hash(made), detail)


def test_files_of_another_document_get_no_record():
    made = document("plain")
    other = made | {"totals": {"all": {"events": 1}}}
    for detail in ("full", "pseudonymous", "figures"):
        with pytest.raises(FatalError, match="not those of edition"):
            filed(edition(made), other, [], detail)
    with pytest.raises(FatalError, match="not those of edition"):  # the right document, and files of another
        filed(edition(made), made, files_of(other))


def other_than(made, text="asked for"):
    gone = {
        "events": 1,
        "until": None,
        "what": "erasure",
        "record": "9:1",
        "recorded": "t",
        "by": "a",
        "reason": text,
    }
    return marked(Rebuilt(edition(made), made | {"alerts": []}, False, ["alerts"], [gone]))


def test_what_is_other_says_so_first_in_every_format():
    made = document("plain")
    other = other_than(made)
    for name in ("html", "md", "pdf", "json", "pack"):
        assert FORMATS[name]
        assert render(other, name)
    page, lines = render(other, "html").decode(), render(other, "md").decode()
    assert lines.startswith("**NOT THE EDITION")
    for said in (page[page.index("<header") : page.index("</header>")], lines[: lines.index("## 1.")]):
        assert edition_hash(made) in said
        assert "since then: erasure of 1 events" in said
        assert f"other than edition {ID} as recorded" in said
        assert "Whoever signs" not in said
    assert json.loads(render(other, "json"))[OTHER]["sha256"] == edition_hash(made)


def test_why_it_is_other_is_text_whoever_wrote_it():
    other = other_than(document("plain"), "<b>x</b> [a](https://b.example)")
    header = render(other, "html").decode().partition("</header>")[0]
    assert "<b>x" not in header
    gfm = MarkdownIt("commonmark", {"linkify": True}).enable(["table", "linkify"])
    shown = gfm.render(render(other, "md").decode())
    assert "b.example" in shown
    assert "<a " not in shown


def test_a_marked_document_is_never_the_edition():
    """Even where the records gave the very same one."""
    made = document("plain")
    with pytest.raises(FatalError):
        filed(edition(made), marked(Rebuilt(edition(made), made, False, [], [])), [])
