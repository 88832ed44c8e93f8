"""The prompts: files with a version in their name, which every reading carries. A changed text is a new file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent


class Prompt(NamedTuple):
    """The instructions of a version; `text` has placeholders in braces."""

    version: str
    text: str

    def filled(self, **values: str) -> str:
        """The text with its placeholders replaced, each once; other braces stay as they are."""
        text = self.text
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value, 1)
        return text


def load_prompt(version: str) -> Prompt:
    """The prompt of a version, `annotate-1` say. Raises FileNotFoundError."""
    return Prompt(version, (_FOLDER / f"{version}.md").read_text(encoding="utf-8"))
