"""Several alerts as one message. Pure: alerts in, texts out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from services.common.alerts import SEVERITIES, Said

MOST_LISTED = 100
"""Alerts that a message spells out, the gravest first; all of them stand on audit.alerts and in the records."""


@dataclass(frozen=True)
class Digest:
    """What is delivered at once."""

    alerts: Sequence[Said]

    @property
    def id(self) -> str:
        """Follows from the alerts, so that whoever gets it twice can tell."""
        names = "\n".join(sorted(alert.id for alert in self.alerts))
        return sha256(names.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @property
    def highest(self) -> str:
        return max((alert.severity for alert in self.alerts), key=SEVERITIES.index)

    @property
    def listed(self) -> list[Said]:
        return sorted(self.alerts, key=lambda alert: (-SEVERITIES.index(alert.severity), alert.at_us))[
            :MOST_LISTED
        ]

    @property
    def subject(self) -> str:
        """One line of our own words and the names of kinds."""
        count = len(self.alerts)
        if count == 1:
            return f"Piperoll: {self.alerts[0].severity} alert, {self.alerts[0].name}"
        kinds = Counter(alert.name for alert in self.alerts).most_common(3)
        named = ", ".join(f"{name} ({times})" if times > 1 else name for name, times in kinds)
        return f"Piperoll: {count:,} alerts, the highest {self.highest}: {named}"

    @property
    def text(self) -> str:
        """Plain text, a paragraph for each alert. What events chose is neutral already (read_alert)."""
        paragraphs = [
            f"{alert.severity.upper()}  {alert.name}  {_moment(alert.at_us)}  {alert.source}\n{alert.text}\n(id {alert.id})"
            for alert in self.listed
        ]
        left = len(self.alerts) - len(self.listed)
        if left:
            paragraphs.append(f"And {left:,} more.")
        paragraphs.append(
            "Every alert is an event of Piperoll's own, recorded from audit.system, and stands on audit.alerts."
        )
        return "\n\n".join(paragraphs) + "\n"

    def as_json(self) -> bytes:
        """For a webhook; `text` is what chat programs show."""
        alerts: list[dict[str, Any]] = [
            {
                "id": alert.id,
                "severity": alert.severity,
                "name": alert.name,
                "text": alert.text,
                "at": _moment(alert.at_us),
                "source": alert.source,
                "facts": alert.facts,
            }
            for alert in self.listed
        ]
        body = {
            "id": self.id,
            "text": self.subject,
            "count": len(self.alerts),
            "highest": self.highest,
            "severities": Counter(alert.severity for alert in self.alerts),
            "names": Counter(alert.name for alert in self.alerts),
            "alerts": alerts,
            "omitted": len(self.alerts) - len(alerts),
        }
        return json.dumps(body).encode()


def _moment(at_us: int) -> str:
    try:
        return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"
