"""An archive against the proof that lies beside it: without a database, by whoever trusts a key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from schemas.archive_proof import SUFFIX, ArchiveProof, ChainRange, decode_archive_proof
from schemas.seal import Seal, decode_seal
from schemas.tlog.checkpoint import open_checkpoint
from schemas.tlog.errors import VerificationError
from schemas.tlog.merkle import leaf_hash, verify_inclusion
from schemas.tlog.note import Verifier
from schemas.tlog.ranges import verify_range
from schemas.verification.findings import Change, Finding, Part
from services.common.archive_proofs import NotSealedError, Span, prove_spans
from services.common.errors import ConfigurationError
from services.reporter.archive import ArchiveVerification, Proved, read_archive
from services.reporter.evidence import TrustedKeys
from services.reporter.store import open_snapshot, translated


def proof_path(archive: Path) -> Path:
    """Beside the archive, its whole name and `.proof`."""
    return archive.with_name(archive.name + SUFFIX)


async def make_proof(dsn: str, archive: Path, spans: Sequence[Span]) -> ArchiveProof | str:
    """The proof of an archive's records, compared with them; or in words why there is none. Raises ValueError where records
    and seals do not fit together."""
    async with open_snapshot(dsn) as snapshot:
        try:
            with translated():
                proof = await prove_spans(snapshot.connection, spans)
        except NotSealedError as error:
            return str(error)
    check_records(archive, proof)
    return proof


def read_proof(path: Path) -> ArchiveProof:
    """Raises ConfigurationError where there is none that can be read."""
    try:
        return decode_archive_proof(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}; an archive's proof lies beside it as NAME{SUFFIX}"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def check_proof(archive: Path, proof: ArchiveProof, policy: TrustedKeys) -> Proved:
    """Raises VerificationError, or another ValueError, where the archive's records are not shown to be those that were
    sealed, all of each range; ConfigurationError where the archive cannot be read."""
    seal, log, by = _open_seal(proof, policy)
    check_records(archive, proof)
    return Proved(seal.no, seal.time_us, log, by)


def _open_seal(proof: ArchiveProof, policy: TrustedKeys) -> tuple[Seal, str, tuple[str, ...]]:
    why: ValueError = VerificationError("no key is trusted")
    for log in policy.logs:
        try:
            return _opened_by(log, proof, policy)
        except ValueError as error:
            why = error
    raise why


def _opened_by(log: Verifier, proof: ArchiveProof, policy: TrustedKeys) -> tuple[Seal, str, tuple[str, ...]]:
    place = proof.seal_proof
    opened = open_checkpoint(place.checkpoint, log, list(policy.witnesses.values()))
    size, root = opened.checkpoint.size, opened.checkpoint.root
    if not policy.believes(log, size):
        raise VerificationError(f"the key is not good for size {size} of the seal log")
    policy.check(opened.note)
    verify_inclusion(leaf_hash(proof.seal_leaf), place.index, size, place.hashes, root)
    seal = decode_seal(proof.seal_leaf)
    if seal.no != place.index:
        raise VerificationError("the seal's number is not its place in the seal log")
    return seal, log.name, tuple(sorted(policy.witnessed_by(opened.note)))


def judge_proof(archive: Path, policy: TrustedKeys, found: ArchiveVerification, *, wanted: bool) -> None:
    """Adds to `found` what the proof beside the archive shows, or that it shows something else. Raises ConfigurationError
    where a proof is `wanted` and there is none."""
    path = proof_path(archive)
    if not path.is_file() and not wanted:
        return
    proof = read_proof(path)
    if not policy.logs:
        found.unproved = (
            f"{path.name} was not looked at: say whose key must have signed, with --vkey or --policy."
        )
        return
    try:
        found.proved = check_proof(archive, proof, policy)
    except ValueError as error:
        text = f"the archive is not what {path.name} and the trusted key show to have been sealed: {error}"
        found.others.append(Finding(0, Change.FORKED, Part.SEAL, text))


def check_records(archive: Path, proof: ArchiveProof) -> None:
    """Whether the archive has exactly the records of the proof's ranges, as the proof's seal lists them. Raises
    VerificationError."""
    seal = decode_seal(proof.seal_leaf)
    wanted = {item.chain_id: item for item in proof.chains}
    if len(wanted) < len(proof.chains):
        raise VerificationError("the proof names a chain twice")
    for chain_id, records in groupby(read_archive(archive), lambda record: record.chain.chain_id):
        span = wanted.pop(chain_id, None)
        if span is None:
            raise VerificationError(f"the proof is not of chain {chain_id.hex()}, or its records stand apart")
        leaves = (leaf_hash(record.row.leaf) for record in records)
        _check_range(seal, span, leaves)
    if wanted:
        raise VerificationError(f"the records of chain {min(wanted).hex()} are not in the archive")


def _check_range(seal: Seal, span: ChainRange, leaves: Iterator[bytes]) -> None:
    listed = seal.chain(span.chain_id)
    if listed is None:
        raise VerificationError(f"the seal does not list chain {span.chain_id.hex()}")
    verify_range(leaves, span.first, span.end, listed.size, span.hashes, listed.root)
