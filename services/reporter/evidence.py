"""Checkpoints to verify against, and where they are got: directories, web servers, files, the topic."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from schemas.tlog.checkpoint import open_checkpoint
from schemas.tlog.note import Verifier
from schemas.tlog.policy import Policy, parse_policy
from schemas.verification.seals import Anchor
from services.common.checkpoints import last_checkpoint
from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings
from services.reporter.published import PublishedLog
from services.reporter.settings import VerifySettings

TOPIC = "topic"
_RANGED = re.compile(r"(?P<vkey>.+)@(?P<first>\d*)-(?P<last>\d*)")


@dataclass(frozen=True)
class Evidence:
    """Verified checkpoints, and the published logs in which the leaves that they cover can be read. `policy` says whose
    signatures count; `own_key` tells that the key itself came from one of the places that are to be checked."""

    anchors: list[Anchor] = field(default_factory=list)
    logs: list[PublishedLog] = field(default_factory=list)
    policy: TrustedKeys = field(default_factory=lambda: TrustedKeys())  # noqa: PLW0108 - defined below
    own_key: bool = False

    @property
    def notes(self) -> dict[str, bytes]:
        """The checkpoints as they came, by names of our own."""
        return {f"seal-{at}": anchor.note for at, anchor in enumerate(self.anchors, 1) if anchor.note}

    @property
    def witnessed(self) -> Anchor | None:
        """The newest checkpoint that has the cosignatures that the policy asks for, None where it asks for none."""
        if self.policy.quorum == "none":
            return None
        met = [anchor for anchor in self.anchors if self.policy.is_met(frozenset(anchor.by))]
        return max(met, key=lambda anchor: anchor.size, default=None)


@dataclass
class TrustedKeys(Policy):
    """A policy, and for keys that were changed the sizes of the seal log between which each is believed, by vkey."""

    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)

    def believes(self, log: Verifier, size: int) -> bool:
        first, last = self.ranges.get(log.vkey(), (0, 2**63))
        return first <= size <= last


def read_policy(vkeys: Sequence[str], policy_file: Path | None) -> TrustedKeys:
    """The keys that are trusted: those of a policy file, and those given. One that was changed for another is given with
    the sizes of the seal log that it is good for: VKEY@FIRST-LAST, either of them may be left out. Raises
    ConfigurationError."""
    try:
        parsed = Policy() if policy_file is None else parse_policy(policy_file.read_bytes())
        policy = TrustedKeys(parsed.logs, parsed.witnesses, parsed.groups, parsed.quorum)
        for vkey in vkeys:
            ranged = _RANGED.fullmatch(vkey)
            log = Verifier.from_vkey(vkey if ranged is None else ranged["vkey"])
            policy.logs.append(log)
            if ranged is not None:
                policy.ranges[log.vkey()] = (int(ranged["first"] or 0), int(ranged["last"] or 2**63))
    except OSError as error:
        raise ConfigurationError(f"the policy {policy_file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(
            f"policy or key: {error}; a key is as `piperoll seal key` prints it, a policy as `piperoll seal policy`"
        ) from error
    return policy


def read_evidence(
    places: Sequence[str], policy: TrustedKeys, kafka: KafkaSettings | None = None, *, own_key: bool = False
) -> Evidence:
    """Reads and checks the checkpoint of every place: `topic`, the folder or URL of a published log, or a file. Blocks.
    Raises ConfigurationError where one is not there or not signed by a key of the policy, TransientError where a place
    does not answer."""
    if places and not policy.logs:
        raise ConfigurationError(
            "checkpoints are worth what their key is: say whose they are with --vkey or --policy (`piperoll seal key` prints "
            "it where the sealer runs; keep it elsewhere)"
        )
    anchors, logs = [], []
    for place in places:
        if place == TOPIC:
            for log in policy.logs:
                note = None if kafka is None else last_checkpoint(kafka, log.name)
                if note is not None:
                    anchors.append(_anchor("the topic of checkpoints", note, policy))
            continue
        published = PublishedLog(place)
        if place.startswith(("http://", "https://")) or Path(place).is_dir():
            anchors.append(_anchor(place, published.checkpoint(), policy))
            cosigned = published.read("seal/checkpoint.cosigned")
            if cosigned is not None:
                anchors.append(_anchor(f"{place} (cosigned)", cosigned, policy))
            logs.append(published)
        else:
            anchors.append(_anchor(place, _read_file(place), policy))
    return Evidence(anchors, logs, policy, own_key)


def own_policy(published: Path) -> TrustedKeys:
    """The key that a published log names itself. It proves nothing against whoever can write there."""
    document = PublishedLog(str(published)).description()
    vkey = document.get("seal", {}).get("vkey")
    return read_policy([vkey] if isinstance(vkey, str) else [], None)


def configured_evidence(
    settings: VerifySettings,
    kafka: KafkaSettings | None,
    places: Sequence[str] = (),
    vkeys: Sequence[str] = (),
    policy_file: Path | None = None,
) -> Evidence:
    """The evidence that the settings name, or what is given in their stead. A single published folder whose key nobody
    named is taken at its own word, and the evidence says so. Blocks; raises as `read_evidence`."""
    places = list(places) or settings.places
    policy = read_policy(list(vkeys) or settings.keys, policy_file or settings.policy)
    if not policy.logs and len(places) == 1 and Path(places[0]).is_dir():
        return read_evidence(places, own_policy(Path(places[0])), kafka, own_key=True)
    return read_evidence(places, policy, kafka)


def _read_file(place: str) -> bytes:
    try:
        return Path(place).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the checkpoint {place} cannot be read: {error.strerror}; a place is `topic`, a file, or the folder or URL in "
            "which the sealer publishes"
        ) from error


def _anchor(place: str, note: bytes, policy: TrustedKeys) -> Anchor:
    why = "no key is trusted"
    for log in policy.logs:
        try:
            opened = open_checkpoint(note, log, list(policy.witnesses.values()))
        except ValueError as error:
            why = str(error)
            continue
        if not policy.believes(log, opened.checkpoint.size):
            why = f"the key is not good for size {opened.checkpoint.size} of the seal log"
            continue
        names = tuple(sorted(policy.witnessed_by(opened.note)))
        return Anchor(place, opened.checkpoint.size, opened.checkpoint.root, names, note)
    raise ConfigurationError(f"the checkpoint of {place} is not signed by a trusted key: {why}")
