"""The file of a month and the proof beside it: written, read again and verified before anything is dropped."""

from __future__ import annotations

import asyncio
import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from services.cli.retention.months import Month
from services.common.archive_proofs import Span
from services.common.errors import ConfigurationError, FatalError
from services.reporter.archive import ArchiveVerification, file_hash, read_lines, verify_archive
from services.reporter.archive_proof import make_proof, proof_path
from services.reporter.attachments import replacing
from services.reporter.export import export_records
from services.reporter.parquet import write_parquet


class Archived(NamedTuple):
    """A file, its SHA-256, and why no proof lies beside it (empty where one does)."""

    path: Path
    sha256: str
    unproved: str


def write_archive(dsn: str, month: Month, folder: Path, format_: str) -> Archived:
    """Raises FatalError where the file does not verify, or is not what was sealed: then nothing must be dropped."""
    suffix, write = WRITERS[format_]
    path = folder / f"piperoll-{month.name}.{suffix}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            write(dsn, month, file)
    except OSError as error:
        raise ConfigurationError(f"the archive of {month.name} cannot be written: {error}") from error
    found = asyncio.run(verify_archive(dsn, path))
    if not found.good or found.records != month.records:
        raise FatalError(
            f"{path} does not verify ({len(found.findings)} findings, {found.records} of {month.records} records), so "
            f"{month.name} was not dropped: `piperoll verify` says what is wrong, `piperoll restore` may mend it"
        )
    return Archived(path, file_hash(path), _prove(dsn, month, path, found))


def _prove(dsn: str, month: Month, path: Path, found: ArchiveVerification) -> str:
    spans = [
        Span(item.chain.chain_no, item.chain.chain_id, item.next_seq - item.records, item.next_seq)
        for item in found.chains
    ]
    try:
        proof = asyncio.run(make_proof(dsn, path, spans))
    except ValueError as error:
        raise FatalError(
            f"{path} is not what was sealed ({error}), so {month.name} was not dropped: `piperoll verify` with a checkpoint "
            "from elsewhere says what was changed"
        ) from error
    beside = proof_path(path)
    if isinstance(proof, str):
        beside.unlink(missing_ok=True)
        return proof
    with replacing(beside) as file:
        file.write(proof.encode())
    return ""


def _write_lines(dsn: str, month: Month, out: BinaryIO) -> None:
    # without name and time of writing: the same month gives the same bytes
    with gzip.GzipFile("", "wb", 6, out, mtime=0) as file:
        asyncio.run(
            export_records(dsn, cast("BinaryIO", file), since_us=month.from_us, until_us=month.until_us)
        )


def _write_parquet(dsn: str, month: Month, out: BinaryIO) -> None:
    """By way of lines in a temporary file: records stream from PostgreSQL, and are asked for by the writer."""
    with tempfile.TemporaryDirectory(prefix="piperoll-") as folder:
        lines = Path(folder) / "lines.jsonl.gz"
        with lines.open("wb") as file:
            _write_lines(dsn, month, file)
        write_parquet(read_lines(lines), out)


WRITERS: dict[str, tuple[str, Callable[[str, Month, BinaryIO], None]]] = {
    "jsonl": ("jsonl.gz", _write_lines),
    "parquet": ("parquet", _write_parquet),
}
"""The end of a file's name, and who writes it, by format."""
