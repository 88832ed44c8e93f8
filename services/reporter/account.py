"""A verification told: as lines for a terminal, and as an object for programs."""

from __future__ import annotations

from typing import Any

from schemas.record import Kind
from schemas.verification.findings import utc
from schemas.verification.result import ChainResult
from schemas.verification.seals import Anchor
from services.reporter.archive import ArchiveVerification
from services.reporter.escape import terminal
from services.reporter.integrity import assurance, counted, tail, verdict
from services.reporter.verify import Verification

_MOST_LINES = 50


def as_lines(verification: Verification) -> list[str]:
    """The verdict, what it proves, the findings and a line for each chain."""
    lines = [verdict(verification), *assurance(verification), *_checkpoint_lines(verification), ""]
    findings = verification.findings
    lines += [terminal(finding.sentence()) for finding in findings[:_MOST_LINES]]
    if verification.found > _MOST_LINES:
        lines.append(
            f"… and {counted(verification.found - _MOST_LINES, 'finding')} more (--json has the first 1,000 of each chain)"
        )
    if findings:
        lines.append("")
    lines += [_chain_line(result) for result in verification.chains]
    rate = verification.records / verification.seconds if verification.seconds else 0
    lines.append(f"{verification.seconds:,.1f} s, {rate:,.0f} records/s, as of {utc(verification.taken_us)}")
    return lines


def _checkpoint_lines(verification: Verification) -> list[str]:
    """The checkpoints that it was compared with, and what none of them covers."""
    lines = [
        terminal(
            f"Checkpoint: {anchor.size:,} seals, from {anchor.place}"
            + (f", cosigned by {', '.join(anchor.by)}" if anchor.by else "")
            + _held(anchor, verification)
        )
        for anchor in verification.evidence.anchors
    ]
    if verification.evidence.own_key:
        lines.append(
            "The key came from the same place as the checkpoint: keep it elsewhere (`piperoll seal key`), and name it with --vkey."
        )
    said = tail(verification)
    return lines if said is None else [*lines, said]


def _held(anchor: Anchor, verification: Verification) -> str:
    """Who has this copy since when, and where it is not worth what it looks like, why."""
    held = anchor.held
    if held is None:
        return ""
    text = f", made {utc(held.at_us)}, held by {held.by}"
    sealed_us = None if verification.sealing is None else verification.sealing.history.times.get(anchor.size)
    if sealed_us is None or held.counts(sealed_us, verification.taken_us):
        return text
    if held.until_us is not None and held.until_us <= verification.taken_us:
        return f"{text}: not counted, it can be taken back since {utc(held.until_us)}"
    return f"{text}: not counted, its last seal says {utc(sealed_us)}; a copy is made within minutes of it"


def _chain_line(result: ChainResult) -> str:
    chain, kinds = result.chain, result.kinds
    facts = [counted(result.records, "record")]
    if result.first_offset is not None and result.next_offset is not None:
        facts.append(f"source offsets {result.first_offset:,} to {result.next_offset - 1:,}")
    named = ((Kind.DUPLICATE, "duplicate"), (Kind.POISON, "poison message"), (Kind.SKIP, "skip"))
    facts += [counted(kinds[kind], word) for kind, word in named if kinds[kind]]
    if result.expired_offsets:
        facts.append(f"{counted(result.expired_offsets, 'event')} expired before they were read")
    if result.erased:
        facts.append(f"{counted(result.erased, 'payload')} erased as recorded")
    if result.retained:
        facts.append(f"{counted(result.retained, 'payload')} retained away as recorded")
    mark = "ok  " if result.good else "BAD "
    return terminal(
        f"{mark} chain {chain.chain_no}, {chain.topic} partition {chain.partition}: {', '.join(facts)}"
    )


def as_json(verification: Verification) -> dict[str, Any]:
    """For --json. Stable: fields are only added."""
    return {
        "good": verification.good,
        "verdict": verdict(verification),
        "assurance": assurance(verification),
        "partial": verification.partial,
        "payloads": verification.with_contents,
        "taken": utc(verification.taken_us),
        "seconds": round(verification.seconds, 3),
        "records": verification.records,
        "erased": verification.erased,
        "retained": verification.retained,
        "passed_over": verification.passed_over,
        "checkpoints": _checkpoints_as_json(verification),
        "found": verification.found,
        "findings": [finding.as_json() for finding in verification.findings],
        "chains": [chain_as_json(result) for result in verification.chains],
    }


