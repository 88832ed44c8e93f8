"""Citations: while a document is made its parts name records by number (chain and seq in one bigint, as audit_events.id); at
the end each becomes the record's name and hash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.reporter.contents.times import iso_of
from services.reporter.store import Snapshot

CITES = "cites"
"""The key under which a list of record numbers stands."""
_SEQ = 0xFFFF_FFFF_FFFF


def label(number: int) -> str:
    """`3:17`: chain and seq."""
    return f"{number >> 48}:{number & _SEQ}"


def cites(*numbers: int | None) -> list[int]:
    """Record numbers without those that are none."""
    return list(dict.fromkeys(number for number in numbers if number is not None))


async def cite_records(snapshot: Snapshot, document: dict[str, Any]) -> dict[str, Any]:
    """The document with every citation as `{record, hash}`, and all of them once under `cited`."""
    wanted = sorted(set(_numbers(document)))
    rows = await snapshot.fetch("citations", wanted)
    known = {row["id"]: {"record": label(row["id"]), "hash": row["record_hash"].hex()} for row in rows}
    cited = [known[row["id"]] | {"kind": row["kind"], "recorded": iso_of(row["appended_at"])} for row in rows]
    made: dict[str, Any] = _named(document, known)
    return made | {"cited": cited}


def _numbers(node: Any) -> Iterator[int]:
    if isinstance(node, Mapping):
        for name, part in node.items():
            if name == CITES and isinstance(part, list):
                yield from (number for number in part if isinstance(number, int))
            else:
                yield from _numbers(part)
    elif isinstance(node, list | tuple):
        for part in node:
            yield from _numbers(part)


def _named(node: Any, known: Mapping[int, dict[str, str]]) -> Any:
    if isinstance(node, Mapping):
        return {
            name: [
                known[one] if isinstance(one, int) else one
                for one in part
                if one in known or not isinstance(one, int)
            ]
            if name == CITES and isinstance(part, list)
            else _named(part, known)
            for name, part in node.items()
        }
    return [_named(part, known) for part in node] if isinstance(node, list | tuple) else node
