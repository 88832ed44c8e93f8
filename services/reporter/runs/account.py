"""Runs and their editions told, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.reporter.escape import visible

_NONE = "no report was made yet"


def as_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A few lines a run, the newest first."""
    if not rows:
        return [_NONE]
    return [line for row in rows for line in _run_lines(row)]


def lateness(row: Mapping[str, Any]) -> str:
    """What of a run is late and since when, for whoever is alarmed and may run no command."""
    lines = [f"It was due {_time(row['due'])}."] if row["due"] else []
    if row["edition"] is None:
        lines.append(f"It was not made: {row['last_error'] or 'no try has ended yet'}.")
    for one in row["deliveries"]:
        if one["kind"] == "edition" and not one["sent_at"]:
            why = f": {one['last_error']}" if one["last_error"] else ""
            lines.append(f"{one['recipient']} ({one['role']}) does not have it, {one['state']}{why}.")
    return "".join(f"{visible(line)}\n" for line in lines)


def schedule_lines(coming: Sequence[Mapping[str, Any]]) -> list[str]:
    """What comes next, a line a schedule."""
    return [f"next: {one['schedule']} {one['period']}, made at {_time(one['made_at'])}" for one in coming]


def _run_lines(row: Mapping[str, Any]) -> list[str]:
    name = f"{row['schedule']}/{row['label']}"
    mark = "BAD " if row["wrong"] else "old " if row["replaced_by"] else "ok  "
    if row["edition"] is None:
        why = f", tried {row['tries']} times: {row['last_error']}" if row["last_error"] else ""
        return [f"{mark} {name}: not made yet, due {_time(row['due'])}{why}"]
    recorded = "" if row["recorded_at"] else ", its hash not on record yet"
    replaced = f", replaced by {row['replaced_by']}" if row["replaced_by"] else ""
    lines = [
        f"{mark} {row['edition']}: made {_time(row['made_at'])} by {row['made_by']}, SHA-256 {row['sha256'][:16]}…{recorded}{replaced}",
        f"       {row['verdict']}",
    ]
    lines += [f"       {_delivery(one)}" for one in row["deliveries"]]
    return lines + [f"       {_signature(one)}" for one in row["signatures"]]


def _signature(one: Mapping[str, Any]) -> str:
    who = f"{one['by']} ({one['role']}), {_time(one['at'])}"
    if one["despite"] is None:
        return f"signed by {who}; the record of it is not in the chains yet"
    return f"signed by {who}" if not one["despite"] else f"signed despite, by {who}: {one['reason']}"


def _delivery(one: Mapping[str, Any]) -> str:
    state = f"{one['state']} {_time(one['sent_at'])}" if one["sent_at"] else one["state"]
    error = f": {one['last_error']}" if one["last_error"] else ""
    what = "" if one["kind"] == "edition" else f" ({one['kind']})"
    return f"{one['recipient']}{what}, {one['role']}, {one['detail']}, {one['target']}: {state}{error}"


def _time(text: str | None) -> str:
    """`2026-10-01 06:00 UTC`."""
    return "never" if text is None else f"{text[:16].replace('T', ' ')} UTC"
