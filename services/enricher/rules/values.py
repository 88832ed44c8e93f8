"""What the compiled predicates call at run time: event values of any JSON type against the texts of a rule.

Sigma compares text, without regard to case unless a rule says otherwise. A number or boolean of an event is compared
by its text (`4000`, `true`), a list by any of its items, an object by its compact JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import msgspec
import re2

from schemas.events import Event, parse_time
from services.enricher.rules.literals import required_literal

_ADDRESS_LIMIT = 64
TextTest = Callable[[str], bool]
_LIST_LIMIT = 10_000
"""Items of one list that a rule looks at: an event may be a megabyte."""


def text_of(value: Any) -> str | None:
    """A value's text; None for null and for lists, whose items count one by one."""
    kind = type(value)
    if kind is str:
        text: str = value
        return text
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is float:
        return str(int(value)) if value.is_integer() else repr(value)
    if kind is dict:
        return json_text(value)
    return None


def json_text(value: Any) -> str:
    """Compact JSON, as most logs are written; empty for what JSON cannot say (lone surrogates, huge numbers)."""
    try:
        return msgspec.json.encode(value).decode()
    except (ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return ""


def loose(value: Any, test: TextTest) -> bool:
    """Whether a value that is not a string passes a test of text."""
    if value is None:
        return False
    if type(value) is list or type(value) is tuple:
        return any(test(item) if type(item) is str else loose(item, test) for item in value[:_LIST_LIMIT])
    text = text_of(value)
    return text is not None and test(text)


def search(pattern: str) -> TextTest:
    """A test by regular expression, unanchored, in time linear in the text. Raises ValueError."""
    options = re2.Options()
    options.log_errors = False
    try:
        found = re2.compile(pattern, options).search
    except re2.error as error:
        reason = error.args[0] if error.args else error
        shown = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"regular expression {pattern!r} cannot be used: {shown}") from None

    literal = required_literal(pattern)

    def test(text: str) -> bool:
        if literal not in text:
            return False
        try:
            return found(text) is not None
        except UnicodeEncodeError:
            return found(text.encode("utf-8", "replace").decode()) is not None

    return test


def within(network: IPv4Network | IPv6Network) -> TextTest:
    """A test for addresses of a network."""

    def test(text: str) -> bool:
        address = _address(text) if len(text) <= _ADDRESS_LIMIT else None
        return address is not None and address.version == network.version and address in network

    return test


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def compares(operator: str, limit: float) -> Callable[[Any], bool]:
    """A numeric comparison (`<`, `<=`, `>`, `>=`) with a number, or a text or list of numbers."""

    def test(value: Any) -> bool:
        if type(value) is list:
            return any(test(item) for item in value[:_LIST_LIMIT])
        number = _number(value)
        if number is None:
            return False
        if operator == "<":
            return number < limit
        if operator == "<=":
            return number <= limit
        return number > limit if operator == ">" else number >= limit

    return test


def _number(value: Any) -> float | None:
    if type(value) is int or type(value) is float:
        return value
    if type(value) is str and len(value) <= 40:
        try:
            return float(value)
        except ValueError:
            return None
    return None


def same(*, starts: bool, ends: bool) -> Callable[[Any, Any], bool]:
    """Compares two fields of one event as text, without regard to case; lists by any pair of items."""

    def fits(left: str, right: str) -> bool:
        if starts:
            return left.startswith(right)
        return left.endswith(right) if ends else left == right

    def test(left: Any, right: Any) -> bool:
        wanted = [text.lower() for item in _items(right) if (text := text_of(item)) is not None]
        return any(
            fits(text.lower(), other)
            for item in _items(left)
            if (text := text_of(item)) is not None
            for other in wanted
        )

    return test


def _items(value: Any) -> list[Any]:
    return value[:100] if type(value) is list else [value]


def time_part(part: str, wanted: int) -> TextTest:
    """A test of a time's minute, hour, day, ISO week, month or year, in UTC."""

    def test(text: str) -> bool:
        try:
            moment = datetime.fromtimestamp(parse_time(text)[0] / 1_000_000, UTC)
        except (ValueError, OverflowError, OSError):
            return False
        found = moment.isocalendar().week if part == "week" else getattr(moment, part)
        return bool(found == wanted)

    return test


class Haystack:
    """The text that keywords are looked for in: all keys and values of an event, one a line. The last event's text is
    kept, since several rules ask for it one after another."""

    def __init__(self) -> None:
        self._last: tuple[Any, str, str] = (None, "", "")

    def raw(self, event: Event) -> str:
        return self._texts(event)[1]

    def lower(self, event: Event) -> str:
        return self._texts(event)[2]

    def _texts(self, event: Event) -> tuple[Any, str, str]:
        last = self._last
        if last[0] is not event:
            text = "\n".join(_texts_in(event.data))
            last = self._last = (event, text, text.lower())
        return last


def _texts_in(value: Any) -> list[str]:
    found: list[str] = []
    todo = [value]
    while todo:
        item = todo.pop()
        if type(item) is dict:
            for key, child in item.items():
                found.append(key)
                todo.append(child)
        elif type(item) is list:
            todo.extend(item)
        elif type(item) is bytes:
            found.append(item.decode("utf-8", "replace"))
        elif (text := text_of(item)) is not None:
            found.append(text)
    return found


HAYSTACK = Haystack()
