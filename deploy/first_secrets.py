"""`python -m deploy.first_secrets PATH…`: makes each secret that is not there yet, before anything starts.

For compose: the paths are on volumes, so the passwords stay the same from start to start and stand in no file of the
project. Mode 0600, whole or not at all.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.local.secrets import secret_file


def main(paths: list[str]) -> int:
    """The exit status: 0, or 1 where a folder cannot be written to."""
    for path in map(Path, paths):
        try:
            secret_file(path.parent, path.name)
        except OSError as error:
            print(f"{path}: {error.strerror}: is the volume writable by this user?", file=sys.stderr)  # noqa: T201
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
