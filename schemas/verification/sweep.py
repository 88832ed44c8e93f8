"""One fast pass over a range of a chain's rows: clean, or not. Ranges can be swept in any order and apart.

A sweep that is clean has checked all that `ChainVerifier` checks, and the borders are checked when the sweeps are joined
(`join`). A sweep that is not clean says nothing of what is wrong: the chain is then verified anew, in order, by
`ChainVerifier`, which tells what happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Any

import msgspec

from schemas.commitment import ENRICHMENT_LABEL, EVENT_ID_LABEL, PAYLOAD_LABEL, producer_id
from schemas.record import ABSENT, LABEL, RECORD_BYTES, Kind, Record, unpack
from schemas.tlog.merkle import Frontier
from schemas.verification.contents import Content, Named, check_content
from schemas.verification.erasures import NOTHING_GONE, Coverage
from schemas.verification.links import ChainInfo, Place
from schemas.verification.result import ChainResult
from schemas.verification.rules import PLAIN, apply_rules

RANGE = 65_536
"""Records of a range: those of a full tile of level 1, so that a range can stand for its hash."""
_producer = lru_cache(maxsize=4096)(producer_id)
_named = msgspec.json.Decoder(Named).decode
_i64 = Struct(">q").unpack_from
_EVENT = int(Kind.EVENT)


@dataclass(slots=True)
class Swept:
    """A clean range. `sealed` has the range's own frontier at each size asked for that ends in it; `frontier` that of all
    its records. `result` counts what was in it."""

    start: int
    result: ChainResult
    first_prev: bytes
    first: Place
    """Offset (of the first record that covers one), time and epoch of the first record."""
    last: Place
    frontier: Frontier
    sealed: list[tuple[int, list[bytes]]] = field(default_factory=list)


class Sweep:
    """Sweeps the records of one chain from `start` on, given in order. `sizes`: sizes of the chain's tree, rising, at
    which its root is wanted; `coverage`: which payloads are lawfully gone."""

    def __init__(
        self, chain: ChainInfo, start: int, sizes: Iterable[int] = (), coverage: Coverage = NOTHING_GONE
    ) -> None:
        self._chain = chain
        self._coverage = coverage
        self._start = start
        self._place = Place(next_seq=start)
        self._first: Place | None = None
        self._first_prev = bytes(32)
        self._result = ChainResult(chain)
        self._sizes = iter(sizes)
        self._wanted = next(self._sizes, None)
        self._frontier = Frontier()
        self._sealed: list[tuple[int, list[bytes]]] = []
        self.clean = True

    def feed(self, rows: Sequence[Any], contents: Sequence[Any] | None) -> None:
        """The next rows (Row's fields) and their payload rows (Content's), None for the leaves alone."""
        if not rows:
            self.clean = self.clean and not contents
        if not self.clean or not rows:
            return
        aligned = _aligned(rows, contents)
        if (contents is not None and aligned is None) or not self._all_erased(rows, aligned):
            self.clean = False
            return
        if self._first is None and not self._begin(rows[0]):
            return
        digests = self._run(rows, aligned)
        if digests is None or self._result.found:
            self.clean = False
            return
        self._grow(digests)
        result = self._result
        result.with_contents = contents is not None
        result.first_appended_us = (
            rows[0][3] if result.first_appended_us is None else result.first_appended_us
        )
        result.last_appended_us = rows[-1][3]

    def finish(self) -> Swept | None:
        """The range, None where it is not clean."""
        if not self.clean or self._first is None:
            return None
        return Swept(
            self._start,
            self._result,
            self._first_prev,
            self._first,
            self._place,
            self._frontier,
            self._sealed,
        )

    def _begin(self, row: Any) -> bool:
        """Takes the first record at its word: what it must continue is checked when ranges are joined."""
        leaf = row[7]
        if len(leaf) != RECORD_BYTES:
            self.clean = False
            return False
        fields = unpack(leaf)
        place = self._place
        place.last_hash = self._first_prev = fields[4]
        place.epoch, place.appended_us = fields[5], fields[6]
        self._first = Place(fields[4], self._start, 0, None, fields[6], fields[5])
        return True

    def _run(self, rows: Sequence[Any], contents: Sequence[Any] | None) -> list[bytes] | None:
        """The record hashes, None where a row is not as it should be. The hot loop."""
        place, kinds, chain_id = self._place, self._result.kinds, self._chain.chain_id
        last_hash, next_seq = place.last_hash, place.next_seq
        appended, epoch, next_offset = place.appended_us, place.epoch, place.next_offset
        digests: list[bytes] = []
        at = -1
        for row in rows:
            at += 1
            seq, kind, offset, appended_us, event_us, identity, stored, leaf = row
            if len(leaf) != RECORD_BYTES:
                return None
            fields = unpack(leaf)
            label, is_kind, of_chain, number, prev, under, moment, covers, _, _, happened, *_ = fields
            digest = sha256(b"\0" + leaf).digest()
            if (
                digest != stored
                or prev != last_hash
                or number != next_seq
                or seq != next_seq
                or moment != appended_us
                or (covers != offset and (offset is not None or covers != ABSENT))
                or (happened != event_us and (event_us is not None or happened != ABSENT))
                or is_kind != kind
                or of_chain != chain_id
                or label != LABEL
            ):
                return None
            content = None if contents is None else contents[at]
            if (
                contents is not None
                and (kind != _EVENT or content is None or not _is_event(fields, identity, content))
                and check_content(Record._make(fields[1:]), identity, _content(content))
                and not (content is None and self._lawfully_gone(Record._make(fields[1:])))
            ):
                return None
            if (
                covers != next_offset
                or is_kind not in PLAIN
                or moment < appended
                or under < epoch
                or place.closed
            ):
                place.appended_us, place.epoch, place.next_offset = appended, epoch, next_offset
                apply_rules(self._result, place, Record._make(fields[1:]), _content(content))
                if self._first is not None and self._first.next_offset is None and covers != ABSENT:
                    self._first.next_offset = covers
                next_offset = place.next_offset
            else:
                next_offset = covers + 1
            kinds[kind] += 1
            digests.append(digest)
            last_hash, next_seq, appended, epoch = digest, next_seq + 1, moment, under
        place.last_hash, place.next_seq = last_hash, next_seq
        place.appended_us, place.epoch, place.next_offset = appended, epoch, next_offset
        return digests

    def _lawfully_gone(self, record: Record) -> bool:
        """Whether an order covers a payload that is not there; counts it."""
        erased, retained = self._coverage.erased(record), self._coverage.retained(record)
        self._result.erased += erased
        self._result.retained += retained and not erased
        return erased or retained

    def _all_erased(self, rows: Sequence[Any], contents: Sequence[Any] | None) -> bool:
        """Whether no payload is there that an erasure covers."""
        if not self._coverage or contents is None:
            return True
        return not any(
            content is not None and self._coverage.erases(row)
            for row, content in zip(rows, contents, strict=True)
        )

    def _grow(self, digests: list[bytes]) -> None:
        """Extends the range's tree; stops at each size that is wanted."""
        at, end = 0, self._place.next_seq
        while self._wanted is not None and self._wanted <= end:
            upto = len(digests) - (end - self._wanted)
            self._frontier.extend(digests[at:upto])
            at = upto
            self._sealed.append((self._wanted, list(self._frontier.hashes)))
            self._wanted = next(self._sizes, None)
        self._frontier.extend(digests[at:])


