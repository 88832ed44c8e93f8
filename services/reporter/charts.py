"""Bar charts as inline SVG. Only numbers and dates go in; colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

from markupsafe import Markup

_WIDTH, _HEIGHT = 760, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 10, 22
_MOST_LABELS = 8


class Day(NamedTuple):
    """One bar."""

    date: date
    events: int


def fill_days(counts: dict[date, int], first: date, last: date) -> list[Day]:
    """A bar for every day from `first` to `last`, and for days outside that have counts."""
    days = {first + timedelta(days=at): 0 for at in range((last - first).days + 1)}
    return [Day(day, count) for day, count in sorted((days | counts).items())]


def day_chart(days: Sequence[Day], title: str, *, identifier: str) -> Markup:
    """Bars by day with an axis; `title` is also what a screen reader says, with the range of values."""
    top = nice_ceiling(max((day.events for day in days), default=0))
    inner = _WIDTH - _LEFT - _RIGHT
    step = inner / max(len(days), 1)
    height = _HEIGHT - _TOP - _BOTTOM
    pieces = [_axis(top, height)]
    every = max(1, -(-len(days) // _MOST_LABELS))
    for at, day in enumerate(days):
        left = _LEFT + at * step
        tall = height * day.events / top
        if day.events:
            tall = max(tall, 1.5)
            pieces.append(
                Markup(
                    '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}: {:,}</title></rect>'
                ).format(left + step * 0.12, _TOP + height - tall, step * 0.76, tall, day.date, day.events)
            )
        if at % every == 0:
            pieces.append(
                Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                    left + step / 2, _HEIGHT - 6, f"{day.date.day} {day.date:%b}"
                )
            )
    most = max((day.events for day in days), default=0)
    return Markup(
        '<svg class="chart" role="img" viewBox="0 0 {} {}" aria-labelledby="{}-t {}-d"><title id="{}-t">{}</title>'
        '<desc id="{}-d">{} days, from 0 to {:,} a day. The table below has the numbers.</desc>{}</svg>'
    ).format(_WIDTH, _HEIGHT, *[identifier] * 3, title, identifier, len(days), most, Markup("").join(pieces))


def _axis(top: int, height: int) -> Markup:
    lines = []
    for value in (0, top // 2, top) if top > 1 else (0, top):
        y = _TOP + height - height * value / top
        lines.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/><text class="tick" x="{}" y="{:.1f}" text-anchor="end">{:,}</text>'
            ).format(_LEFT, _WIDTH - _RIGHT, y, y, _LEFT - 6, y + 4, value)
        )
    return Markup("").join(lines)


def share_bar(count: int, most: int) -> Markup:
    """A small bar for a table's row; the number stands beside it, so it is hidden from screen readers."""
    width = 100 * count / most if most else 0
    return Markup(
        '<svg class="share" aria-hidden="true" focusable="false" viewBox="0 0 100 8" preserveAspectRatio="none">'
        '<rect class="bar" width="{:.1f}" height="8"/></svg>'
    ).format(max(width, 0.8) if count else 0)


def nice_ceiling(number: int) -> int:
    """The next of 1, 2, 4, 10, 20, 40, 100, … that is not smaller."""
    scale = 1
    while True:
        for step in (1, 2, 4):
            if number <= step * scale:
                return step * scale
        scale *= 10
