"""`piperoll verify` against time-stamps and write-once copies, as the sealer leaves them: what it says, and what it does not
believe. The other sides are `openssl ts` and moto's S3 (tests/standins)."""

import shutil
import time
from random import Random

import boto3
import pytest

from schemas.verification.findings import Change
from services.common.errors import ConfigurationError
from services.common.stamps import read_certificates
from services.reporter.account import as_json, as_lines
from services.reporter.copies import locked_copies
from services.reporter.evidence import read_evidence, read_policy
from services.reporter.integrity import OWN_CHECKPOINTS, assurance
from services.reporter.verify import verify_database
from services.writer.sealer.targets.s3 import S3
from services.writer.sealer.targets.settings import TargetSettings
from services.writer.sealer.targets.timestamp import Timestamp
from tests.audit_tables import fill
from tests.chain_rows import ChainRows
from tests.rewriting import attack, overwrite
from tests.sealing import Sealing, silent_of
from tests.standins.s3_server import S3Server
from tests.standins.timestamp_authority import StandInAuthority, make_certificates


@pytest.fixture
def authority(tmp_path):
    with StandInAuthority(tmp_path / "tsa") as server:
        yield server


async def sealed(database, tmp_path, made, **settings):
    await fill(database.admin_dsn, [made])
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=silent_of(made), **settings)
    await sealing.rounds()
    return sealing


async def stamp(sealing, authority):
    note = (sealing.folder / "seal" / "checkpoint").read_bytes()
    certificates = read_certificates(authority.root)
    carrier = Timestamp(authority.url, certificates, sealing.folder / "seal", 10.0, 3600.0)
    await carrier.deliver(int(note.split(b"\n")[1]), note)


def evidence_of(sealing, *places, certificate=None):
    policy = read_policy([sealing.verifier.vkey()], None)
    return read_evidence([str(place) for place in places], policy, tsa_certificate=certificate)


async def test_a_time_stamp_is_named_and_whoever_keeps_it_catches_the_thief_of_the_key(
    database, tmp_path, authority
):
    made = ChainRows(chain_no=1).events(70)
    sealing = await sealed(database, tmp_path, made)
    await stamp(sealing, authority)
    evidence = evidence_of(sealing, sealing.folder, certificate=authority.root)
    verification = await verify_database(database.reporter_dsn, evidence=evidence)
    told = assurance(verification)
    assert told[0].startswith("Changes to records sealed up to ")
    assert "copies held by whoever keeps the time-stamp of test authority (" in told[0]
    assert any("made 20" in line and "time-stamp" in line for line in as_lines(verification))
    assert as_json(verification)["checkpoints"]["compared_with"][1]["held"]["until_us"] is None
    kept = tmp_path / "kept"
    shutil.copytree(sealing.folder / "seal" / "timestamp", kept)
    await overwrite(database.admin_dsn, made, attack(made, "edited payload", Random(1)))
    alone = evidence_of(sealing, kept / "1.tsr", certificate=authority.root)
    found = (await verify_database(database.reporter_dsn, evidence=alone)).findings
    assert {item.change for item in found} == {Change.FORKED}
    without = evidence_of(sealing, sealing.folder)
    assert len(without.anchors) == 1  # without certificates no stamp is believed
    await sealing.close()


async def test_a_stamp_that_was_made_long_after_its_seals_is_no_evidence_of_their_times(
    database, tmp_path, authority
):
    """Whoever has the key can sign last year's history today; the stamp is of today."""
    made = ChainRows(chain_no=1).events(5)
    yesterday = int((time.time() - 86_400) * 1_000_000)
    sealing = await sealed(database, tmp_path, made, clock=lambda: yesterday)
    await stamp(sealing, authority)
    evidence = evidence_of(sealing, sealing.folder, certificate=authority.root)
    verification = await verify_database(database.reporter_dsn, evidence=evidence)
    assert assurance(verification)[0] == OWN_CHECKPOINTS
    assert "not counted, its last seal says" in "\n".join(as_lines(verification))
    await sealing.close()


async def test_stamps_that_are_not_good_are_not_passed_over_in_silence(database, tmp_path, authority):
    sealing = await sealed(database, tmp_path, ChainRows(chain_no=1).events(5))
    await stamp(sealing, authority)
    folder = sealing.folder / "seal" / "timestamp"
    with pytest.raises(ConfigurationError, match="--tsa-certificate"):
        evidence_of(sealing, folder / "1.tsr")
    trusted = authority.root.read_bytes()
    make_certificates(authority.folder)
    with pytest.raises(ConfigurationError, match="not good"):
        evidence_of(sealing, sealing.folder, certificate=authority.root)
    authority.root.write_bytes(trusted)
    for name, content, said in (
        ("1.checkpoint", b"another\n", "not good"),
        ("1.tsr", b"x", "not good"),
        ("1.tsr", None, "is gone|cannot be read"),
    ):
        kept = folder.parent / "kept"
        shutil.copytree(folder, kept)
        if content is None:
            (kept / name).unlink()
        else:
            (kept / name).write_bytes(content)
        with pytest.raises(ConfigurationError, match=said):
            evidence_of(sealing, kept / "1.tsr", certificate=authority.root)
        shutil.rmtree(kept)
    await sealing.close()


async def test_a_locked_copy_is_named_until_when_it_is_held_and_forged_ones_beside_it_hide_nothing(
    database, tmp_path
):
    made = ChainRows(chain_no=1).events(70)
    sealing = await sealed(database, tmp_path, made)
    with S3Server(tmp_path / "s3.log") as server:
        client = boto3.client(
            "s3",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="s",
        )
        client.create_bucket(Bucket="held", ObjectLockEnabledForBucket=True)
        carrier = S3(client, TargetSettings(s3_bucket="held", s3_prefix="p/"))
        note = (sealing.folder / "seal" / "checkpoint").read_bytes()
        await carrier.deliver(1, note)
        key = "p/checkpoint/00000000000000000001"
        client.put_object(Bucket="held", Key=key, Body=b"forged")  # a second version: the first one counts
        client.put_object(Bucket="held", Key="p/checkpoint/00000000000000000002", Body=b"not signed by us\n")
        copies = locked_copies("s3://held/p/", client)
        with pytest.raises(ConfigurationError, match="SEALER_S3_PREFIX"):
            locked_copies("s3://held/other/", client)
        client.close()
    assert [(copy.note == note, copy.held is None) for copy in copies] == [(False, True), (True, False)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.reporter.evidence.locked_copies", lambda _place: copies)
        evidence = evidence_of(sealing, "s3://held/p/", sealing.folder)
    told = assurance(await verify_database(database.reporter_dsn, evidence=evidence))[0]
    assert told.endswith(" would be found against copies held by the write-once bucket held.")
    await sealing.close()
