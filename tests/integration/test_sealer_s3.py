"""S3 with object lock as a target, against moto's server (tests/standins/s3_server.py says what that shows)."""

import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from services.common.errors import ConfigurationError, TransientError
from services.writer.sealer.targets import courier
from services.writer.sealer.targets.build import build_targets
from services.writer.sealer.targets.courier import ContradictionError
from services.writer.sealer.targets.s3 import S3, s3_client
from services.writer.sealer.targets.settings import TargetSettings
from tests.seal_log import Listening, SealLog, until
from tests.standins.s3_server import S3Server

KEYS = {"s3_access_key": "test", "s3_secret_key": "test-secret"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with S3Server(tmp_path_factory.mktemp("s3") / "log") as started:
        yield started


@pytest.fixture
def admin(server):
    client = boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test-secret",
    )
    yield client
    client.close()


@pytest.fixture
def seals(tmp_path):
    return SealLog(tmp_path / "published")


@pytest.fixture
def settings(server, admin, request):
    bucket = f"b{abs(hash(request.node.name))}"
    admin.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    return TargetSettings(
        s3_bucket=bucket,
        s3_prefix="audit/",
        s3_endpoint=server.url,
        s3_interval_s=0.01,
        timeout_s=5.0,
        **KEYS,
    )


async def test_each_checkpoint_is_an_object_that_is_locked_for_its_time(seals, settings, admin):
    carrier = S3(s3_client(settings), settings)
    size, note = seals.grow(3)
    said = json.loads(await carrier.deliver(size, note))
    found = admin.get_object(Bucket=settings.s3_bucket, Key="audit/checkpoint/00000000000000000003")
    assert found["Body"].read() == note
    assert found["ObjectLockMode"] == said["mode"] == "COMPLIANCE"
    until_when = found["ObjectLockRetainUntilDate"]
    assert abs(until_when - datetime.now(UTC) - timedelta(days=400)) < timedelta(minutes=1)
    assert said["version"] == found["VersionId"]
    with pytest.raises(admin.exceptions.ClientError, match="AccessDenied"):
        admin.delete_object(Bucket=settings.s3_bucket, Key=said["key"], VersionId=said["version"])


async def test_the_same_checkpoint_again_is_no_new_version(seals, settings, admin):
    carrier = S3(s3_client(settings), settings)
    size, note = seals.grow(3)
    first = await carrier.deliver(size, note)
    assert await carrier.deliver(size, note) == first
    assert len(admin.list_object_versions(Bucket=settings.s3_bucket)["Versions"]) == 1


async def test_another_checkpoint_of_the_size_that_is_there_is_a_contradiction(seals, settings, tmp_path):
    carrier = S3(s3_client(settings), settings)
    await carrier.deliver(*seals.grow(3))
    other = SealLog(tmp_path / "other", seed="forged")
    with pytest.raises(ContradictionError, match="another checkpoint of this size"):
        await carrier.deliver(*other.grow(3))


async def test_a_bucket_without_object_lock_is_refused(seals, settings, admin):
    admin.create_bucket(Bucket="plain")
    plain = settings.model_copy(update={"s3_bucket": "plain"})
    with pytest.raises(TransientError, match="made with object lock"):
        await S3(s3_client(plain), plain).deliver(*seals.grow(1))


async def test_a_server_that_forgets_the_lock_is_found_out(seals, settings):
    client = s3_client(settings)
    real = client.put_object
    client.put_object = lambda **said: real(
        **{k: v for k, v in said.items() if not k.startswith("ObjectLock")}
    )
    with pytest.raises(TransientError, match="without locking it"):
        await S3(client, settings).deliver(*seals.grow(1))


async def test_away_and_back_again(seals, settings, monkeypatch):
    monkeypatch.setattr(courier, "FIRST_PAUSE_S", 0.05)
    heard = Listening(alarm_s=0.1)
    gone = settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    (target,) = build_targets(gone, seals.folder, heard.desk)
    target.offer(*seals.grow(2))
    await until(lambda: heard.alerts)
    assert heard.names == ["publication_fails"]
    assert heard.failures("s3") >= 2
    target._carrier._client = s3_client(settings)
    await until(lambda: heard.receipts)
    await target.close()


def test_half_of_the_credentials_is_refused():
    with pytest.raises(ConfigurationError, match="belong together"):
        s3_client(TargetSettings(s3_bucket="b", s3_access_key="a"))
