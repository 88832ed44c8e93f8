"""S3 with object lock: each checkpoint is an object that nobody can delete or replace before its time.

`PREFIXcheckpoint/<size, 20 digits>`, text/plain, the note as it was signed. An object of that size that says something
else was signed by a second sealer, or by ours after its memory was set back.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.tlog.note import split_note
from services.common.clock import Clock, system_clock
from services.common.errors import ConfigurationError, TransientError
from services.writer.sealer.targets.aside import aside
from services.writer.sealer.targets.courier import ContradictionError
from services.writer.sealer.targets.settings import TargetSettings

_SLACK = timedelta(minutes=5)


class S3:
    """One bucket (courier.Carrier)."""

    name = "s3"

    def __init__(self, client: Any, settings: TargetSettings, clock: Clock = system_clock) -> None:
        self.every_s = settings.s3_interval_s
        self._client = client
        self._bucket = settings.s3_bucket
        self._prefix = settings.s3_prefix
        self._mode = settings.s3_lock_mode
        self._days = settings.s3_retention_days
        self._clock = clock

    async def deliver(self, size: int, note: bytes) -> bytes:
        """Where the object is, as JSON: bucket, key, version, until when it is held."""
        return await aside(lambda: self._put(size, note))

    def _put(self, size: int, note: bytes) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra, only where it is set

        key = f"{self._prefix}checkpoint/{size:020}"
        fresh = True
        until = datetime.fromtimestamp(self._clock() / 1_000_000, UTC) + timedelta(days=self._days)
        try:
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=note,
                    ContentType="text/plain; charset=utf-8",
                    ChecksumAlgorithm="SHA256",
                    IfNoneMatch="*",
                    ObjectLockMode=self._mode,
                    ObjectLockRetainUntilDate=until,
                )
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
                    raise
                fresh = False  # It is there already: put by a try whose answer was lost, or by somebody else.
            return self._checked(key, note, until if fresh else None)
        except (BotoCoreError, ClientError) as error:
            raise TransientError(
                f"bucket {self._bucket}: {error}; was it made with object lock, and may we put objects and read them?"
            ) from error

    def _checked(self, key: str, note: bytes, until: datetime | None) -> bytes:
        """Reads back what is there, locked `until` where we have just put it: a server that knows no object lock takes
        the object and forgets the lock."""
        found = self._client.get_object(Bucket=self._bucket, Key=key)
        held = found["Body"].read(len(note) + 100_000)
        if _text(held) != _text(note):
            raise ContradictionError(f"the object {key} there holds another checkpoint of this size")
        mode, held_until = found.get("ObjectLockMode"), found.get("ObjectLockRetainUntilDate")
        if mode is None or held_until is None or (until is not None and held_until < until - _SLACK):
            raise TransientError(
                f"bucket {self._bucket} took {key} without locking it: it needs object lock and versioning, and we the "
                "rights s3:PutObjectRetention and s3:GetObjectRetention"
            )
        said = {"bucket": self._bucket, "key": key, "version": found.get("VersionId"), "mode": mode}
        return json.dumps(said | {"until": held_until.isoformat()}).encode()


def s3_client(settings: TargetSettings) -> Any:
    """boto3's client. Raises ConfigurationError."""
    try:
        import boto3  # noqa: PLC0415 - an extra
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "SEALER_S3_BUCKET needs the extra `targets`: pip install 'piperoll[targets]'"
        ) from error
    secret = settings.s3_secret_key
    if (settings.s3_access_key is None) != (secret is None):
        raise ConfigurationError(
            "SEALER_S3_ACCESS_KEY_ID and SEALER_S3_SECRET_ACCESS_KEY belong together: set both or neither"
        )
    config = Config(
        connect_timeout=settings.timeout_s, read_timeout=settings.timeout_s, retries={"total_max_attempts": 1}
    )
    try:
        return boto3.session.Session().client(
            "s3",
            region_name=settings.s3_region or ("us-east-1" if settings.s3_endpoint else None),
            endpoint_url=settings.s3_endpoint,
            aws_access_key_id=settings.s3_access_key,
            aws_secret_access_key=None if secret is None else secret.get_secret_value(),
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"SEALER_S3_…: {error}") from error


def _text(note: bytes) -> str | None:
    """What is signed. The signature lines may differ: while a key is changed there are two."""
    try:
        return split_note(note)[0]
    except ValueError:
        return None