def _is_event(fields: tuple[Any, ...], identity: int | None, content: Any) -> bool:
    """Whether an event's payload row is what the record commits to, and names the event that the record says. False
    also for what takes a closer look."""
    _, appended_us, salt, body, enrich_salt, enrich = content
    try:
        if (
            sha256(PAYLOAD_LABEL + salt + body).digest() != fields[14]
            or sha256(ENRICHMENT_LABEL + enrich_salt + enrich).digest() != fields[15]
            or appended_us != fields[6]
        ):
            return False
        named = _named(enrich)
        source = named.source
        name = f"{source}\0{named.id}".encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, msgspec.MsgspecError):
        return False
    return bool(
        sha256(EVENT_ID_LABEL + salt + name).digest() == fields[11]
        and _i64(sha256(name).digest())[0] == identity
        and _producer(source) == fields[12]
    )


def _content(content: Any) -> Content | None:
    return None if content is None else Content._make(content)


def _aligned(rows: Sequence[Any], contents: Sequence[Any] | None) -> Sequence[Any] | None:
    """The payload row of each row, None in its place where there is none; None where a payload row has no record, or a
    record has two."""
    if contents is None:
        return None
    if len(contents) == len(rows) and all(
        one[0] == other[0] for one, other in zip(rows, contents, strict=True)
    ):
        return contents
    by_number = {content[0]: content for content in contents}
    found = [by_number.get(row[0]) for row in rows]
    return found if len(contents) == len(found) - found.count(None) else None


def join(
    parts: Sequence[Swept], before: Sequence[bytes] = ()
) -> tuple[ChainResult, Place, list[tuple[int, bytes]]] | None:
    """One chain from its clean ranges in order: what was found, where it ends, and its root at each size wanted. None
    where the ranges do not continue each other. `before`: hashes of the full ranges that were passed over."""
    result, place = parts[0].result, parts[0].last
    ranges, roots = Frontier(), []
    ranges.extend(list(before))
    for number, part in enumerate(parts):
        if number:
            if not _continues(place, part):
                return None
            _add(result, part.result)
            place = part.last
        roots += [(size, Frontier(size, [*ranges.hashes, *hashes]).root()) for size, hashes in part.sealed]
        if part.frontier.size == RANGE:
            ranges.append(part.frontier.hashes[0])
    return result, place, roots


def _continues(place: Place, part: Swept) -> bool:
    first = part.first
    offset = first.next_offset
    return (
        place.next_seq == part.start
        and place.last_hash == part.first_prev
        and place.appended_us <= first.appended_us
        and place.epoch <= first.epoch
        and not place.closed
        and (offset is None or place.next_offset is None or offset == place.next_offset)
    )


def _add(result: ChainResult, more: ChainResult) -> None:
    for kind, count in more.kinds.items():
        result.kinds[kind] += count
    if result.first_offset is None:
        result.first_offset = more.first_offset
    result.skipped_offsets += more.skipped_offsets
    result.erased += more.erased
    result.retained += more.retained
    result.last_appended_us = more.last_appended_us
    result.close = more.close
