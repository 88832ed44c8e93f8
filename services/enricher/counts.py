"""What the enricher counts of each batch, for the alerter: one message on audit.counts for a piece of a batch.

Counts can be added up twice without harm: all that must be exact names its source offset, so that the alerter passes
over what it knows already, however the batches of a redelivery are cut. The alerter knows the thresholds, not this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from schemas.record import ABSENT, Kind
from schemas.text import neutral
from schemas.topics import BACKFILL
from services.enricher.enrich import Enriched
from services.enricher.rules.matches import Match, Spec

PIECE_EVENTS = 500
"""Events that one message covers at most: it stays below 1 MiB even where each has a source of its own."""
PIECE_MATCHES = 500
NAME_LIMIT = 120
BACKFILL_LIMIT = 100
_TAGS, _TAG_LIMIT, _BACKFILLS = 8, 60, 20
_GRAVE = ("high", "critical")
_HEADERS = (BACKFILL, f"ce_{BACKFILL}")
_IN_VALUE = b'"backfill"'


class Run(msgspec.Struct, array_like=True):
    """Sequence numbers `first` to `last`, one after the other; `offset` of the last of them; `at_us`: when the first
    happened, microseconds since 1970 UTC."""

    first: int
    last: int
    offset: int
    at_us: int


class SourceCount(msgspec.Struct, array_like=True):
    """Of one source: its name as shown, the offset of its last event, how many came that belong to no back-fill,
    and by how many milliseconds at most their times lie behind (below 0) and ahead of Kafka's."""

    source: str
    offset: int
    alive: int
    behind_ms: int
    ahead_ms: int
    runs: list[Run]


class Noted(msgspec.Struct, array_like=True):
    """An event of high or critical risk, or (where `producer` is empty) a message that could not be read. `at_us`: the
    event's time, microseconds since 1970 UTC; `kafka_ms`: Kafka's, below 0 for none."""

    offset: int
    producer: str
    at_us: int
    kafka_ms: int
    risk: str
    tags: list[str]
    backfill: str


class Counts(msgspec.Struct):
    """Offsets `first` to `last` of a partition. `taken_ms`: the enricher's clock; `sources` by producer id in hex;
    `seconds`: messages by second of Kafka's time; `backfills`: declarations that events name, with an offset each;
    `matches`: what counts towards correlation rules, and `specs` of these by id."""

    topic_id: str
    partition: int
    first: int
    last: int
    taken_ms: int
    sources: dict[str, SourceCount]
    noted: list[Noted]
    seconds: dict[int, int]
    backfills: dict[str, int]
    matches: list[Match] = []
    specs: dict[str, Spec] = {}


class _Attributes(msgspec.Struct):
    specversion: str = ""
    event_type: str = ""
    backfill: Any = None


POISON = int(Kind.POISON)
_NO_SPECS: dict[str, Spec] = {}
_NOBODY = SourceCount("", 0, 0, 0, 0, [])
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Counts).decode
_attributes = msgspec.json.Decoder(_Attributes).decode


class Tally:
    """The counts of one batch, taken a part at a time while it is enriched, so that no event needs to be kept."""

    def __init__(self, topic_id: bytes, partition: int) -> None:
        self._topic_id = topic_id.hex()
        self._partition = partition
        self._pieces: list[Counts] = []
        self._room = 0
        self._matches: list[Match] = []
        self._specs: dict[str, Spec] = {}

    def take(
        self,
        records: list[Any],
        results: list[Enriched],
        matches: Sequence[Match] = (),
        specs: Mapping[str, Spec] = _NO_SPECS,
    ) -> None:
        """Counts the next records of the batch and their enrichments, PIECE_EVENTS at most; `matches` are what of them counts
        towards correlations, whose `specs` go along."""
        if self._room < len(records):
            self._room = PIECE_EVENTS
            self._pieces.append(
                Counts(self._topic_id, self._partition, records[0].offset, 0, 0, {}, [], {}, {})
            )
        self._room -= len(records)
        piece = self._pieces[-1]
        piece.last = records[-1].offset
        _count_seconds(piece.seconds, records)
        _count_events(piece, records, results)
        if matches:
            self._note(records, matches)
            self._specs.update(specs)

    def messages(self, taken_ms: int) -> Iterator[bytes]:
        """The messages for audit.counts."""
        for piece in self._pieces:
            piece.taken_ms = taken_ms
            yield _encode(piece)
        yield from self._match_messages(taken_ms)

    def _note(self, records: list[Any], matches: Sequence[Match]) -> None:
        wanted = {match.offset for match in matches}
        backfills = {
            record.offset: backfill_of(record.value, record.headers)
            for record in records
            if record.offset in wanted
        }
        for match in matches:
            match.backfill = backfills.get(match.offset, "")
        self._matches.extend(matches)

    def _match_messages(self, taken_ms: int) -> Iterator[bytes]:
        """All matches of one event stand in one message: the alerter counts an event once, by its offset."""
        piece: list[Match] = []
        for number, match in enumerate(self._matches, 1):
            piece.append(match)
            last = number == len(self._matches)
            if last or (len(piece) >= PIECE_MATCHES and self._matches[number].offset != match.offset):
                rules = {rule for one in piece for rule in (one.rule, *(above.rule for above in one.above))}
                named = {rule: self._specs[rule] for rule in rules if rule in self._specs}
                span = (piece[0].offset, match.offset, taken_ms)
                yield _encode(Counts(self._topic_id, self._partition, *span, {}, [], {}, {}, piece, named))
                piece = []