def archive_as_lines(name: str, found: ArchiveVerification) -> list[str]:
    """An archive's verdict, findings and chains."""
    what = f"{counted(found.records, 'record')}, {counted(found.payloads, 'payload')}"
    lines = [f"{'OK' if found.good else 'NOT OK'}: {terminal(name)}: {what}, SHA-256 {found.sha256}"]
    if found.matched is None:
        lines.append(
            f"By itself only, {counted(sum(one.retained for one in found.chains), 'payload')} not in it: whether these "
            "are the records of a chain, and what was gone lawfully, the chain's database tells."
        )
    else:
        lines.append(f"{counted(found.matched, 'record')} the same in the database.")
        record = "No retention record names this file."
        if found.named_by is not None:
            record = f"Record {found.named_by[1]} of chain {found.named_by[0]} (retention) names this file."
        lines.append(record)
    lines += [terminal(finding.sentence()) for finding in found.findings[:_MOST_LINES]]
    return lines + [_chain_line(result) for result in found.chains]


def archive_as_json(found: ArchiveVerification) -> dict[str, Any]:
    """For --json."""
    return {
        "good": found.good,
        "sha256": found.sha256,
        "records": found.records,
        "payloads": found.payloads,
        "matched": found.matched,
        "named_by": None if found.named_by is None else list(found.named_by),
        "findings": [finding.as_json() for finding in found.findings],
        "chains": [chain_as_json(result) for result in found.chains],
    }


def _checkpoints_as_json(verification: Verification) -> dict[str, Any] | None:
    """What it was compared with; `unsealed_records` behind the last seal, which is `seal_age_seconds` old."""
    sealing = verification.sealing
    if sealing is None:
        return None
    age = None if sealing.last_seal_us is None else (verification.taken_us - sealing.last_seal_us) / 1_000_000
    return {
        "compared_with": [
            {
                "place": anchor.place,
                "size": anchor.size,
                "root": anchor.root.hex(),
                "cosigned_by": anchor.by,
                "held": None if anchor.held is None else anchor.held._asdict(),
            }
            for anchor in verification.evidence.anchors
        ],
        "seals": sealing.history.size,
        "last_seal": None if sealing.last_seal_us is None else utc(sealing.last_seal_us),
        "seal_age_seconds": age,
        "unsealed_records": sealing.tail_records,
        "key_from_the_same_place": verification.evidence.own_key,
    }


def chain_as_json(result: ChainResult) -> dict[str, Any]:
    """One chain's numbers; `last_offset` is inclusive."""
    chain, kinds = result.chain, result.kinds
    return {
        "chain_no": chain.chain_no,
        "chain_id": chain.chain_id.hex(),
        "topic": chain.topic,
        "topic_id": chain.topic_id.hex(),
        "partition": chain.partition,
        "good": result.good,
        "found": result.found,
        "records": result.records,
        "events": kinds[Kind.EVENT],
        "duplicates": kinds[Kind.DUPLICATE],
        "poison": kinds[Kind.POISON],
        "skips": kinds[Kind.SKIP],
        "annotations": kinds[Kind.ANNOTATION],
        "own_events": kinds[Kind.OWN_EVENT],
        "time_anchors": kinds[Kind.TIME_ANCHOR],
        "first_offset": result.first_offset,
        "last_offset": None if result.next_offset is None else result.next_offset - 1,
        "skipped_offsets": result.skipped_offsets,
        "expired_offsets": result.expired_offsets,
        "erased": result.erased,
        "retained": result.retained,
        "first_appended": None if result.first_appended_us is None else utc(result.first_appended_us),
        "last_appended": None if result.last_appended_us is None else utc(result.last_appended_us),
        "last_hash": None if result.last_hash is None else result.last_hash.hex(),
    }
