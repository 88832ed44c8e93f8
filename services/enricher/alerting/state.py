"""What the alerter remembers: windows and sources, each one entry of a table of bytes.

An entry names, for every log that it counted from, the next source offset to be counted (`marks`). It is written as a
whole, so however often a batch comes again, and whichever entries a crash kept from being written, an event counts once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, MutableMapping

import msgspec

from services.common.logging import get_logger
from services.enricher.alerting.sequence import Sequence

log = get_logger(__name__)
MOST_WINDOWS = 50_000
MOST_SOURCES = 10_000
MOST_GROUPS = 20_000
"""Entries beyond are forgotten, the oldest first: sources are named by whoever sends events."""


class Window(msgspec.Struct):
    """`events` of one kind within one window. `begin_ms`: its start; `touched_ms`: when it was counted into last;
    `said`: whether its alert was raised."""

    events: int = 0
    begin_ms: int = 0
    touched_ms: int = 0
    said: bool = False
    source: str = ""
    marks: dict[str, int] = {}

    def take(self, log_: str, offsets: Iterable[int], now_ms: int) -> bool:
        """Counts the events at `offsets`, rising, of a log; False where it knew them all."""
        mark = self.marks.get(log_, -1)
        new = [offset for offset in offsets if offset >= mark]
        if new:
            self.marks[log_] = new[-1] + 1
            self.events += len(new)
            self.touched_ms = now_ms
        return bool(new)

    def take_share(self, log_: str, first: int, last: int, events: int, now_ms: int) -> None:
        """Counts `events` that lie somewhere from `first` to `last`; where some of these offsets are known already,
        in proportion."""
        mark = max(self.marks.get(log_, -1), first)
        if mark <= last:
            self.events += round(events * (last - mark + 1) / (last - first + 1))
            self.marks[log_] = last + 1
            self.touched_ms = now_ms


class Source(msgspec.Struct):
    """One source. `first_ms`, `last_ms`: when it was first and last heard of; `longest_ms`: its longest pause;
    `events`: how many it has sent since it was first heard of; `silent`: whether its silence was told."""

    name: str = ""
    first_ms: int = 0
    last_ms: int = 0
    longest_ms: int = 0
    events: int = 0
    silent: bool = False
    gaps_told_ms: int = 0
    sequence: Sequence | None = None
    marks: dict[str, int] = {}


class AiCursor(msgspec.Struct):
    """How far audit.system was read for what models do, and since when (milliseconds since 1970 UTC)."""

    next: int | None = None
    since_ms: int = 0


class AiWindow(msgspec.Struct):
    """What models were asked and said within one window: requests, failures by reason, tokens, micro-dollars; readings, and how
    many of them lay apart from the rules. `upto`: the next offset of audit.system to be counted."""

    begin_ms: int = 0
    upto: int = 0
    requests: int = 0
    tokens: int = 0
    micro: int = 0
    whys: dict[str, int] = {}
    readings: int = 0
    apart: int = 0
    said: bool = False

    @property
    def failed(self) -> int:
        """Requests without an answer."""
        return sum(self.whys.values())

    @property
    def share_failed(self) -> float:
        """Of the requests, from 0 to 1."""
        return self.failed / self.requests if self.requests else 0.0

    @property
    def share_apart(self) -> float:
        """Of the readings, from 0 to 1."""
        return self.apart / self.readings if self.readings else 0.0


class _Touched(msgspec.Struct):
    seconds: int = 0
    touched_ms: int = 0


_HOUR_MS = 3_600_000
_GROUP_KEY = re.compile(rb"c+\|")
_touched = msgspec.json.Decoder(_Touched).decode
_window = msgspec.json.Decoder(Window).decode
_source = msgspec.json.Decoder(Source).decode
_ai_window = msgspec.json.Decoder(AiWindow).decode
_ai_cursor = msgspec.json.Decoder(AiCursor).decode
_AI_CURSOR = b"a|cursor"
_encode = msgspec.json.Encoder().encode


class State:
    """Windows by kind, subject and start; sources by producer id in hex. Over any mapping of bytes to bytes."""

    def __init__(self, table: MutableMapping[bytes, bytes]) -> None:
        self._table = table

    @property
    def table(self) -> MutableMapping[bytes, bytes]:
        return self._table

    def window(self, kind: str, subject: str, begin_ms: int) -> Window:
        """The entry, or a new one that is not kept yet."""
        raw = self._table.get(_window_key(kind, subject, begin_ms))
        return Window(begin_ms=begin_ms) if raw is None else _window(raw)

    def keep_window(self, kind: str, subject: str, window: Window) -> None:
        self._table[_window_key(kind, subject, window.begin_ms)] = _encode(window)

    def source(self, producer: str) -> Source | None:
        raw = self._table.get(b"s|" + producer.encode())
        return None if raw is None else _source(raw)

    def keep_source(self, producer: str, source: Source) -> None:
        self._table[b"s|" + producer.encode()] = _encode(source)

    def sources(self) -> Iterator[tuple[str, Source]]:
        for key, raw in list(self._table.items()):
            if key.startswith(b"s|"):
                yield key[2:].decode(), _source(raw)

    def ai_cursor(self) -> AiCursor | None:
        """None before the first look."""
        raw = self._table.get(_AI_CURSOR)
        return None if raw is None else _ai_cursor(raw)

    def keep_ai_cursor(self, cursor: AiCursor) -> None:
        self._table[_AI_CURSOR] = _encode(cursor)

    def ai_window(self, kind: str, begin_ms: int) -> AiWindow:
        """The entry, or a new one that is not kept yet."""
        raw = self._table.get(f"a|{kind}|{begin_ms}".encode())
        return AiWindow(begin_ms=begin_ms) if raw is None else _ai_window(raw)

    def keep_ai_window(self, kind: str, window: AiWindow) -> None:
        self._table[f"a|{kind}|{window.begin_ms}".encode()] = _encode(window)

    def forget_ai(self, kind: str, before_ms: int) -> None:
        """Drops the windows that began before."""
        prefix = f"a|{kind}|".encode()
        for key in [key for key in self._table if key.startswith(prefix)]:
            if int(key.removeprefix(prefix)) < before_ms:
                del self._table[key]

    def group(self, rule: str, subject: str, depth: int) -> bytes | None:
        """What is remembered of a group of a correlation, None if nothing is. `depth`: of the correlation."""
        return self._table.get(_group_key(rule, subject, depth))

    def keep_group(self, rule: str, subject: str, depth: int, value: bytes) -> None:
        self._table[_group_key(rule, subject, depth)] = value

    def forget_groups(self, now_ms: int) -> None:
        """Drops groups that nothing was counted into for twice their rule's span, and an hour, and what is over the
        limit."""
        groups = {key: _touched(raw) for key, raw in self._table.items() if _GROUP_KEY.match(key)}
        old = {key for key, one in groups.items() if one.touched_ms + 2000 * one.seconds + _HOUR_MS < now_ms}
        kept = sorted(groups.keys() - old, key=lambda key: groups[key].touched_ms)
        surplus = kept[: max(0, len(kept) - MOST_GROUPS)]
        if surplus:
            log.warning("correlation_state_too_large", forgotten=len(surplus))
        for key in [*old, *surplus]:
            del self._table[key]

    def forget(self, now_ms: int, keep_ms: int) -> None:
        """Drops windows that nothing was counted into for `keep_ms`, and what is over the limits."""
        windows = {key: _window(raw) for key, raw in self._table.items() if key.startswith(b"w|")}
        old = [key for key, window in windows.items() if window.touched_ms < now_ms - keep_ms]
        kept = sorted(windows.keys() - set(old), key=lambda key: windows[key].touched_ms)
        sources = sorted(self.sources(), key=lambda pair: pair[1].last_ms)
        surplus = [*kept[: max(0, len(kept) - MOST_WINDOWS)]]
        surplus += [b"s|" + name.encode() for name, _ in sources[: max(0, len(sources) - MOST_SOURCES)]]
        if surplus:
            log.warning("alert_state_too_large", forgotten=len(surplus))
        for key in [*old, *surplus]:
            del self._table[key]


def _window_key(kind: str, subject: str, begin_ms: int) -> bytes:
    return f"w|{kind}|{subject}|{begin_ms}".encode("utf-8", "replace")


def _group_key(rule: str, subject: str, depth: int) -> bytes:
    return f"{'c' * (depth + 1)}|{rule}|{subject}".encode("utf-8", "replace")


def in_order(key: bytes) -> int:
    """By this, what changes becomes durable: correlations that count others before those that they count."""
    found = _GROUP_KEY.match(key)
    return 0 if found is None else -len(found[0])
