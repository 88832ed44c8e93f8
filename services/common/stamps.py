"""RFC 3161 time-stamps: whether a token is good for some bytes, by certificates that the user names. No network.

The package rfc3161-client is an extra (`targets`): whoever calls finds out by `read_certificates`.
"""

from __future__ import annotations

from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.common.errors import ConfigurationError


class StampError(ValueError):
    """The time-stamp is not good."""


class Stamp(NamedTuple):
    """What a good token says: when, and which authority (its certificate's common name)."""

    at: datetime
    by: str


def check_stamp(
    token: bytes, data: bytes, certificates: list[x509.Certificate], nonce: int | None = None
) -> Stamp:
    """A token (the authority's whole answer, DER) over `data`. Certificates need only have been valid at the time that
    it states. Raises StampError."""
    from rfc3161_client import (  # noqa: PLC0415 - an extra
        VerificationError,
        VerifierBuilder,
        decode_timestamp_response,
    )

    roots, others = _sorted(certificates)
    signing = signing_certificate(certificates)
    verifier = VerifierBuilder(
        roots=roots, intermediates=others, nonce=nonce, tsa_certificate=signing
    ).build()
    try:
        response = decode_timestamp_response(token)
        verifier.verify_message(response, data)
        return Stamp(response.tst_info.gen_time, _name(signing or _signer(response)))
    except (VerificationError, ValueError) as error:
        raise StampError(f"the time-stamp is not good: {error}") from error


def read_certificates(path: Path, setting: str = "TSA_CERTIFICATE") -> list[x509.Certificate]:
    """The certificates of an authority, PEM; `setting` names the file in errors. Raises ConfigurationError."""
    if find_spec("rfc3161_client") is None:  # better missed at the start than at the first stamp
        raise ConfigurationError(f"{setting} needs the extra `targets`: pip install 'piperoll[targets]'")
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{setting} {path} has no certificates in PEM form: {error}") from error
    if not _sorted(certificates)[0]:
        raise ConfigurationError(
            f"{setting} {path} has no root certificate (one that signed itself): put the authority's root there, and "
            "those between it and the one that signs"
        )
    return certificates


def signing_certificate(certificates: list[x509.Certificate]) -> x509.Certificate | None:
    """The one that may stamp times, if it is among them."""
    for item in certificates:
        try:
            usage = item.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            continue
        if ExtendedKeyUsageOID.TIME_STAMPING in usage and item.issuer != item.subject:
            return item
    return None


def _sorted(certificates: list[x509.Certificate]) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    """Roots, others."""
    roots = [item for item in certificates if item.issuer == item.subject]
    return roots, [item for item in certificates if item not in roots]


def _signer(response: Any) -> x509.Certificate:
    """The certificate in a verified answer that its signature names."""
    (signer,) = response.signed_data.signer_infos
    for encoded in response.signed_data.certificates:
        found = x509.load_der_x509_certificate(encoded)
        if (found.issuer, found.serial_number) == (signer.issuer, signer.serial_number):
            return found
    raise ValueError("it names a certificate that it does not hold")


def _name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()
