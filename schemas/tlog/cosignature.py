"""Cosignatures (C2SP tlog-cosignature): what witnesses add to a checkpoint that they found consistent.

A signature line whose bytes are key id[4] || u64 time in POSIX seconds || signature. Ed25519 (type 4, 64 bytes) signs
the time and the whole text of the checkpoint; ML-DSA-44 (type 6, 2,420 bytes) names, time, size and root.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct, pack

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from schemas.tlog.checkpoint import parse_checkpoint
from schemas.tlog.decimal import LIMIT
from schemas.tlog.errors import MalformedError, VerificationError
from schemas.tlog.note import KeyText, Signature, check_name, key_id, public_key, read_vkey, verify_ed25519

COSIGNATURE_ED25519 = 0x04
COSIGNATURE_MLDSA44 = 0x06
_TIME = Struct(">Q")
_SIGNATURE_BYTES = {COSIGNATURE_ED25519: 64, COSIGNATURE_MLDSA44: 2420}
_KEY_BYTES = {COSIGNATURE_ED25519: 32, COSIGNATURE_MLDSA44: 1312}


@dataclass(frozen=True)
class CosignatureVerifier:
    """The public key of a witness."""

    name: str
    public_key: bytes
    kind: int = COSIGNATURE_ED25519
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public_key) != _KEY_BYTES.get(self.kind):
            raise MalformedError(f"the key of {self.name} is not a cosigner's: type {self.kind}")
        object.__setattr__(self, "key_id", key_id(self.name, self.kind, self.public_key))

    @classmethod
    def from_vkey(cls, vkey: str) -> CosignatureVerifier:
        """Raises MalformedError, also for a key that is not a cosigner's."""
        parts = read_vkey(vkey)
        return cls(parts.name, parts.public_key, parts.kind)

    def vkey(self) -> str:
        """The key as one word."""
        return KeyText(self.name, self.kind, self.public_key).vkey()

    def verify(self, text: str, signature: bytes) -> None:
        """`signature` is time and signature. Raises VerificationError."""
        if len(signature) != 8 + _SIGNATURE_BYTES[self.kind]:
            raise VerificationError(f"the cosignature of {self.name} has {len(signature)} bytes")
        time_s, value = _TIME.unpack_from(signature)[0], signature[8:]
        if time_s >= LIMIT:
            raise VerificationError(f"the time of the cosignature of {self.name} is 2^63 or more")
        if self.kind == COSIGNATURE_ED25519:
            verify_ed25519(self.public_key, value, ed25519_message(text, time_s), self.name)
        else:
            _verify_mldsa(self.public_key, value, mldsa_message(text, time_s, self.name), self.name)


@dataclass(frozen=True)
class CosignatureSigner:
    """The Ed25519 key of a witness, with its 32-byte seed: for tests, and for whoever runs a witness of their own."""

    name: str
    seed: bytes = field(repr=False)

    @property
    def verifier(self) -> CosignatureVerifier:
        """The public key."""
        return CosignatureVerifier(self.name, public_key(self.seed))

    def cosign(self, text: str, time_s: int) -> Signature:
        """A signature line for a checkpoint's text, at a time in POSIX seconds."""
        if not 0 <= time_s < LIMIT:
            raise ValueError(f"not a time in POSIX seconds below 2^63: {time_s}")
        value = Ed25519PrivateKey.from_private_bytes(self.seed).sign(ed25519_message(text, time_s))
        return Signature(self.name, self.verifier.key_id, _TIME.pack(time_s) + value)


def cosigned_at(signature: Signature) -> int:
    """The time in POSIX seconds that a verified cosignature states."""
    time_s: int = _TIME.unpack_from(signature.value)[0]
    return time_s


def ed25519_message(text: str, time_s: int) -> bytes:
    """What an Ed25519 cosignature signs."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def mldsa_message(text: str, time_s: int, name: str) -> bytes:
    """What an ML-DSA-44 cosignature signs: not the extension lines. Raises VerificationError for names too long."""
    checkpoint = parse_checkpoint(text)
    cosigner, origin = name.encode(), checkpoint.origin.encode()
    if len(cosigner) > 255 or len(origin) > 255:
        raise VerificationError("an ML-DSA-44 cosignature binds names of at most 255 bytes")
    parts = (b"subtree/v1\n\0", bytes([len(cosigner)]), cosigner, pack(">Q", time_s))
    return b"".join((*parts, bytes([len(origin)]), origin, pack(">QQ", 0, checkpoint.size), checkpoint.root))


def _verify_mldsa(public: bytes, signature: bytes, message: bytes, name: str) -> None:
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
    except UnsupportedAlgorithm as error:
        raise VerificationError(f"ML-DSA-44 of {name} cannot be checked by the OpenSSL here") from error
    except (InvalidSignature, ValueError) as error:
        raise VerificationError(f"the cosignature of {name} is not good") from error
