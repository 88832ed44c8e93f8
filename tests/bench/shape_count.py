"""Shapes for each 1,000 real events, by source: what AI costs by, whatever model is asked. None is asked here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.enricher.enrich import Coordinates, load_enricher
from services.enricher.readings import SHAPE_PROMPT, Readings
from services.enricher.shapes import Shape
from tests.ai_stage import CATALOG


def shapes_by_source(data: Path) -> list[dict[str, Any]]:
    """Distinct shapes of the real events, by file."""
    readings = Readings(CATALOG, "none", SHAPE_PROMPT)
    found: list[Shape | None] = []
    real = readings.shape_of
    readings.shape_of = lambda *given: found.append(real(*given)) or found[-1]  # type: ignore[func-returns-value, method-assign]
    enricher, rows = load_enricher(ai=readings), []
    for file in sorted(data.glob("*.jsonl")):
        if file.stem == "prompt-injections":
            continue
        found.clear()
        lines = file.read_bytes().splitlines()
        for line in lines:
            enricher.enrich(None, line, [], Coordinates(bytes(16), 0, 1, 1), bytes(32))
        shapes = len(set(found) - {None})
        rows.append({"source": file.stem, "events": len(lines), "shapes": shapes, "per_1000": round(1000 * shapes / len(lines)),
                     "without": found.count(None)})  # fmt: skip
    return rows


def shape_table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines for people."""
    return [
        f"{'shapes by source':28}{'events':>8}{'shapes':>8}{'per 1,000':>10}{'no shape':>10}",
        *(
            f"{row['source']:28}{row['events']:>8,}{row['shapes']:>8,}{row['per_1000']:>10,}{row['without']:>10,}"
            for row in rows
        ),
    ]
