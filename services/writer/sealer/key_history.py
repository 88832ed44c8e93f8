"""`seal/keys.json`: which key signed from which size of the seal log on, and until which.

For verifiers, who keep these ranges: a checkpoint outside the range of the key that signed it is not to be believed. What
is published here is what they compare theirs with, not what they trust.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.common.logging import get_logger
from services.writer.sealer.memory import write_durably

log = get_logger(__name__)
FORMAT = "piperoll-keys/v1"
FILE = "keys.json"


def note_keys(folder: Path, vkeys: Sequence[str], size: int) -> None:
    """Notes that these keys signed the checkpoint of `size`. Writes only where that begins or ends a range. Raises
    OSError."""
    before = key_ranges(folder)
    after = extended(before, vkeys, size)
    if after != before:
        document = json.dumps({"format": FORMAT, "keys": after}, indent=1)
        write_durably(folder / FILE, document.encode() + b"\n")


def key_ranges(folder: Path) -> list[dict[str, Any]]:
    """Each key with `first_size` and `last_size` (null: it still signs); none where there is no such file."""
    try:
        found: list[dict[str, Any]] = json.loads((folder / FILE).read_bytes())["keys"]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError) as error:
        log.warning("keys_unreadable", folder=str(folder), error=str(error))
        return []
    return found


def extended(ranges: Sequence[dict[str, Any]], vkeys: Sequence[str], size: int) -> list[dict[str, Any]]:
    """The ranges once `vkeys`, and no others, have signed `size`."""
    open_keys = {item["vkey"] for item in ranges if item["last_size"] is None}
    after = [
        item | {"last_size": size - 1} if item["last_size"] is None and item["vkey"] not in vkeys else item
        for item in ranges
    ]
    begun = [{"vkey": vkey, "first_size": size, "last_size": None} for vkey in vkeys if vkey not in open_keys]
    return [*after, *begun]
