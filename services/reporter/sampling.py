"""The auditor's sample: which records are drawn follows from a seed, by an algorithm that anyone can run again.

piperoll-sample/v1:
1. The population is a list of records, each with its record hash (32 bytes) and its stratum.
2. A record's ticket is SHA-256("piperoll-sample/v1" || LF || seed as UTF-8 || 0x00 || record hash).
3. Of the n places each stratum gets one, the largest first (ties: by name), as far as n goes. The others are given one by one to
   the stratum for which size / (2 * places + 1) is largest (Sainte-Lague; ties: by name), never more than it has records.
4. In each stratum the records with the smallest tickets are drawn.

Nobody who does not know the seed can place a record in or out of the sample; whoever knows it can, so it should be chosen
after the records are sealed: by the auditor, or by a seal that is younger than they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from hashlib import sha256
from heapq import nsmallest
from typing import NamedTuple

ALGORITHM = "piperoll-sample/v1"


class Member(NamedTuple):
    """A record of the population: its id as in audit_events, its hash, and the stratum that it falls into."""

    id: int
    record_hash: bytes
    stratum: tuple[str, ...]


class Drawn(NamedTuple):
    """A record of the sample; `ticket` in hex."""

    member: Member
    ticket: str


def ticket(seed: str, record_hash: bytes) -> bytes:
    """By which a record is drawn: smallest first."""
    return sha256(f"{ALGORITHM}\n{seed}\0".encode() + record_hash).digest()


def allocate(sizes: Mapping[tuple[str, ...], int], wanted: int) -> dict[tuple[str, ...], int]:
    """How many of `wanted` each stratum gives; never more than it has. Raises ValueError for less than one."""
    if wanted < 1:
        raise ValueError("a sample has at least one record")
    if wanted >= sum(sizes.values()):
        return dict(sizes)
    by_size = sorted(sizes, key=lambda stratum: (-sizes[stratum], stratum))
    given = dict.fromkeys(sizes, 0) | dict.fromkeys(by_size[:wanted], 1)
    for _ in range(wanted - len(by_size)):
        open_ones = [stratum for stratum in sizes if given[stratum] < sizes[stratum]]
        best = min(open_ones, key=lambda name: (-Fraction(sizes[name], 2 * given[name] + 1), name))
        given[best] += 1
    return given


class Drawing:
    """Takes the population a record at a time, in any order, and holds little more than the sample. `sizes`: of the
    population's strata, counted before."""

    def __init__(self, sizes: Mapping[tuple[str, ...], int], seed: str, wanted: int) -> None:
        self._seed = seed
        self._places = allocate(sizes, wanted)
        self._kept: dict[tuple[str, ...], list[tuple[bytes, Member]]] = {stratum: [] for stratum in sizes}

    def take(self, member: Member) -> None:
        """One record of the population."""
        kept, places = self._kept[member.stratum], self._places[member.stratum]
        kept.append((ticket(self._seed, member.record_hash), member))
        if len(kept) > 2 * places + 1000:
            self._kept[member.stratum] = nsmallest(places, kept)

    def drawn(self) -> list[Drawn]:
        """The sample, by stratum and ticket."""
        return [
            Drawn(member, drawn.hex())
            for stratum in sorted(self._kept)
            for drawn, member in nsmallest(self._places[stratum], self._kept[stratum])
        ]


def draw(population: Iterable[Member], seed: str, wanted: int) -> list[Drawn]:
    """The sample of a population that can be gone through twice."""
    members = list(population)
    drawing = Drawing(strata(members), seed, wanted)
    for member in members:
        drawing.take(member)
    return drawing.drawn()


def strata(population: Iterable[Member]) -> Counter[tuple[str, ...]]:
    """How many records each stratum has."""
    return Counter(member.stratum for member in population)
