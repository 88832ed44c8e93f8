"""`piperoll keys`: API keys for ingest."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, get_args

import typer

from services.cli.target import errors_told
from services.common.errors import ConfigurationError
from services.common.settings import environment, read_settings
from services.ingest.keys import Scope, create_key, read_keys, remove_key
from services.ingest.settings import IngestSettings

app = typer.Typer()
keys = typer.Typer(help="Create, list and remove API keys for ingest.", no_args_is_help=True)
app.add_typer(keys, name="keys")
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON object.")]
File = Annotated[Path | None, typer.Option(help="The file of keys; default: API_KEYS_FILE.")]


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Recorded with each event that is sent with the key.")],
    file: File = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="ingest (default), read or audit; may repeat.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Pattern of sources that the key may send as; may repeat.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it, once: the file holds its hash only. A running ingest takes it within seconds."""
    with errors_told():
        token = create_key(_file(file), name, _scopes(scope or ["ingest"]), source or [])
    if as_json:
        print(json.dumps({"name": name, "token": token}))
    else:
        print(token)
        print("Shown this once: put it where its user finds it.", file=sys.stderr)


@keys.command("list")
def list_keys(file: File = None, as_json: AsJson = False) -> None:
    """List names, scopes and patterns."""
    with errors_told():
        found = read_keys(_file(file))
    if as_json:
        shown = [{"name": key.name, "scopes": key.scopes, "sources": key.sources} for key in found]
        print(json.dumps({"keys": shown}, indent=1))
    else:
        for key in found:
            print(f"{key.name:<24} {','.join(key.scopes):<20} {' '.join(key.sources) or '(any source)'}")


@keys.command("remove")
def remove(name: str, file: File = None) -> None:
    """Remove a key. A running ingest refuses it within seconds."""
    with errors_told():
        remove_key(_file(file), name)


def _file(given: Path | None) -> Path:
    path = given or read_settings(IngestSettings, environment()).keys_file
    if path is None:
        raise ConfigurationError("say where the keys are: --file FILE, or API_KEYS_FILE")
    return path


def _scopes(given: list[str]) -> list[Scope]:
    known: tuple[Scope, ...] = get_args(Scope)
    wrong = [scope for scope in given if scope not in known]
    if wrong:
        raise ConfigurationError(f"{wrong[0]!r} is no scope: {', '.join(known)}")
    return [scope for scope in known if scope in given]
