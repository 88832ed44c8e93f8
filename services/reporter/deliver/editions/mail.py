"""Reports by mail: the PDF and what else fits attached, the page zipped, as many mail filters take no HTML."""

from __future__ import annotations

import asyncio
import io
import ssl
import zipfile
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from pathlib import Path
from typing import Any

import aiosmtplib

from schemas.text import neutral
from services.common.clock import Clock
from services.common.errors import ConfigurationError, TransientError
from services.reporter.deliver.editions.parcel import Begin, Parcel, UncertainError
from services.reporter.deliver.editions.s3 import S3
from services.reporter.deliver.editions.settings import ReportDeliverySettings
from services.reporter.deliver.settings import DeliverySettings
from services.reporter.period import moment

MOST_BYTES = 10 * 1024 * 1024
"""Of all attachments together, before they are encoded; many servers take no more."""
_TIMEOUT_S = 60.0
_ORDER = (".piperoll-proof", ".pdf", ".html", ".txt", ".md", ".json", ".zip")
_TYPES = {
    ".pdf": ("application", "pdf"),
    ".md": ("text", "markdown"),
    ".txt": ("text", "plain"),  # why the user's template was not filled
    ".json": ("application", "json"),
    ".zip": ("application", "zip"),
    ".csv": ("text", "csv"),
    ".jsonl": ("application", "x-ndjson"),
    ".piperoll-proof": ("application", "json"),
}


class Mail:
    """One server (parcel.Outlet)."""

    def __init__(
        self, settings: ReportDeliverySettings | DeliverySettings, clock: Clock, links: S3 | None = None
    ) -> None:
        self._settings, self._links = settings, links
        self._clock = clock
        try:
            self._context = ssl.create_default_context(cafile=settings.smtp_cafile)
        except OSError as error:
            raise ConfigurationError(f"the mail server's CA file {settings.smtp_cafile}: {error}") from error

    async def deliver(self, parcel: Parcel, begin: Begin) -> dict[str, Any]:
        """Raises UncertainError where the server's answer to the message did not come."""
        message, attached, left_out = await self.message(parcel)
        server = self._server()
        try:
            await server.connect()
            await self._sign_in(server)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            server.close()
            raise TransientError(f"the mail server does not let us send: {_said(error)}") from None
        try:
            await begin()
            _, answer = await server.send_message(message, recipients=[parcel.address])
        except aiosmtplib.SMTPResponseException as error:
            raise TransientError(f"the mail server did not take it: {_said(error)}") from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise TransientError(f"the mail server refuses {parcel.address}: {_said(error)}") from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise UncertainError(f"the mail server did not answer: {_said(error)}") from None
        finally:
            server.close()
        return {
            "message_id": parcel.id,
            "answer": neutral(answer, 200),
            "attached": attached,
            "left_out": left_out,
            "linked": self._links is not None and bool(left_out),
        }

    async def _elsewhere(self, parcel: Parcel, left_out: Sequence[Path]) -> str:
        """Where what is too large is found: behind links that expire, or by a command."""
        if not left_out:
            return ""
        if self._links is None:
            names = ", ".join(path.name for path in left_out)
            return (
                f"Too large for mail (10 MB): {names}. Whoever runs Piperoll finds it with `piperoll report rebuild "
                f"{parcel.name} --out FOLDER`."
            )
        begun = self._clock()  # before any is signed: none expires earlier than is said
        lent, seconds = await asyncio.to_thread(self._links.lend, parcel, left_out)
        until = moment(begun + seconds * 1_000_000).strftime("%Y-%m-%d %H:%M UTC")
        lines = "\n".join(f"{name}: {address}" for name, address in lent.items())
        return f"Too large for mail (10 MB); until {until} whoever has its address can fetch it:\n{lines}"

    async def message(self, parcel: Parcel) -> tuple[EmailMessage, list[str], list[str]]:
        """The message, the names of what is attached, and of what is too large for it. Raises TransientError where that is to be
        put behind links and cannot."""
        chosen, left_out = await asyncio.to_thread(_choose, parcel.files)
        letter, elsewhere = parcel.letter, await self._elsewhere(parcel, left_out)
        text, html = letter.text, letter.html
        if elsewhere:
            text += f"\n{elsewhere}\n"
            if html is not None:
                added = f'<p style="white-space: pre-wrap">{escape(elsewhere)}</p></body>'
                html = html.replace("</body>", added)
        message = EmailMessage(policy=SMTP)
        message["From"] = self._settings.sender or ""
        message["To"] = parcel.address
        message["Subject"] = neutral(letter.subject, 200)
        message["Message-ID"] = parcel.id
        message["Date"] = format_datetime(moment(self._clock()))
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        message.set_content(text)
        if html is not None:
            message.add_alternative(html, subtype="html")
        for name, data in chosen:
            kind, subtype = _TYPES[Path(name).suffix]
            message.add_attachment(data, maintype=kind, subtype=subtype, filename=name)
        return message, [name for name, _ in chosen], [path.name for path in left_out]

    def _server(self) -> aiosmtplib.SMTP:
        settings, encrypted = self._settings, self._settings.smtp_security
        return aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            use_tls=encrypted == "tls",
            start_tls=encrypted == "starttls",
            tls_context=None if encrypted == "none" else self._context,
            timeout=_TIMEOUT_S,
        )

    async def _sign_in(self, server: aiosmtplib.SMTP) -> None:
        password = self._settings.smtp_password
        if self._settings.smtp_user is not None and password is not None:
            await server.login(self._settings.smtp_user, password.get_secret_value())


def _choose(files: Sequence[Path]) -> tuple[list[tuple[str, bytes]], list[Path]]:
    """What fits, the most wanted first; the page as a ZIP file."""
    chosen: list[tuple[str, bytes]] = []
    left_out: list[Path] = []
    room = MOST_BYTES
    for path in sorted(files, key=lambda path: _ORDER.index(path.suffix) if path.suffix in _ORDER else 9):
        if path.suffix != ".html" and path.stat().st_size > room:  # of gigabytes, perhaps: never into memory
            left_out.append(path)
            continue
        name, data = path.name, path.read_bytes()
        if path.suffix == ".html":
            name, data = f"{name}.zip", _zipped(name, data)
        if len(data) > room or Path(name).suffix not in _TYPES:
            left_out.append(path)
            continue
        room -= len(data)
        chosen.append((name, data))
    return chosen, left_out


def _zipped(name: str, data: bytes) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return whole.getvalue()


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {neutral(str(error), 200)}"
