"""Says what happened to a stretch of a chain that does not verify, from its true path."""

from __future__ import annotations

from typing import Any, NamedTuple

from schemas.verification.findings import Change, Finding, Part
from schemas.verification.links import ChainInfo, Link, Place, column_changes, or_none
from schemas.verification.path import Path, State, Step
from schemas.verification.restoration import restore


class Stretch(NamedTuple):
    """A stretch of a chain: where it begins, the true path through it, the writer epochs around it, and whether it
    ends at the chain's head."""

    chain: ChainInfo
    place: Place
    path: Path
    epochs: tuple[int, ...]
    at_head: bool


def explain(stretch: Stretch) -> list[Finding]:
    """The findings that a stretch gives."""
    path = stretch.path
    moved = _is_reordered(path)
    explained = moved or _is_renumbered(stretch)
    findings = []
    for number, step in enumerate(path.steps):
        if step.state is State.INTACT and step.link.record is not None:
            findings += _column_findings(stretch, step, explained=explained)
        else:
            findings.append(_changed(stretch, step, path.steps[number - 1] if number else None))
    findings += [_gap(stretch, first, last) for first, last in path.gaps]
    findings += [_inserted(stretch, item) for item in path.leftover]
    if moved:
        findings.append(_reordered(stretch))
    return findings


def _is_reordered(path: Path) -> bool:
    order = [step.link.row.seq for step in path.steps]
    return order != sorted(order)


def _is_renumbered(stretch: Stretch) -> bool:
    """Whether the rows' numbers moved because records were put in or taken out before them."""
    path = stretch.path
    if not path.steps:
        return False
    moved = path.steps[-1].link.row.seq - path.steps[-1].seq - stretch.place.shift
    missing = sum(last - first + 1 for first, last in path.gaps)
    return moved != 0 and moved in (len(path.leftover), -missing)


def _column_findings(stretch: Stretch, step: Step, *, explained: bool) -> list[Finding]:
    row, record = step.link.row, step.link.record
    assert record is not None
    findings = []
    fields = () if explained else column_changes(row, record)
    if not explained and row.seq - record.seq != stretch.place.shift:
        fields = ("seq", *fields)
    if row.record_hash != step.link.digest:
        fields = (*fields, "record_hash")
    if fields:
        text = "the leaf is whole, the column beside it says otherwise"
        findings.append(_finding(stretch, step, Change.EDITED, Part.COLUMN, text, fields))
    if record.chain_id != stretch.chain.chain_id:
        text = "the leaf belongs to another chain than its row"
        findings.append(_finding(stretch, step, Change.INSERTED, Part.RECORD, text, ("chain_id",)))
    return findings


def _changed(stretch: Stretch, step: Step, before: Step | None) -> Finding:
    """A record whose bytes are not those that the record after it names."""
    link = step.link
    neighbours: dict[str, Any] = {"chain_id": stretch.chain.chain_id, "seq": step.seq}
    if before is None and step.seq == stretch.place.next_seq:
        neighbours["prev"] = stretch.place.last_hash
    elif before is not None and before.seq == step.seq - 1:
        neighbours["prev"] = before.wanted or before.link.digest
    target = step.wanted or link.row.record_hash
    fields, proved = restore(link, neighbours, stretch.epochs, target)
    how = "leaf and hash were rewritten together; the record after it names another hash"
    if step.state is State.EDITED:
        how = "the leaf was edited, its hash was left"
    if proved:
        how += "; the original fits together again from what is stored beside it"
        return _finding(stretch, step, Change.EDITED, Part.RECORD, how, fields, target)
    if link.sound and link.record is not None and link.record.seq != step.seq:
        text = f"record {link.record.seq}, by its own number, stands in its place"
        return _finding(stretch, step, Change.REORDERED, Part.RECORD, text, ("seq",))
    rewritten = step.state is not State.EDITED
    if not fields and rewritten and stretch.at_head and step is stretch.path.steps[-1]:
        text = "the head names another hash than the last record has: the head was changed, or leaf and hash of the record"
        return _finding(stretch, step, Change.EDITED, Part.HEAD, text, ("last_hash",))
    if not fields:
        how += "; it differs in a field of which the database has no second copy"
    return _finding(stretch, step, Change.EDITED, Part.RECORD, how, fields)


def _gap(stretch: Stretch, first: int, last: int) -> Finding:
    """Records `first` to `last` are not there."""
    place, steps = stretch.place, stretch.path.steps
    before = next((step.link for step in reversed(steps) if step.seq < first), None)
    after = next((step.link for step in steps if step.seq > last), None)
    truncated = stretch.at_head and after is None
    text = "these stood between records that do not link to each other"
    if truncated:
        text = "the head names records that are not there"
    low = or_none(place.appended_us) if before is None else before.row.appended_us
    high = None if after is None else after.row.appended_us
    return Finding(
        stretch.chain.chain_no,
        Change.TRUNCATED if truncated else Change.DELETED,
        Part.RECORD,
        text,
        first,
        last,
        place.next_offset if before is None else _plus(before.row.source_offset, 1),
        None if after is None else _plus(after.row.source_offset, -1),
        appended_us=low,
        until_us=high,
    )


def _plus(offset: int | None, number: int) -> int | None:
    return None if offset is None else offset + number


def _inserted(stretch: Stretch, item: Link) -> Finding:
    step = Step(item, item.row.seq - stretch.place.shift, State.INTACT)
    return _finding(stretch, step, Change.INSERTED, Part.RECORD, "no record after it links to it", ())


def _reordered(stretch: Stretch) -> Finding:
    steps = stretch.path.steps
    order = sorted(step.link.row.seq for step in steps)
    moved = [step for step, seq in zip(steps, order, strict=True) if step.link.row.seq != seq]
    numbers = [step.seq for step in moved]
    times = [step.link.row.appended_us for step in moved]
    names = ", ".join(map(str, numbers[:10])) + (" …" if len(numbers) > 10 else "")
    return Finding(
        stretch.chain.chain_no,
        Change.REORDERED,
        Part.RECORD,
        f"the records {names} stand in each other's places",
        min(numbers),
        max(numbers),
        moved[0].link.row.source_offset,
        moved[-1].link.row.source_offset,
        ("seq",),
        min(times),
        max(times),
    )


def _finding(
    stretch: Stretch,
    step: Step,
    change: Change,
    part: Part,
    text: str,
    fields: tuple[str, ...],
    restored: bytes | None = None,
) -> Finding:
    row = step.link.row
    return Finding(
        stretch.chain.chain_no,
        change,
        part,
        text,
        step.seq,
        source_offset=row.source_offset,
        fields=fields,
        appended_us=row.appended_us,
        restored=restored,
    )
