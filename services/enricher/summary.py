"""One English sentence about an event, made by code: who did what to what, from where, with what outcome.

The template comes from the catalogue or the mapping; what the event says is untrusted and comes in neutral, bounded
and, where it is not one word, quoted. No markup: whoever shows a summary escapes it for the place where it stands.
"""

from __future__ import annotations

from typing import Any

from schemas.enrichment import Who
from schemas.events import Event
from schemas.template import Sentence

SUMMARY_LIMIT = 1000
"""Characters of a summary."""


def summarise(template: Sentence, data: dict[str, Any], who: Who, event: Event) -> str:
    """The sentence for one event, with a capital at its beginning and a full stop at its end."""
    text = template.fill(data, who, event)
    return text if len(text) <= SUMMARY_LIMIT else text[: SUMMARY_LIMIT - 2] + "…."
