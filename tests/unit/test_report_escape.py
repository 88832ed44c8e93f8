"""No text of an event changes what stands around it: not in HTML, Markdown, CSV, JSON lines or on a terminal."""

import base64
import csv
import io
import json
import re
import unicodedata
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from services.reporter import escape
from services.reporter.attachments import COLUMNS, _cells, _csv_line, json_line
from services.reporter.formats import render
from tests.report_document import document
from tests.report_parts import START

HOSTILE = [
    "<script>alert(1)</script>",
    "</td></tr></table><h1>All is well</h1>",
    '"><img src=x onerror=alert(1)>',
    "</style><style>*{display:none}",
    "{{ 7*7 }}{% for x in y %}${7*7}<%= 7 %>#{7}",
    "a | b || c",
    "`code` ``two`` ```",
    "```\n# Heading\n",
    "[click](javascript:alert(1)) ![x](https://evil.example/x.png) <https://evil.example>",
    "https://evil.example www.evil.example a@evil.example",
    "**bold** _it_ ~~gone~~ &lt;b&gt; &amp; \\` \\| \\",
    "line one\nline two\r\n| a | b |\n| - | - |\n\n# Heading\n- item",
    "\u202egnp.exe\u2066\u2069\u200b\u200d\ufeff\u00ad",
    "\x1b[2J\x1b]0;owned\x07\x00\x08\x7f\x9b31m",
    "\ud800 \udfff \ufffe \U0010ffff \ue000",
    "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    " =1+1",
    "\uff1d1+1",
    "'; DROP TABLE audit.record; --",
    "<!-- --> <![CDATA[ ]]> <?php ?>",
    "x" * 5000,
    "",
    "   ",
    "`",
    "|",
    "\u2028\u2029\x85",
]
BENIGN = "plain"


class Skeleton(HTMLParser):
    """The tags of a page with their attributes' names, and links."""

    def __init__(self):
        super().__init__()
        self.tags, self.links, self.texts = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, *(name for name, _ in attributes)))
        self.links += [value for name, value in attributes if name in ("href", "src")]

    def handle_endtag(self, tag):
        self.tags.append(f"/{tag}")

    def handle_data(self, data):
        self.texts.append(data)


def page_of(text):
    return render(document(text), "html").decode()


def markdown_of(text):
    return render(document(text), "md").decode()


def skeleton(page):
    parser = Skeleton()
    parser.feed(page)
    parser.close()
    return parser


def markdown_skeleton(page):
    """The kinds of blocks and inline pieces, text and code apart."""
    kinds = []
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(page):
        kinds.append(token.type)
        kinds += [child.type for child in token.children or [] if child.type not in ("text", "code_inline")]
    return kinds


HTML_TAGS = skeleton(page_of(BENIGN)).tags
MARKDOWN_KINDS = markdown_skeleton(markdown_of(BENIGN))


def check_page(text):
    found = skeleton(page_of(text))
    assert found.tags == HTML_TAGS if text else set(found.tags) <= set(HTML_TAGS)
    assert all(link.startswith("#") for link in found.links)
    shown = "".join(found.texts)
    assert not [letter for letter in shown if letter != "\n" and unicodedata.category(letter) in ("Cc", "Cf")]


def check_markdown(text):
    page = markdown_of(text)
    kinds = markdown_skeleton(page)
    assert kinds == MARKDOWN_KINDS if text else set(kinds) <= set(MARKDOWN_KINDS)
    assert not [letter for letter in page if letter != "\n" and unicodedata.category(letter) in ("Cc", "Cf")]


def row_of(text):
    row = dict.fromkeys(COLUMNS, text) | {"rules": "[]", "event_data": json.dumps({"x": text})}
    return row | {
        "chain_no": 1,
        "seq": 2,
        "record_hash": bytes(32),
        "event_time": START,
        "ai_tags": [text, text],
    }


def check_csv(text):
    line = _csv_line(_cells(row_of(text)))
    (cells,) = csv.reader(io.StringIO(line, newline=""))
    assert len(cells) == len(COLUMNS)
    assert line.count("\n") == 1
    for cell in cells:
        assert not cell.lstrip().startswith(
            ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
        )


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("check", [check_page, check_markdown, check_csv])
def test_a_hostile_text_leaves_the_page_as_it_is(check, text):
    check(text)


def test_the_naughty_strings_leave_the_pages_as_they_are(shared_data):
    strings = json.loads((shared_data / "naughty-strings.json").read_text())
    assert len(strings) > 400
    for text in strings:
        check_csv(text)
        assert "\x1b" not in escape.terminal(text)
    for start in range(0, len(strings), 40):
        joined = " ".join(strings[start : start + 40]) or "x"
        check_page(joined)
        check_markdown(joined)


def test_no_address_in_a_text_becomes_a_link():
    texts = [
        "see https://evil.example/x now",
        "www.evil.example",
        "a@evil.example, and others",
        "[x](https://evil.example)",
    ]
    gfm = MarkdownIt("commonmark", {"linkify": True}).enable(["table", "linkify"])
    for text in texts:
        assert not re.search(
            "href|src=",
            "".join(re.findall("<main.*</main>", page_of(text), re.DOTALL)).replace('href="#r-', ""),
        )
        assert "<a " not in gfm.render(markdown_of(text))


@settings(max_examples=15, deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_any_text_leaves_the_pages_as_they_are(text):
    check_page(text)
    check_markdown(text)


@given(st.text())
def test_what_is_shown_is_one_line_of_visible_characters(text):
    shown = escape.visible(text)
    assert all(
        unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for letter in shown
    )
    assert escape.visible(shown) == shown


def test_hidden_characters_are_written_as_their_numbers():
    assert escape.visible("a\u202eb\x00\n") == "a[U+202E]b[U+0000][U+000A]"
    assert (
        escape.visible("e\u0301 is kept, e\u0301\u0301\u0301 is not")
        == "e\u0301 is kept, e\u0301\u0301[U+0301] is not"
    )


@given(st.text())
def test_a_cell_is_never_a_formula_and_keeps_its_text(text):
    cell = escape.csv_cell(text)
    assert not cell.startswith(("=", "+", "-", "@"))
    assert cell.removeprefix("'") == escape.visible(text).removeprefix("'")


def test_a_line_of_the_attachment_is_ascii_json_whatever_the_text():
    for text in HOSTILE:
        line = json_line(row_of(text))
        assert line.isascii()
        assert line.count(b"\n") == 1
        assert json.loads(line)["source"] == text


def test_the_page_allows_itself_nothing_but_its_own_style_and_script():
    page = page_of(BENIGN)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1].replace("&#39;", "'")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules.pop("style-src") == f"'sha256-{element_hash(page, 'style')}'"
    assert rules.pop("script-src") == f"'sha256-{element_hash(page, 'script')}'"
    assert rules == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
    }


def element_hash(page, name):
    content = re.search(f'<{name} id="{name}">(.*?)</{name}>', page, re.DOTALL)[1]
    return base64.b64encode(sha256(content.encode()).digest()).decode()


def test_the_page_names_no_address_but_those_of_specifications_in_comments():
    addresses = set(re.findall(r"https?://[^\s\"')]+", page_of(BENIGN)))
    assert addresses == {
        "http://www.w3.org/2000/svg",
        "https://c2sp.org/signed-note",
        "https://c2sp.org/tlog-policy",
    }
