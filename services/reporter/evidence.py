"""Checkpoints to verify against, and where they are got: directories, web servers, files, the topic."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Evidence:
    """Verified checkpoints, and the published logs in which the leaves that they cover can be read. `policy` says whose
    signatures count; `own_key` tells that the key itself came from one of the places that are to be checked."""

    anchors: list[Anchor] = field(default_factory=list)
    logs: list[PublishedLog] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)
    own_key: bool = False

    @property
    def witnessed(self) -> bool:
        """Whether the newest checkpoint has the cosignatures that the policy asks for."""
        if not self.anchors or self.policy.quorum == "none":
            return False
        return self.policy.is_met(frozenset(max(self.anchors, key=lambda anchor: anchor.size).by))


def read_policy(vkeys: Sequence[str], policy_file: Path | None) -> Policy:
    """The keys that are trusted. Raises ConfigurationError."""
    try:
        policy = Policy() if policy_file is None else parse_policy(policy_file.read_bytes())
        policy.logs += [Verifier.from_vkey(vkey) for vkey in vkeys]
    except OSError as error:
        raise ConfigurationError(f"the policy {policy_file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(
            f"policy or key: {error}; a key is as `piperoll seal key` prints it, a policy as `piperoll seal policy`"
        ) from error
    return policy


def read_evidence(
    places: Sequence[str], policy: Policy, kafka: KafkaSettings | None = None, *, own_key: bool = False
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
            logs.append(published)
        else:
            anchors.append(_anchor(place, _read_file(place), policy))
    return Evidence(anchors, logs, policy, own_key)


def own_policy(published: Path) -> Policy:
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


def _anchor(place: str, note: bytes, policy: Policy) -> Anchor:
    why = "no key is trusted"
    for log in policy.logs:
        try:
            opened = open_checkpoint(note, log, list(policy.witnesses.values()))
        except ValueError as error:
            why = str(error)
            continue
        names = tuple(sorted(policy.witnessed_by(opened.note)))
        return Anchor(place, opened.checkpoint.size, opened.checkpoint.root, names)
    raise ConfigurationError(f"the checkpoint of {place} is not signed by a trusted key: {why}")
