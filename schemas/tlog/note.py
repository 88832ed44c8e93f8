"""Signed notes (C2SP signed-note v1.0.0): a text, a blank line, signature lines; and Ed25519 keys for them.

    example.com/log
    7
    …

    — example.com/log base64(key id[4] || signature)

A verifier key is `<name>+<key id, 8 hex>+<base64(type || public key)>`; the private form `PRIVATE+KEY+<name>+<key id>+
<base64(type || seed)>` is the one of Go's sumdb.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas.tlog import base64
from schemas.tlog.errors import MalformedError, VerificationError

ED25519 = 0x01
MOST_BYTES = 1_000_000
MOST_SIGNATURES = 100
"""Notes with more are refused: the specification asks for 16 at least."""
_PRIVATE = "PRIVATE+KEY+"
_DASH = "\u2014 "


class Signature(NamedTuple):
    """One signature line: who by, and the bytes behind the 4 of the key id."""

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> str:
        """As it stands in a note, with its newline."""
        return f"{_DASH}{self.name} {base64.encode(self.key_id + self.value)}\n"


class Note(NamedTuple):
    """A note that verified: each signature is either by a known key and good, or by an unknown key."""

    text: str
    verified: tuple[Signature, ...]
    unknown: tuple[Signature, ...]


class NoteVerifier(Protocol):
    """A key that checks signatures of notes: of logs (`Verifier`) and of cosigners (cosignature.py)."""

    @property
    def name(self) -> str: ...
    @property
    def key_id(self) -> bytes: ...
    def verify(self, text: str, signature: bytes) -> None:
        """Raises VerificationError unless `signature` (without key id) is over `text`."""


class NoteSigner(Protocol):
    """A key that signs notes."""

    def sign(self, text: str) -> Signature: ...


class KeyText(NamedTuple):
    """The parts of a verifier key."""

    name: str
    kind: int
    public_key: bytes

    def vkey(self) -> str:
        """The key as one word."""
        material = base64.encode(bytes([self.kind]) + self.public_key)
        return f"{self.name}+{key_id(self.name, self.kind, self.public_key).hex()}+{material}"


@dataclass(frozen=True)
class Verifier:
    """An Ed25519 key of a log."""

    name: str
    public_key: bytes
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public_key) != 32:
            raise MalformedError(f"an Ed25519 public key has 32 bytes, this one {len(self.public_key)}")
        object.__setattr__(self, "key_id", key_id(self.name, ED25519, self.public_key))

    @classmethod
    def from_vkey(cls, vkey: str) -> Verifier:
        """Raises MalformedError, also for a key of another type."""
        parts = read_vkey(vkey)
        if parts.kind != ED25519:
            raise MalformedError(f"the key of {parts.name} is of type {parts.kind}, not 1 (Ed25519)")
        return cls(parts.name, parts.public_key)

    def vkey(self) -> str:
        """The key as one word."""
        return KeyText(self.name, ED25519, self.public_key).vkey()

    def verify(self, text: str, signature: bytes) -> None:
        """Raises VerificationError unless `signature` is over `text`."""
        verify_ed25519(self.public_key, signature, text.encode("utf-8"), self.name)


@dataclass(frozen=True)
class Signer:
    """An Ed25519 key of a log, with its 32-byte seed. One seed may sign under several names: the name is bound."""

    name: str
    seed: bytes = field(repr=False)
    verifier: Verifier = field(init=False)

    def __post_init__(self) -> None:
        if len(self.seed) != 32:
            raise MalformedError("the seed of an Ed25519 key has 32 bytes")
        object.__setattr__(self, "verifier", Verifier(self.name, public_key(self.seed)))

    @classmethod
    def from_private(cls, text: str) -> Signer:
        """From the private form. Raises MalformedError, without the key in its text."""
        name, kind, seed = _read_private(text)
        if kind != ED25519 or len(seed) != 32:
            raise MalformedError("not a private Ed25519 key: PRIVATE+KEY+<name>+<key id>+<base64> is wanted")
        signer = cls(name, seed)
        if f"+{signer.verifier.key_id.hex()}+" not in text:
            raise MalformedError(f"the private key of {name} does not have the key id that it names")
        return signer

    def private(self) -> str:
        """The private form: whoever has it can sign."""
        material = base64.encode(bytes([ED25519]) + self.seed)
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{material}"

    def renamed(self, name: str) -> Signer:
        """The same key under another name."""
        return Signer(name, self.seed)

    def sign(self, text: str) -> Signature:
        """Deterministic, 64 bytes."""
        value = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode("utf-8"))
        return Signature(self.name, self.verifier.key_id, value)


def new_key(name: str) -> Signer:
    """A fresh key."""
    return Signer(name, Ed25519PrivateKey.generate().private_bytes_raw())


def public_key(seed: bytes) -> bytes:
    """The 32 bytes of the public key."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def verify_ed25519(public: bytes, signature: bytes, message: bytes, name: str) -> None:
    """Raises VerificationError, which names whose signature it is."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise VerificationError(f"the signature of {name} is not good") from error


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """SHA-256(name || newline || type || public key), the first 4 bytes."""
    return sha256(name.encode("utf-8") + b"\n" + bytes([kind]) + public).digest()[:4]


def check_name(name: str) -> None:
    """Raises MalformedError unless `name` can be the name of a key."""
    if (
        not name
        or "+" in name
        or any(c.isspace() or ord(c) < 0x20 or 0xD800 <= ord(c) < 0xE000 for c in name)
    ):
        raise MalformedError(f"a key's name is not empty and has neither blanks nor '+': {name[:80]!r}")


def read_vkey(vkey: str) -> KeyText:
    """The parts of a verifier key of any type. Raises MalformedError where name, id and key do not fit."""
    name, _, rest = vkey.partition("+")
    identifier, _, material = rest.partition("+")
    check_name(name)
    raw = base64.decode(material)
    if not raw:
        raise MalformedError(f"not a verifier key <name>+<key id>+<base64>: {vkey[:120]!r}")
    parts = KeyText(name, raw[0], raw[1:])
    if parts.kind in (ED25519, 0x04) and len(parts.public_key) != 32:
        raise MalformedError(f"the key of {name} has {len(parts.public_key)} bytes, 32 belong to its type")
    if identifier != key_id(*parts).hex():
        raise MalformedError(f"the verifier key of {name} does not have the key id that it names")
    return parts


def sign_note(text: str, signers: Sequence[NoteSigner]) -> bytes:
    """The signed note. `text` ends in a newline."""
    check_text(text)
    if not signers:
        raise ValueError("a note needs a signature")
    return (text + "\n" + "".join(signer.sign(text).line() for signer in signers)).encode("utf-8")


def open_note(note: bytes, verifiers: Sequence[NoteVerifier]) -> Note:
    """The text and who signed it. Raises MalformedError where the bytes are no note, VerificationError where a
    signature by a known key is not good, or none is by a known key."""
    text, signatures = split_note(note)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    if len(known) != len({id(verifier) for verifier in verifiers}):
        raise ValueError("two verifiers have the same name and key id")
    verified: dict[tuple[str, bytes], Signature] = {}
    unknown = []
    for signature in signatures:
        key = (signature.name, signature.key_id)
        if key not in known:
            unknown.append(signature)
            continue
        known[key].verify(text, signature.value)
        verified.setdefault(key, signature)
    if not verified:
        names = ", ".join(sorted({signature.name for signature in signatures}))
        raise VerificationError(f"none of the signatures is by a known key; they are by: {names}")
    return Note(text, tuple(verified.values()), tuple(unknown))


def split_note(note: bytes) -> tuple[str, list[Signature]]:
    """Text and signature lines, nothing verified. Raises MalformedError."""
    text = _decode(note)
    body, blank, lines = text.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise MalformedError("not a signed note: a blank line and signature lines at its end are wanted")
    return body + "\n", read_signatures(lines)


def read_signatures(lines: str) -> list[Signature]:
    """Signature lines, one below the other. Raises MalformedError."""
    if not lines.endswith("\n"):
        raise MalformedError("signature lines end in a newline")
    split = lines[:-1].split("\n")
    if len(split) > MOST_SIGNATURES:
        raise MalformedError(f"{len(split)} signatures, {MOST_SIGNATURES} at most are read")
    return [_read_signature(line) for line in split]


def check_text(text: str) -> None:
    """Raises MalformedError unless `text` can be signed: ends in a newline, no other control characters."""
    if not text.endswith("\n") or any(c < " " and c != "\n" for c in text):
        raise MalformedError("the text of a note ends in a newline and has no other control characters")


def _decode(note: bytes) -> str:
    if len(note) > MOST_BYTES:
        raise MalformedError(f"a note of {len(note)} bytes; {MOST_BYTES} at most are read")
    try:
        text = note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(f"a note is UTF-8: {error}") from error
    check_text(text)
    return text


def _read_signature(line: str) -> Signature:
    name, blank, material = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not blank:
        raise MalformedError(f"not a signature line: {line[:80]!r}")
    check_name(name)
    raw = base64.decode(material)
    if len(raw) < 5:
        raise MalformedError(f"the signature of {name} is too short")
    return Signature(name, raw[:4], raw[4:])


def _read_private(text: str) -> tuple[str, int, bytes]:
    name, _, rest = text.strip().removeprefix(_PRIVATE).partition("+")
    raw = b""
    if text.strip().startswith(_PRIVATE):
        try:
            raw = base64.decode(rest.partition("+")[2])
        except MalformedError:
            # Its text would show the key.
            raw = b""
    if not raw:
        raise MalformedError("not a private key: PRIVATE+KEY+<name>+<key id>+<base64> is wanted")
    return name, raw[0], raw[1:]
