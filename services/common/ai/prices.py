"""What models cost: a dated file. A price changes without notice; the date says what the figures rest on."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import NamedTuple

import yaml

from services.common.errors import ConfigurationError

SHIPPED = Path(__file__).parent / "prices.yaml"


class Price(NamedTuple):
    """Dollars for a million tokens in and out, and the date (ISO) of the file that says so."""

    dollars_in: float
    dollars_out: float
    date: str

    def micro(self, tokens_in: int, tokens_out: int) -> int:
        """Micro-dollars for so many tokens, rounded up."""
        return math.ceil(tokens_in * self.dollars_in + tokens_out * self.dollars_out)


def price_of(model: str, file: Path | None = None) -> Price | None:
    """The price of a model by its name, or by that name without a date behind it (`gpt-4o-mini-2024-07-18`); in `file`,
    then in what is shipped. None where neither has it. Raises ConfigurationError where `file` is wrong."""
    for source in (file, SHIPPED):
        if source is None:
            continue
        dated, prices = _read(source)
        names = [name for name in prices if model == name or (model.startswith(f"{name}-20"))]
        if names:
            return Price(*prices[max(names, key=len)], dated)
    return None


def _read(file: Path) -> tuple[str, dict[str, tuple[float, float]]]:
    form = (
        "`date: 2026-11-26` and `models: {NAME: {input: 0.15, output: 0.60}}`, dollars for a million tokens"
    )
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        dated = date.fromisoformat(str(content["date"]))
        models = {
            str(name): (float(price["input"]), float(price["output"]))
            for name, price in content["models"].items()
        }
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"AI_PRICES_FILE: {file}: {type(error).__name__}: it must hold {form}"
        ) from None
    if any(not 0 <= part < math.inf for price in models.values() for part in price):
        raise ConfigurationError(f"AI_PRICES_FILE: {file}: a price is below 0 or no number")
    return dated.isoformat(), models
