"""Which checkpoints a subcommand compares with: those named, those of the settings, else the local stack's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deploy.local.home import find_home
from services.cli.target import target_variables
from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings, read_settings
from services.reporter.evidence import TOPIC, Evidence, own_policy, read_evidence, read_policy
from services.reporter.settings import VerifySettings

NONE = "none"


def gather(
    places: Sequence[str] = (),
    vkeys: Sequence[str] = (),
    policy_file: Path | None = None,
    since: Path | None = None,
) -> tuple[Evidence, int]:
    """The evidence, and how many seals the trusted checkpoint `since` covers (0: none). Raises ConfigurationError or
    TransientError."""
    variables = target_variables()
    settings = read_settings(VerifySettings, variables)
    named = [place for place in places or settings.checkpoints.split(",") if place]
    vkeys = vkeys or [vkey for vkey in settings.vkeys.split(",") if vkey]
    policy = read_policy(vkeys, policy_file or settings.policy)
    own_key = False
    if not named:
        local = find_home(variables).folder / "sealer" / "published"
        named = [str(local)] if (local / "seal" / "checkpoint").is_file() else []
    if named == [NONE]:
        named = []
    if named and not policy.logs and len(named) == 1 and Path(named[0]).is_dir():
        policy, own_key = own_policy(Path(named[0])), True
    kafka = read_settings(KafkaSettings, variables) if TOPIC in named else None
    evidence = read_evidence(named, policy, kafka, own_key=own_key)
    if since is None:
        return evidence, 0
    if not evidence.anchors:
        raise ConfigurationError(
            "--since needs a newer checkpoint to compare with: name one with --checkpoints"
        )
    trusted = read_evidence([str(since)], policy)
    with_both = Evidence(
        [*evidence.anchors, *trusted.anchors], evidence.logs, evidence.policy, evidence.own_key
    )
    return with_both, trusted.anchors[0].size
