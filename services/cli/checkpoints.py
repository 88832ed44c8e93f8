"""Which checkpoints a subcommand compares with: those named, those of the settings, else the local stack's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deploy.local.home import find_home
from services.cli.target import target_variables
from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings, read_settings
from services.reporter.evidence import TOPIC, Evidence, configured_evidence, read_evidence
from services.reporter.settings import VerifySettings

NONE = "none"


def gather(
    places: Sequence[str] = (),
    vkeys: Sequence[str] = (),
    policy_file: Path | None = None,
    since: Path | None = None,
    tsa_certificate: Path | None = None,
) -> tuple[Evidence, int]:
    """The evidence, and how many seals the trusted checkpoint `since` covers (0: none). Raises ConfigurationError or
    TransientError."""
    variables = target_variables()
    settings = read_settings(VerifySettings, variables)
    named = list(places) or settings.places
    if not named:
        local = find_home(variables).folder / "sealer" / "published"
        named = [str(local)] if (local / "seal" / "checkpoint").is_file() else []
    if named == [NONE] or not named:
        if since is not None:
            raise ConfigurationError(
                "--since needs a newer checkpoint to compare with: name one with --checkpoints"
            )
        return Evidence(), 0
    kafka = read_settings(KafkaSettings, variables) if TOPIC in named else None
    evidence = configured_evidence(settings, kafka, named, vkeys, policy_file, tsa_certificate)
    if since is None:
        return evidence, 0
    trusted = read_evidence([str(since)], evidence.policy)
    both = Evidence([*evidence.anchors, *trusted.anchors], evidence.logs, evidence.policy, evidence.own_key)
    return both, trusted.anchors[0].size
