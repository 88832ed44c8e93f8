"""Processes of the local stack: started detached, known by pid and start time, ended by pid.

A pid alone is not a name: the system gives it to another process later. So a pid file also holds when the process was
started, and nothing is signalled unless both match.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from deploy.local.errors import StackError

_children: dict[int, subprocess.Popen[bytes]] = {}
"""What this process has started: whoever starts a process must also take note of its end."""


@dataclass(frozen=True)
class Owner:
    """The user under whose ids a process runs, where that is another than ours."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Handle:
    """One process: `identity` says when it was started, in the system's own terms."""

    pid: int
    identity: str

    def process(self) -> psutil.Process | None:
        """The process, if it is alive and still the same."""
        try:
            process = psutil.Process(self.pid)
            same = process.status() != psutil.STATUS_ZOMBIE and _identity(process) == self.identity
        except psutil.NoSuchProcess:
            same = False
        if not same and self.pid in _children:
            _children[self.pid].poll()  # takes note of its end
        return process if same else None

    @property
    def alive(self) -> bool:
        return self.process() is not None


def _identity(process: psutil.Process) -> str:
    """Start in ticks since boot, with the boot: unlike a time of day it stays when the clock is set."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return str(process.create_time())  # not Linux; or it has ended, and psutil says so
    return f"{boot}:{fields.rsplit(')', 1)[1].split()[19]}"


def start(
    command: Sequence[str | Path],
    *,
    log: Path,
    environ: Mapping[str, str],
    folder: Path | None = None,
    owner: Owner | None = None,
) -> Handle:
    """Starts `command` in a session of its own, so that the terminal's Ctrl-C does not reach it; what it prints is
    added to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    drop: dict[str, object] = (
        {} if owner is None else {"user": owner.uid, "group": owner.gid, "extra_groups": []}
    )
    try:
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                cwd=folder,
                start_new_session=True,
                **drop,  # type: ignore[call-overload]
            )
    except OSError as error:
        raise StackError(f"cannot start {command[0]}: {error.strerror}") from error
    _children[popen.pid] = popen
    return handle_of(popen.pid)


def exit_status(handle: Handle) -> int | None:
    """How a process that we started has ended (negative: by that signal); None while it runs."""
    return _children[handle.pid].poll()


def wait(handle: Handle, timeout: float) -> int:
    """Waits for the end of a process that we started. Raises subprocess.TimeoutExpired."""
    return _children[handle.pid].wait(timeout)


def handle_of(pid: int) -> Handle:
    """The handle of a process that lives."""
    return Handle(pid, _identity(psutil.Process(pid)))


def write_handle(path: Path, handle: Handle) -> None:
    """Writes a pid file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(asdict(handle)), encoding="ascii")
    draft.replace(path)


def read_handle(path: Path) -> Handle | None:
    """What a pid file names; None where there is none, or none that can be read."""
    try:
        fields = json.loads(path.read_text(encoding="ascii"))
        return Handle(int(fields["pid"]), str(fields["identity"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def stop(handle: Handle, *, grace: float, polite: signal.Signals = signal.SIGTERM) -> bool:
    """Ends the process and what it left in its session: `polite` first, SIGKILL after `grace` seconds.

    Returns whether it had to be killed.
    """
    leader = handle.process()
    if leader is None:
        return False
    killed = False
    members = _session(handle.pid)
    with suppress(psutil.NoSuchProcess):
        members += leader.children(recursive=True)
        leader.send_signal(polite)
    if not _ended(leader, grace):
        killed = True
        with suppress(psutil.NoSuchProcess):
            leader.kill()
        _ended(leader, 10)
    orphans = [*members, *_session(handle.pid)]
    for orphan in orphans:
        with suppress(psutil.NoSuchProcess):
            orphan.kill()  # psutil looks at the start time first
    for orphan in orphans:
        _ended(orphan, 10)
    return killed


def _ended(process: psutil.Process, timeout: float) -> bool:
    """Waits for the end of a process. One that is not our child may stay a zombie, where nothing reaps it."""
    child = _children.get(process.pid)
    if child is not None:
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True
    deadline = time.monotonic() + timeout
    while _runs(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _session(leader: int) -> list[psutil.Process]:
    """The other processes of the session that `leader` opened."""
    found = []
    for process in psutil.process_iter():
        with suppress(OSError, psutil.NoSuchProcess):
            if process.pid != leader and os.getsid(process.pid) == leader:
                found.append(process)
    return found


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log file."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64 * 1024))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return "(it wrote no log)"
    return "\n".join(text.splitlines()[-lines:])
