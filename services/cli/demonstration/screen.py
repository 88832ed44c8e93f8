"""What the terminal shows: one line a step, a line that counts while the month is recorded, and a summary."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from services.cli.demonstration.counts import Counts
from services.cli.demonstration.sending import Single

_WIDTH = 13


class Screen:
    """Steps and facts, aligned. On anything but a terminal only finished steps are printed."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def title(self, left: str, right: str) -> None:
        self.console.print()
        self.console.print(Text.assemble(("  Piperoll demo", "bold"), "   ", left, (f"   {right}", "dim")))
        self.console.print()

    def note(self, text: str, *, wrap: bool = True) -> None:
        line = Text.assemble("    ", (text, "dim"))
        self.console.print(line, soft_wrap=wrap, no_wrap=not wrap, overflow="ellipsis")

    def answer(self, single: Single) -> None:
        """The answer to a request, as its client sees it."""
        said = single.answer
        self.note(f"POST /audit → {single.status}  {said.get('summary', said.get('status', ''))}", wrap=False)
        if "risk" in said:
            self.note(
                f"{' ' * 19}risk {said['risk']}, {', '.join(said['tags'])}, by {said['by']}", wrap=False
            )

    @contextmanager
    def step(self, doing: str, *, quiet: bool = False) -> Iterator[Step]:
        """A step under way. Unless `quiet`, it leaves a line that says what was done and how long it took; where it
        fails, the error speaks."""
        step = Step(doing)
        with Live(step, console=self.console, transient=True, refresh_per_second=8):
            yield step
        if not quiet:
            self._done(step.done or doing, time.monotonic() - step.begun)

    def _done(self, text: str, seconds: float) -> None:
        line = Table.grid(padding=(0, 1))
        line.add_column(width=3, justify="right")
        line.add_column(width=64, no_wrap=True, overflow="ellipsis")
        line.add_column(justify="right", width=7)
        line.add_row(Text("✓", "green"), text, Text(f"{seconds:.1f} s", "dim"))
        self.console.print(line)

    def fact(self, name: str, text: str | Text, *, good: bool | None = None) -> None:
        """A line of the summary; `good` colours it."""
        style = {None: "", True: "green", False: "bold red"}[good]
        line = Table.grid(padding=(0, 1))
        line.add_column(width=_WIDTH + 2, justify="left")
        line.add_column(overflow="fold")
        line.add_row(Text(f"  {name}", "dim"), Text(text, style) if isinstance(text, str) else text)
        self.console.print(line)

    def path(self, name: str, path: Path) -> None:
        """As `fact`, but never wrapped: to copy."""
        self.console.print(Text.assemble((f"  {name}".ljust(_WIDTH + 3), "dim"), str(path)), soft_wrap=True)

    def table(self, table: Table) -> None:
        self.console.print(Padding(table, (0, 0, 0, 4)))

    def command(self, text: str) -> None:
        """A line to copy: never wrapped."""
        self.console.print(Text.assemble("    ", (text, "cyan")), soft_wrap=True)

    def gap(self) -> None:
        self.console.print()


class Step:
    """What is being done: a spinner, and either the last thing said or the counts."""

    def __init__(self, doing: str) -> None:
        self.begun = time.monotonic()
        self.done = ""
        self._doing = doing
        self._said = ""
        self._counts: tuple[Counts, int, int] | None = None
        self._spinner = Spinner("dots", style="cyan")

    def say(self, text: str) -> None:
        """One line of progress, over the line before."""
        self._said = text

    def count(self, counts: Counts, acknowledged: int, total: int) -> None:
        self._counts = (counts, acknowledged, total)

    def __rich__(self) -> Table:
        line = Table.grid(padding=(0, 1))
        line.add_column(width=3, justify="right")
        line.add_column()
        line.add_row(
            self._spinner, Text.assemble(self._doing, ("  " + self._said if self._said else "", "dim"))
        )
        if self._counts is not None:
            line.add_row("", self._bars(*self._counts))
        return line

    def _bars(self, counts: Counts, acknowledged: int, total: int) -> Table:
        bars = Table.grid(padding=(0, 2))
        for name, count in (
            ("emitted", acknowledged),
            ("in Kafka", counts.in_kafka),
            ("enriched", counts.enriched),
            ("recorded", counts.recorded),
        ):
            bar = ProgressBar(
                total, min(count, total), width=36, complete_style="cyan", finished_style="green"
            )
            bars.add_row(Text(name, "dim"), bar, Text(f"{count:>7,}"))
        return bars
