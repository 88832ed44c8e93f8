"""`piperoll sample`: an auditor's sample of a period's events, which anyone can draw again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from services.cli.checkpoints import gather
from services.cli.evidence import checked, reporter_dsn
from services.cli.reading import on_record
from services.cli.target import say
from services.common.clock import system_clock
from services.common.errors import ConfigurationError, FatalError
from services.reporter.contents.citing import label
from services.reporter.contents.selection import Selection
from services.reporter.cutting import find_cut
from services.reporter.escape import terminal
from services.reporter.evidence import Evidence
from services.reporter.facts_kept import keep_facts
from services.reporter.proving import prove_cited
from services.reporter.runs.by_hand import chosen_period
from services.reporter.sampled import GIVEN, STRATA, Sample, Seed, draw_sample, find_seed
from services.reporter.store import open_snapshot

app = typer.Typer()


@app.command()
def sample(
    seed: Annotated[
        str | None,
        typer.Option(
            help="Any text, best the auditor's own. Default: the first seal after the period and its grace."
        ),
    ] = None,
    wanted: Annotated[int, typer.Option("--n", min=1, max=10_000, help="How many records.")] = 25,
    by: Annotated[
        str, typer.Option(help=f"Strata: of {', '.join(STRATA)}, with commas; or none.")
    ] = "risk,source",
    period: Annotated[
        str | None, typer.Option(help="As of `report build`; default: the last 30 days by append time.")
    ] = None,
    zone: Annotated[str, typer.Option(help="Time zone of --period.")] = "UTC",
    out: Annotated[
        Path | None, typer.Option(help="Folder for sample.json and a proof of each record drawn.")
    ] = None,
    record: Annotated[bool, typer.Option(help="Put on record that you looked (audit.system).")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Draw records for an audit: which ones follows from the seed alone, by an algorithm that the output names.

    Exit status: 0 drawn, 2 not possible now.
    """
    with checked():
        strata = _strata(by)
        about = {"period": period, "seed": seed, "n": wanted, "by": list(strata)}
        with on_record("sample", about, record=record) as found:
            drawn, proved = asyncio.run(_draw(seed, wanted, strata, (period, zone), out, gather()[0]))
            found["count"] = len(drawn.drawn)
    if as_json:
        print(json.dumps(drawn.as_json()))
    else:
        print("\n".join(terminal(line) for line in _lines(drawn)))
    if out is not None:
        say(
            f"{out}: sample.json and {proved} of {len(drawn.drawn)} proofs; those that are not sealed yet have none"
        )


def _strata(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if names == ("none",):
        return ()
    if not names or any(name not in STRATA for name in names) or len(set(names)) < len(names):
        raise ConfigurationError(f"--by takes some of {', '.join(STRATA)}, or none; not {text!r}")
    return names


async def _draw(
    seed: str | None,
    wanted: int,
    by: Sequence[str],
    asked: tuple[str | None, str],
    out: Path | None,
    evidence: Evidence,
) -> tuple[Sample, int]:
    dsn = reporter_dsn()
    period = chosen_period(*asked, system_clock())
    await keep_facts(dsn)
    async with open_snapshot(dsn) as snapshot:
        found = await find_seed(snapshot, period, evidence) if seed is None else Seed(seed, GIVEN)
        drawn = await draw_sample(Selection(snapshot, period, await find_cut(snapshot)), found, wanted, by)
        proofs: dict[str, bytes] = {}
        if out is not None:
            proofs = await prove_cited(snapshot, [label(one.member.id) for one in drawn.drawn])
    if out is not None:
        await asyncio.to_thread(_write, out, drawn, proofs)
    return drawn, len(proofs)


def _write(out: Path, drawn: Sample, proofs: dict[str, bytes]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "sample.json").write_text(json.dumps(drawn.as_json(), indent=1) + "\n", encoding="utf-8")
        for record, proof in proofs.items():
            (out / f"{record.replace(':', '-')}.piperoll-proof").write_bytes(proof)
    except OSError as error:
        raise FatalError(f"the sample cannot be written: {error}") from error


def _lines(drawn: Sample) -> list[str]:
    """For people: what was drawn from what, then a line a record."""
    told = drawn.as_json()
    lines = [
        f"{len(drawn.drawn):,} of {drawn.population:,} events, {told['algorithm']}",
        f"seed: {drawn.seed.text} ({drawn.seed.origin})",
    ]
    lines += [
        f"{' / '.join(one['stratum']) or 'all'}: {one['drawn']:,} of {one['records']:,}"
        for one in told["strata"]
    ]
    return [
        *lines,
        "",
        *(f"{one['record']}  {one['hash']}  {' / '.join(one['stratum'])}" for one in told["records"]),
    ]
