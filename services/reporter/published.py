"""A published log (C2SP tlog-tiles), read from a directory or a web server. Nothing in it is trusted: whoever uses
leaves from here compares the root that they give."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from schemas.tlog.tiles import WIDTH, decode_bundle, entries_path
from services.common.errors import ConfigurationError, TransientError

_TIMEOUT_S = 30
_MOST_BYTES = 64 * 1024 * 1024


class PublishedLog:
    """`place` is a directory, or the URL of one that is served."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._is_url = place.startswith(("http://", "https://"))

    def read(self, name: str) -> bytes | None:
        """A file of the log, None where there is none. Raises TransientError where the place does not answer."""
        if self._is_url:
            return _fetch(f"{self.place.rstrip('/')}/{name}")
        try:
            return (Path(self.place) / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise TransientError(f"{self.place}/{name} cannot be read: {error.strerror}") from error

    def checkpoint(self) -> bytes:
        """The checkpoint of the seal log. Raises ConfigurationError where there is none."""
        note = self.read("seal/checkpoint")
        if note is None:
            raise ConfigurationError(
                f"{self.place} has no seal/checkpoint: it is the folder or address in which the sealer publishes "
                "(SEALER_PUBLISH_DIR)"
            )
        return note

    def newest_stamp(self) -> int | None:
        """The size of the newest checkpoint that has a time-stamp, None where there is none."""
        if self._is_url:
            said = (self.read("seal/timestamp/latest") or b"").strip()
            return int(said) if said.isdigit() and len(said) < 20 else None
        stamps = (Path(self.place) / "seal" / "timestamp").glob("*.tsr")
        return max((int(stamp.stem) for stamp in stamps if stamp.stem.isdigit()), default=None)

    def entries(self, path: str, first: int, end: int, size: int) -> list[bytes]:
        """Entries `first` to before `end` of the tree at `path`, which has `size`; as many as are there in one piece.
        Unfinished bundles are looked for by the widths that a tree of `size` has."""
        found: list[bytes] = []
        for number in range(first // WIDTH, (end + WIDTH - 1) // WIDTH):
            width = min(WIDTH, size - number * WIDTH)
            data = self.read(f"{path}/{entries_path(number, width)}")
            if data is None and width < WIDTH:
                data, width = self.read(f"{path}/{entries_path(number)}"), WIDTH
            try:
                entries = [] if data is None else decode_bundle(data, width)
            except ValueError:
                entries = []
            if not entries:
                break
            found += entries[: size - number * WIDTH]
        return found[first % WIDTH :][: end - first]

    def description(self) -> dict[str, Any]:
        """log.json, empty where there is none that can be read."""
        try:
            found = json.loads(self.read("log.json") or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def _fetch(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - http and https only, see above
            content: bytes = answer.read(_MOST_BYTES)
            return content
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            return None
        raise TransientError(f"{url} answered {error.code}") from error
    except (OSError, ValueError) as error:
        raise TransientError(f"{url} cannot be read: {error}") from error
