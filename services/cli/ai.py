"""`piperoll ai`: whether the model can be asked, and what to fix if not."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.ai_eval import LEAST, Labelled, Score, demo_events, evaluate, file_events
from services.cli.ai_usage import read_usage
from services.cli.target import errors_told, say, target_variables
from services.common.ai.client import Client
from services.common.ai.outcome import Answer, Failure
from services.common.ai.service import open_model
from services.common.ai.settings import AiSettings, read_ai_settings
from services.common.settings import KafkaSettings, PostgresSettings, read_settings

app = typer.Typer(no_args_is_help=True, add_completion=False)
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON object.")]

_MESSAGES = [
    {"role": "system", "content": 'Answer with the JSON object {"ok": true} and nothing else.'},
    {"role": "user", "content": "Are you there?"},
]
_SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
_DIALECTS = 4


@app.callback()
def ai() -> None:
    """What the AI does and costs."""


@app.command()
def check(as_json: AsJson = False) -> None:
    """Ask the model one small question and say what to fix.

    Where the server takes no structured output, it is asked again in a plainer way, as the annotator does. Exit status:
    0 the model answers as it should; 1 it does not (key, model or quota refused, no JSON); 2 it could not be asked
    (no key set, not reached, no answer in time, too many requests).
    """
    with errors_told():
        settings = read_ai_settings()
        result, form = asyncio.run(_ask(settings))
    status, said = _verdict(result, form)
    where = re.sub(r"//[^/@]*@", "//", settings.azure_endpoint or settings.base_url or "OpenAI")
    told = {"model": settings.model_name, "server": where, "form": form, "status": status, "message": said}
    print(json.dumps(told) if as_json else f"{settings.model_name} at {where}: {said}")
    raise typer.Exit(status)


@app.command("eval")
def evaluation(
    file: Annotated[
        Path | None,
        typer.Option(
            help='JSON lines {"event": …, "label": "alert" or "no_alert"}; default: the demo month.'
        ),
    ] = None,
    events: Annotated[int, typer.Option(min=LEAST, help="How many of the demo's month.")] = 150,
    as_json: AsJson = False,
) -> None:
    """Have the model read labelled events and count what it gets wrong: actor, outcome, invented names, raised for nothing.

    It costs requests of the budget, and needs the broker that holds it (`piperoll up`). The checks that drop a wrong reading in
    operation are counted apart. Exit status: 0 scored, 2 could not be asked to the end.
    """
    with errors_told():
        variables = target_variables()
        settings, kafka = read_ai_settings(variables), read_settings(KafkaSettings, variables)
        labelled = demo_events(events) if file is None else file_events(file)
        score, why = asyncio.run(_evaluate(settings, kafka, labelled))
    found = {"model": settings.model_name, "ended_early": why} | score.as_json()
    print(
        json.dumps(found)
        if as_json
        else "\n".join([f"model               {settings.model_name}", *score.lines()])
    )
    if why:
        say(f"piperoll: not asked to the end: {why}")
    raise typer.Exit(2 if why else 0)


async def _evaluate(
    settings: AiSettings, kafka: KafkaSettings, labelled: list[Labelled]
) -> tuple[Score, str]:
    async with open_model(settings, kafka, service="command") as model:
        return await evaluate(model, settings, labelled)


@app.command()
def usage(
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="UTC; default: the month so far."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Requests, tokens, dollars and what came of them, from the records. Exit status: 0 fine, 2 could not be asked."""
    start = since or datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    since_us = int(start.replace(tzinfo=UTC).timestamp() * 1_000_000)
    with errors_told():
        dsn = read_settings(PostgresSettings, target_variables("piperoll_reporter")).dsn
        found = asyncio.run(read_usage(dsn, since_us))
    print(
        json.dumps(found.as_json())
        if as_json
        else "\n".join([f"since       {start:%Y-%m-%d %H:%M} UTC", *found.lines()])
    )


async def _ask(settings: AiSettings) -> tuple[Answer | Failure, str]:
    """The outcome, and the form of JSON in which it was asked for in the end."""
    client = Client(settings)
    try:
        for _ in range(_DIALECTS):
            form = client.form
            result = await client.ask(_MESSAGES, "check", _SCHEMA)
            if isinstance(result, Answer) or result.kind != "dialect":
                break
        return result, form
    finally:
        await client.close()


def _verdict(result: Answer | Failure, form: str) -> tuple[int, str]:
    if isinstance(result, Failure):
        return (2 if result.kind in ("away", "slow", "rate") else 1), result.advice
    if not _is_ok(result.text):
        return (
            1,
            "answers, but not with the JSON that was asked for: its readings would be left out; set OPENAI_MODEL",
        )
    took = f"{result.tokens_in} tokens in, {result.tokens_out} out"
    if form == "json_schema":
        return 0, f"answers as {result.model} ({took})"
    advice = "no structured output (json_schema): readings may be invalid more often than with a newer model"
    return 0, f"answers as {result.model} ({took}); {advice}"


def _is_ok(text: str) -> bool:
    try:
        said: Any = json.loads(text[text.find("{") : text.rfind("}") + 1])
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("ok") is True
