"""No service grows with the backlog: below 300 MiB while a million events drain, and with large events."""

from __future__ import annotations

import asyncio

import pytest

from tests.bench import load
from tests.bench.parts import Parts

LIMIT_MIB = 300
pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]


def drain(folder, prefix, partitions, count, size):
    with Parts(folder / prefix) as parts:
        kafka = parts.topics(prefix, partitions)
        asyncio.run(load.send(kafka, count, size))
        peaks = {"enricher": parts.drain(kafka, kafka.topics.enriched, enricher=1).peak}
        peaks["writer"] = parts.drain_writers(kafka, 1).peak
    return {name: peak / 2**20 for name, peak in peaks.items()}


@pytest.mark.parametrize(
    ("partitions", "count", "size"),
    [(6, 1_000_000, 300), (64, 1_000_000, 300), (64, 640, 1_040_000)],
    ids=["6 partitions", "64 partitions", "64 partitions of 1 MiB events"],
)
def test_a_backlog_is_drained_within_the_limit(open_folder, partitions, count, size):
    folder = open_folder / f"memory-{partitions}-{size}"
    folder.mkdir(mode=0o711)
    peaks = drain(folder, f"m{partitions}x{size}", partitions, count, size)
    print({name: f"{mib:.0f} MiB" for name, mib in peaks.items()})
    assert max(peaks.values()) < LIMIT_MIB, peaks
