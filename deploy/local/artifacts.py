"""Kafka's jars: pinned by SHA-256 in kafka_jars.json, fetched once into the user's cache folder.

Each jar goes to a temporary name, is checked, and only then gets its own name; so an interrupted fetch goes on where
it stopped, and a jar that is there is whole. A lock file lets the second of two processes wait for the first.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.local.errors import StackError

LOCK_FILE = Path(__file__).with_name("kafka_jars.json")
KAFKA_VERSION = "4.3.1"
_REPORT_SECONDS = 3.0

Say = Callable[[str], None]
"""Takes one line of progress."""


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """PIPEROLL_CACHE, or `piperoll` in the user's cache folder."""
    if environ.get("PIPEROLL_CACHE"):
        return Path(environ["PIPEROLL_CACHE"]).expanduser()
    return Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "piperoll"


def kafka_jars(say: Say, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """All jars of Kafka's class path, fetched where they are missing. Raises StackError."""
    pins: dict[str, str] = json.loads(LOCK_FILE.read_text(encoding="utf-8"))
    folder = cache_folder(environ) / f"kafka-{KAFKA_VERSION}"
    return fetch_jars(pins, folder, say, environ.get("PIPEROLL_MAVEN_REPOSITORY"))


def fetch_jars(pins: Mapping[str, str], folder: Path, say: Say, repository: str | None = None) -> list[Path]:
    """The jars of `pins` (`group:artifact:version` → SHA-256) in `folder`; missing ones come from `repository`, by
    default Maven Central. Raises StackError."""
    jars = {coordinate: folder / _file_name(coordinate) for coordinate in pins}
    if all(jar.is_file() for jar in jars.values()):
        return list(jars.values())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / ".lock", say):
            missing = {c: pins[c] for c, jar in jars.items() if not jar.is_file()}
            if missing:
                _fetch_all(missing, folder, say, repository)
    except OSError as error:
        raise StackError(_disk_trouble(error, folder)) from error
    return list(jars.values())


def _file_name(coordinate: str) -> str:
    _, artifact, version = coordinate.split(":")
    return f"{artifact}-{version}.jar"


@contextmanager
def _alone(lock: Path, say: Say) -> Iterator[None]:
    """Holds an exclusive lock that the system frees when the process ends, however it ends."""
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is fetching Kafka; waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _fetch_all(pins: Mapping[str, str], folder: Path, say: Say, repository: str | None) -> None:
    for leftover in folder.glob(".fetch-*"):  # of a fetch that was killed; we hold the lock
        shutil.rmtree(leftover)
    say(f"fetching Apache Kafka {KAFKA_VERSION}: {len(pins)} files of 55 MB in all, once")
    spoken = time.monotonic()
    pool = ThreadPoolExecutor(max_workers=6)
    try:
        waiting = [
            pool.submit(_fetch, coordinate, sha256, folder, repository) for coordinate, sha256 in pins.items()
        ]
        for done, future in enumerate(as_completed(waiting), start=1):
            future.result()
            if time.monotonic() - spoken > _REPORT_SECONDS or done == len(waiting):
                spoken = time.monotonic()
                say(f"fetched {done} of {len(waiting)} files")
    finally:
        pool.shutdown(cancel_futures=True)


def _fetch(coordinate: str, sha256: str, folder: Path, repository: str | None) -> None:
    # imported here: jgo takes a third of a second, and mostly there is nothing to fetch
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415
    from requests import RequestException  # noqa: PLC0415

    with TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        context = MavenContext(
            repo_cache=Path(scratch),
            resolver=PythonResolver(),
            remote_repos=None if repository is None else {"given": repository.rstrip("/")},
            timeout=60,
        )
        try:
            fetched = Path(context.create_dependency(coordinate).artifact.resolve())
        except (RequestException, RuntimeError) as error:
            raise StackError(_network_trouble(coordinate, error)) from error
        found = hashlib.sha256(fetched.read_bytes()).hexdigest()
        if found != sha256:
            raise StackError(
                f"{coordinate} is not the pinned file: SHA-256 {found} instead of {sha256}. "
                "What stands between this machine and the repository changes files; nothing was installed."
            )
        fetched.replace(folder / _file_name(coordinate))


def _network_trouble(coordinate: str, error: Exception) -> str:
    return (
        f"cannot fetch {coordinate}: {error}\n"
        "Is this machine online? Behind a proxy set HTTPS_PROXY (and REQUESTS_CA_BUNDLE for its certificate), or name "
        "a mirror of Maven Central in PIPEROLL_MAVEN_REPOSITORY; then start again: what is fetched already is kept. "
        "To use a broker that runs elsewhere set KAFKA_BOOTSTRAP_SERVERS."
    )


def _disk_trouble(error: OSError, folder: Path) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"no space left for Kafka (about 60 MB) in {folder}: make room, or set PIPEROLL_CACHE to another folder"
    return f"cannot write to {folder}: {error.strerror or error}. Set PIPEROLL_CACHE to a folder that can be written."
