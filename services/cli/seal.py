"""`piperoll seal`: how far the records are sealed, with which key, and how that key is changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer

from deploy.local.home import find_home
from deploy.local.state import load_state
from schemas.tlog.note import Signer, new_key
from schemas.tlog.policy import Policy
from services.cli.group_offsets import delete_group
from services.cli.target import errors_told, say, target_variables
from services.common.clock import system_clock
from services.common.errors import ConfigurationError, TransientError
from services.common.queries import load_queries
from services.common.settings import KafkaSettings, PostgresSettings, environment, read_settings
from services.writer.heads import GROUP
from services.writer.sealer.book import SEAL_PATH
from services.writer.sealer.key import KEY_FILE, NEXT_KEY_FILE, Keys, key_in, make_key
from services.writer.sealer.settings import SealerSettings
from services.writer.sealer.targets.build import witness_policy
from services.writer.sealer.targets.settings import TargetSettings

app = typer.Typer()
seal = typer.Typer(help="What is sealed, with which key, and how that is changed.", no_args_is_help=True)
app.add_typer(seal, name="seal")
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON object.")]
_QUERIES = load_queries(Path(__file__).with_name("seal.sql"))
_LATE_S = 60
"""So much beyond the heartbeat a last seal may be old: a round may take a while."""


@seal.command("status")
def status(as_json: AsJson = False) -> None:
    """Say what is sealed and what waits, by chain, and what the targets outside took last.

    Exit status: 0 fine, 1 nothing was sealed for longer than the sealer ever pauses, 2 could not be asked.
    """
    with errors_told():
        heartbeat_s = _settings().heartbeat_s
        dsn = read_settings(PostgresSettings, target_variables("piperoll_reporter")).dsn
        found = summarised(*asyncio.run(_ask(dsn)), now_us=system_clock(), heartbeat_s=heartbeat_s)
    if as_json:
        print(json.dumps(found))
    else:
        print("\n".join(status_lines(found)))
    raise typer.Exit(1 if found["late"] else 0)


@seal.command("key")
def key(as_json: AsJson = False) -> None:
    """Print the public key of the seal log: what verifiers and witnesses need."""
    with errors_told():
        document = _described(_settings())
    if as_json:
        print(json.dumps(document["seal"]))
    else:
        print("\n".join(_vkeys(document)))


@seal.command("policy")
def policy() -> None:
    """Print a policy file (C2SP tlog-policy) for verifiers: the log's keys, the witnesses and the quorum."""
    with errors_told():
        outside = witness_policy(read_settings(TargetSettings, target_variables()))
        lines = policy_lines(_vkeys(_described(_settings())), outside)
    print("\n".join(lines))


