"""`make bench`: events per second of the enricher alone, the writer alone, and all together, in one run.

Events of 300 bytes stand in the topic before a service starts; time runs from its first output to its last. Every
figure is printed beside a baseline measured in the same run on the same machine: aiokafka reading the same topic and
doing nothing. Memory is the largest resident size of a process. Before all that, how long everything takes to start.

`events/s per core` is what one enricher with all rules and a warm shape would do with a core for itself: 1 / its processor
time an event, of all its threads, Faust and Kafka included, whatever else the machine does meanwhile. Last, by source, how
many shapes 1,000 real events have (where ../shared/data is): what AI costs by.
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

from tests.bench import load, warm
from tests.bench.parts import Parts
from tests.bench.risk import DATA
from tests.bench.shape_count import shape_table, shapes_by_source
from tests.bench.start_time import second_start


def main() -> int:
    """Runs what is asked for; prints a table, or JSON."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="piperoll-bench-"))
    folder.chmod(0o711)
    try:
        machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
        results: dict[str, object] = {"machine": machine}
        if not options.only_core:
            if DATA.is_dir():
                _say("shapes of the real events")
                results["shapes"] = shapes_by_source(DATA)
            _say("starting everything on this machine, twice")
            results["second_start_seconds"] = round(second_start(folder / "home"), 1)
        with Parts(folder) as parts:
            results |= _core(parts, options)
            if not options.only_core:
                results |= _run(parts, options)
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
    parser.add_argument(
        "--rules",
        type=Path,
        default=warm.COMMUNITY if warm.COMMUNITY.is_dir() else None,
        help="folder of the community's rules, for the enricher with all rules",
    )
    parser.add_argument("--only-core", action="store_true", help="nothing but events/s per core")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _core(parts: Parts, options: argparse.Namespace) -> dict[str, object]:
    """What one enricher costs an event with all rules and a warm shape."""
    kafka = parts.topics("core", options.partitions)
    rules = warm.rule_count(options.rules)
    _say(f"one enricher with {rules} rules and a warm shape, {options.events:,} events")
    asyncio.run(load.send(kafka, options.events, options.bytes))
    asyncio.run(warm.put_reading(kafka, load.event(0, options.bytes)))
    timing = parts.drain(kafka, kafka.topics.enriched, warm.variables(options.rules), enricher=1)
    asyncio.run(warm.check_applied(kafka))
    cpu_us = 1e6 * timing.cpu["enricher"] / timing.events
    return {
        "core": {
            "rules": rules,
            "cpu_us_per_event": round(cpu_us, 1),
            "events_per_second_per_core": round(1e6 / cpu_us),
            "events_per_second": round(timing.events / timing.seconds),
        }
    }


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
        "events": options.events,
        "bytes": options.bytes,
        "baseline_events_per_second": round(baseline),
        "results": {name: timing.as_dict(baseline) for name, timing in timings.items()},
    }


def _print(results: dict[str, object]) -> None:
    core = results["core"]
    print(f"\n{results['machine']}")
    print(
        f"enricher: {core['events_per_second_per_core']:,} events/s per core (1,000,000 / {core['cpu_us_per_event']} µs of process"
        f" CPU an event), {core['events_per_second']:,} events/s by the clock; {core['rules']} rules, warm shape"
    )
    if "results" in results:
        _print_table(results)
        print("", *shape_table(results.get("shapes", [])), sep="\n")


def _print_table(results: dict[str, object]) -> None:
    print(f"{results['events']:,} events of {results['bytes']} B")
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
