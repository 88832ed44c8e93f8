"""Declarations: own events, so that whoever reads the record later knows why old events came late, or came again."""

from __future__ import annotations

from getpass import getuser
from typing import Any

from services.cli.demo_month.days import iso
from services.cli.demo_month.messages import compact
from services.cli.producing import Outgoing
from services.common.clock import Clock, system_clock

TYPE = "piperoll.backfill.declared"
SOURCE = "piperoll/emit"


def declaration(
    identifier: str,
    about: dict[str, Any],
    clock: Clock = system_clock,
    *,
    source: str = SOURCE,
    kind: str = TYPE,
) -> Outgoing:
    """The message for audit.system: who declares what, when. That of a back-fill has at least `reason` in `about`."""
    event = {
        "specversion": "1.0",
        "id": identifier,
        "source": source,
        "type": kind,
        "time": iso(clock() // 1000),
        "datacontenttype": "application/json",
        "data": {"by": _who()} | about,
    }
    return Outgoing(None, compact(event), [])


def _who() -> str:
    """The name of the user at this machine, as the system gives it."""
    try:
        return getuser()
    except (KeyError, OSError):
        return "unknown"
