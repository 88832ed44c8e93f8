"""Settings of the targets outside: a witness, S3 with object lock, a time-stamp authority. Each is off until it is set."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from services.common.settings import SettingsGroup


class TargetSettings(SettingsGroup):
    """Where checkpoints are held outside, so that others can catch us: each is off until it is set."""

    witness_url: str | None = Field(
        None,
        alias="WITNESS_URL",
        pattern=r"^https?://[^\s]+$",
        description="submission prefix of a C2SP witness, which cosigns every checkpoint it finds consistent; needs WITNESS_VKEY",
    )
    witness_vkey: str | None = Field(
        None, alias="WITNESS_VKEY", description="the witness's public key, NAME+ID+BASE64"
    )
    witness_policy: Path | None = Field(
        None,
        alias="WITNESS_POLICY",
        description="instead of the two above: a C2SP policy file with several witnesses (with their URLs) and the quorum",
    )
    witness_interval_s: float = Field(
        10.0,
        alias="WITNESS_INTERVAL_S",
        ge=0,
        description="at most one checkpoint in so many seconds for each witness: each leaves a receipt",
    )
    s3_bucket: str | None = Field(
        None,
        alias="SEALER_S3_BUCKET",
        description="an S3 bucket made with object lock: checkpoints are put there, and nobody can take them back before "
        "their time",
    )
    s3_prefix: str = Field("", alias="SEALER_S3_PREFIX", description="begins the names of the objects")
    s3_endpoint: str | None = Field(
        None,
        alias="SEALER_S3_ENDPOINT",
        pattern=r"^https?://[^\s]+$",
        description="of an S3-compatible server; default: AWS",
    )
    s3_region: str | None = Field(
        None, alias="SEALER_S3_REGION", description="default: AWS_REGION, or us-east-1 with an endpoint"
    )
    s3_access_key: str | None = Field(
        None,
        alias="SEALER_S3_ACCESS_KEY_ID",
        description="who signs in; default: where AWS's own tools look (AWS_ACCESS_KEY_ID, a profile, the machine's role)",
    )
    s3_secret_key: SecretStr | None = Field(None, alias="SEALER_S3_SECRET_ACCESS_KEY", description="a secret")
    s3_retention_days: int = Field(
        400,
        alias="SEALER_S3_RETENTION_DAYS",
        ge=1,
        le=36_500,
        description="so long nobody can delete or replace a checkpoint",
    )
    s3_lock_mode: Literal["COMPLIANCE", "GOVERNANCE"] = Field(
        "COMPLIANCE",
        alias="SEALER_S3_LOCK_MODE",
        description="COMPLIANCE: not even the account's owner; GOVERNANCE: only who has a special right",
    )
    s3_interval_s: float = Field(
        60.0,
        alias="SEALER_S3_INTERVAL_S",
        gt=0,
        description="at most one checkpoint in so many seconds: each is an object that stays",
    )
    tsa_url: str | None = Field(
        None,
        alias="TSA_URL",
        pattern=r"^https?://[^\s]+$",
        description="an RFC 3161 time-stamp authority, which stamps checkpoints; needs TSA_CERTIFICATE",
    )
    tsa_certificate: Path | None = Field(
        None,
        alias="TSA_CERTIFICATE",
        description="PEM file with the authority's root certificate, those between it and the one that signs, and best that "
        "one too: then no other is accepted",
    )
    tsa_interval_s: float = Field(
        3600.0, alias="TSA_INTERVAL_S", gt=0, description="seconds from stamp to stamp while there is news"
    )
    timeout_s: float = Field(
        10.0, alias="SEALER_TARGET_TIMEOUT_S", gt=0, le=120, description="until a target counts as away"
    )
    alarm_s: float = Field(
        300.0,
        alias="SEALER_TARGET_ALARM_S",
        ge=0,
        description="a target that has failed for so many seconds is an alert",
    )
