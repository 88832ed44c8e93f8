"""Files that are read again when they change."""

from __future__ import annotations

from pathlib import Path


def file_stamp(path: Path) -> tuple[int, ...] | None:
    """Differs once the file has other content, or other permissions; None where it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
