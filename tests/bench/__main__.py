"""`make bench`: events per second of the enricher alone, the writer alone, and all together, in one run.

Events of 300 bytes stand in the topic before a service starts; time runs from its first output to its last. Every
figure is printed beside a baseline measured in the same run on the same machine: aiokafka reading the same topic and
doing nothing. Memory is the largest resident size of a process. Before all that, how long everything takes to start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import load
from tests.bench.parts import Parts
from tests.bench.start_time import second_start


def main() -> int:
    """Runs what is asked for; prints a table, or JSON."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="piperoll-bench-"))
    folder.chmod(0o711)
    try:
        _say("starting everything on this machine, twice")
        start_s = second_start(folder / "home")
        with Parts(folder) as parts:
            results = _run(parts, options) | {"second_start_seconds": round(start_s, 1)}
    finally:
        shutil.rmtree(folder)
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        _print(results)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…")
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--bytes", type=int, default=300, help="bytes of an event")
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument(
        "--instances", type=int, default=2, help="of the enricher and of the writer, when alone"
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _run(parts: Parts, options: argparse.Namespace) -> dict[str, object]:
    kafka = parts.topics("bench", options.partitions)
    _say(f"sending {options.events:,} events of {options.bytes} B to {options.partitions} partitions")
    asyncio.run(load.send(kafka, options.events, options.bytes))
    _say("reading them with aiokafka and nothing else (the baseline)")
    baseline = asyncio.run(load.read_rate(kafka, options.events))
    timings = {}
    _say(f"enricher alone, {options.instances} instances")
    timings["enricher alone"] = parts.drain(kafka, kafka.topics.enriched, enricher=options.instances)
    _say(f"writer alone, {options.instances} instances")
    timings["writer alone"] = parts.drain_writers(kafka, options.instances)
    _say("all together, 1 enricher and 1 writer")
    together = parts.topics("together", options.partitions)
    asyncio.run(load.send(together, options.events, options.bytes))
    timings["all together"] = parts.drain_writers(together, 1, enricher=1)
    return {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}",
        "events": options.events,
        "bytes": options.bytes,
        "baseline_events_per_second": round(baseline),
        "results": {name: timing.as_dict(baseline) for name, timing in timings.items()},
    }


def _print(results: dict[str, object]) -> None:
    print(f"\n{results['machine']}; {results['events']:,} events of {results['bytes']} B")
    print(f"`piperoll up`, the second time: {results['second_start_seconds']} s")
    print(f"baseline: aiokafka reads {results['baseline_events_per_second']:,} events/s\n")
    print(f"{'':16}{'events/s':>12}{'of baseline':>13}  {'CPU µs an event':24}{'largest process':>16}")
    for name, row in results["results"].items():
        cpu = ", ".join(f"{part} {us:.1f}" for part, us in row["cpu_us_per_event"].items())
        share = f"{100 * row['of_baseline']:.0f} %"
        print(f"{name:16}{row['events_per_second']:>12,}{share:>13}  {cpu:24}{row['peak_mib']:>12} MiB")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
