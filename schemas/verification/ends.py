"""The end of a chain against its head row, payload rows without a record, and chains that follow each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.verification.findings import Change, Finding, Part
from schemas.verification.links import ChainInfo, Head, Place
from schemas.verification.result import ChainResult


def beyond_head(chain: ChainInfo, place: Place, head: Head, recent: Sequence[Any]) -> Finding:
    """Records that stand behind the one that the head names as the last."""
    known = any(row[6] == head.last_hash for row in recent)
    text = (
        "stand behind the record that the head names: the head was set back, or they were put in"
        if known
        else "stand behind the number that the head names, and the hash that it names is none of the last records'"
    )
    first = next((row for row in recent if row[0] - place.shift == head.next_seq), None)
    return Finding(
        chain.chain_no,
        Change.INSERTED,
        Part.RECORD,
        text,
        head.next_seq,
        place.next_seq - 1,
        appended_us=None if first is None else first[3],
        until_us=recent[-1][3] if recent else None,
    )


def compare_head(result: ChainResult, place: Place, head: Head) -> None:
    """The head's other columns against the last record."""
    wrong: tuple[str, ...] = () if head.next_seq == place.next_seq else ("next_seq",)
    if place.next_offset is not None and head.next_source_offset != place.next_offset:
        wrong += ("next_source_offset",)
    if head.epoch < place.epoch:
        wrong += ("epoch",)
    if head.closed != place.closed:
        wrong += ("closed",)
    if wrong and result.good:
        text = "the head is not what the last record says"
        result.add(
            Finding(
                result.chain.chain_no,
                Change.EDITED,
                Part.HEAD,
                text,
                place.next_seq - 1 if place.next_seq else None,
                fields=wrong,
                appended_us=result.last_appended_us,
            )
        )


def compare_strays(result: ChainResult, strays: Sequence[int]) -> None:
    """Payload rows under numbers that no record has, but for those of which the record is known to be gone."""
    gone = [
        (finding.seq, finding.last_seq)
        for finding in result.findings
        if finding.change in (Change.DELETED, Change.TRUNCATED) and finding.part is Part.RECORD
    ]
    text = "a payload row stands under a number that no record has"
    for seq in strays:
        if any(first is not None and last is not None and first <= seq <= last for first, last in gone):
            continue
        result.add(Finding(result.chain.chain_no, Change.INSERTED, Part.PAYLOAD, text, seq))


def compare_succession(results: Sequence[ChainResult]) -> list[Finding]:
    """Chains that follow each other must name each other: close record, genesis record and the chain's row."""
    by_id = {result.chain.chain_id.hex(): result for result in results}
    by_no: Mapping[int, ChainResult] = {result.chain.chain_no: result for result in results}
    findings = []
    for result in results:
        if result.genesis is not None:
            findings += _previous_findings(result, by_id, by_no)
        if result.close is not None and result.close.next_chain_id not in by_id:
            text = f"its close record names {result.close.next_chain_id} as the next chain, and there is none"
            findings.append(_broken(result, text, ("next_chain_id",), result.next_seq - 1))
    return findings


def _previous_findings(
    result: ChainResult, by_id: Mapping[str, ChainResult], by_no: Mapping[int, ChainResult]
) -> list[Finding]:
    assert result.genesis is not None
    said, named = result.genesis.previous, result.chain.previous
    if said is None:
        text = "its row names a chain before it, its genesis record none"
        return [] if named is None else [_broken(result, text, ("previous",), 0)]
    before = by_id.get(said.chain_id)
    if before is None:
        text = f"its genesis record names chain {said.chain_id} before it, and there is none: a whole chain is gone"
        return [_broken(result, text, ("previous",), 0)]
    if named is None or by_no.get(named) is not before:
        return [_broken(result, "row and genesis record name different chains before it", ("previous",), 0)]
    if before.last_hash is None or (said.last_hash, said.next_seq) != (
        before.last_hash.hex(),
        before.next_seq,
    ):
        text = f"its genesis record names another end of chain {named} than that has"
        return [_broken(result, text, ("last_hash", "next_seq"), 0)]
    if before.with_contents and (
        before.close is None or before.close.next_chain_id != result.chain.chain_id.hex()
    ):
        text = f"chain {named} before it does not end with a close record that names it"
        return [_broken(result, text, ("next_chain_id",), 0)]
    return []


def _broken(result: ChainResult, text: str, fields: tuple[str, ...], seq: int) -> Finding:
    return Finding(result.chain.chain_no, Change.BROKEN_SUCCESSION, Part.CHAIN, text, seq, fields=fields)
