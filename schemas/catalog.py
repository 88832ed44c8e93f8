"""The event catalogue: which event types there are, what each must tell, and how it is put in a sentence.

`catalog/*.yaml` holds the shipped types; a folder of one's own is read after it, and an entry of the same name there
replaces the shipped one. README.md in that folder has the form.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from schemas.codegen import Code
from schemas.documents import DocumentError, fingerprint, read_entries, yaml_files
from schemas.mapping import compile_who
from schemas.paths import compile_paths
from schemas.template import sentence

SHIPPED = Path(__file__).parent / "catalog"
TAG_INCOMPLETE = "catalog:incomplete"
TAG_UNKNOWN = "catalog:unknown"
CATALOG = "catalog"
"""The log source of events whose type is in the catalogue."""


class CatalogForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An entry as it stands in YAML: `event` and `fields` are all that is needed."""

    event: str
    fields: list[str]
    category: str = "other"
    summary: str | None = None
    actor: list[str] = msgspec.field(
        default_factory=lambda: ["actor_id", "user_id", "actor", "user", "username", "email"]
    )
    action: list[str] = []
    resource: list[str] = []
    origin: list[str] = msgspec.field(default_factory=lambda: ["ip_address", "source_ip", "client_ip", "ip"])
    outcome: list[str] = msgspec.field(default_factory=lambda: ["outcome", "result"])
    error: list[str] = []
    status: list[str] = []
    default_outcome: str | None = None
    time: list[str] = msgspec.field(default_factory=lambda: ["timestamp", "event_time"])
    tags: list[str] = []
    sensitive: list[str] = []


class CatalogEntry:
    """A compiled event type. Raises ValueError where the form is wrong."""

    log_source = CATALOG

    def __init__(self, form: CatalogForm) -> None:
        if not form.event or len(form.event) > 256:
            raise ValueError("event: a name of 1 to 256 characters")
        self.event = form.event
        self.fields = tuple(form.fields)
        code = Code()
        self._lacks: Callable[[dict[str, Any]], bool] = code.function(
            "d", " or ".join(f"d.get({code.constant(field)}) is None" for field in form.fields) or "False"
        )
        self.category = form.category
        self.tags = form.tags
        self.sensitive = frozenset(form.sensitive)
        self.summary = sentence(form.summary or _default_summary(form), self.sensitive)
        self.who = compile_who(form)
        self.time = compile_paths(form.time)

    def missing(self, data: Any) -> list[str]:
        """The required fields that are absent or null in an event's data."""
        if type(data) is not dict:
            return list(self.fields)
        return [field for field in self.fields if data.get(field) is None] if self._lacks(data) else []


class Catalog:
    """All event types by name."""

    def __init__(self, entries: dict[str, CatalogEntry], version: str) -> None:
        self.entries = entries
        self.version = version

    def missing(self, event_type: str, data: Any) -> list[str] | None:
        """The required fields that an event of this type lacks: [] if it is complete, None if the type is unknown."""
        entry = self.entries.get(event_type)
        return None if entry is None else entry.missing(data)


def load_catalog(directory: Path | None = None) -> Catalog:
    """The shipped catalogue with the entries of `directory` over it. Raises DocumentError."""
    files = yaml_files(SHIPPED) + (yaml_files(directory) if directory is not None else [])
    entries: dict[str, CatalogEntry] = {}
    origin: dict[str, Path] = {}
    for file in files:
        for form in read_entries(file, CatalogForm, "event"):
            earlier = origin.get(form.event)
            if earlier is not None and (
                earlier == file or earlier.is_relative_to(SHIPPED) == file.is_relative_to(SHIPPED)
            ):
                raise DocumentError(f"{file}: {form.event}: already in {earlier}")
            try:
                entries[form.event] = CatalogEntry(form)
            except ValueError as error:
                raise DocumentError(f"{file}: {form.event}: {error}") from error
            origin[form.event] = file
    return Catalog(entries, fingerprint(files))


def _default_summary(form: CatalogForm) -> str:
    words = form.event.replace("_", " ").replace(".", " ").replace("{", "").replace("[", "")
    return f"{words[:1].upper()}{words[1:]}[ by {{@actor}}][ on {{@resource}}]"
