"""Copies of checkpoints that somebody else vouches for: with an RFC 3161 time-stamp, or in a bucket under object lock.

The tokens and objects are those that the sealer leaves (services/writer/sealer/targets). A time-stamp is checked offline,
by certificates that the user names; a bucket is asked, with the rights that AWS's own tools find (AWS_ENDPOINT_URL_S3
for another server).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509

from schemas.verification.seals import Held
from services.common.errors import ConfigurationError, TransientError
from services.common.stamps import StampError, check_stamp
from services.reporter.published import PublishedLog

SCHEME = "s3://"
_MOST_BYTES = 1024 * 1024


class Copy(NamedTuple):
    """A checkpoint's note, where it was got, and who vouches for it; None where nobody does."""

    place: str
    note: bytes
    held: Held | None


def stamped_copy(published: PublishedLog, certificates: list[x509.Certificate]) -> Copy | None:
    """The newest stamped checkpoint of a published log, None where it has none. Raises ConfigurationError where the stamp
    is not good."""
    size = published.newest_stamp()
    if size is None:
        return None
    name = f"seal/timestamp/{size}"
    token, note = published.read(f"{name}.tsr"), published.read(f"{name}.checkpoint")
    if token is None or note is None:
        raise ConfigurationError(f"{published.place}/{name}.tsr or .checkpoint is gone: a stamp needs both")
    return _stamped(f"{published.place}/{name}.tsr", token, note, certificates)


def stamped_file(path: Path, certificates: list[x509.Certificate] | None) -> Copy:
    """A stamp that was kept: SIZE.tsr, with SIZE.checkpoint beside it. Raises ConfigurationError."""
    if certificates is None:
        raise ConfigurationError(
            f"{path} is a time-stamp: name the authority's certificates with --tsa-certificate, else anybody's would do"
        )
    note = path.with_suffix(".checkpoint")
    try:
        return _stamped(str(path), path.read_bytes(), note.read_bytes(), certificates)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be read: {error.strerror}; a stamp is SIZE.tsr with SIZE.checkpoint beside it"
        ) from error


def _stamped(place: str, token: bytes, note: bytes, certificates: list[x509.Certificate]) -> Copy:
    try:
        stamp = check_stamp(token, note, certificates)
    except StampError as error:
        raise ConfigurationError(f"{place}: {error}; is --tsa-certificate the authority's?") from error
    by = f"whoever keeps the time-stamp of {stamp.by} ({stamp.at:%Y-%m-%dT%H:%M:%SZ})"
    return Copy(place, note, Held(by, _us(stamp.at)))


def locked_copies(place: str, client: Any = None) -> list[Copy]:
    """Checkpoints of `s3://BUCKET/PREFIX`: the newest, and of those before it the 1st, 3rd, 7th, …: whoever stole the key
    and has put n checkpoints of his own there cannot have replaced the first version of any true one, and one of them is
    at most about 2n back. Blocks. Raises ConfigurationError, TransientError."""
    try:
        import boto3  # noqa: PLC0415 - an extra
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{place} needs the extra `targets`: pip install 'piperoll[targets]'"
        ) from error
    bucket, _, prefix = place.removeprefix(SCHEME).partition("/")
    try:
        client = client or boto3.client("s3")
        pages = client.get_paginator("list_object_versions").paginate(
            Bucket=bucket, Prefix=f"{prefix}checkpoint/"
        )
        firsts = _first_versions(version for page in pages for version in page.get("Versions", ()))
        chosen = [firsts[key] for key in _spread(sorted(firsts, reverse=True))]
        copies = [_locked(client, bucket, version) for version in chosen]
    except (BotoCoreError, ClientError, ValueError) as error:
        raise TransientError(
            f"{place} cannot be read: {error}; listing versions needs s3:ListBucketVersions, reading them s3:GetObjectVersion "
            "and s3:GetObjectRetention"
        ) from error
    if not copies:
        raise ConfigurationError(f"{place} holds no checkpoints: behind the bucket stands SEALER_S3_PREFIX")
    return copies


def _first_versions(versions: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each object the oldest version: what was put there later replaces nothing. They come newest first, and their times are
    whole seconds."""
    firsts: dict[str, dict[str, Any]] = {}
    for version in versions:
        key = version["Key"]
        if key not in firsts or version["LastModified"] <= firsts[key]["LastModified"]:
            firsts[key] = version
    return firsts


def _spread(keys: Sequence[str]) -> list[str]:
    """Ranks 0, 1, 3, 7, 15, … and the last."""
    ranks = [0]
    while ranks[-1] * 2 + 1 < len(keys):
        ranks.append(ranks[-1] * 2 + 1)
    return [keys[rank] for rank in dict.fromkeys([*ranks, len(keys) - 1])] if keys else []


def _locked(client: Any, bucket: str, version: dict[str, Any]) -> Copy:
    found = client.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    note: bytes = found["Body"].read(_MOST_BYTES)
    held, until = None, found.get("ObjectLockRetainUntilDate")
    if until is not None and found.get("ObjectLockMode") == "COMPLIANCE":
        held = Held(f"the write-once bucket {bucket}", _us(version["LastModified"]), _us(until))
    elif until is not None:
        who = f"the bucket {bucket} (write-once but for who may bypass governance)"
        held = Held(who, _us(version["LastModified"]), _us(until))
    return Copy(f"{SCHEME}{bucket}/{version['Key']}", note, held)


def _us(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
