"""The witness as a target: every answer of the protocol, every lie, and nothing that stops the others.

The other side is tests/standins/witness.py, written after C2SP tlog-witness v1.0.0, over HTTP.
"""

import asyncio
import time

import pytest

from schemas.tlog.checkpoint import open_checkpoint
from schemas.tlog.cosignature import CosignatureVerifier
from schemas.tlog.policy import parse_policy
from services.common.errors import ConfigurationError, TransientError
from services.writer.sealer.targets import courier
from services.writer.sealer.targets.aside import aside
from services.writer.sealer.targets.build import build_targets, witness_policy
from services.writer.sealer.targets.courier import ContradictionError, Courier
from services.writer.sealer.targets.settings import TargetSettings
from tests.seal_log import Listening, SealLog, until
from tests.standins.witness import StandInWitness


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(courier, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(courier, "LONGEST_PAUSE_S", 0.1)


@pytest.fixture
def seals(tmp_path):
    return SealLog(tmp_path / "published")


@pytest.fixture
def witness(seals):
    with StandInWitness("witness.example/w1", seals.key.verifier) as server:
        yield server


def target_of(witness, seals, heard):
    settings = TargetSettings(
        witness_url=witness.url, witness_vkey=witness.vkey, timeout_s=1.0, witness_interval_s=0
    )
    (target,) = build_targets(settings, seals.folder, heard.desk)
    return target


def carrier_of(witness, seals):
    return target_of(witness, seals, Listening())._couriers[0]._carrier


def cosigned(seals, *witnesses):
    note = (seals.folder / "checkpoint.cosigned").read_bytes()
    keys = [CosignatureVerifier.from_vkey(item.vkey) for item in witnesses]
    opened = open_checkpoint(note, seals.key.verifier, keys)
    return opened.checkpoint.size, {item.name for item in opened.note.verified} - {seals.key.name}


async def test_checkpoints_are_cosigned_as_the_log_grows_over_tile_borders(seals, witness):
    """Proofs come from the published tiles, full and unfinished, and those that are gone since."""
    carrier = carrier_of(witness, seals)
    for count in (1, 1, 5, 249, 1, 255, 300, 65_000, 1):
        size, note = seals.grow(count)
        receipt = await carrier.deliver(size, note)
        assert receipt.startswith("\u2014 witness.example/w1 ".encode())
        assert cosigned(seals, witness) == (size, {"witness.example/w1"})
    assert witness.asked == [0, 1, 2, 7, 256, 257, 512, 812, 65_812]


async def test_what_is_offered_while_it_is_at_work_is_delivered_after_the_newest_alone(seals, witness):
    heard = Listening()
    target = target_of(witness, seals, heard)
    for _ in range(20):
        target.offer(*seals.grow(3))
    await until(lambda: heard.receipts and heard.receipts[-1].size == 60)
    assert len(heard.receipts) <= 3
    name = {"target": "witness witness.example/w1"}
    at = heard.metrics.registry.get_sample_value("piperoll_sealer_last_publication_timestamp_seconds", name)
    assert at == pytest.approx(heard.receipts[-1].published_us / 1e6)
    await target.close()


async def test_a_restart_asks_the_witness_what_it_has(seals, witness):
    await carrier_of(witness, seals).deliver(*seals.grow(7))
    again = carrier_of(witness, seals)
    await again.deliver(*seals.grow(0))  # the same once more
    await again.deliver(*seals.grow(4))
    assert witness.asked == [0, 0, 7, 7]


async def test_an_answer_that_was_lost_is_no_contradiction(seals, witness):
    """The witness recorded what we believe it did not get."""
    carrier = carrier_of(witness, seals)
    await carrier.deliver(*seals.grow(3))
    size, note = seals.grow(3)
    await carrier.deliver(size, note)
    carrier._known = 3
    await carrier.deliver(size, note)
    assert witness.asked == [0, 3, 3, 6]
    assert cosigned(seals, witness)[0] == 6


@pytest.mark.parametrize("same_size", [True, False])
async def test_a_second_history_under_our_name_is_refused_and_said(seals, witness, tmp_path, same_size):
    await carrier_of(witness, seals).deliver(*seals.grow(10))
    other = SealLog(tmp_path / "other", seed="forged")
    heard = Listening()
    target = target_of(witness, other, heard)
    target.offer(*other.grow(10 if same_size else 300))
    await until(lambda: heard.alerts)
    assert (heard.alerts[0].name, heard.alerts[0].severity) == ("checkpoints_contradict", "critical")
    assert "witness.example/w1" in heard.alerts[0].text
    assert not (other.folder / "checkpoint.cosigned").exists()
    await target.close()


async def test_a_log_that_was_set_back_is_told_by_the_witness(seals, witness, tmp_path):
    await carrier_of(witness, seals).deliver(*seals.grow(10))
    older = SealLog(tmp_path / "older")
    with pytest.raises(ContradictionError, match="has seen 10 seals under our name, and we have signed 8"):
        await carrier_of(witness, older).deliver(*older.grow(8))


LIES = {
    "lying": "no good cosignature",
    "foreign": "no cosignature by witness.example/w1",
    "garbage": "no good cosignature",
    "dumb": "another size than we think",
    "away": "503",
    "busy": "fewer requests",
}


@pytest.mark.parametrize("mode", LIES)
async def test_answers_that_are_no_cosignature_are_failures(seals, witness, mode):
    witness.mode = mode
    carrier = carrier_of(witness, seals)
    size, note = seals.grow(5)
    with pytest.raises(TransientError, match=LIES[mode]):
        await carrier.deliver(size, note)
    assert not (seals.folder / "checkpoint.cosigned").exists()
    witness.mode = "good"
    await carrier.deliver(size, note)
    assert cosigned(seals, witness)[0] == 5


async def test_an_unknown_log_and_an_untrusted_key_say_what_to_register(seals, witness):
    size, note = seals.grow(5)
    known, witness.logs = witness.logs, []
    with pytest.raises(TransientError, match=r"404.*register origin and vkey"):
        await carrier_of(witness, seals).deliver(size, note)
    witness.logs = known
    seals.key = type(seals.key)(seals.key.name, b"x" * 32)
    with pytest.raises(TransientError, match=r"403.*register the seal log's vkey"):
        await carrier_of(witness, seals).deliver(*seals.grow(1))


async def test_a_witness_that_is_away_is_an_alert_once_and_works_again(seals, witness):
    heard = Listening(alarm_s=0.2)
    target = target_of(witness, seals, heard)
    witness.mode = "away"
    target.offer(*seals.grow(2))
    await until(lambda: heard.alerts)
    failed = heard.failures("witness witness.example/w1")
    assert failed >= 2
    target.offer(*seals.grow(2))
    await until(lambda: heard.failures("witness witness.example/w1") > failed + 3)
    assert heard.names == ["publication_fails"]
    witness.mode = "good"
    await until(lambda: heard.receipts)
    assert heard.receipts[0].size == 4
    witness.mode = "away"
    target.offer(*seals.grow(2))
    await until(lambda: len(heard.alerts) == 2)
    assert heard.alerts[0].id != heard.alerts[1].id
    await target.close()


async def test_no_server_at_all_is_a_failure_like_any_other(seals):
    with StandInWitness("witness.example/w1") as gone:
        url, vkey = gone.url, gone.vkey
    settings = TargetSettings(witness_url=url, witness_vkey=vkey, timeout_s=1.0, witness_interval_s=0)
    heard = Listening()
    (target,) = build_targets(settings, seals.folder, heard.desk)
    target.offer(*seals.grow(1))
    await until(lambda: heard.failures("witness witness.example/w1") >= 2)
    await target.close()


async def test_of_three_witnesses_two_are_the_quorum_and_one_that_hangs_holds_nothing_up(seals, tmp_path):
    with (
        StandInWitness("one.example", seals.key.verifier) as one,
        StandInWitness("two.example", seals.key.verifier) as two,
        StandInWitness("three.example", seals.key.verifier, mode="slow") as three,
    ):
        three.slow_s = 2.0
        lines = [f"witness {item.signer.name} {item.vkey} {item.url}" for item in (one, two, three)]
        file = tmp_path / "policy"
        file.write_text(
            "\n".join([*lines, "group q 2 one.example two.example three.example", "quorum q", ""])
        )
        heard = Listening(seconds=0.3)
        (target,) = build_targets(
            TargetSettings(witness_policy=file, timeout_s=1.0, witness_interval_s=0), seals.folder, heard.desk
        )
        for _ in range(8):
            size, note = seals.grow(2)
            target.offer(size, note)
            await until(
                lambda size=size: (
                    (seals.folder / "checkpoint.cosigned").exists() and cosigned(seals)[0] == size
                )
            )
        assert cosigned(seals, one, two) == (16, {"one.example", "two.example"})
        assert heard.failures("witness three.example") >= 1
        three.mode = "good"
        target.offer(*seals.grow(2))
        await until(
            lambda: cosigned(seals, one, two, three) == (18, {"one.example", "two.example", "three.example"})
        )
        two.mode = three.mode = "away"
        target.offer(*seals.grow(2))
        await until(
            lambda: any(item == ("witness one.example", 20) for item in (r[:2] for r in heard.receipts))
        )
        assert cosigned(seals)[0] == 18  # one is not enough
        await target.close()


async def test_closing_gives_up_what_is_under_way_at_once(seals, witness):
    witness.mode, witness.slow_s = "slow", 1.0
    heard = Listening()
    target = target_of(witness, seals, heard)
    target.offer(*seals.grow(1))
    await until(lambda: target._couriers[0]._task is not None)
    await target.close()
    assert heard.receipts == []


async def test_a_fault_of_ours_is_counted_and_tried_again(caplog):
    class Broken:
        name, every_s, calls = "broken", 0.0, 0

        async def deliver(self, size, note):
            self.calls += 1
            return await aside(lambda: 1 // 0)

    heard = Listening(alarm_s=0)
    broken = Broken()
    target = Courier(broken, heard.desk)
    target.offer(1, b"note")
    await until(lambda: broken.calls >= 3)
    assert "ZeroDivisionError" in heard.alerts[0].text
    await target.close()


async def test_a_witness_is_given_one_checkpoint_in_its_interval(seals, witness):
    settings = TargetSettings(witness_url=witness.url, witness_vkey=witness.vkey, witness_interval_s=0.3)
    heard = Listening()
    (target,) = build_targets(settings, seals.folder, heard.desk)
    started = time.monotonic()
    while time.monotonic() - started < 1.0:
        target.offer(*seals.grow(1))
        await asyncio.sleep(0.02)
    assert 2 <= len(heard.receipts) <= 4
    await target.close()


async def test_alerts_that_cannot_be_said_do_not_end_the_task(seals, witness):
    heard = Listening(alarm_s=0)

    async def broken(_said):
        raise RuntimeError("no broker")

    heard.desk.say = broken
    witness.mode = "away"
    target = target_of(witness, seals, heard)
    target.offer(*seals.grow(1))
    await until(lambda: heard.failures("witness witness.example/w1") >= 3)
    witness.mode = "good"
    await until(lambda: heard.receipts)
    await target.close()


VKEY = StandInWitness("witness.example/w1").vkey
WRONG = {
    "url alone": ({"witness_url": "http://127.0.0.1:1"}, "belong together"),
    "key alone": ({"witness_vkey": VKEY}, "belong together"),
    "no key": ({"witness_url": "http://127.0.0.1:1", "witness_vkey": "nonsense"}, "WITNESS_VKEY"),
    "no file": ({"witness_policy": "/nowhere"}, "No such file"),
    "both": ({"witness_policy": "/nowhere", "witness_vkey": VKEY}, "not both"),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_that_are_wrong_say_what_to_set(name):
    fields, said = WRONG[name]
    with pytest.raises(ConfigurationError, match=said):
        witness_policy(TargetSettings(**fields))


def test_a_policy_without_urls_is_refused(tmp_path):
    file = tmp_path / "policy"
    file.write_text(f"witness w {VKEY}\nquorum w\n")
    with pytest.raises(ConfigurationError, match="needs its URL"):
        witness_policy(TargetSettings(witness_policy=file))
    assert parse_policy(file.read_bytes()).urls == {}
    file.write_text(f"witness w {VKEY} https://witness.example/\nquorum w\n")
    assert witness_policy(TargetSettings(witness_policy=file)).urls == {"w": "https://witness.example/"}
