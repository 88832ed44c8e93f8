"""A published seal log that grows as told, without a sealer, and couriers that bring its checkpoints to targets."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from schemas.tlog.checkpoint import Checkpoint, sign_checkpoint
from schemas.tlog.merkle import leaf_hash
from schemas.tlog.note import Signer
from services.writer.sealer.directory import Directory
from services.writer.sealer.metrics import SealerMetrics
from services.writer.sealer.targets.courier import Desk
from services.writer.sealer.tree import Bundle, Edge

ORIGIN = "example.com/test/seal"


class SealLog:
    """`seed` makes another history under the same name and key."""

    def __init__(self, folder: Path, seed: str = "") -> None:
        self.key = Signer(ORIGIN, b"k" * 32)
        self.folder = folder / "seal"
        self._directory = Directory(folder)
        self._edge = Edge()
        self._seed = seed

    def grow(self, count: int) -> tuple[int, bytes]:
        """So many seals more; the newest checkpoint."""
        first = self._edge.size
        entries = [f"seal {self._seed}{number}".encode() for number in range(first, first + count)]
        growth = self._edge.extend(entries, list(map(leaf_hash, entries)))
        edge = self._edge
        self._directory.add("seal", growth.tiles, growth.bundles)
        bundles = [Bundle(edge.size // 256, edge.entries)] if edge.entries else []
        self._directory.add("seal", edge.unfinished(), bundles)
        note = self.note()
        self._directory.replace_checkpoint("seal", note)
        self._directory.drop_unfinished("seal", growth.tiles, growth.bundles)
        return edge.size, note

    def note(self, *more: Signer) -> bytes:
        checkpoint = Checkpoint(ORIGIN, self._edge.size, self._edge.frontier().root())
        return sign_checkpoint(checkpoint, [self.key, *more])


class Listening:
    """A desk that keeps what it hears in lists."""

    def __init__(self, alarm_s: float = 300.0, seconds: float = 5.0) -> None:
        self.alerts: list = []
        self.receipts: list = []
        self.metrics = SealerMetrics()
        self.desk = Desk(self._say, self.receipts.append, self.metrics, alarm_s, seconds)

    async def _say(self, said) -> None:
        known = {alert.id for alert in self.alerts}
        self.alerts += [alert for alert in said if alert.id not in known]

    @property
    def names(self) -> list[str]:
        return sorted(alert.name for alert in self.alerts)

    def failures(self, target: str) -> float:
        return (
            self.metrics.registry.get_sample_value("piperoll_sealer_failures_total", {"where": target}) or 0
        )


async def until(holds, seconds: float = 20.0) -> None:
    """Waits for a condition. Raises AssertionError."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.01)
