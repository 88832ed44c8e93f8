"""The witness target against a witness that others wrote: transparency-dev's, built from tests/go/witness."""

import pytest

from schemas.tlog.checkpoint import open_checkpoint
from schemas.tlog.cosignature import CosignatureSigner, cosigned_at
from services.common.errors import TransientError
from services.writer.sealer.targets.build import build_targets
from services.writer.sealer.targets.courier import ContradictionError
from services.writer.sealer.targets.settings import TargetSettings
from tests.go_programs import build, running_witness
from tests.seal_log import Listening, SealLog, until

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("go")]
KEY = CosignatureSigner("witness.example/go", b"w" * 32)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build("witness", tmp_path_factory.mktemp("go"))


@pytest.fixture
def seals(tmp_path):
    return SealLog(tmp_path / "published")


def carrier(url, seals, heard=None):
    settings = TargetSettings(witness_url=url, witness_vkey=KEY.verifier.vkey(), witness_interval_s=0)
    (target,) = build_targets(settings, seals.folder, (heard or Listening()).desk)
    return target._couriers[0]._carrier


async def test_it_cosigns_a_log_that_grows_and_a_new_start_goes_on(program, seals):
    with running_witness(program, KEY, [seals.key.verifier.vkey()]) as url:
        first = carrier(url, seals)
        for count in (1, 6, 249, 1, 300, 1000):
            size, note = seals.grow(count)
            await first.deliver(size, note)
        again = carrier(url, seals)
        await again.deliver(*seals.grow(0))
        await again.deliver(*seals.grow(5))
    note = (seals.folder / "checkpoint.cosigned").read_bytes()
    opened = open_checkpoint(note, seals.key.verifier, [KEY.verifier])
    assert opened.checkpoint.size == 1562
    (line,) = [item for item in opened.note.verified if item.name == KEY.name]
    assert cosigned_at(line) > 1_700_000_000


async def test_it_finds_a_log_that_was_set_back_and_one_that_forked(program, seals, tmp_path):
    with running_witness(program, KEY, [seals.key.verifier.vkey()]) as url:
        await carrier(url, seals).deliver(*seals.grow(300))
        older = SealLog(tmp_path / "older")
        with pytest.raises(ContradictionError, match="has seen 300 seals"):
            await carrier(url, older).deliver(*older.grow(200))
        forged = SealLog(tmp_path / "forged", seed="forged")
        with pytest.raises(ContradictionError, match="consistent"):
            await carrier(url, forged).deliver(*forged.grow(400))
        # Of the same size it answers 409 without a body: a failure, which becomes an alert like any other.
        same = SealLog(tmp_path / "same", seed="forged")
        with pytest.raises((ContradictionError, TransientError)):
            await carrier(url, same).deliver(*same.grow(300))
        await carrier(url, seals).deliver(*seals.grow(100))


async def test_an_unknown_log_and_a_key_that_it_does_not_know_are_failures(program, seals, tmp_path):
    other = SealLog(tmp_path / "other")
    other.key = type(other.key)(other.key.name, b"x" * 32)
    with running_witness(program, KEY, [other.key.verifier.vkey()]) as url:
        with pytest.raises(TransientError, match="answered"):
            await carrier(url, seals).deliver(*seals.grow(3))
        heard = Listening(alarm_s=0)
        settings = TargetSettings(witness_url=url, witness_vkey=KEY.verifier.vkey(), witness_interval_s=0)
        (target,) = build_targets(settings, seals.folder, heard.desk)
        target.offer(*seals.grow(3))
        await until(lambda: heard.names == ["publication_fails"])
        await target.close()
        await carrier(url, other).deliver(*other.grow(3))


async def test_it_accepts_a_checkpoint_that_two_keys_have_signed(program, seals):
    """A key change, for a witness that knows the old key alone."""
    following = type(seals.key)(seals.key.name, b"n" * 32)
    with running_witness(program, KEY, [seals.key.verifier.vkey()]) as url:
        size, _ = seals.grow(10)
        await carrier(url, seals).deliver(size, seals.note(following))
    note = (seals.folder / "checkpoint.cosigned").read_bytes()
    for key in (seals.key, following):
        assert open_checkpoint(note, key.verifier, [KEY.verifier]).checkpoint.size == 10
