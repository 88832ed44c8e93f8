"""Reports into a bucket: one object a file, under the edition's id, `edition.json` the last: where it is, all is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.common.errors import ConfigurationError, TransientError
from services.reporter.deliver.editions.parcel import Begin, Parcel
from services.reporter.deliver.editions.settings import ReportDeliverySettings

_TIMEOUT_S = 60.0
PUT_AT_ONCE = 4 << 30
"""Bytes; S3 takes 5 GiB in one request, larger files in parts."""


class S3:
    """`BUCKET/PREFIX` (parcel.Outlet)."""

    def __init__(self, settings: ReportDeliverySettings) -> None:
        self._client = _client(settings)
        self._lending, self._lent_s = settings.link_bucket or "", settings.link_days * 86_400

    async def deliver(self, parcel: Parcel, begin: Begin) -> dict[str, Any]:
        """Raises TransientError: what was put stays, and is put again."""
        await begin()
        return await asyncio.to_thread(self._put, parcel)

    def lend(self, parcel: Parcel, files: Sequence[Path]) -> tuple[dict[str, str], int]:
        """Puts files of a mail into the bucket for links, in a folder of this delivery. Returns the address of each by its name,
        which whoever has it can read, and for how many seconds. Raises TransientError."""
        bucket, folder = _place(self._lending, parcel.name, parcel.key)
        lent = {}
        with _translated(bucket):
            for path in files:
                key = f"{folder}/{path.name}"
                self._put_file(bucket, key, path)
                lent[path.name] = self._client.generate_presigned_url(
                    "get_object", {"Bucket": bucket, "Key": key}, ExpiresIn=self._lent_s
                )
        return lent, self._lent_s

    def _put(self, parcel: Parcel) -> dict[str, Any]:
        bucket, folder = _place(parcel.address, parcel.name)
        put = []
        with _translated(bucket):
            for path in parcel.files:
                key = f"{folder}/{path.name}"
                self._put_file(bucket, key, path)
                put.append(key)
            if not parcel.files:
                key = f"{folder}.txt"
                self._client.put_object(Bucket=bucket, Key=key, Body=parcel.letter.text.encode())
                put.append(key)
        return {"bucket": bucket, "keys": put}

    def _put_file(self, bucket: str, key: str, path: Path) -> None:
        if path.stat().st_size > PUT_AT_ONCE:
            checked = {"ChecksumAlgorithm": "SHA256"}
            self._client.upload_file(str(path), bucket, key, ExtraArgs=checked)
            return
        with path.open("rb") as file:
            self._client.put_object(Bucket=bucket, Key=key, Body=file, ChecksumAlgorithm="SHA256")


def _place(address: str, *parts: str) -> tuple[str, str]:
    """Bucket and folder."""
    bucket, _, prefix = address.partition("/")
    return bucket, "/".join(part for part in (prefix.strip("/"), *parts) if part)


@contextmanager
def _translated(bucket: str) -> Iterator[None]:
    from boto3.exceptions import Boto3Error  # noqa: PLC0415 - an extra, only where it is used
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        yield
    except (BotoCoreError, Boto3Error, ClientError) as error:
        raise TransientError(f"bucket {bucket}: {error}; may we put objects there?") from error


def _client(settings: ReportDeliverySettings) -> Any:
    """boto3's client. Raises ConfigurationError."""
    try:
        import boto3  # noqa: PLC0415 - an extra
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "a report for s3:… needs the extra `targets`: pip install 'piperoll[targets]'"
        ) from error
    secret = settings.s3_secret_key
    config = Config(
        connect_timeout=_TIMEOUT_S,
        read_timeout=_TIMEOUT_S,
        retries={"total_max_attempts": 2},
        signature_version="s3v4",
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
        raise ConfigurationError(f"REPORT_S3_…: {error}") from error
