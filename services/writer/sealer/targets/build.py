"""The targets that the settings name. What is set wrongly is said at the start, not when it is needed."""

from __future__ import annotations

from pathlib import Path

from schemas.tlog.cosignature import CosignatureVerifier
from schemas.tlog.policy import Policy, parse_policy
from services.common.errors import ConfigurationError
from services.common.stamps import read_certificates
from services.writer.sealer.outlet import Target
from services.writer.sealer.targets.cosigned import Cosigned
from services.writer.sealer.targets.courier import Courier, Desk
from services.writer.sealer.targets.s3 import S3, s3_client
from services.writer.sealer.targets.settings import TargetSettings
from services.writer.sealer.targets.timestamp import Timestamp
from services.writer.sealer.targets.together import Together
from services.writer.sealer.targets.witness import Witness


def build_targets(settings: TargetSettings, seal_folder: Path, desk: Desk) -> list[Target]:
    """All that are set. `seal_folder` is that of the published seal log. Raises ConfigurationError."""
    targets: list[Target] = []
    policy = witness_policy(settings)
    if policy.witnesses:
        cosigned = Cosigned(seal_folder, policy)
        witnesses = [
            Witness(
                name,
                policy.urls[name],
                key,
                seal_folder,
                cosigned,
                settings.timeout_s,
                settings.witness_interval_s,
            )
            for name, key in policy.witnesses.items()
        ]
        targets.append(Together("witnesses", witnesses, desk))
    if settings.s3_bucket:
        targets.append(Courier(S3(s3_client(settings), settings), desk))
    if settings.tsa_url:
        if settings.tsa_certificate is None:
            raise ConfigurationError(
                "TSA_URL is set and TSA_CERTIFICATE is not: without it anybody's stamp would do"
            )
        certificates = read_certificates(settings.tsa_certificate)
        stamps = Timestamp(
            settings.tsa_url, certificates, seal_folder, settings.timeout_s, settings.tsa_interval_s
        )
        targets.append(Courier(stamps, desk))
    return targets


def witness_policy(settings: TargetSettings) -> Policy:
    """The witnesses with their URLs and the quorum; none where none is set. Raises ConfigurationError."""
    if settings.witness_policy is not None:
        if settings.witness_url or settings.witness_vkey:
            raise ConfigurationError("set WITNESS_POLICY, or WITNESS_URL and WITNESS_VKEY, not both")
        return _read_policy(settings.witness_policy)
    if (settings.witness_url is None) != (settings.witness_vkey is None):
        raise ConfigurationError(
            "WITNESS_URL and WITNESS_VKEY belong together: without the key its cosignatures cannot be checked"
        )
    if settings.witness_url is None or settings.witness_vkey is None:
        return Policy()
    try:
        key = CosignatureVerifier.from_vkey(settings.witness_vkey)
    except ValueError as error:
        raise ConfigurationError(f"WITNESS_VKEY is no witness's key: {error}") from error
    return Policy(witnesses={key.name: key}, urls={key.name: settings.witness_url}, quorum=key.name)


def _read_policy(path: Path) -> Policy:
    try:
        policy = parse_policy(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"WITNESS_POLICY {path}: {error}") from error
    silent = [
        name for name in policy.witnesses if not policy.urls.get(name, "").startswith(("http://", "https://"))
    ]
    if silent or not policy.witnesses:
        raise ConfigurationError(
            f"WITNESS_POLICY {path}: each witness needs its URL behind its key: `witness NAME VKEY https://…`; missing: "
            f"{', '.join(silent) or 'any witness'}"
        )
    return policy
