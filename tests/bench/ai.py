"""`make bench-ai`: what the AI costs in requests, and what hostile events can talk it into. Against the stand-in; no real
model is asked, and nothing here says how well one reads (`piperoll ai eval` does).

Shapes for each 1,000 real events, by source; instructions of others planted in every place of real events, with a model that
obeys them; pairs of real events with opposite meanings; requests for 1,000,000 events of 200 shapes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.ai_hostile import pairs, planted
from tests.bench.ai_million import many_events
from tests.bench.risk import DATA
from tests.bench.shape_count import shape_table, shapes_by_source
from tests.standins.openai_server import OpenAiStandIn


def _run(options: argparse.Namespace) -> dict[str, Any]:
    _say("shapes of the real events")
    found: dict[str, Any] = {"shapes": shapes_by_source(options.data)}
    with OpenAiStandIn() as server:
        _say("planting instructions")
        found["planted"] = asyncio.run(planted(server, options.data, options.every))
        _say("pairs of opposite meaning")
        found["pairs"] = asyncio.run(pairs(server, options.data))
    if options.events:
        folder = Path(tempfile.mkdtemp(prefix="piperoll-bench-"))
        folder.chmod(0o711)
        try:
            found["many"] = many_events(folder, options.events, _say)
        finally:
            shutil.rmtree(folder)
    return found


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Prints the figures; exit status 1 where a hostile event got something or many events cost too much, 2 where there is no data."""
    parser = argparse.ArgumentParser(prog="make bench-ai ARGS=…")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--events", type=int, default=1_000_000, help="of 200 shapes; 0 leaves this out")
    parser.add_argument("--every", type=int, default=1, help="plant only every n-th text")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"no real events: {options.data} is not there", file=sys.stderr)
        return 2
    logging.disable(logging.CRITICAL)
    found = _run(options)
    print(json.dumps(found, indent=2) if options.json else "\n".join(_lines(found)))
    return 1 if gained(found) or fell_short(found) else 0


def gained(found: dict[str, Any]) -> int:
    """All that hostile events got from a model that obeys, in one number: 0 is what is wanted. What planting changes for the
    rules themselves (a type that is replaced is another type) is printed as `below the event without it` and is not in it."""
    names = ("lowered", "lost_tags", "markup_or_placeholders", "secrets_in_texts", "canaries_in_prompts", "canaries_in_logs",
             "odd_names_in_prompts", "planted_texts_in_logs")  # fmt: skip
    return sum(found["planted"].get(name, 0) for name in names) + found["pairs"]["states_the_other"]


def fell_short(found: dict[str, Any]) -> bool:
    """Whether the many events took more requests than one for each shape and each batch of high risk, or any has no AI summary
    with its own values."""
    many = found.get("many")
    return many is not None and (
        many["requests"] > many["requests_allowed"]
        or bool(many["without_ai_summary"] + many["without_own_values"])
    )


def _lines(found: dict[str, Any]) -> list[str]:
    lines = shape_table(found["shapes"])
    for name in ("planted", "pairs", "many"):
        if name in found:
            lines += [
                "",
                *(f"{name}: {key.replace('_', ' '):34}{value:>12,}" for key, value in found[name].items()),
            ]
    return [*lines, "", f"gained by hostile events and bad models: {gained(found)}"]


if __name__ == "__main__":
    sys.exit(main())
