"""Links consumed messages to chains: pure, given the heads, the database's answers, a clock and randomness.

A `Linker` has one partition. `link` takes a batch, appends records to the chain in memory and says what to store.
The state runs ahead of the database: when storing fails it is thrown away and read anew from the head.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.commitment import encode_body, payload_commitment
from schemas.enrichment import FLAG_RESET, FLAG_WITHHELD, PREV_NONE, Header, add_writer_tags
from schemas.record import Kind
from services.common.clock import Clock, system_clock
from services.writer import alert
from services.writer.alert import Alert
from services.writer.chain import (
    OWN_FACTS,
    AboutRow,
    Chain,
    Facts,
    Order,
    Place,
    RandomBytes,
    Section,
    open_chain,
    own_body,
)
from services.writer.drop_rule import Verdict, first_offset, judge
from services.writer.found import Candidate, Found, Item, content_of, named
from services.writer.unstored import Entry, Unstored

IDENTITY_CONFLICT = "identity:conflict"
IDENTITY_UNCHECKED = "identity:unchecked"
_MOST_CONFLICTS_SAID = 1000
"""Alerts of conflicts remembered by a partition; one that is forgotten is said again, under the same id."""


@dataclass(slots=True)
class Linked:
    """What one batch of one partition comes to. `dropped` counts messages that append nothing, by reason."""

    sections: list[Section]
    read_topic_id: bytes
    next_read_offset: int
    alerts: list[Alert] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def opens(self) -> bool:
        """Whether it begins a chain."""
        return any(section.opening is not None for section in self.sections)


class Linker:
    """The chain of one partition. `passed` holds the next source offset of each topic id whose chains are closed.
    `by_name`: a repeat of the identity is a duplicate whatever its bytes (audit.annotations, audit.system)."""

    def __init__(
        self,
        place: Place,
        read_topic_id: bytes,
        chain: Chain | None,
        passed: dict[bytes, int],
        *,
        by_name: bool = False,
        clock: Clock = system_clock,
        random: RandomBytes = os.urandom,
    ) -> None:
        self.place = place
        self.read_topic_id = read_topic_id
        self.chain = chain
        self.passed = passed
        self._by_name = by_name
        self._clock = clock
        self._random = random
        self._unstored = Unstored()
        self._holes_said: set[str] = set()
        self._conflicts_said: deque[str] = deque(maxlen=_MOST_CONFLICTS_SAID)

    def to_look_up(self, items: Iterable[Item]) -> tuple[list[tuple[bytes, int]], list[int]]:
        """What `link` needs to know of these: (topic id, offset) of the passed ones, and identity hashes."""
        passed, identities = [], []
        chain = self.chain
        topic_id, expected = (b"", 0) if chain is None else (chain.topic_id, chain.next_source_offset)
        for item in items:
            header = item.header
            if header is None:
                continue
            if header.topic_id == topic_id and header.offset >= expected and header.kind != Kind.POISON:
                identities.append(header.identity_hash)
            elif header.offset < self._expected(header.topic_id):
                passed.append((header.topic_id, header.offset))
            elif header.kind != Kind.POISON:
                identities.append(header.identity_hash)
        return passed, identities

    def link(self, items: list[Item], found: Found) -> Linked:
        """Appends what is to be appended of a batch."""
        linked = self.begin(found)
        self.take(items)
        return linked

    def begin(self, found: Found) -> Linked:
        """Begins a batch, of which `take` takes the messages. Its alerts are to be said before it is stored."""
        self._found = found
        self._unstored.begin()
        now = self._clock()
        self._now = now if self.chain is None else max(now, self.chain.last_appended_us)
        self._linked = Linked([], self.read_topic_id, 0)
        if self.chain is not None:
            self._linked.sections.append(Section(self.chain))
        return self._linked

    def stored(self) -> None:
        """The oldest batch that was begun is committed."""
        self._unstored.stored()

    def take(self, items: list[Item]) -> None:
        """Appends what is to be appended of some messages of the batch that was begun."""
        for item in items:
            self._take(item)
        self._linked.next_read_offset = items[-1].message.offset + 1

    def _take(self, item: Item) -> None:
        header = item.header
        if header is None:
            self._refuse(item)
            return
        chain = self.chain
        if (
            chain is not None
            and header.offset == chain.next_source_offset
            and header.prev < header.offset
            and header.topic_id == chain.topic_id
        ):
            self._append(item, header)  # the usual case, tested first
            return
        if self._goes_on(item, header):
            self._append(item, header)

    def _refuse(self, item: Item) -> None:
        at = item.message.offset
        said = alert.unreadable(
            self.place.read_topic, self.read_topic_id, self.place.partition, at, item.fault
        )
        self._linked.alerts.append(said)
        self._drop("unreadable")

    def _goes_on(self, item: Item, header: Header) -> bool:
        """Brings the chain to where this message is the next one; False if the message is to be dropped."""
        chain = self.chain
        if chain is None:
            self._begin(header.topic_id, first_offset(header.prev, header.offset), None, None)
            self._note_late_beginning(header)
        elif header.topic_id != chain.topic_id and header.topic_id not in self.passed:
            self._reopen("topic-recreated", header, first_offset(header.prev, header.offset))
        else:
            verdict = judge(self._expected(header.topic_id), header.prev, header.offset)
            if verdict is Verdict.HOLE:
                return self._leave_hole(header)
            if verdict is Verdict.REPEATED:
                if self._is_same(item, header):
                    return self._drop("redelivered")
                self._reopen("log-rewound", header, first_offset(header.prev, header.offset))
            elif header.topic_id != chain.topic_id:  # a late message of a topic whose chain is closed
                self._reopen("topic-recreated", header, self.passed[header.topic_id])
        self._skip_to(header)
        return True

    def _expected(self, topic_id: bytes) -> int:
        if self.chain is not None and topic_id == self.chain.topic_id:
            return self.chain.next_source_offset
        return self.passed.get(topic_id, -(2**63))

    def _leave_hole(self, header: Header) -> bool:
        expected = self._expected(header.topic_id)
        said = alert.hole(self.place.topic, self.place.partition, header.topic_id, expected, header.prev)
        if said.id not in self._holes_said:  # while it is open, every message says it again
            self._holes_said.add(said.id)
            self._linked.alerts.append(said)
        return self._drop("before_a_hole_is_filled")

    def _drop(self, reason: str) -> bool:
        """Counts a message that appends nothing; False, as it does not go on."""
        self._linked.dropped[reason] = self._linked.dropped.get(reason, 0) + 1
        return False

    def _is_same(self, item: Item, header: Header) -> bool:
        """Whether a message of a passed offset is the one recorded: in memory, else in the database."""
        for other in self._unstored.at(header.topic_id, header.offset):
            if other.header is not None and _same_message(item, header, other, other.header):
                return True
        body = None if header.flags & FLAG_WITHHELD else _body(item)
        recorded = self._found.recorded.get((header.topic_id, header.offset), ())
        return any(other.is_same(header.kafka_ts_ms, body) for other in recorded)

    def _begin(self, topic_id: bytes, first: int, previous: Chain | None, why: str | None) -> None:
        chain_id = self._random(16)
        if previous is not None:
            closing = {"why": why, "next_chain_id": chain_id.hex(), "new_topic_id": topic_id.hex()}
            self._linked.sections[-1].append(
                Kind.CLOSE, self._now, None, OWN_FACTS, self._random(32), own_body(closing)
            )
        section = open_chain(
            self.place, chain_id, topic_id, self.read_topic_id, first, previous, why, self._now, self._random
        )
        self._linked.sections.append(section)
        self.chain = section.chain
        # A repeat is a duplicate only within its chain.
        self._unstored.forget_identities()
        self._found = Found(self._found.recorded, {})

    def _reopen(self, why: str, header: Header, first: int) -> None:
        old = self.chain
        if old is None:
            raise AssertionError("only an open chain is closed")
        said = alert.reopened(
            self.place.topic, self.place.partition, why, old.topic_id, header.topic_id, header.offset
        )
        self._linked.alerts.append(said)
        self.passed[old.topic_id] = max(old.next_source_offset, self.passed.get(old.topic_id, 0))
        self._begin(header.topic_id, first, old, why)
        if why == "topic-recreated" and header.topic_id not in self.passed:
            self._note_late_beginning(header)

    def _note_late_beginning(self, header: Header) -> None:
        """The enricher has read offsets before the first that comes here: what it made of them is not in this database."""
        first = first_offset(header.prev, header.offset)
        if header.prev != PREV_NONE and first > 0:
            said = alert.begins_late(self.place.topic, self.place.partition, header.topic_id, first)
            self._linked.alerts.append(said)

    def _skip_to(self, header: Header) -> None:
        """A skip record for the offsets before this message that were never delivered."""
        chain = self.chain
        if chain is None or header.offset == chain.next_source_offset:
            return
        first, last = chain.next_source_offset, header.offset - 1
        lost = bool(header.flags & FLAG_RESET)
        if lost:
            said = alert.expired(self.place.topic, self.place.partition, header.topic_id, first, last)
            self._linked.alerts.append(said)
        document = {"first": first, "last": last, "reason": "expired" if lost else "not-delivered"}
        self._linked.sections[-1].append(
            Kind.SKIP, self._now, first, OWN_FACTS, self._random(32), own_body(document)
        )
        chain.next_source_offset = header.offset

    def _append(self, item: Item, header: Header) -> None:
        section = self._linked.sections[-1]
        identity = header.identity_hash if header.kind != Kind.POISON else None
        enrichment = header.enrichment or None
        if identity is not None:
            if self._unstored.knows(identity) or identity in self._found.candidates:
                repeat = self._find_first(item, header)
                if repeat is not None and repeat[1] != IDENTITY_CONFLICT:
                    self._append_duplicate(item, header, *repeat)
                    return
                if repeat is not None and enrichment is not None:
                    enrichment = add_writer_tags(enrichment, [IDENTITY_CONFLICT])
                    self._note_conflict(header)
            self._unstored.note(identity, section.chain.next_seq, item)
        self._unstored.remember(item)
        withheld = header.flags & FLAG_WITHHELD
        seq = section.append(
            header.kind,
            self._now,
            header.offset,
            _facts(header),
            header.payload_salt,
            None if withheld else encode_body(item.message.key, item.message.value, item.headers),
            header.enrichment_salt,
            enrichment,
            identity,
            header.payload_commitment,
        )
        if item.target is not None:
            about = section.annotations if header.kind == Kind.ANNOTATION else section.reviews
            about.append(AboutRow(item.target, seq, self._now))
        if item.order:
            section.orders.append(Order(item.order, seq))
        elif item.flaw:
            place = self.place
            said = alert.unusable_order(
                place.topic, self.read_topic_id, place.partition, header.offset, item.flaw
            )
            self._linked.alerts.append(said)

    def _note_conflict(self, header: Header) -> None:
        """One alert for all conflicts of a source within an hour of Kafka's time."""
        name = named(header.enrichment)
        said = alert.identity_conflict(
            self.place.topic,
            self.place.partition,
            header.topic_id,
            header.offset,
            name[0] if name is not None else "",
            max(header.kafka_ts_ms, 0) // 3_600_000,
        )
        if said.id not in self._conflicts_said:
            self._conflicts_said.append(said.id)
            self._linked.alerts.append(said)

    def _find_first(self, item: Item, header: Header) -> tuple[int, str] | None:
        """(sequence number, "") of the record that this repeats; or with a tag: IDENTITY_UNCHECKED where the first is
        erased, IDENTITY_CONFLICT where it is another event; None if only the hashes agree."""
        identity = header.identity_hash
        earlier = [
            *self._found.candidates.get(identity, ()),
            *map(_as_candidate, self._unstored.entries(identity)),
        ]
        if self._by_name:
            return (earlier[0].seq, "") if earlier else None
        name, content = named(header.enrichment), content_of(item.message.value, item.headers)
        outcome = None
        for candidate in earlier:
            if candidate.erased:
                outcome = (candidate.seq, IDENTITY_UNCHECKED)
            elif candidate.name == name:
                if candidate.content == content:
                    return candidate.seq, ""
                outcome = outcome or (candidate.seq, IDENTITY_CONFLICT)
        return outcome

    def _append_duplicate(self, item: Item, header: Header, first_seq: int, tag: str) -> None:
        section = self._linked.sections[-1]
        document: dict[str, object] = {
            "first_chain_id": section.chain.chain_id.hex(),
            "first_seq": first_seq,
            "payload_commitment": payload_commitment(header.payload_salt, _body(item)).hex(),
        }
        if tag:
            document["tags"] = [tag]
        self._unstored.remember(item)
        section.append(
            Kind.DUPLICATE,
            self._now,
            header.offset,
            _facts(header),
            self._random(32),
            own_body(document),
            identity=header.identity_hash,
            original_salt=header.payload_salt,
        )


def _facts(header: Header) -> Facts:
    return Facts(
        header.kafka_ts_ms,
        header.kafka_ts_type,
        header.event_time_us,
        header.event_id,
        header.producer_id,
        header.producer_seq,
    )


def _body(item: Item) -> bytes:
    return encode_body(item.message.key, item.message.value, item.headers)


def _as_candidate(entry: Entry) -> Candidate:
    header = entry.item.header
    name = None if header is None else named(header.enrichment)
    return Candidate(entry.seq, False, name, content_of(entry.item.message.value, entry.item.headers))


def _same_message(one: Item, header: Header, other: Item, other_header: Header) -> bool:
    if header.kafka_ts_ms != other_header.kafka_ts_ms:
        return False
    if (header.flags | other_header.flags) & FLAG_WITHHELD:
        return True
    return _body(one) == _body(other)


__all__ = ["IDENTITY_CONFLICT", "IDENTITY_UNCHECKED", "Linked", "Linker"]
