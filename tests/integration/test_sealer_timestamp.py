"""The time-stamp authority as a target. The other side is `openssl ts` behind HTTP (tests/standins)."""

import subprocess
import time

import pytest

from services.common.errors import ConfigurationError, TransientError
from services.common.stamps import read_certificates
from services.writer.sealer.targets.build import build_targets
from services.writer.sealer.targets.settings import TargetSettings
from services.writer.sealer.targets.timestamp import Timestamp, verify_stamp
from tests.seal_log import Listening, SealLog, until
from tests.standins.timestamp_authority import StandInAuthority, make_certificates


@pytest.fixture
def seals(tmp_path):
    return SealLog(tmp_path / "published")


@pytest.fixture
def authority(tmp_path):
    with StandInAuthority(tmp_path / "tsa") as server:
        yield server


def stamps(authority, seals, **named):
    certificates = read_certificates(authority.root)
    return Timestamp(authority.url, certificates, seals.folder, 10.0, 3600.0, **named)


def by_openssl(folder, authority):
    command = ["openssl", "ts", "-verify", "-data", folder / "5.checkpoint", "-in", folder / "5.tsr"]
    return subprocess.run(
        [*command, "-CAfile", authority.root], capture_output=True, text=True, check=False
    ).stdout


async def test_a_stamp_is_kept_and_published_and_openssl_finds_it_good(authority, seals):
    size, note = seals.grow(5)
    receipt = await stamps(authority, seals).deliver(size, note)
    folder = seals.folder / "timestamp"
    assert (folder / "5.checkpoint").read_bytes() == note
    assert (folder / "5.tsr").read_bytes() == receipt
    assert (folder / "latest").read_text() == "5\n"
    assert "Verification: OK" in by_openssl(folder, authority)
    certificates = read_certificates(authority.root)
    assert abs(verify_stamp(receipt, note, certificates).timestamp() - time.time()) < 60
    with pytest.raises(TransientError, match="not good"):
        verify_stamp(receipt, note + b" ", certificates)


async def test_the_certificate_that_signs_can_be_pinned(authority, seals, tmp_path):
    """Then it need not come with the stamp."""
    leaf = (authority.folder / "tsa.pem").read_bytes()
    both = tmp_path / "both.pem"
    both.write_bytes(authority.root.read_bytes() + leaf)
    size, note = seals.grow(5)
    pinned = Timestamp(authority.url, read_certificates(both), seals.folder, 10.0, 3600.0)
    receipt = await pinned.deliver(size, note)
    assert verify_stamp(receipt, note, read_certificates(both))
    make_certificates(authority.folder)
    with pytest.raises(TransientError, match="not good"):
        await pinned.deliver(size, note)


async def test_stamps_of_something_else_of_others_and_of_other_times_are_refused(authority, seals, tmp_path):
    size, note = seals.grow(5)
    authority.mode = "other"
    with pytest.raises(TransientError, match="not good"):
        await stamps(authority, seals).deliver(size, note)
    authority.mode = "good"
    tomorrow = int((time.time() + 86_400) * 1_000_000)
    with pytest.raises(TransientError, match="clocks is wrong"):
        await stamps(authority, seals, clock=lambda: tomorrow).deliver(size, note)
    make_certificates(authority.folder)
    trusted = read_certificates(authority.root)
    make_certificates(authority.folder)  # the server now signs with other keys than those that are trusted
    foreign = Timestamp(authority.url, trusted, seals.folder, 10.0, 3600.0)
    with pytest.raises(TransientError, match="not good"):
        await foreign.deliver(size, note)
    assert not (seals.folder / "timestamp").exists()


async def test_away_and_back_again_and_no_more_than_one_in_its_interval(authority, seals, monkeypatch):
    monkeypatch.setattr("services.writer.sealer.targets.courier.FIRST_PAUSE_S", 0.05)
    heard = Listening(alarm_s=0.1)
    settings = TargetSettings(tsa_url=authority.url, tsa_certificate=authority.root)
    (target,) = build_targets(settings, seals.folder, heard.desk)
    authority.mode = "away"
    target.offer(*seals.grow(1))
    await until(lambda: heard.alerts)
    authority.mode = "good"
    target.offer(*seals.grow(1))
    await until(lambda: heard.receipts)
    target.offer(*seals.grow(1))
    await until(lambda: target._newest is not None)
    assert [item.size for item in heard.receipts] == [2]
    await target.close()


def test_settings_that_are_wrong_say_what_to_set(authority, seals, tmp_path):
    desk = Listening().desk
    with pytest.raises(ConfigurationError, match="TSA_CERTIFICATE is not"):
        build_targets(TargetSettings(tsa_url=authority.url), seals.folder, desk)
    for name, content, said in (
        ("empty", b"", "PEM"),
        ("leaf", (authority.folder / "tsa.pem").read_bytes(), "root"),
    ):
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(ConfigurationError, match=said):
            build_targets(TargetSettings(tsa_url=authority.url, tsa_certificate=file), seals.folder, desk)