def read_counts(value: bytes) -> Counts:
    """The reverse. Raises ValueError."""
    try:
        return _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"not counts: {error}") from None


def backfill_of(value: bytes | None, headers: Any) -> str:
    """The id of the declared back-fill that a message says it belongs to, empty if it says none: the CloudEvents
    extension `backfill`, the member of that name of a short form, or a header of that name."""
    for name, content in headers:
        if name in _HEADERS and content:
            return neutral(content.decode("utf-8", "replace"), BACKFILL_LIMIT)
    if value is not None and _IN_VALUE in value:
        try:
            found = _attributes(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return ""
        if (found.specversion or found.event_type) and isinstance(found.backfill, str):
            return neutral(found.backfill, BACKFILL_LIMIT)
    return ""


def _count_events(  # noqa: C901 - the inner loop: calls would cost more than what they do
    piece: Counts, records: list[Any], results: list[Enriched]
) -> None:
    sources, noted, backfills = piece.sources, piece.noted, piece.backfills
    producer, found = b"", _NOBODY
    for record, result in zip(records, results, strict=True):
        if result.kind == POISON:
            noted.append(_noted(record, result, ""))
            continue
        document, at_us, kafka_ms = result.document, result.event_time_us, record.timestamp
        if result.producer_id != producer:
            producer = result.producer_id
            found = sources.get(producer.hex()) or sources.setdefault(
                producer.hex(), SourceCount(neutral(document.source, NAME_LIMIT), 0, 0, 0, 0, [])
            )
        backfill, value = "", record.value
        if record.headers or (value is not None and _IN_VALUE in value):
            backfill = backfill_of(value, record.headers)
        found.offset = record.offset
        if backfill:
            if len(backfills) < _BACKFILLS:
                backfills[backfill] = record.offset
        else:
            found.alive += 1
            apart = at_us // 1000 - kafka_ms if kafka_ms is not None else 0
            if apart > found.ahead_ms:
                if kafka_ms >= 0:
                    found.ahead_ms = apart
            elif apart < found.behind_ms and at_us != ABSENT:
                found.behind_ms = apart
        if result.producer_seq:
            _follow(found.runs, result.producer_seq, record.offset, at_us)
        if document.risk in _GRAVE:
            noted.append(_noted(record, result, backfill))


def _count_seconds(seconds: dict[int, int], records: list[Any]) -> None:
    first, last = _stamp(records[0].timestamp), _stamp(records[-1].timestamp)
    if first // 1000 == last // 1000:  # nearly always; in between lies what is no later than a second
        seconds[first // 1000] = seconds.get(first // 1000, 0) + len(records)
        return
    for record in records:
        second = _stamp(record.timestamp) // 1000
        seconds[second] = seconds.get(second, 0) + 1


def _noted(record: Any, result: Enriched, backfill: str) -> Noted:
    """`result` of kind poison has no producer."""
    return Noted(
        record.offset,
        "" if result.kind == POISON else result.producer_id.hex(),
        result.event_time_us,
        _stamp(record.timestamp),
        result.document.risk,
        [neutral(tag, _TAG_LIMIT) for tag in result.document.tags[:_TAGS]],
        backfill,
    )


def _follow(runs: list[Run], sequence: int, offset: int, at_us: int) -> None:
    if runs and runs[-1].last + 1 == sequence:
        runs[-1].last, runs[-1].offset = sequence, offset
    else:
        runs.append(Run(sequence, sequence, offset, at_us))


def _stamp(kafka_ms: int | None) -> int:
    return -1 if kafka_ms is None or kafka_ms < 0 else kafka_ms
