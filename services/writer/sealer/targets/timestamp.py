"""An RFC 3161 time-stamp authority: says that a checkpoint existed at a time, by a clock and a key that are not ours.

Each stamp is published beside the seal log as `timestamp/<size>.tsr` with the note that it is over, so that it can be
checked without us: `openssl ts -verify -data <size>.checkpoint -in <size>.tsr -CAfile root.pem`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from services.common.clock import Clock, system_clock
from services.common.errors import TransientError
from services.common.stamps import StampError, check_stamp, signing_certificate
from services.writer.sealer.memory import write_durably
from services.writer.sealer.targets.aside import aside
from services.writer.sealer.targets.http import post

FOLDER = "timestamp"
LATEST = "latest"
"""The size of the newest stamp, for whoever reads over HTTP and sees no list of files."""
_MOST_OFF = timedelta(minutes=5)


class Timestamp:
    """One authority (courier.Carrier). `folder` is that of the published seal log, `certificates` the authority's
    root, which signed itself, and those below it."""

    name = "timestamp"

    def __init__(
        self,
        url: str,
        certificates: list[x509.Certificate],
        folder: Path,
        seconds: float,
        every_s: float,
        clock: Clock = system_clock,
    ) -> None:
        self.every_s = every_s
        self._url = url
        self._certificates = certificates
        self._folder = folder / FOLDER
        self._seconds = seconds
        self._clock = clock

    async def deliver(self, size: int, note: bytes) -> bytes:
        """The authority's answer, in DER."""
        return await aside(lambda: self._stamp(size, note))

    def _stamp(self, size: int, note: bytes) -> bytes:
        from rfc3161_client import (  # noqa: PLC0415 - an extra, only where it is set
            HashAlgorithm,
            TimestampRequestBuilder,
        )

        # Where the certificate that signs is known, it need not come: some authorities send several, in an order that
        # DER forbids, and the answer cannot be read.
        wanted = signing_certificate(self._certificates) is None
        request = TimestampRequestBuilder(note, HashAlgorithm.SHA256, cert_req=wanted).build()
        answer = post(self._url, request.as_bytes(), "application/timestamp-query", self._seconds)
        if answer.status != 200 or answer.kind != "application/timestamp-reply":
            raise TransientError(f"{self._url} answered {answer.short()}, no time-stamp")
        self._check(answer.body, note, request.nonce)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_durably(self._folder / f"{size}.checkpoint", note)
        write_durably(self._folder / f"{size}.tsr", answer.body)
        write_durably(self._folder / LATEST, f"{size}\n".encode())
        return answer.body

    def _check(self, token: bytes, note: bytes, nonce: int | None) -> None:
        """Raises TransientError for a stamp that is not good, or not of now."""
        stamped = verify_stamp(token, note, self._certificates, nonce)
        now = datetime.fromtimestamp(self._clock() / 1_000_000, UTC)
        if abs(stamped - now) > _MOST_OFF:
            raise TransientError(
                f"{self._url} stamped {stamped:%Y-%m-%d %H:%M:%S} UTC, and here it is {now:%Y-%m-%d %H:%M:%S}: one of the "
                "clocks is wrong"
            )


def verify_stamp(
    token: bytes, note: bytes, certificates: list[x509.Certificate], nonce: int | None = None
) -> datetime:
    """The time that a stamp proves for a note. Raises TransientError: it was asked of a server and can be asked again."""
    try:
        return check_stamp(token, note, certificates, nonce).at
    except StampError as error:
        raise TransientError(f"{error}; is TSA_CERTIFICATE the authority's?") from error
