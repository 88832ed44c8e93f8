"""No false alarm: writer and sealer crash wherever they can, go on, and what they leave verifies as it was signed.

A run appends up to 500 records in batches and seals them; one I/O step of the writer or the sealer fails in it, before or
after it took effect, and the process that it was of begins anew. 50 runs here, 1,000 in `make test-long`.
"""

from __future__ import annotations

from contextlib import contextmanager
from random import Random
from uuid import uuid4

import pytest

from deploy.local.postgres import execute
from schemas.record import Kind
from services.common.errors import TransientError
from services.reporter.evidence import read_evidence, read_policy
from services.reporter.verify import verify_database
from services.writer.sealer import directory, outlet
from services.writer.sealer.store import Store as SealerStore
from services.writer.store import Store as WriterStore
from tests.builders import Log
from tests.conftest import _address
from tests.recording import Recorder
from tests.sealing import Sealing, Sent, Silent


class CrashError(Exception):
    """The process ends here."""


STEPS = (
    (outlet, "write_memory"),
    (directory.Directory, "add"),
    (directory.Directory, "replace_checkpoint"),
    (directory.Directory, "drop_unfinished"),
    (SealerStore, "keep"),
    (SealerStore, "stretch"),
    (WriterStore, "append"),
    (WriterStore, "look_up"),
)


@contextmanager
def crashing(step, nth: int, *, after: bool):
    """The nth call of a step fails: before it takes effect, or after."""
    owner, name = step
    real = getattr(owner, name)
    calls = 0

    def due() -> bool:
        nonlocal calls
        calls += 1
        return calls == nth

    async def waiting(*arguments, **named):
        now = due()
        if now and not after:
            raise CrashError
        result = await real(*arguments, **named)
        if now:
            raise CrashError
        return result

    def blocking(*arguments, **named):
        now = due()
        if now and not after:
            raise CrashError
        result = real(*arguments, **named)
        if now:
            raise CrashError
        return result

    setattr(owner, name, waiting if owner in (SealerStore, WriterStore) else blocking)
    try:
        yield
    finally:
        setattr(owner, name, real)


def sent_of(log: Log, messages) -> Silent:
    """The topic of events in which these came."""
    held = [
        Sent(offset, log.time_ms + offset, 0, message.key, message.value, message.headers[:-1])
        for offset, message in enumerate(messages)
    ]
    return Silent(lambda _at: held)


async def run(database_dsns, folder, random: Random) -> None:
    """One run: half of the records before the crash, half after it."""
    writer_dsn, sealer_dsn, reporter_dsn = database_dsns
    log = Log()
    count = random.randrange(2, 500)
    messages = [log.event(offset, offset - 1) for offset in range(count)]
    topic = sent_of(log, messages)
    half = random.randrange(1, count)
    batches = [messages[:half][at : at + 120] for at in range(0, half, 120)]
    with crashing(random.choice(STEPS), random.randrange(1, 4), after=random.random() < 0.5):
        try:
            await _append(writer_dsn, batches)
            await _seal(sealer_dsn, folder, topic)
        except CrashError:
            pass
    rest = [messages[at : at + 120] for at in range(0, count, 120)]
    await _append(writer_dsn, rest)  # all of it again: what is recorded already is dropped
    sealing = await _seal(sealer_dsn, folder, topic)
    assert sealing.alerts == []
    evidence = read_evidence([str(sealing.folder)], read_policy([sealing.verifier.vkey()], None))
    verification = await verify_database(reporter_dsn, evidence=evidence)
    assert verification.findings == []
    kinds = verification.chains[0].kinds
    assert kinds[Kind.TIME_ANCHOR] <= 1  # what was appended after a seal follows on it
    assert verification.records - kinds[Kind.TIME_ANCHOR] == count + 1
    assert verification.sealing.tail_records == 0


async def _append(dsn: str, batches) -> None:
    async with Recorder(dsn) as writer:
        if (await writer.store.lineage(writer.place)).chain_no is not None:
            await writer.claim()
        for batch in batches:
            try:
                await writer.record(*batch)
            except TransientError as error:
                raise CrashError from error


async def _seal(dsn: str, folder, topic) -> Sealing:
    sealing = Sealing(dsn, folder, connect=topic)
    try:
        await sealing.rounds(2)
    finally:
        await sealing.close()
    return sealing


@pytest.mark.parametrize(
    "runs",
    [50, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
)
async def test_clean_runs_with_crashes_raise_no_alarm(postgres_server, database_template, tmp_path, runs):
    random = Random(runs)
    for number in range(runs):
        name = f"s{uuid4().hex[:10]}"
        execute(postgres_server, f"CREATE DATABASE {name} TEMPLATE {database_template}")
        roles = ("piperoll_writer", "piperoll_sealer", "piperoll_reporter")
        try:
            await run(
                [_address(postgres_server, name, role) for role in roles], tmp_path / str(number), random
            )
        finally:
            execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")
