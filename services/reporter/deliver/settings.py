"""Settings: where alerts are sent, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from services.common.alerts import Severity
from services.common.settings import SettingsGroup
from services.common.tls import is_loopback


class DeliverySettings(SettingsGroup):
    """Where alerts are sent: a webhook, mail, both or neither (then they are only logged)."""

    webhook_url: SecretStr | None = Field(
        None, alias="ALERT_WEBHOOK_URL", description="where each digest is POSTed as JSON; a secret"
    )
    webhook_secret: SecretStr | None = Field(
        None, alias="ALERT_WEBHOOK_SECRET", description="a secret; signs the body, HMAC-SHA256"
    )
    smtp_host: str | None = Field(None, alias="ALERT_SMTP_HOST", description="the mail server")
    smtp_port: int = Field(587, alias="ALERT_SMTP_PORT", ge=1, le=65_535, description="its port")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", alias="ALERT_SMTP_SECURITY", description="none: only to this machine"
    )
    smtp_cafile: Path | None = Field(
        None, alias="ALERT_SMTP_CAFILE", description="PEM that vouches for the server; default: the system's"
    )
    smtp_user: str | None = Field(None, alias="ALERT_SMTP_USER", description="who signs in, if anybody")
    smtp_password: SecretStr | None = Field(None, alias="ALERT_SMTP_PASSWORD", description="a secret")
    sender: str | None = Field(None, alias="ALERT_SMTP_FROM", description="address of the sender")
    recipients: str | None = Field(
        None, alias="ALERT_RECIPIENTS", description="addresses, several with commas"
    )
    least: Severity = Field(
        "medium", alias="ALERT_MIN_SEVERITY", description="what is less grave is only logged"
    )
    digest_s: float = Field(
        60.0,
        alias="ALERT_DIGEST_SECONDS",
        ge=0,
        description="seconds in which alerts are collected into one message",
    )
    give_up_hours: float = Field(
        24.0,
        alias="ALERT_GIVE_UP_HOURS",
        gt=0,
        description="hours after which an undeliverable message is given up, logged and recorded",
    )

    @property
    def addresses(self) -> list[str]:
        return [address.strip() for address in (self.recipients or "").split(",") if address.strip()]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.webhook_url is not None:
            parts = urlsplit(self.webhook_url.get_secret_value())
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("ALERT_WEBHOOK_URL must begin with https:// (or http://) and name a host")
        if self.smtp_host is not None:
            self._mail_fits(self.smtp_host)
        return self

    def _mail_fits(self, host: str) -> None:
        if not self.addresses or self.sender is None:
            raise ValueError("ALERT_SMTP_HOST needs ALERT_RECIPIENTS and ALERT_SMTP_FROM too")
        for address in (self.sender, *self.addresses):
            if "@" not in address or not address.isprintable() or any(mark in address for mark in " <>,;\"'"):
                raise ValueError("ALERT_SMTP_FROM and ALERT_RECIPIENTS are plain addresses: name@example.org")
        if self.smtp_security == "none" and not is_loopback(host):
            raise ValueError("ALERT_SMTP_SECURITY=none is for a server on this machine only: starttls or tls")
