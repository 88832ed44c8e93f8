"""Bar charts as SVG: for pages, where a style sheet colours them, and for print, where they hold their colours.

Only numbers and our own labels go in. Every chart is followed by a table of its numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from markupsafe import Markup

_WIDTH, _HEIGHT = 760, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 6, 12, 24
_MOST_LABELS = 10
_LEAST = 1.5
PRINTED = {
    "bar": "fill='#4a6f96'",
    "grave": "fill='#8a1f1f'",
    "grid": "stroke='#c9c6bd' stroke-width='0.8'",
    "tick": "fill='#3f4650' font-size='12' font-family='Libertinus Serif'",
}
"""Attributes for each class of the style sheet."""


class Drawn(Protocol):
    """A bar: `grave` of its `events` are drawn over it, in another tone."""

    @property
    def label(self) -> str: ...
    @property
    def events(self) -> int: ...
    @property
    def grave(self) -> int: ...


class _Axis(NamedTuple):
    """`top` is the value at its end."""

    top: int

    def height(self, value: int) -> float:
        """Something is never drawn as nothing."""
        return max((_HEIGHT - _TOP - _BOTTOM) * value / self.top, _LEAST) if value else 0.0

    def y(self, value: int) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / self.top


def day_chart(bars: Sequence[Drawn], description: str, paint: Mapping[str, str] | None = None) -> Markup:
    """Bars by day with an axis. `description` is what a screen reader says. `paint`: attributes for each class, for
    where no style sheet is."""
    axis = _Axis(nice_ceiling(max((bar.events for bar in bars), default=0)))
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(bars), 1)
    every = max(1, -(-len(bars) // _MOST_LABELS))
    pieces = [_grid(axis, paint)]
    for at, bar in enumerate(bars):
        left = _LEFT + at * step
        pieces += [
            _bar(left, step, axis, kind, value, paint)
            for kind, value in (("bar", bar.events), ("grave", bar.grave))
            if value
        ]
        if at % every == 0:
            pieces.append(_tick(left + step / 2, _HEIGHT - 7, "middle", bar.label, paint))
    box = f"0 0 {_WIDTH} {_HEIGHT}"
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="{}" aria-label="{}">{}</svg>'
    ).format(box, description, Markup("").join(pieces))


def _grid(axis: _Axis, paint: Mapping[str, str] | None) -> Markup:
    pieces = []
    for value in (0, axis.top // 2, axis.top) if axis.top > 1 else (0, axis.top):
        y = axis.y(value)
        line = Markup('<line {} x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"></line>')
        pieces += [
            line.format(_look("grid", paint), _LEFT, _WIDTH - _RIGHT, y, y),
            _tick(_LEFT - 8, y + 4, "end", f"{value:,}", paint),
        ]
    return Markup("").join(pieces)


def _bar(
    left: float, step: float, axis: _Axis, kind: str, value: int, paint: Mapping[str, str] | None
) -> Markup:
    tall = axis.height(value)
    return Markup('<rect {} x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"></rect>').format(
        _look(kind, paint), left + step * 0.14, _HEIGHT - _BOTTOM - tall, step * 0.72, tall
    )


def _tick(x: float, y: float, anchor: str, label: str, paint: Mapping[str, str] | None) -> Markup:
    return Markup('<text {} x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        _look("tick", paint), x, y, anchor, label
    )


def _look(kind: str, paint: Mapping[str, str] | None) -> Markup:
    return Markup('class="{}"').format(kind) if paint is None else Markup(paint[kind])  # noqa: S704 - ours


def share_bar(share: float) -> Markup:
    """A small bar for a table's row; the number stands beside it, so it is hidden from screen readers."""
    width = max(100 * share, 0.8) if share else 0.0
    return Markup(
        '<svg class="share" aria-hidden="true" focusable="false" viewBox="0 0 100 8" preserveAspectRatio="none">'
        '<rect class="bar" width="{:.1f}" height="8"></rect></svg>'
    ).format(width)


def nice_ceiling(number: int) -> int:
    """The next of 1, 2, 4, 10, 20, 40, 100, … that is not smaller."""
    scale = 1
    while True:
        for step in (1, 2, 4):
            if number <= step * scale:
                return step * scale
        scale *= 10
