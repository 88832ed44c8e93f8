"""What was changed in a chain that is consistent with itself, told by the records as they were signed.

Whoever can rewrite the whole database can make every hash and link fit. The signed tree is then another one, and the
published leaves say which records it was made of. Records are told apart by what no rewriting of links changes: kind,
source offset and all that is committed to; a record that only has another predecessor or number is the same record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from schemas.record import ABSENT, Record, decode
from schemas.verification.findings import Change, Finding, Part
from schemas.verification.seals import Sealed

_LINKS = ("chain_id", "seq", "prev")
_APPENDING = ("writer_epoch", "appended_us")
"""Fields that differ where a record was written again, from the same message, by a writer that was set back."""
_Key = tuple[int, object]


class Pair(NamedTuple):
    """A record as it was signed, and the one that stands for it now."""

    signed: Record
    found: Record
    fields: tuple[str, ...]


def explain_rewritten(
    chain_no: int, signed: Sequence[bytes], found: Sequence[bytes], first: int, sealed: Sealed
) -> list[Finding]:
    """The findings for a chain whose records from `first` on are not those that were signed. `signed` and `found` are
    leaves from `first` on, `sealed` the first seal that they contradict."""
    old = {_key(record): record for record in map(decode, signed)}
    new = {_key(record): record for record in _readable(found)}
    pairs = [Pair(old[key], new[key], _differences(old[key], new[key])) for key in old if key in new]
    spoilt = _spoilt(old, new, found)
    gone = [record for key, record in old.items() if key not in new and key not in spoilt]
    made_up = [
        record for key, record in new.items() if key not in old and (not old or record.seq < first + len(old))
    ]
    again = [pair for pair in pairs if pair.fields]
    if again and not gone and not spoilt and all(map(_written_again, again)):
        return [_forked(chain_no, again[0].signed, len(again), sealed)]
    findings = [_edited(chain_no, pair) for pair in pairs if pair.fields]
    findings += [_unreadable(chain_no, old[key]) for key in spoilt]
    findings += _gone(chain_no, gone, {*new, *spoilt}, list(old))
    findings += [_inserted(chain_no, record) for record in made_up]
    if moved := _moved(pairs, list(new)):
        findings.append(_reordered(chain_no, moved))
    return findings or [_unexplained(chain_no, first, sealed)]


def unexplained(chain_no: int, last_good: Sealed | None, first_bad: Sealed, *, short: bool) -> Finding:
    """Without the leaves that were signed only the window is known: after the last seal that fits, up to the first that
    does not."""
    start = 0 if last_good is None else last_good.size
    change, text = (
        Change.FORKED,
        "these are not the records that were signed; which of them, only the published leaves tell",
    )
    if short:
        change, text = Change.TRUNCATED, "records that were signed are gone from the end of the chain"
    return Finding(
        chain_no,
        change,
        Part.RECORD,
        text,
        start,
        first_bad.size - 1,
        appended_us=None if last_good is None else last_good.time_us,
        until_us=first_bad.time_us,
    )


def _key(record: Record) -> _Key:
    """What stays the same of a record when those before it change: its source offset, or what it commits to."""
    if record.source_offset != ABSENT:
        return (0, record.source_offset)
    return (1, (record.kind, record.payload_commitment))


def _differences(signed: Record, found: Record) -> tuple[str, ...]:
    return tuple(
        name
        for name in Record._fields
        if name not in _LINKS and getattr(signed, name) != getattr(found, name)
    )


def _written_again(pair: Pair) -> bool:
    return set(pair.fields) <= set(_APPENDING) and "appended_us" in pair.fields


def _readable(leaves: Sequence[bytes]) -> Iterator[Record]:
    for leaf in leaves:
        try:
            yield decode(leaf)
        except ValueError:  # found by the chain's own verification
            continue


def _spoilt(
    old: Mapping[_Key, Record], new: Mapping[_Key, Record], found: Sequence[bytes]
) -> dict[_Key, None]:
    """The signed records in whose places stands what is no record any more: each follows the one before it."""
    order = list(old)
    place = {key: at for at, key in enumerate(order)}
    spoilt: dict[_Key, None] = {}
    wanted = 0
    for leaf in found:
        try:
            wanted = place.get(_key(decode(leaf)), wanted - 1) + 1
        except ValueError:
            if wanted < len(order) and order[wanted] not in new:
                spoilt[order[wanted]] = None
            wanted += 1
    return spoilt


def _moved(pairs: Sequence[Pair], order: Sequence[_Key]) -> list[Pair]:
    """Records that do not stand in the order in which they were signed; `order` is that in which they stand."""
    place = {key: at for at, key in enumerate(order)}
    ordered = sorted(pairs, key=lambda pair: place[_key(pair.found)])
    rank = {pair.signed.seq: at for at, pair in enumerate(sorted(pairs, key=lambda pair: pair.signed.seq))}
    return [pair for at, pair in enumerate(ordered) if rank[pair.signed.seq] != at]


def _unreadable(chain_no: int, signed: Record) -> Finding:
    text = "was overwritten with what is no record; the signed tree has one here"
    return _finding(chain_no, Change.EDITED, text, signed, fields=("leaf",))


def _edited(chain_no: int, pair: Pair) -> Finding:
    text = "was rewritten; the signed tree has another record here"
    return _finding(chain_no, Change.EDITED, text, pair.signed, fields=pair.fields)


def _inserted(chain_no: int, record: Record) -> Finding:
    text = "was put in; the signed tree does not have it"
    return _finding(chain_no, Change.INSERTED, text, record)


def _gone(chain_no: int, gone: Sequence[Record], present: set[_Key], order: Sequence[_Key]) -> list[Finding]:
    """Runs of records that are missing. Those at the end of what was signed were cut off."""
    kept_last = max((at for at, key in enumerate(order) if key in present), default=-1)
    place = {key: at for at, key in enumerate(order)}
    findings = []
    for run in _runs(gone):
        truncated = place[_key(run[0])] > kept_last
        text = (
            "was signed, and is gone: the chain was cut off before it"
            if truncated
            else "was signed, and is gone"
        )
        change = Change.TRUNCATED if truncated else Change.DELETED
        findings.append(_finding(chain_no, change, text, run[0], run[-1]))
    return findings


def _runs(records: Sequence[Record]) -> list[list[Record]]:
    runs: list[list[Record]] = []
    for record in sorted(records, key=lambda record: record.seq):
        if runs and record.seq == runs[-1][-1].seq + 1:
            runs[-1].append(record)
        else:
            runs.append([record])
    return runs


def _reordered(chain_no: int, moved: Sequence[Pair]) -> Finding:
    first, last = moved[0].signed, moved[-1].signed
    low, high = (first, last) if first.seq <= last.seq else (last, first)
    text = "stand in another order than they were signed"
    return _finding(chain_no, Change.REORDERED, text, low, high, ("seq",))


def _forked(chain_no: int, first: Record, count: int, sealed: Sealed) -> Finding:
    text = (
        f"{count} records were written again from the same messages, at other times than those that were signed up to seal "
        f"{sealed.seal_no}: the database was set back to an older state, and went on from there"
    )
    return _finding(chain_no, Change.FORKED, text, first)


def _unexplained(chain_no: int, first: int, sealed: Sealed) -> Finding:
    text = "the records are those that were signed, in other links than those that were signed"
    return Finding(
        chain_no, Change.FORKED, Part.RECORD, text, first, sealed.size - 1, until_us=sealed.time_us
    )


def _finding(
    chain_no: int,
    change: Change,
    text: str,
    first: Record,
    last: Record | None = None,
    fields: tuple[str, ...] = (),
) -> Finding:
    return Finding(
        chain_no,
        change,
        Part.RECORD,
        text,
        first.seq,
        None if last is None or last.seq == first.seq else last.seq,
        source_offset=None if first.source_offset == ABSENT else first.source_offset,
        last_offset=None if last is None or last.source_offset == ABSENT else last.source_offset,
        fields=fields,
        appended_us=first.appended_us,
        until_us=None if last is None else last.appended_us,
    )
