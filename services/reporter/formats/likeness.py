"""What stands in a page, in a form that its own script can write too: so the script finds what was changed after it was made.

Whitespace counts as one space. Not looked at: the head beside title and style, the attributes of `body` (extensions of browsers
put theirs there), and the element `seal`, which holds the hash. Every byte is for the edition's recorded hash to cover.
"""

from __future__ import annotations

import re
from hashlib import sha256
from html.parser import HTMLParser

_SPACES = re.compile("[ \t\n\r\f]+")
_VOID = frozenset(("br", "input", "meta"))


def likeness(page: str) -> str:
    """SHA-256 in hex of a page that we made: well-formed, with every end tag."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    made = f"{reader.style}\n{reader.title}\n{reader.body}"
    return sha256(made.encode()).hexdigest()


class _Reader(HTMLParser):
    """Writes the body as web/page.js does."""

    def __init__(self) -> None:
        super().__init__()
        self.style, self.title, self.body = "", "", ""
        self._open: list[str] = []
        self._text = ""
        self._pieces: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._flush()
        self._open.append(tag)
        if "body" in self._open:
            given = [] if tag == "body" else sorted(f"{name}={value or ''}\n" for name, value in attrs)
            self._pieces.append(f"<{tag}\n{''.join(given)}>")
            self._hidden = ("id", "seal") in attrs
        if tag in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        self._flush()
        opened = self._open.pop()
        if opened != tag:
            raise ValueError(f"<{opened}> ends with </{tag}>: the page is not well-formed")
        self._hidden = False
        if tag == "body":
            self.body = "".join(self._pieces) + "</body>"
            self._pieces.clear()
        elif "body" in self._open:
            self._pieces.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self._text += data

    def _flush(self) -> None:
        text, self._text = self._text, ""
        here = self._open[-1] if self._open else ""
        if here in ("style", "title") and "body" not in self._open:
            setattr(self, here, text)
        elif "body" in self._open and not self._hidden:
            told = _SPACES.sub(" ", text)
            self._pieces.append("" if told == " " else told)
