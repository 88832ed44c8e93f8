"""When to raise an alert: `schemas/alerts.yaml`, with what ALERTS_FILE says instead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

import schemas
from schemas.commitment import producer_id
from services.common.alerts import Severity
from services.common.errors import ConfigurationError

DEFAULT_FILE = Path(schemas.__file__).with_name("alerts.yaml")
NEVER = "never"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,6})(s|m|h|d)")


class Duration(int):
    """Milliseconds, written as 30s, 10m, 24h or 7d."""


class Rule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What every kind of alert has."""

    enabled: bool
    severity: Severity


class Windowed(Rule, kw_only=True, forbid_unknown_fields=True):
    """A kind of alert that looks at one window of time after another."""

    window: Duration


class RiskSpike(Windowed, kw_only=True, forbid_unknown_fields=True):
    events: int
    factor: float
    history: int


class TagSpike(Windowed, kw_only=True, forbid_unknown_fields=True):
    events: int
    except_tags: list[str]


class DeadLetters(Windowed, kw_only=True, forbid_unknown_fields=True):
    events: int
    percent: float


class ReservedSource(Windowed, kw_only=True, forbid_unknown_fields=True):
    events: int


class ClockSkew(Windowed, kw_only=True, forbid_unknown_fields=True):
    ahead: Duration
    behind: Duration


class SilentSource(Rule, kw_only=True, forbid_unknown_fields=True):
    after: Duration
    factor: float
    events: int
    sources: dict[str, str]

    def by_producer(self) -> dict[str, tuple[str, int | None]]:
        """(name, milliseconds that it may be silent, None for any time) of the sources that are named, by producer id
        in hex."""
        return {
            producer_id(name).hex(): (name, None if text == NEVER else parse_duration(text))
            for name, text in self.sources.items()
        }


class SequenceGap(Rule, kw_only=True, forbid_unknown_fields=True):
    grace: Duration
    pause: Duration


class Backfill(Rule, kw_only=True, forbid_unknown_fields=True):
    events: int


class AiSpend(Windowed, kw_only=True, forbid_unknown_fields=True):
    requests: int
    factor: float
    history: int


class AiFailures(Windowed, kw_only=True, forbid_unknown_fields=True):
    requests: int
    percent: float


class AiDisagreement(Windowed, kw_only=True, forbid_unknown_fields=True):
    readings: int
    percent: float
    factor: float
    history: int


class Thresholds(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """All kinds of alerts that the alerter raises."""

    risk_spike: RiskSpike
    tag_spike: TagSpike
    dead_letters: DeadLetters
    reserved_source: ReservedSource
    clock_skew: ClockSkew
    silent_source: SilentSource
    sequence_gap: SequenceGap
    undeclared_backfill: Windowed
    backfill: Backfill
    ai_spend: AiSpend
    ai_failures: AiFailures
    ai_disagreement: AiDisagreement


def load_thresholds(file: Path | None = None) -> Thresholds:
    """The thresholds shipped, with those of `file` instead where it has some. Raises ConfigurationError, which names
    file, key and what is wrong."""
    raw = _read(DEFAULT_FILE)
    if file is None:
        return _convert(raw, DEFAULT_FILE)
    for name, changes in _read(file).items():
        if name not in raw:
            raise ConfigurationError(f"ALERTS_FILE: {file}: no kind {name!r}; there are {', '.join(raw)}")
        if not isinstance(changes, dict):
            raise ConfigurationError(
                f"ALERTS_FILE: {file}: {name}: keys with values, please, as in alerts.yaml"
            )
        raw[name] = raw[name] | changes
    return _convert(raw, file)


def parse_duration(text: str) -> int:
    """Milliseconds. Raises ValueError."""
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{text!r} is no duration: 30s, 10m, 24h or 7d, say")
    return int(found[1]) * _UNITS[found[2]] * 1000


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"ALERTS_FILE: {file}: cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"ALERTS_FILE: {file}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict | None):
        raise ConfigurationError(
            f"ALERTS_FILE: {file}: kinds of alerts with their keys, please, as in alerts.yaml"
        )
    return content or {}


def _convert(raw: dict[str, Any], file: Path) -> Thresholds:
    try:
        made = msgspec.convert(raw, Thresholds, dec_hook=_duration)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"ALERTS_FILE: {file}: {error}") from None
    problems = [
        f"{name}.{key} must be at least {least}"
        for name in made.__struct_fields__
        for key, least in _LEAST.items()
        if getattr(getattr(made, name), key, least) < least
    ]
    for name, text in made.silent_source.sources.items():
        try:
            _ = text == NEVER or parse_duration(text)
        except ValueError as error:
            problems.append(f"silent_source.sources: {name}: {error}, or {NEVER}")
    if problems:
        raise ConfigurationError(f"ALERTS_FILE: {file}: {'; '.join(problems)}")
    return made


_LEAST = {"events": 1, "factor": 0, "history": 0, "percent": 0, "requests": 1, "readings": 1}


def _duration(wanted: type, found: Any) -> Any:
    if wanted is Duration:
        return Duration(parse_duration(found))
    raise NotImplementedError
