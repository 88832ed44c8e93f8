"""`python -m tests.bench.prove_speed`: milliseconds of one proof out of a chain of a million sealed records.

Random records, each through a connection that is open; then through a new one, as `piperoll prove` does; then the check by
the stand-alone verifier. Printed beside a `SELECT 1` of the same run.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import asyncpg

from deploy.local.ports import free_port
from deploy.local.postgres import Database, execute, run_async, stop_database
from deploy.local.postgres_programs import find_programs
from schemas import commitment, record
from schemas.seal import Seal, SealedChain, encode_seal
from schemas.standalone import piperoll_verify
from schemas.tlog.checkpoint import Checkpoint, sign_checkpoint
from schemas.tlog.merkle import Frontier, leaf_hash
from services.common.proofs import Place, State, prove
from services.reporter.prove import prove_one
from services.writer.migrate import migrate_async
from tests.bench.parts import PASSWORDS
from tests.chain_rows import START_US, ChainRows
from tests.sealed_log import BASE, SealedLog, full_tiles

_BATCH = 50_000


def main() -> int:
    """Prints a line for each figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--proofs", type=int, default=300)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="piperoll-bench-"))
    folder.chmod(0o711)
    programs = find_programs(dict(os.environ))
    server = Database(folder / "postgres", free_port(), programs, "super-secret", fast=True)
    handle = server.start()
    try:
        server.wait_ready(handle)
        execute(server.dsn(), "CREATE DATABASE bench")
        dsn = server.dsn().rpartition("/")[0] + "/bench"
        run_async(migrate_async(dsn, PASSWORDS))
        run_async(_fill(dsn, options.records))
        run_async(_measure(dsn, options.records, options.proofs))
    finally:
        stop_database(handle, grace=10)
        shutil.rmtree(folder, ignore_errors=True)
    return 0


async def _fill(dsn: str, count: int) -> None:
    chain = ChainRows(chain_no=1)
    connection = await asyncpg.connect(dsn)
    [genesis], hashes = chain.rows, [chain.last_hash]
    async with connection.transaction():
        await connection.fetchval(
            "SELECT audit.open_chain($1, $2, $3, $4, $5, $6, 0, $7, 0)", *chain.info[1:], bytes(16)
        )
        first = (1, 0, genesis.appended_us, *chain.contents[0][2:4])
        await _copy(connection, [(1, *genesis)], [first])
    rows, payloads = [], []
    for seq in range(1, count):
        row, salt, body = _event(chain.chain_id, seq, hashes[-1])
        hashes.append(row[7])
        rows.append(row)
        payloads.append((1, seq, row[4], salt, body))
        if len(rows) == _BATCH or seq == count - 1:
            await _copy(connection, rows, payloads)
            rows, payloads = [], []
    await _seal(connection, chain, hashes)
    await connection.execute("ANALYZE audit.record; ANALYZE audit.payload; ANALYZE audit.tile")
    await connection.close()


def _event(chain_id: bytes, seq: int, prev: bytes) -> tuple[tuple[object, ...], bytes, bytes]:
    salt = sha256(seq.to_bytes(8, "big")).digest()
    body = commitment.encode_body(None, b'{"n":%d,"note":"%s"}' % (seq, b"x" * 250), [])
    at, offset = START_US + seq, seq - 1
    leaf = record.encode(
        record.Record(1, chain_id, seq, prev, 1, at, offset, at // 1000, 0, at)._replace(
            payload_commitment=commitment.payload_commitment(salt, body)
        )
    )
    return (1, seq, 1, offset, at, at, seq, record.record_hash(leaf), leaf), salt, body


async def _copy(connection: asyncpg.Connection, rows: list, payloads: list) -> None:
    async with connection.transaction():
        await connection.copy_records_to_table("record", schema_name="audit", records=rows)
        await connection.execute(
            "CREATE TEMPORARY TABLE came (chain_no smallint, seq bigint, us bigint, salt bytea, body bytea) ON COMMIT DROP"
        )
        await connection.copy_records_to_table("came", records=payloads)
        await connection.execute(
            "INSERT INTO audit.payload (chain_no, seq, appended_at, salt, body) SELECT chain_no, seq, audit.moment(us), salt, body FROM came"
        )


async def _seal(connection: asyncpg.Connection, chain: ChainRows, hashes: list[bytes]) -> None:
    log, frontier = SealedLog(chain), Frontier()
    frontier.extend(hashes)
    root = frontier.root()
    leaf = encode_seal(Seal(0, START_US, (SealedChain(chain.chain_id, len(hashes), root, len(hashes) - 1),)))
    notes = [
        (1, Checkpoint(log.origin(chain), len(hashes), root)),
        (0, Checkpoint(f"{BASE}/seal", 1, leaf_hash(leaf))),
    ]
    await connection.copy_records_to_table("tile", schema_name="audit", records=full_tiles(1, hashes))
    await connection.execute("INSERT INTO audit.seal VALUES (0, $1, $2)", START_US, leaf)
    for tree, made in notes:
        note = sign_checkpoint(made, [log.signer(made.origin)])
        await connection.execute(
            "INSERT INTO audit.checkpoint VALUES ($1, $2, $3, $4, $5, 0, $2)",
            tree,
            made.size,
            made.root,
            note,
            START_US,
        )


async def _measure(dsn: str, count: int, proofs: int) -> None:
    connection, chosen = await asyncpg.connect(dsn), random.Random(1)
    baseline, made, fresh, checked = [], [], [], []
    policy = SealedLog().policy()
    for number in range(proofs):
        seq = chosen.randrange(count)
        baseline.append(await _timed(connection.fetchval("SELECT 1")))
        began = time.perf_counter()
        proof = await prove(connection, Place(1, seq))
        made.append(time.perf_counter() - began)
        assert proof.state is State.PROVED
        if number < 30:
            fresh.append(await _timed(prove_one(dsn, Place(1, seq))))
        began = time.perf_counter()
        assert piperoll_verify.check(proof.file, policy)["seq"] == seq
        checked.append(time.perf_counter() - began)
    await connection.close()
    print(f"{count:,} records, {proofs} proofs of random ones; milliseconds:")
    for name, times in (
        ("SELECT 1", baseline),
        ("proof", made),
        ("proof, new connection", fresh),
        ("stand-alone check", checked),
    ):
        ordered = sorted(1000 * item for item in times)
        print(
            f"{name:24} median {statistics.median(ordered):7.2f}   p99 {ordered[int(len(ordered) * 0.99)]:7.2f}   largest {ordered[-1]:7.2f}"
        )


async def _timed(work: object) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
