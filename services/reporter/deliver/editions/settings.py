"""Settings: how reports are sent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from services.common.errors import ConfigurationError
from services.common.settings import SettingsGroup, read_settings
from services.common.tls import is_loopback, is_private
from services.reporter.deliver.settings import DeliverySettings

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s]*)?")
"""A bucket of S3 and what objects' keys begin with."""


class ReportDeliverySettings(SettingsGroup):
    """By what reports go out whose target is `mail:`, `webhook:` or `s3:`."""

    smtp_host: str | None = Field(
        None, alias="REPORT_SMTP_HOST", description="the mail server for reports; default: that for alerts"
    )
    smtp_port: int = Field(587, alias="REPORT_SMTP_PORT", ge=1, le=65_535, description="its port")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", alias="REPORT_SMTP_SECURITY", description="none: only to this machine"
    )
    smtp_cafile: Path | None = Field(
        None, alias="REPORT_SMTP_CAFILE", description="PEM that vouches for the server; default: the system's"
    )
    smtp_user: str | None = Field(None, alias="REPORT_SMTP_USER", description="who signs in, if anybody")
    smtp_password: SecretStr | None = Field(None, alias="REPORT_SMTP_PASSWORD", description="a secret")
    sender: str | None = Field(None, alias="REPORT_SMTP_FROM", description="address of the sender")
    webhook_secret: SecretStr | None = Field(
        None, alias="REPORT_WEBHOOK_SECRET", description="a secret; signs what is POSTed, HMAC-SHA256"
    )
    s3_endpoint: str | None = Field(
        None, alias="REPORT_S3_ENDPOINT", description="of an S3-compatible server; default: AWS"
    )
    s3_region: str | None = Field(None, alias="REPORT_S3_REGION", description="default: AWS_REGION")
    s3_access_key: str | None = Field(
        None, alias="REPORT_S3_ACCESS_KEY_ID", description="default: as the AWS tools find it"
    )
    s3_secret_key: SecretStr | None = Field(None, alias="REPORT_S3_SECRET_ACCESS_KEY", description="a secret")
    link_bucket: str | None = Field(
        None,
        alias="REPORT_LINK_BUCKET",
        description="BUCKET/PREFIX (REPORT_S3_…): what is too large for mail is put there, and the mail has a link",
    )
    link_days: int = Field(
        7,
        alias="REPORT_LINK_DAYS",
        ge=1,
        le=7,
        description="days until such a link expires, 7 at most; with a role's temporary credentials it ends with them",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.smtp_host is not None and self.sender is None:
            raise ValueError("REPORT_SMTP_HOST needs REPORT_SMTP_FROM too")
        if self.smtp_host is not None and self.smtp_security == "none" and not is_loopback(self.smtp_host):
            raise ValueError(
                "REPORT_SMTP_SECURITY=none is for a server on this machine only: starttls or tls"
            )
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError("REPORT_S3_ACCESS_KEY_ID and REPORT_S3_SECRET_ACCESS_KEY belong together")
        if self.s3_endpoint is not None and not is_private(self.s3_endpoint):
            raise ValueError(
                "REPORT_S3_ENDPOINT begins with https:// (http:// only for a server on this machine): reports go there"
            )
        if self.link_bucket is not None and not BUCKET.fullmatch(self.link_bucket):
            raise ValueError("REPORT_LINK_BUCKET is BUCKET or BUCKET/PREFIX")
        return self


def mail_settings(own: ReportDeliverySettings) -> ReportDeliverySettings | DeliverySettings:
    """The mail server of reports: their own, else that of alerts. Raises ConfigurationError where there is neither."""
    if own.smtp_host is not None:
        return own
    alerts = read_settings(DeliverySettings)
    if alerts.smtp_host is None:
        raise ConfigurationError(
            "a report is to go out by mail, and no mail server is set: set REPORT_SMTP_HOST and REPORT_SMTP_FROM"
        )
    return alerts
