"""SQL in files: each query begins with a line `-- name: what it does`, and is used by its name."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"^-- ([a-z_]+): .+$")


def load_queries(path: Path) -> dict[str, str]:
    """The queries of a file by name, without their comments. Raises ValueError where a name stands twice or SQL
    stands before the first name."""
    found: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in path.read_text(encoding="utf-8").splitlines():
        name = _NAME.match(line)
        if name is not None:
            if name[1] in found:
                raise ValueError(f"{path.name} has two queries named {name[1]}")
            lines = found[name[1]] = []
        elif line.strip() and not line.startswith("--"):
            if lines is None:
                raise ValueError(f"{path.name}: SQL before the first `-- name: …`")
            lines.append(line)
    return {name: "\n".join(body) for name, body in found.items()}
