"""`piperoll restore`: puts damaged records and payloads right, with bytes that fit the hashes and by a recorded order."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from services.cli.ordering import RecordedOrder, new_request
from services.cli.restoration.damage import Damaged, damaged
from services.cli.restoration.gathering import Sources, gather
from services.cli.restoration.staging import put_back
from services.cli.target import errors_told, say, target_variables
from services.common.clock import system_clock
from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings, PostgresSettings, read_settings
from services.reporter.integrity import counted, verdict
from services.reporter.verify import Verification, verify_database

app = typer.Typer()
_SPAN = re.compile(r"^(\d+)(?:\.\.(\d+))?$")


@app.command()
def restore(
    everything: Annotated[bool, typer.Option("--all-damaged", help="Whatever verification finds.")] = False,
    chain: Annotated[int | None, typer.Option(help="Only of this chain.")] = None,
    seq: Annotated[str | None, typer.Option(help="Of that chain only these numbers: A..B, or A.")] = None,
    kafka: Annotated[bool, typer.Option(help="Look in audit.enriched, which holds the salts too.")] = True,
    export: Annotated[
        list[Path] | None, typer.Option(help="A file of `piperoll export`, or an archive; may be repeated.")
    ] = None,
    entries: Annotated[
        list[Path] | None, typer.Option(help="A published directory with entry bundles; may be repeated.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; recorded.")] = "",
    ticket: Annotated[str | None, typer.Option(help="The number of the incident; recorded.")] = None,
    by: Annotated[str | None, typer.Option(help="Who orders it; default: the user of this machine.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the writer.")] = 120,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what could be put back.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Verify, look for the right bytes of what is damaged, and have the writer put back those that fit the hashes.

    Needs the role piperoll_operator (or another that may write audit.restoration). What was erased stays erased. Rows
    that were put in are not taken out, and a chain that was rewritten to its end is not known by its own hashes.

    Exit status: 0 nothing is damaged (any more), 1 something still is, 2 could not.
    """
    with errors_told():
        span = _span(everything, chain, seq)
        if not reason.strip() and not dry_run:
            raise ConfigurationError("say why: --reason, which is recorded")
        variables = target_variables("piperoll_operator")
        settings = read_settings(KafkaSettings, variables)
        dsn = read_settings(PostgresSettings, variables).dsn
        before = _verify(dsn, chain)
        wanted = _within(damaged(before.findings), chain, span)
        sources = Sources(kafka, export or [], entries or [])
        spares = asyncio.run(gather(settings, dsn, wanted, sources)) if wanted else {}
        orders: list[RecordedOrder] = []
        after = before
        if spares and not dry_run:
            ids = {result.chain.chain_no: result.chain.chain_id for result in before.chains}
            request = new_request("restore", by, reason, ticket, system_clock())
            orders = put_back(settings, dsn, request, spares, ids, _names(sources), wait)
            after = _verify(dsn, chain)
        left = _within(damaged(after.findings), chain, span)
        _tell(wanted, [one for one in wanted if tuple(one) in spares], left, orders, after, as_json=as_json)
    mended = after.good if span is None else not left
    raise typer.Exit(0 if mended else 1)


def _span(everything: bool, chain: int | None, seq: str | None) -> tuple[int, int] | None:
    """The numbers that were named, None for all. Raises ConfigurationError."""
    if everything == (chain is not None):
        raise ConfigurationError("say which: --all-damaged, or --chain N with --seq A..B")
    if seq is None:
        return None
    match = _SPAN.match(seq)
    if match is None or chain is None:
        raise ConfigurationError(f"--seq takes A..B or A, with --chain; not {seq!r}")
    first = int(match[1])
    return first, int(match[2] or first)


def _verify(dsn: str, chain: int | None) -> Verification:
    return asyncio.run(verify_database(dsn, chains=None if chain is None else [chain]))


def _within(found: Sequence[Damaged], chain: int | None, span: tuple[int, int] | None) -> list[Damaged]:
    return [
        one
        for one in found
        if (chain is None or one.chain_no == chain) and (span is None or span[0] <= one.seq <= span[1])
    ]


def _names(sources: Sources) -> str:
    """The sources in a word each, for the record."""
    words = ["kafka"] if sources.kafka else []
    words += ["export"] if sources.exports else []
    return "+".join([*words, *(["entries"] if sources.entries else [])]) or "database"


def _tell(
    wanted: Sequence[Damaged],
    offered: Sequence[Damaged],
    left: Sequence[Damaged],
    orders: Sequence[RecordedOrder],
    after: Verification,
    *,
    as_json: bool,
) -> None:
    if as_json:
        document = {
            "damaged": [one._asdict() for one in wanted],
            "offered": [one._asdict() for one in offered],
            "still_damaged": [one._asdict() for one in left],
            "records": [{"id": order.id, "record_hash": order.record_hash.hex()} for order in orders],
            "good": after.good,
            "verdict": verdict(after),
        }
        print(json.dumps(document, indent=1))
        return
    say(f"{counted(len(wanted), 'damaged part')}, bytes found for {len(offered):,}")
    for order in orders:
        print(f"ordered by record {order.seq} of chain {order.chain_no}, hash {order.record_hash.hex()}")
    for one in left[:50]:
        print(f"still damaged: chain {one.chain_no}, record {one.seq}: {one.what}")
    print(verdict(after))
