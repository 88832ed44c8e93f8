"""One assigned partition: its linker and how its messages become items."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from schemas.enrichment import PREV_NONE
from schemas.topics import Topics
from services.writer.batch import Linked, Linker
from services.writer.chain import Chain, Place
from services.writer.found import Item
from services.writer.items import OwnReader, enriched_item
from services.writer.store import Lineage


@dataclass(slots=True)
class Partition:
    """`numbers`: the chains that the database has of each topic id."""

    linker: Linker
    numbers: dict[bytes, list[int]]
    to_item: Callable[[Any], Item]

    def items(self, messages: Iterable[Any]) -> list[Item]:
        """The messages made ready for linking."""
        return list(map(self.to_item, messages))

    def note_stored(self, linked: Linked) -> None:
        """A batch is committed: its contents are let go, and the numbers of chains that it opened are known."""
        self.linker.stored()
        for section in linked.sections:
            section.records.clear()
            section.payloads.clear()
            if section.opening is not None and section.chain.number is not None:
                self.numbers.setdefault(section.chain.topic_id, []).append(section.chain.number)


def place_of(topics: Topics, cluster_id: str, topic: str, partition: int) -> Place:
    """Where the chains of a read topic's partition belong: those of audit.enriched to audit.events."""
    source = topics.events if topic == topics.enriched else topic
    return Place(cluster_id, source, partition, topic)


def start_of(lineage: Lineage, read_topic_id: bytes, bounds: tuple[int, int]) -> int:
    """Where to read from: the head's position; where another topic id stood there, or the position no longer
    exists, the earliest. The drop rule does the rest."""
    first, end = bounds
    same_topic = lineage.chain_no is not None and lineage.read_topic_id == read_topic_id
    return lineage.next_read_offset if same_topic and first <= lineage.next_read_offset <= end else first


def make_partition(
    topics: Topics, place: Place, read_topic_id: bytes, lineage: Lineage, chain: Chain | None, position: int
) -> Partition:
    """The partition, to be read from `position`."""
    enriched = place.read_topic == topics.enriched
    linker = Linker(place, read_topic_id, chain, dict(lineage.passed), by_name=not enriched)
    if enriched:
        number = place.partition
        return Partition(linker, lineage.numbers, lambda message: enriched_item(message, number))
    same_topic = lineage.chain_no is not None and lineage.read_topic_id == read_topic_id
    in_place = same_topic and position == lineage.next_read_offset
    reader = OwnReader(
        read_topic_id,
        place.partition,
        position - 1 if in_place else PREV_NONE,
        reset=same_topic and not in_place,
    )
    own = reader.annotation if place.read_topic == topics.annotations else reader.own_event
    return Partition(linker, lineage.numbers, own)
