"""Verifies an archive (a file of `piperoll export` or `piperoll retain`): by itself, and against the database's chains."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

from schemas.chain import SegmentVerifier
from schemas.commitment import decode_body
from schemas.own_events import RETENTION, Retention, order_type, read_order
from schemas.verification.contents import Content
from schemas.verification.erasures import Coverage
from schemas.verification.findings import Change, Finding, Part
from schemas.verification.links import ChainInfo, Row
from schemas.verification.result import MOST_FINDINGS, ChainResult
from services.common.errors import ConfigurationError
from services.reporter.parquet import SUFFIX as PARQUET
from services.reporter.parquet import read_parquet
from services.reporter.store import open_snapshot
from services.reporter.verify import read_coverages

_RANGE = 4096
UNJUDGED = Coverage(retained_us=2**63 - 1)
"""Of a file alone: whether what it lacks was gone lawfully, the chain's database tells."""


class ArchivedRecord(NamedTuple):
    """One line: its chain, its row, and its payload where the archive has one."""

    chain: ChainInfo
    row: Row
    content: Content | None


class Proved(NamedTuple):
    """What a good proof shows: the seal, when it was made by the sealer's clock, whose signatures it bears."""

    seal_no: int
    sealed_us: int
    log: str
    by: tuple[str, ...]


@dataclass
class ArchiveVerification:
    """What an archive is worth. `matched` records are the same in the database (None: not compared); `named_by` is the
    record (chain number, seq) of the retention that names the file's SHA-256, None where no record does."""

    sha256: str
    chains: list[ChainResult] = field(default_factory=list)
    others: list[Finding] = field(default_factory=list)
    matched: int | None = None
    named_by: tuple[int, int] | None = None
    payloads: int = 0
    proved: Proved | None = None
    """What the proof beside it shows, None where it was not asked."""
    unproved: str = ""
    """Why the proof that lies beside it was not asked."""

    @property
    def records(self) -> int:
        return sum(result.records for result in self.chains)

    @property
    def findings(self) -> list[Finding]:
        return [*self.others, *(finding for result in self.chains for finding in result.findings)]

    @property
    def good(self) -> bool:
        return not self.others and all(result.good for result in self.chains)


def read_lines(path: Path) -> Iterator[Any]:
    """The JSON values of a file's lines, gzipped or plain, or of a Parquet file's rows. Raises ConfigurationError where it
    cannot be read to its end."""
    if path.suffix == PARQUET:
        yield from read_parquet(path)
        return
    opened: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opened(path, "rb") as file:
            for number, line in enumerate(file, 1):  # noqa: B007 - told in the error
                yield json.loads(line)
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        raise ConfigurationError(
            f"{path}, about line {number}: cut short, damaged, or no JSON lines: {error!r}"
        ) from error


def read_archive(path: Path) -> Iterator[ArchivedRecord]:
    """The records of a file: JSON lines, gzipped or plain, or Parquet. Raises ConfigurationError where it is no archive."""
    for number, line in enumerate(read_lines(path), 1):
        try:
            record = _read_line(line)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{path}, line {number}: no archive of records: {error!r}") from error
        yield record


def _read_line(line: dict[str, Any]) -> ArchivedRecord:
    chain = ChainInfo(
        line["chain_no"],
        bytes.fromhex(line["chain_id"]),
        line["topic"],
        bytes.fromhex(line["topic_id"]),
        line["partition"],
        line["cluster_id"],
        None,
    )
    row = Row(
        line["seq"],
        line["kind"],
        line["source_offset"],
        line["appended_us"],
        line["event_time_us"],
        line["identity_hash"],
        bytes.fromhex(line["record_hash"]),
        bytes.fromhex(line["leaf"]),
    )
    if line["payload_salt"] is None:
        return ArchivedRecord(chain, row, None)
    salts = [bytes.fromhex(line[name] or "") or None for name in ("payload_salt", "enrichment_salt")]
    bodies = [
        None if line[name] is None else base64.b64decode(line[name], validate=True)
        for name in ("body", "enrichment")
    ]
    return ArchivedRecord(
        chain, row, Content(row.seq, row.appended_us, salts[0], bodies[0], salts[1], bodies[1])
    )


def verify_alone(
    path: Path, coverage: Callable[[ChainInfo], Coverage] = lambda _chain: UNJUDGED
) -> ArchiveVerification:
    """The file's records against each other. `coverage` says what was lawfully gone when it was written; without it
    payloads that are not in the file are only counted."""
    found = ArchiveVerification(file_hash(path))
    for chain, records in groupby(read_archive(path), lambda record: record.chain):
        verifier: SegmentVerifier | None = None
        while held := list(islice(records, _RANGE)):
            verifier = verifier or SegmentVerifier(chain, held[0].row, coverage(chain))
            contents = [record.content for record in held if record.content is not None]
            verifier.feed([record.row for record in held], contents)
            found.payloads += len(contents)
        if verifier is not None:
            found.chains.append(verifier.finish())
    return found


def file_hash(path: Path) -> str:
    """SHA-256 in hex. Raises ConfigurationError where the file cannot be read."""
    digest = sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    return digest.hexdigest()


async def verify_archive(dsn: str, path: Path) -> ArchiveVerification:
    """The file alone, then each record against the chain in the database, and the file against the retention records."""
    async with open_snapshot(dsn) as snapshot:
        found = verify_alone(path, await read_coverages(dsn, snapshot))
        found.matched = 0
        for number, rows in _ranges(path):
            known = {
                row["seq"]: row["record_hash"]
                for row in await snapshot.fetch("hashes", number, rows[0].seq, rows[-1].seq)
            }
            differing = _differences(known, number, rows)
            found.matched += len(rows) - len(differing)
            found.others += differing[: MOST_FINDINGS - len(found.others)]
        for row in await snapshot.fetch("orders", RETENTION):
            if _names(row["body"], found.sha256):
                found.named_by = (row["chain_no"], row["seq"])
    return found


def _ranges(path: Path) -> Iterator[tuple[int, list[Row]]]:
    """The rows of a file by chain, some thousand at a time."""
    for number, records in groupby(read_archive(path), lambda record: record.chain.chain_no):
        while rows := [record.row for record in islice(records, _RANGE)]:
            yield number, rows


def _differences(known: dict[int, bytes], number: int, rows: list[Row]) -> list[Finding]:
    text = "the archive has another record than the database under this number"
    return [
        Finding(number, Change.EDITED, Part.RECORD, text, row.seq, appended_us=row.appended_us)
        for row in rows
        if known.get(row.seq) != row.record_hash
    ]


def _names(body: bytes, digest: str) -> bool:
    value = decode_body(body).value or b""
    if not order_type(value):
        return False
    try:
        order = read_order(value)
    except ValueError:
        return False
    return isinstance(order, Retention) and order.archive == digest
