"""Controls: which clauses of which frameworks the tags of events, and what Piperoll does with them, speak to.

`controls/*.yaml` holds one framework a file; README.md there has the form. `python -m schemas.controls` checks them all
(part of `make check`): a clause that a file does not list, a fact that nobody knows, two files for one framework, a verdict.

A report calls it so, and prints NO_VERDICT beside what comes back:

    controls = load_controls()                         # once; controls.version goes into the edition
    lines = controls.lines(
        tags={"auth:failed": 12, "cloud:logging-off": 1},                 # events of the period by tag
        facts={"verified": Fact(31), "alerted": Fact(4, exceptions=1)},   # of FACTS, those that are known
    )
    for line in lines:                                 # every clause, in the order of the files
        line.framework, line.edition, line.clause, line.says
        line.shows        # sentences with figures: "Events tagged auth:failed: 12"
        line.not_shown    # what the records cannot tell
        line.state        # "operation", "exception", "nothing"
        line.tags, line.facts     # what was counted, so that records can be cited
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from schemas.control_facts import FACTS, Fact, fact_sentence
from schemas.documents import DocumentError, fingerprint, read_entries, yaml_files

SHIPPED = Path(__file__).parent / "controls"
NO_VERDICT = (
    "Each line says which records speak to a clause. Whether anybody meets the clause is for an auditor to judge, who"
    " sees more than these records."
)
"""A sentence that stands beside control lines wherever they are shown."""
State = Literal["operation", "exception", "nothing"]
"""`operation`: records of what the clause asks for. `exception`: among them what went against it. `nothing`: no record."""
_WORDS_LIMIT = 200
_VERDICT = re.compile(r"\b(non-?)?complian(t|ce)\b|\bcompl(y|ies)\b|\bcertified\b|\bfulfil", re.IGNORECASE)
_DEADLINE = re.compile(r"\b(\d+|one|two|three|six|seven|twelve)[ -](hour|day|week|month|year)", re.IGNORECASE)


class ClauseForm(msgspec.Struct, forbid_unknown_fields=True):
    """A clause as it stands in YAML. `says` and `not_shown` are in our own words."""

    clause: str | float
    says: str
    not_shown: str
    source: str
    checked: date


class FrameworkForm(msgspec.Struct, forbid_unknown_fields=True):
    """A framework as it stands in YAML. Tags under `exceptions` go against the clauses that they name."""

    framework: str
    edition: str | float
    version: int
    clauses: list[ClauseForm]
    tags: dict[str, list[str | float]] = {}
    exceptions: dict[str, list[str | float]] = {}
    facts: dict[str, list[str | float]] = {}


class Clause(NamedTuple):
    """One clause, as a report names it."""

    framework: str
    edition: str
    clause: str
    says: str
    not_shown: str
    source: str
    checked: date


class Line(NamedTuple):
    """What the records of a period show for one clause. `tags` and `exceptions` count events by tag."""

    framework: str
    edition: str
    clause: str
    says: str
    shows: list[str]
    not_shown: str
    state: State
    tags: dict[str, int]
    exceptions: dict[str, int]
    facts: dict[str, Fact]
    source: str
    checked: date


class _ByTag:
    """Clauses by tag, or by the beginning of one (`auth:*`)."""

    def __init__(self) -> None:
        self._whole: dict[str, list[Clause]] = {}
        self._prefixes: list[tuple[str, list[Clause]]] = []

    def add(self, tag: str, clauses: list[Clause]) -> None:
        if tag.endswith("*"):
            self._prefixes.append((tag[:-1], clauses))
        else:
            self._whole.setdefault(tag, []).extend(clauses)

    def __getitem__(self, tag: str) -> Iterator[Clause]:
        yield from self._whole.get(tag, ())
        for prefix, clauses in self._prefixes:
            if tag.startswith(prefix):
                yield from clauses


class Controls:
    """All frameworks. `version`: twelve hex digits over the files."""

    def __init__(self, frameworks: list[FrameworkForm], version: str) -> None:
        self.version = version
        self.clauses: list[Clause] = []
        self._by_tag, self._against = _ByTag(), _ByTag()
        self._by_fact: dict[str, list[Clause]] = {}
        for form in frameworks:
            self._take(form)

    def lines(self, tags: Mapping[str, int], facts: Mapping[str, Fact]) -> list[Line]:
        """What a period's records show, one line a clause: from its events by tag and from the facts that are known.
        Raises KeyError for a fact that nobody knows."""
        _must_be_known(facts)
        counted = {clause: _Counted({}, {}, {}) for clause in self.clauses}
        for tag, events in tags.items():
            if events:
                for clause in self._by_tag[tag]:
                    counted[clause].tags[tag] = events
                for clause in self._against[tag]:
                    counted[clause].exceptions[tag] = events
        for name, fact in facts.items():
            for clause in self._by_fact.get(name, ()):
                counted[clause].facts[name] = fact
        return [_line(clause, found) for clause, found in counted.items()]

    def for_tags(self, tags: Iterable[str]) -> list[Clause]:
        """The clauses that some tags speak to or against, each once, in the order of the files."""
        found = {clause for tag in tags for by in (self._by_tag, self._against) for clause in by[tag]}
        return [clause for clause in self.clauses if clause in found]

    def for_facts(self, facts: Iterable[str]) -> list[Clause]:
        """The clauses that some facts speak to, each once. Raises KeyError for a fact that nobody knows."""
        wanted = set(facts)
        _must_be_known(wanted)
        found = {clause for fact in wanted for clause in self._by_fact.get(fact, ())}
        return [clause for clause in self.clauses if clause in found]

    def _take(self, form: FrameworkForm) -> None:
        edition = str(form.edition)
        named = {
            str(one.clause): Clause(
                form.framework, edition, str(one.clause), one.says, one.not_shown, one.source, one.checked
            )
            for one in form.clauses
        }
        self.clauses += named.values()
        for tag, clauses in form.tags.items():
            self._by_tag.add(tag, [named[str(clause)] for clause in clauses])
        for tag, clauses in form.exceptions.items():
            self._against.add(tag, [named[str(clause)] for clause in clauses])
        for fact, clauses in form.facts.items():
            self._by_fact.setdefault(fact, []).extend(named[str(clause)] for clause in clauses)


class _Counted(NamedTuple):
    tags: dict[str, int]
    exceptions: dict[str, int]
    facts: dict[str, Fact]


def _line(clause: Clause, found: _Counted) -> Line:
    shows = [f"Events tagged {tag}: {events:,}" for tag, events in sorted(found.tags.items())]
    shows += [
        f"Against it, events tagged {tag}: {events:,}" for tag, events in sorted(found.exceptions.items())
    ]
    shows += [fact_sentence(name, fact) for name, fact in found.facts.items()]
    return Line(
        framework=clause.framework,
        edition=clause.edition,
        clause=clause.clause,
        says=clause.says,
        shows=shows,
        not_shown=clause.not_shown,
        state=_state(found),
        tags=found.tags,
        exceptions=found.exceptions,
        facts=found.facts,
        source=clause.source,
        checked=clause.checked,
    )


def _state(found: _Counted) -> State:
    if found.exceptions or any(fact.exceptions and FACTS[name].grave for name, fact in found.facts.items()):
        return "exception"
    return "operation" if found.tags or any(fact.count for fact in found.facts.values()) else "nothing"


def _must_be_known(facts: Iterable[str]) -> None:
    if unknown := set(facts) - FACTS.keys():
        raise KeyError(f"no such fact: {', '.join(sorted(unknown))}")


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
        if wrong := _wrong_words(one):
            return f"clause {one.clause}: {wrong}"
    for kind, mapped in (("tag", form.tags), ("exception", form.exceptions), ("fact", form.facts)):
        for name, clauses in mapped.items():
            unknown = [str(clause) for clause in clauses if str(clause) not in names]
            if unknown:
                return f"{kind} {name}: clause {unknown[0]} is not in clauses"
    unknown_facts = sorted(form.facts.keys() - FACTS.keys())
    if unknown_facts:
        return f"fact {unknown_facts[0]} is not one of {', '.join(sorted(FACTS))}"
    return None


def _wrong_words(form: ClauseForm) -> str | None:
    for text in (form.says, form.not_shown):
        if not text or len(text) > _WORDS_LIMIT:
            return f"says and not_shown are needed, each of up to {_WORDS_LIMIT} characters"
        if found := _VERDICT.search(text) or _DEADLINE.search(text):
            return f"{found.group()!r}: no verdict and no deadline stands here"
    return None if form.source else "source is needed: where the clause was read"


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
