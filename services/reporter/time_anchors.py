"""Time anchors in the chains: which checkpoint each holds, and whether it is one of the history that was signed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.own_bodies import TimeAnchor, read_own
from schemas.record import RECORD_BYTES, Kind, decode
from schemas.tlog.checkpoint import Checkpoint, open_checkpoint
from schemas.verification.contents import Content, is_committed
from schemas.verification.findings import Change, Finding, Part, utc
from schemas.verification.seals import MOST_LATE_US, History
from schemas.verification.windows import AnchoredAt
from services.reporter.evidence import TrustedKeys
from services.reporter.store import Snapshot


class TimeMark(NamedTuple):
    """A record of kind time anchor whose checkpoint a trusted key signed."""

    chain_no: int
    seq: int
    appended_us: int
    checkpoint: Checkpoint


async def find_time_anchors(snapshot: Snapshot, policy: TrustedKeys) -> list[TimeMark]:
    """Those that commit to what stands beside them; what is wrong with others, the verification of their chain tells."""
    if not policy.logs:
        return []
    found = []
    for chain_no, seq, leaf, salt, body in await snapshot.fetch("time_anchors"):
        record = decode(leaf) if len(leaf) == RECORD_BYTES else None
        if record is None or record.kind != Kind.TIME_ANCHOR or salt is None or body is None:
            continue
        if not is_committed(record, Content(seq, record.appended_us, salt, body, None, None)):
            continue
        checkpoint = _signed(body, policy)
        if checkpoint is not None:
            found.append(TimeMark(chain_no, record.seq, record.appended_us, checkpoint))
    return found


def _signed(body: bytes, policy: TrustedKeys) -> Checkpoint | None:
    try:
        note = read_own(TimeAnchor, body).checkpoint.encode()
    except ValueError:
        return None
    for log in policy.logs:
        try:
            opened = open_checkpoint(note, log).checkpoint
        except ValueError:
            continue
        if policy.believes(log, opened.size):
            return opened
    return None


def judge_time_anchors(
    found: Sequence[TimeMark], history: History
) -> tuple[dict[int, list[AnchoredAt]], list[Finding]]:
    """The good ones by chain number; findings where one holds a checkpoint of another history, or is dated before the seal
    that it holds. One whose seal is newer than the evidence says nothing."""
    good: dict[int, list[AnchoredAt]] = {}
    findings = []
    for chain_no, seq, appended_us, checkpoint in found:
        sealed_us = history.times.get(checkpoint.size)
        if sealed_us is None:
            continue
        if history.roots.get(checkpoint.size) != checkpoint.root:
            text = (
                f"holds a checkpoint of {checkpoint.size} seals that is signed, and not of the history that was compared with: "
                "two histories were signed"
            )
            findings.append(Finding(chain_no, Change.FORKED, Part.SEAL, text, seq, appended_us=appended_us))
        elif appended_us < sealed_us - MOST_LATE_US:
            text = (
                f"says that it was appended at {utc(appended_us)}, and holds a seal of {utc(sealed_us)}: records were dated back, "
                "or a clock is wrong"
            )
            findings.append(
                Finding(
                    chain_no,
                    Change.DISORDERED,
                    Part.RECORD,
                    text,
                    seq,
                    fields=("appended_us",),
                    appended_us=appended_us,
                )
            )
        else:
            good.setdefault(chain_no, []).append(AnchoredAt(seq, sealed_us))
    return good, findings
