"""What a verification found: which record, which part of it, what kind of change, as far as can be told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Change(StrEnum):
    """The kind of change. A reader of findings may rely on these words."""

    EDITED = "edited"
    DELETED = "deleted"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    MISSING = "missing"
    """A payload or enrichment is gone and no erasure record covers it."""
    UNCOVERED = "uncovered"
    """Source offsets that no record covers, or that two records cover, in an otherwise linked chain."""
    DISORDERED = "disordered"
    """A time or a writer epoch goes back, a record stands where its kind may not."""
    EXPIRED = "expired"
    """Recorded honestly as lost: the offsets had expired from Kafka before they were read. Never green."""
    NOT_ERASED = "not-erased"
    """An erasure record covers a payload that is there: brought back by a backup, or put in."""
    NOT_ARRIVED = "not-arrived"
    """The writer knows of events that have not come to it: the chain is sound and waits for them. Never green."""
    BROKEN_SUCCESSION = "broken-succession"
    """A chain and the one that follows it do not name each other."""
    FORKED = "forked"
    """The records, or the seals, are another history than the one that was signed."""
    ROLLED_BACK = "rolled-back"
    """The database as a whole is of an older state than what was signed."""
    CHAIN_GONE = "chain-gone"
    """A whole chain that was signed is not there."""
    LATE = "late"
    """Records have not been sealed for longer than they should: sealing has stopped."""


class Part(StrEnum):
    """What was changed."""

    RECORD = "record"
    """The canonical bytes of a record, its leaf."""
    COLUMN = "column"
    """A column beside an intact leaf."""
    PAYLOAD = "payload"
    ENRICHMENT = "enrichment"
    HEAD = "head"
    CHAIN = "chain"
    ERASURE = "erasure"
    """The index of what was erased, audit.erasure."""
    SEAL = "seal"
    """The log of signed seals."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `seq` to `last_seq` are the records concerned (numbers in the leaf), `appended_us` to `until_us`
    the append times of the records, or of their neighbours where they are gone; `restored` is the record hash of the
    original where it could be put together again from what else is stored. Between `not_before_us` and `not_after_us` the
    change was made, as far as seals, time anchors and rows tell."""

    chain_no: int
    change: Change
    part: Part
    detail: str
    seq: int | None = None
    last_seq: int | None = None
    source_offset: int | None = None
    last_offset: int | None = None
    fields: tuple[str, ...] = ()
    appended_us: int | None = None
    until_us: int | None = None
    restored: bytes | None = None
    not_before_us: int | None = None
    not_after_us: int | None = None

    def sentence(self) -> str:
        """The finding in one line. Holds no text from events: names, numbers and times only."""
        place = [f"chain {self.chain_no}"]
        if self.seq is not None:
            place.append(_span("record", self.seq, self.last_seq))
        facts = []
        if self.source_offset is not None:
            facts.append(_span("source offset", self.source_offset, self.last_offset))
        facts += _window(
            self.appended_us, self.until_us, gone=self.change in (Change.DELETED, Change.TRUNCATED)
        )
        where = ", ".join(place) + (f" ({', '.join(facts)})" if facts else "")
        fields = f" [{', '.join(self.fields)}]" if self.fields else ""
        return f"{where}: {self.part} {self.change}{fields}: {self.detail}{self._changed()}"

    def _changed(self) -> str:
        """When it was done."""
        if self.not_after_us is None:
            return ""
        after = "" if self.not_before_us is None else f"after {utc(self.not_before_us)}, "
        return f"; done {after}before {utc(self.not_after_us)}"

    def as_json(self) -> dict[str, Any]:
        """For --json: the fields, hashes in hex, and the sentence."""
        document = asdict(self)
        document["restored"] = None if self.restored is None else self.restored.hex()
        document["sentence"] = self.sentence()
        return document


def utc(microseconds: int) -> str:
    """A time as 2026-10-03T12:00:00.000000Z; out of the calendar's range, as plain microseconds."""
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return f"{microseconds} µs"
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _span(word: str, first: int, last: int | None) -> str:
    return f"{word} {first}" if last is None or last == first else f"{word}s {first} to {last}"


def _window(first: int | None, last: int | None, *, gone: bool) -> list[str]:
    if first is None:
        return [] if last is None else [f"appended before {utc(last)}"]
    if last is not None and last != first:
        return [f"appended between {utc(first)} and {utc(last)}"]
    return [f"appended {'after ' if gone and last is None else ''}{utc(first)}"]
