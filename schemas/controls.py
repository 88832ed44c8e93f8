"""Controls: which clauses of which frameworks the tags of events, and what Piperoll does with them, speak to.

`controls/*.yaml` holds one framework a file; README.md there has the form. `python -m schemas.controls` checks them all
(part of `make check`): a clause that a file does not list, a fact that nobody knows, two files for one framework.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import msgspec

from schemas.documents import DocumentError, fingerprint, read_entries, yaml_files

SHIPPED = Path(__file__).parent / "controls"
FACTS = frozenset(
    [
        "actor",
        "action",
        "resource",
        "origin",
        "outcome",
        "time",
        "chained",
        "sealed",
        "verified",
        "reviewed",
        "alerted",
        "reported",
        "retained",
        "erased",
        "read",
    ]
)
"""What may be shown beside tags: the first six are told by an event, the others done with it and recorded."""
_WORDS_LIMIT = 200


class ClauseForm(msgspec.Struct, forbid_unknown_fields=True):
    """A clause as it stands in YAML. `says` is in our own words."""

    clause: str | float
    says: str
    source: str
    checked: date


class FrameworkForm(msgspec.Struct, forbid_unknown_fields=True):
    """A framework as it stands in YAML."""

    framework: str
    edition: str | float
    version: int
    clauses: list[ClauseForm]
    tags: dict[str, list[str | float]] = {}
    facts: dict[str, list[str | float]] = {}


class Clause(NamedTuple):
    """One clause, as a report names it."""

    framework: str
    edition: str
    clause: str
    says: str
    source: str
    checked: date


class Controls:
    """All frameworks. `version`: twelve hex digits over the files."""

    def __init__(self, frameworks: list[FrameworkForm], version: str) -> None:
        self.version = version
        self.clauses: list[Clause] = []
        self._by_tag: dict[str, list[Clause]] = {}
        self._by_prefix: list[tuple[str, list[Clause]]] = []
        self._by_fact: dict[str, list[Clause]] = {}
        for form in frameworks:
            self._take(form)

    def for_tags(self, tags: Iterable[str]) -> list[Clause]:
        """The clauses that some tags speak to, each once, in the order of the files."""
        found: set[Clause] = set()
        for tag in tags:
            found.update(self._by_tag.get(tag, ()))
            for prefix, clauses in self._by_prefix:
                if tag.startswith(prefix):
                    found.update(clauses)
        return [clause for clause in self.clauses if clause in found]

    def for_facts(self, facts: Iterable[str]) -> list[Clause]:
        """The clauses that some facts speak to, each once. Raises KeyError for a fact that nobody knows."""
        wanted = set(facts)
        if unknown := wanted - FACTS:
            raise KeyError(f"no such fact: {', '.join(sorted(unknown))}")
        found = {clause for fact in wanted for clause in self._by_fact.get(fact, ())}
        return [clause for clause in self.clauses if clause in found]

    def _take(self, form: FrameworkForm) -> None:
        named = {}
        for one in form.clauses:
            made = Clause(
                form.framework, str(form.edition), str(one.clause), one.says, one.source, one.checked
            )
            named[made.clause] = made
        self.clauses += named.values()
        for tag, clauses in form.tags.items():
            meant = [named[str(clause)] for clause in clauses]
            if tag.endswith("*"):
                self._by_prefix.append((tag[:-1], meant))
            else:
                self._by_tag.setdefault(tag, []).extend(meant)
        for fact, clauses in form.facts.items():
            self._by_fact.setdefault(fact, []).extend(named[str(clause)] for clause in clauses)


def load_controls(directory: Path = SHIPPED) -> Controls:
    """The controls of a folder, by default those shipped. Raises DocumentError, which names file and what is wrong."""
    files = yaml_files(directory)
    frameworks: dict[str, FrameworkForm] = {}
    for file in files:
        for form in read_entries(file, FrameworkForm, "framework"):
            wrong = _wrong(form)
            if form.framework in frameworks:
                wrong = "the framework stands in another file too"
            if wrong is not None:
                raise DocumentError(f"{file}: {form.framework}: {wrong}")
            frameworks[form.framework] = form
    return Controls(list(frameworks.values()), fingerprint(files))


def _wrong(form: FrameworkForm) -> str | None:
    """What is wrong with a framework, None if nothing is."""
    names = [str(one.clause) for one in form.clauses]
    for one in form.clauses:
        if names.count(str(one.clause)) > 1:
            return f"clause {one.clause} stands there twice"
        if not one.says or len(one.says) > _WORDS_LIMIT or not one.source:
            return f"clause {one.clause}: says (up to {_WORDS_LIMIT} characters) and source are needed"
    for kind, mapped in (("tag", form.tags), ("fact", form.facts)):
        for name, clauses in mapped.items():
            unknown = [str(clause) for clause in clauses if str(clause) not in names]
            if unknown:
                return f"{kind} {name}: clause {unknown[0]} is not in clauses"
    unknown_facts = sorted(form.facts.keys() - FACTS)
    if unknown_facts:
        return f"fact {unknown_facts[0]} is not one of {', '.join(sorted(FACTS))}"
    return None


def main() -> int:
    """Exit status: 0 all files fit, 1 one does not."""
    try:
        load_controls()
    except DocumentError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
