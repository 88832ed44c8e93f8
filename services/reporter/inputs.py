"""What an edition is made of besides the records: period, cut, filters, and what was known when it was made. JSON-able."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.reporter.period import Period

BY_HAND = "by-hand"
"""The schedule of a report that somebody asked for."""


@dataclass(frozen=True)
class Cut:
    """Up to which records a report counts: `sizes` by chain number, as the seal `seal_no` has them; `root` (hex) and `time_us`
    are that seal's. Made without seals: seal_no and root None, the sizes those of the heads, the time that of the snapshot."""

    seal_no: int | None
    root: str | None
    time_us: int
    sizes: dict[int, int]

    def as_json(self) -> dict[str, Any]:
        sizes = {str(chain_no): self.sizes[chain_no] for chain_no in sorted(self.sizes)}
        return {"seal_no": self.seal_no, "root": self.root, "time_us": self.time_us, "sizes": sizes}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Cut:
        sizes = {int(chain_no): size for chain_no, size in said["sizes"].items()}
        return cls(said["seal_no"], said["root"], said["time_us"], sizes)


@dataclass(frozen=True)
class Filters:
    """Which events count: those of one of `sources`, of one of `types` and with one of `tags`; an empty list lets all
    through. Integrity and completeness are always of the whole log."""

    sources: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """Whether anything is left out."""
        return bool(self.sources or self.types or self.tags)

    def as_json(self) -> dict[str, list[str]]:
        return {"sources": list(self.sources), "types": list(self.types), "tags": list(self.tags)}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Filters:
        return cls(tuple(said["sources"]), tuple(said["types"]), tuple(said["tags"]))


ALL_EVENTS = Filters()


@dataclass(frozen=True)
class Inputs:
    """All that a rebuild needs besides the records. JSON-able; kept in the edition's row.

    `integrity` is `account.as_json(verification)` as it was; `software` the versions and hashes of piperoll, rules, mappings,
    prompts and template; `summary` the executive summary's block as made once, None where facts are put together by
    templates; `differs` the figures that differ from those of the edition that this one replaces."""

    schedule: str
    period: Period
    cut: Cut
    number: int = 1
    replaces: str | None = None
    why: str | None = None
    by: str | None = None
    made_us: int = 0
    software: dict[str, str] = field(default_factory=dict)
    integrity: dict[str, Any] = field(default_factory=dict)
    filters: Filters = ALL_EVENTS
    language: str = "en"
    template: str | None = None
    summary: dict[str, Any] | None = None
    differs: list[dict[str, Any]] = field(default_factory=list)
    attached: bool = True
    """Whether the event log goes along and its hashes stand in the document; not where nobody gets it in full detail."""

    @property
    def edition(self) -> str:
        """The edition's id: `monthly/2026-10/1`."""
        return f"{self.schedule}/{self.period.label}/{self.number}"

    def as_json(self) -> dict[str, Any]:
        plain = {
            name: getattr(self, name)
            for name in (
                "schedule",
                "number",
                "replaces",
                "why",
                "by",
                "made_us",
                "software",
                "integrity",
                "language",
            )
        }
        plain |= {name: getattr(self, name) for name in ("template", "summary", "differs", "attached")}
        return plain | {
            "period": self.period.as_json(),
            "cut": self.cut.as_json(),
            "filters": self.filters.as_json(),
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Inputs:
        made = {
            "period": Period.from_json(said["period"]),
            "cut": Cut.from_json(said["cut"]),
            "filters": Filters.from_json(said["filters"]),
        }
        return cls(**(dict(said) | made))
