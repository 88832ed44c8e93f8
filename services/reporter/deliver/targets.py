"""Where digests go. A target delivers one, durably on the other side, or raises NotDeliveredError."""

from __future__ import annotations

import hmac
import logging
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from typing import Protocol

import aiosmtplib
import httpx

from schemas.text import neutral
from services.common.clock import Clock
from services.common.errors import ConfigurationError, TransientError
from services.common.logging import get_logger
from services.reporter.deliver.digest import Digest
from services.reporter.deliver.settings import DeliverySettings

log = get_logger(__name__)
for _name in ("httpx", "httpcore"):  # they log the address, which may hold a secret
    logging.getLogger(_name).setLevel(logging.WARNING)
_TIMEOUT_S = 20.0
SIGNATURE_HEADER = "Piperoll-Signature"


class NotDeliveredError(TransientError):
    """The other side did not take it; the text says why, without secrets."""


class Target(Protocol):
    """`name` stands in logs and records; `deliver` may be called again with the same digest."""

    name: str

    async def deliver(self, digest: Digest) -> None:
        """Raises NotDeliveredError."""


class Webhook:
    """POSTs the digest as JSON. Only a 2xx is a delivery, and no redirect is followed: the address is the user's."""

    name = "webhook"

    def __init__(self, url: str, secret: str | None, clock: Clock) -> None:
        self._url = url
        self._secret = secret
        self._clock = clock

    async def deliver(self, digest: Digest) -> None:
        body = digest.as_json()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "piperoll",
            "Idempotency-Key": digest.id,
        }
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = signature(self._secret, self._clock() // 1_000_000, body)
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as client:
                answer = await client.post(self._url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise NotDeliveredError(f"the webhook does not answer: {type(error).__name__}") from None
        if not answer.is_success:
            raise NotDeliveredError(f"the webhook answered {answer.status_code}")


def signature(secret: str, at_s: int, body: bytes) -> str:
    """`t=SECONDS,v1=HEX`: HMAC-SHA256 under the secret of the seconds since 1970, a dot and the body. Whoever receives it
    compares in constant time, and refuses what is older than some minutes."""
    made = hmac.new(secret.encode(), f"{at_s}.".encode() + body, "sha256").hexdigest()
    return f"t={at_s},v1={made}"


class Mail:
    """Sends the digest to all recipients at once."""

    name = "mail"

    def __init__(self, settings: DeliverySettings) -> None:
        self._settings = settings
        self._context = ssl.create_default_context(cafile=settings.smtp_cafile)

    async def deliver(self, digest: Digest) -> None:
        settings, encrypted = self._settings, self._settings.smtp_security
        password = settings.smtp_password
        try:
            refused, _ = await aiosmtplib.send(
                self.message(digest),
                hostname=settings.smtp_host,
                port=settings.smtp_port,
                username=settings.smtp_user,
                password=None if password is None else password.get_secret_value(),
                use_tls=encrypted == "tls",
                start_tls=encrypted == "starttls",
                tls_context=None if encrypted == "none" else self._context,
                timeout=_TIMEOUT_S,
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            said = neutral(str(error), 200)
            raise NotDeliveredError(
                f"the mail server did not take it: {type(error).__name__}: {said}"
            ) from None
        if refused:  # the others have it: sending again would be sending to them twice
            log.error("recipients_refused", recipients=sorted(refused))

    def message(self, digest: Digest) -> EmailMessage:
        """Plain text. The Message-ID follows from the alerts."""
        message = EmailMessage(policy=SMTP)
        sender = self._settings.sender or ""
        message["From"] = sender
        message["To"] = ", ".join(self._settings.addresses)
        message["Subject"] = neutral(digest.subject, 200)
        message["Message-ID"] = f"<{digest.id}@{sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        message.set_content(digest.text)
        return message


def new_targets(settings: DeliverySettings, clock: Clock) -> list[Target]:
    """Those that are set. Raises ConfigurationError."""
    targets: list[Target] = []
    if settings.webhook_url is not None:
        secret = settings.webhook_secret
        targets.append(
            Webhook(
                settings.webhook_url.get_secret_value(),
                None if secret is None else secret.get_secret_value(),
                clock,
            )
        )
        if secret is None:
            log.warning(
                "webhook_unsigned", fix="set ALERT_WEBHOOK_SECRET, so that the receiver knows it is us"
            )
    if settings.smtp_host is not None:
        try:
            targets.append(Mail(settings))
        except OSError as error:
            raise ConfigurationError(f"ALERT_SMTP_CAFILE: {settings.smtp_cafile}: {error}") from error
    return targets
