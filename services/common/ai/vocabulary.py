"""The closed list of tags that a model may give."""

from __future__ import annotations

from pathlib import Path

import yaml

SHIPPED = Path(__file__).parent / "vocabulary.yaml"
TAGS_LIMIT = 8
"""Tags of one reading."""


def load_vocabulary(file: Path = SHIPPED) -> dict[str, str]:
    """Tag to meaning, in the order of the file."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {str(tag): str(meaning) for tag, meaning in content.items()}
