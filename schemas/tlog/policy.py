"""Policy files (C2SP tlog-policy): which logs are trusted, and which witnesses must have cosigned.

log <vkey> [url]
witness W1 <vkey> [url]
witness W2 <vkey> [url]
group both all W1 W2
quorum both
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.tlog.cosignature import CosignatureVerifier
from schemas.tlog.decimal import decode
from schemas.tlog.errors import MalformedError, VerificationError
from schemas.tlog.note import Note, Verifier

NONE = "none"


class Group(NamedTuple):
    """Witnessed if at least `threshold` of its members are."""

    threshold: int
    members: tuple[str, ...]


@dataclass
class Policy:
    """A policy as its file says. `quorum` is the name of a witness or group, or "none"; `urls` where checkpoints are
    sent to for a witness of that name, if the file says so."""

    logs: list[Verifier] = field(default_factory=list)
    witnesses: dict[str, CosignatureVerifier] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str = NONE
    urls: dict[str, str] = field(default_factory=dict)

    def witnessed_by(self, note: Note) -> frozenset[str]:
        """The policy's names of the witnesses whose signatures verified in a note (opened with them as cosigners)."""
        signed = {(item.name, item.key_id) for item in note.verified}
        return frozenset(name for name, key in self.witnesses.items() if (key.name, key.key_id) in signed)

    def is_met(self, witnesses: AbstractSet[str]) -> bool:
        """Whether the quorum is reached by these witnesses."""
        return self.quorum == NONE or self._witnessed(self.quorum, witnesses)

    def check(self, note: Note) -> frozenset[str]:
        """The witnesses that cosigned. Raises VerificationError where they are not enough."""
        names = self.witnessed_by(note)
        if not self.is_met(names):
            found = ", ".join(sorted(names)) or "none"
            raise VerificationError(
                f"the policy's quorum {self.quorum!r} is not reached: cosigned by {found}"
            )
        return names

    def encode(self) -> bytes:
        """The policy's file."""
        lines = [f"log {log.vkey()}" for log in self.logs]
        for name, key in self.witnesses.items():
            url = f" {self.urls[name]}" if name in self.urls else ""
            lines.append(f"witness {name} {key.vkey()}{url}")
        lines += [
            f"group {name} {one.threshold} {' '.join(one.members)}" for name, one in self.groups.items()
        ]
        return "\n".join([*lines, f"quorum {self.quorum}", ""]).encode()

    def _witnessed(self, name: str, witnesses: AbstractSet[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in witnesses
        return sum(self._witnessed(member, witnesses) for member in group.members) >= group.threshold


def parse_policy(file: bytes) -> Policy:
    """Reads a policy file. Raises MalformedError, which names the line."""
    # Latin-1: octets above 0x7e mean nothing but themselves.
    text = file.decode("latin-1")
    if any((c < " " and c not in "\t\n") or c == "\x7f" for c in text):
        raise MalformedError("a policy file has no control characters but tab and newline")
    reader = _Reader()
    for number, line in enumerate(text.split("\n"), 1):
        words = [word for word in line.replace("\t", " ").split(" ") if word]
        if words and not words[0].startswith("#"):
            try:
                reader.take(words)
            except ValueError as error:
                raise MalformedError(f"line {number} of the policy: {error}") from error
    if not reader.has_quorum:
        raise MalformedError("the policy has no quorum line; 'quorum none' asks for no witness")
    return reader.policy


class _Reader:
    """The policy so far."""

    def __init__(self) -> None:
        self.policy = Policy()
        self.has_quorum = False
        self._members: set[str] = set()

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._log(Verifier.from_vkey(_utf8(vkey)))
            case ["witness", name, vkey, *url] if len(url) < 2:
                self._new(name)
                self._witness(name, CosignatureVerifier.from_vkey(_utf8(vkey)))
                self.policy.urls |= dict.fromkeys([name], url[0]) if url else {}
            case ["group", name, threshold, *members] if members:
                self._new(name)
                self._group(name, threshold, members)
            case ["quorum", name] if not self.has_quorum:
                if name != NONE:
                    self._known(name)
                self.policy.quorum, self.has_quorum = name, True
            case ["quorum", _]:
                raise ValueError("a second quorum line")
            case _:
                raise ValueError(f"not a log, witness, group or quorum line: {' '.join(words)[:80]!r}")

    def _log(self, log: Verifier) -> None:
        if any(other.public_key == log.public_key for other in self.policy.logs):
            raise ValueError("a log with the same key stands above, which a policy does not allow")
        self.policy.logs.append(log)

    def _witness(self, name: str, witness: CosignatureVerifier) -> None:
        if any(other.public_key == witness.public_key for other in self.policy.witnesses.values()):
            raise ValueError("a witness with the same key stands above, which a policy does not allow")
        self.policy.witnesses[name] = witness

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        for member in members:
            self._known(member)
            if member in self._members:
                raise ValueError(f"{member} is a member of a group twice")
            self._members.add(member)
        least = {"any": 1, "all": len(members)}.get(threshold)
        least = decode(threshold, "the threshold") if least is None else least
        if not 1 <= least <= len(members):
            raise ValueError(f"{least} of {len(members)} members cannot be a threshold")
        self.policy.groups[name] = Group(least, tuple(members))

    def _new(self, name: str) -> None:
        if name == NONE or name in self.policy.witnesses or name in self.policy.groups:
            raise ValueError(f"the name {name} is taken")

    def _known(self, name: str) -> None:
        if name not in self.policy.witnesses and name not in self.policy.groups:
            raise ValueError(f"{name} is no witness or group of the lines above")


def _utf8(word: str) -> str:
    """Names of keys are UTF-8."""
    return word.encode("latin-1").decode("utf-8")