@seal.command("forget-heads")
def forget_heads(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget what writers said of their chains' ends: only after the database was lawfully set back to an older state.

    Stop the writers first, start them afterwards: until they have said something anew, the sealer signs what it finds after
    its patience, with an alert.
    """
    with errors_told():
        kafka = read_settings(KafkaSettings, target_variables())
        group = kafka.topics.group(GROUP)
        if not yes and not typer.confirm(
            f"Delete the group {group}? What is changed now is then not found", err=True
        ):
            raise typer.Exit(2)
        delete_group(kafka, group)
    say(f"{group} is deleted; start the writers now")


@seal.command("new-key")
def new_private_key(as_json: AsJson = False) -> None:
    """Print a new private key, for SEALER_KEY or SEALER_NEXT_KEY. Whoever has it can sign."""
    with errors_told():
        made = new_key(f"{_settings().origin}/{SEAL_PATH}")
    print(
        json.dumps({"private_key": made.private(), "vkey": made.verifier.vkey()})
        if as_json
        else made.private()
    )


@seal.command("rotate")
def rotate(
    finish: Annotated[
        bool,
        typer.Option(
            "--finish", help="Take the old key away: from the next start on the new one signs alone."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Change the key: first without --finish, then, when verifiers and witnesses know the new one, with it.

    Restart the sealer after each. The change is recorded, sealed by the old key, and then both sign; --finish is refused
    before that.
    """
    with errors_told():
        settings = _settings()
        if settings.key is not None or settings.next_key is not None:
            raise ConfigurationError(
                "the key stands in SEALER_KEY, so it is changed there: set SEALER_NEXT_KEY to what `piperoll seal new-key` "
                "prints and restart the sealer; once `piperoll seal key` prints two keys, and verifiers and witnesses know "
                "the second one, move it to SEALER_KEY, unset SEALER_NEXT_KEY and restart"
            )
        try:
            said = finish_rotation(settings) if finish else begin_rotation(settings)
        except OSError as error:
            raise ConfigurationError(
                f"{error.filename}: {error.strerror}; may you write to SEALER_DIR?"
            ) from error
    if as_json:
        print(json.dumps(said))
    else:
        print(said["vkey"])
        say(said["next"])


def begin_rotation(settings: SealerSettings) -> dict[str, str]:
    """Makes the next key beside the present one; done again it changes nothing. Raises ConfigurationError, OSError."""
    key_in(settings.folder / KEY_FILE)  # the first start makes it: without it there is nothing to change
    path = settings.folder / NEXT_KEY_FILE
    if not path.exists():
        make_key(path, settings.origin)
    vkey = key_in(path).verifier.vkey()
    return {
        "vkey": vkey,
        "next": "restart the sealer; make this key known to verifiers and witnesses; when `piperoll seal key` prints it as "
        "second, run `piperoll seal rotate --finish`",
    }


def finish_rotation(settings: SealerSettings) -> dict[str, str]:
    """Puts the next key in the place of the present one, if both sign. Raises ConfigurationError, OSError."""
    path = settings.folder / NEXT_KEY_FILE
    if not path.exists():
        raise ConfigurationError(f"there is no {path}: begin with `piperoll seal rotate`")
    following = key_in(path)
    if not _signs(following, settings):
        raise ConfigurationError(
            "the next key does not sign yet: its change must be recorded and sealed first. Was the sealer restarted, and does "
            "`piperoll seal status` show the chain of audit.system sealed?"
        )
    path.replace(settings.folder / KEY_FILE)
    return {
        "vkey": following.verifier.vkey(),
        "next": "restart the sealer: this key signs alone from then on. Keep the public half of the old one "
        f"({settings.publish_to / SEAL_PATH / 'keys.json'} has it): what it signed stays good",
    }


def _signs(key: Signer, settings: SealerSettings) -> bool:
    """Whether the newest published checkpoint bears the key's signature."""
    note = settings.publish_to / SEAL_PATH / "checkpoint"
    try:
        Keys(key).open(f"{settings.origin}/{SEAL_PATH}", note.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    return True


def summarised(
    last: Any, chains: list[Any], targets: list[Any], *, now_us: int, heartbeat_s: float
) -> dict[str, Any]:
    """What --json prints. Ages in seconds; `late` where records wait and the sealer should have sealed."""
    age_s = None if last is None else round((now_us - last["sealed_us"]) / 1e6, 1)
    return {
        "last_seal": None if last is None else {"no": last["seal_no"], "age_s": age_s},
        "late": bool(chains) and (age_s is None or age_s > heartbeat_s + _LATE_S),
        "chains": [{**chain, "waiting": chain["records"] - chain["sealed"]} for chain in map(dict, chains)],
        "targets": [
            {
                "target": target["target"],
                "size": target["size"],
                "age_s": round((now_us - target["published_us"]) / 1e6, 1),
            }
            for target in targets
        ],
    }


def status_lines(found: Mapping[str, Any]) -> list[str]:
    """The same for people."""
    last = found["last_seal"]
    lines = ["nothing is sealed yet" if last is None else f"seal {last['no']}, {last['age_s']:.0f} s ago"]
    if found["late"]:
        lines.append("LATE: is the sealer running? What is not sealed can be changed unseen")
    for chain in found["chains"]:
        compared = chain["sealed"] - chain["compared"]
        lines.append(
            f"{chain['topic']} {chain['partition']} (chain {chain['chain_no']}): {chain['sealed']:,} sealed, "
            f"{chain['waiting']:,} waiting"
            + (f", {compared:,} sealed without comparing them with Kafka" if compared else "")
        )
    lines += [
        f"{target['target']}: has {target['size']:,} seals, taken {target['age_s']:.0f} s ago"
        for target in found["targets"]
    ]
    return lines if found["targets"] else [*lines, "no target outside has taken a checkpoint"]


def policy_lines(vkeys: list[str], outside: Policy) -> list[str]:
    """A policy file's lines."""
    lines = [f"log {vkey}" for vkey in vkeys]
    lines += [
        f"witness {name} {item.vkey()} {outside.urls[name]}" for name, item in outside.witnesses.items()
    ]
    lines += [
        f"group {name} {item.threshold} {' '.join(item.members)}" for name, item in outside.groups.items()
    ]
    return [*lines, f"quorum {outside.quorum}"]


def _vkeys(document: Mapping[str, Any]) -> list[str]:
    return [document["seal"][name] for name in ("vkey", "next_vkey") if name in document["seal"]]


def _settings() -> SealerSettings:
    """The sealer's settings; without SEALER_DIR, the folder is the local stack's where there is one."""
    variables = environment()
    home = find_home(variables)
    if not variables.get("SEALER_DIR") and load_state(home) is not None:
        variables["SEALER_DIR"] = str(home.folder / "sealer")
    return read_settings(SealerSettings, variables)


def _described(settings: SealerSettings) -> dict[str, Any]:
    """log.json. Raises ConfigurationError where it is not there."""
    path = settings.publish_to / "log.json"
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error}): SEALER_DIR or SEALER_PUBLISH_DIR names the sealer's folder, and its first seal "
            "makes the file"
        ) from error
    return document


async def _ask(dsn: str) -> tuple[Any, list[Any], list[Any]]:
    """Raises TransientError."""
    try:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            return (
                await connection.fetchrow(_QUERIES["last_seal"]),
                await connection.fetch(_QUERIES["chains"]),
                await connection.fetch(_QUERIES["targets"]),
            )
        finally:
            await connection.close()
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        raise TransientError(f"PostgreSQL does not answer: {error}; is DATABASE_URL right?") from error
