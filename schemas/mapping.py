"""Mappings: how the events of a source are recognised, and where in them stands who did what to what.

`mappings/*.yaml` holds one mapping per log source; README.md there has the form. Mappings are compiled once; a mapping
knows nothing of rules or summaries but the names that those use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from schemas.codegen import Code
from schemas.documents import DocumentError, fingerprint, read_entries, yaml_files
from schemas.enrichment import Who
from schemas.events import Event
from schemas.paths import compile_paths, source_of
from schemas.template import Name, sentence
from schemas.text import plain

SHIPPED = Path(__file__).parent / "mappings"
WHO_LIMIT = 256
"""Characters of actor, action, resource, origin and outcome."""
NAME_LIMIT = 512
_REMEMBERED = 2048
_KEYS_LIMIT = 1000
"""Sets of keys that are remembered, and characters of one of them."""

UNKNOWN = "unknown"
"""The log source of events that neither catalogue nor mappings know, and the name of whatever has none."""

_SUCCESS = frozenset(
    {"success", "succeeded", "successful", "ok", "true", "allow", "allowed", "granted", "passed"}
)
_FAILURE = frozenset(
    {"failure", "failed", "fail", "false", "error", "deny", "denied", "forbidden", "rejected"}
)
WhoReader = Callable[[dict[str, Any], Event], Who]
"""Finds who did what to what in an event's data."""


class LogSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A log source in Sigma's sense."""

    product: str | None = None
    service: str | None = None
    category: str | None = None

    def covers(self, other: LogSource) -> bool:
        """Whether a rule for this log source is meant for events of the other."""
        return (
            self.product in (None, other.product)
            and self.service in (None, other.service)
            and self.category in (None, other.category)
        )


class MappingForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A mapping as it stands in YAML. Lists are fall-backs: the first path that finds something counts."""

    name: str
    recognise: list[dict[str, Any]]
    logsource: list[LogSource]
    source: str = ""
    id: list[str] = []
    type: str = ""
    time: list[str] = []
    actor: list[str] = []
    action: list[str] = []
    resource: list[str] = []
    origin: list[str] = []
    outcome: list[str] = []
    error: list[str] = []
    status: list[str] = []
    default_outcome: str | None = None
    summary: str
    discriminators: list[str] = []
    fields: dict[str, str | list[str]] = {}
    words: list[str] = []
    within: list[str] = []
    tags: list[str] = []


class Mapping:
    """A compiled mapping. Raises ValueError where the form is wrong."""

    def __init__(self, form: MappingForm) -> None:
        self.log_source = form.name
        self.logsources = form.logsource
        self.discriminators = form.discriminators
        self.fields = {name: [path] if isinstance(path, str) else path for name, path in form.fields.items()}
        self.words = [*form.action, *form.words]
        """Where the words stand that say what was done."""
        self.within = compile_paths(form.within) if form.within else None
        """Finds the event itself, where this mapping only knows its envelope: an object, or JSON in a text."""
        self.tags = form.tags
        self.summary = sentence(form.summary)
        self.recognise = form.recognise
        _recogniser(Code(), form.recognise)  # raises where it is wrong
        self.who = compile_who(form)
        self.source: Callable[[dict[str, Any]], str] = Name(form.source, NAME_LIMIT).compose
        """The source that a bare event has by its shape; empty if it does not tell."""
        self.event_type: Callable[[dict[str, Any]], str] = Name(form.type, NAME_LIMIT).compose
        """The event type that a bare event has by its shape; empty if it does not tell."""
        self._id = _identifier(form.id)
        self.time = compile_paths(form.time)

    def id(self, data: dict[str, Any]) -> str:
        """The event's own id; empty if it has none."""
        found = self._id(data)
        return found if type(found) is str else str(found) if type(found) is int else ""


def _identifier(paths: list[str]) -> Callable[[dict[str, Any]], Any]:
    """Paths, or one template where a single field does not tell one event from another (`{auditID}/{stage}`)."""
    if len(paths) == 1 and "{" in paths[0]:
        return Name(paths[0], NAME_LIMIT).compose
    return compile_paths(paths)


class Mappings:
    """All mappings, in the order of their files' names."""

    def __init__(self, mappings: list[Mapping], version: str) -> None:
        self.version = version
        self.all = mappings
        self._alternatives = _by_rarest_key(mappings)
        self._tried: dict[tuple[str, ...], tuple[_Alternative, ...]] = {}

    def recognise(self, data: dict[str, Any]) -> Mapping | None:
        """The mapping for an event's data by its shape. Only alternatives are tried of which the data has the key
        that fewest others ask for."""
        keys = tuple(data)
        candidates = self._tried.get(keys)
        if candidates is None:
            candidates = self._candidates(keys)
        for candidate in candidates:
            if candidate[2](data):
                return candidate[3]
        return None

    def _candidates(self, keys: tuple[str, ...]) -> tuple[_Alternative, ...]:
        """The alternatives worth trying for data with these keys, remembered: events of one source have the same few."""
        found = sorted(one for key in keys for one in self._alternatives.get(key, ()))
        if len(self._tried) >= _REMEMBERED:
            self._tried.clear()
        if sum(map(len, keys)) <= _KEYS_LIMIT:
            self._tried[keys] = tuple(found)
        return tuple(found)


_Alternative = tuple[int, int, Callable[[dict[str, Any]], bool], Mapping]
"""Place of the mapping, a number of its own (so that nothing behind it is ever compared), test, mapping."""


def _by_rarest_key(mappings: list[Mapping]) -> dict[str, list[_Alternative]]:
    """The alternatives of all mappings, by one of the keys at the top of the data that each must have."""
    asked = Counter(
        key for mapping in mappings for tests in mapping.recognise for path in tests for key in _keys(path)
    )
    table: dict[str, list[_Alternative]] = {}
    number = 0
    for place, mapping in enumerate(mappings):
        for tests in mapping.recognise:
            code = Code()
            test = code.function("d", _recogniser(code, [tests]))
            rarest = min(tests, key=lambda path: (asked[path.partition(".")[0]], path))
            for key in _keys(rarest):
                number += 1
                table.setdefault(key, []).append((place, number, test, mapping))
    return table


def _keys(path: str) -> set[str]:
    """The keys at the top of data under one of which a path must stand."""
    return {path, path.partition(".")[0]}


def load_mappings(directory: Path = SHIPPED) -> Mappings:
    """The mappings of a folder, by default those shipped. Raises DocumentError."""
    files = [file for file in yaml_files(directory) if file.parent.name != "generic"]
    made = []
    for file in files:
        for form in read_entries(file, MappingForm, "name"):
            try:
                made.append(Mapping(form))
            except ValueError as error:
                raise DocumentError(f"{file}: {form.name}: {error}") from error
    return Mappings(made, fingerprint(files))


class WhoForm(Protocol):
    """What a mapping and an entry of the catalogue have in common."""

    actor: list[str]
    action: list[str]
    resource: list[str]
    origin: list[str]
    outcome: list[str]
    error: list[str]
    status: list[str]
    default_outcome: str | None


def compile_who(form: WhoForm) -> WhoReader:
    """Finds actor, action, resource, origin and outcome, each neutral and bounded. Where the data names no action, it is
    the event's type; no resource: its subject."""
    code = Code(plain=plain, len=len)
    limit = code.constant(WHO_LIMIT)

    def told(*sources: str) -> str:
        """The first value that is there; short printable texts, the usual case, are taken as they are."""
        text = "None"
        for source in reversed([source for source in sources if source != "None"]):
            short = f"v if type(v) is str and v.isprintable() and 0 < len(v) <= {limit}"
            text = f"({text} if (v := {source}) is None else {short} else plain(v, {limit}))"
        return text

    parts = [
        told(source_of(code, form.actor)),
        told(source_of(code, form.action), "e.type"),
        told(source_of(code, form.resource), "e.subject"),
        told(source_of(code, form.origin)),
        _outcome(code, form),
    ]
    who: WhoReader = code.function("d, e", f"{code.constant(Who)}({', '.join(parts)})")
    return who


def _outcome(code: Code, form: WhoForm) -> str:
    """The expression for `success`, `failure`, `failure: CODE`, or the event's own word for what came of it."""
    default = code.constant(form.default_outcome)

    def by_word(value: Any) -> str | None:
        text = plain(value, WHO_LIMIT)
        if text is None:
            return form.default_outcome
        lower = text.lower()
        return "success" if lower in _SUCCESS else "failure" if lower in _FAILURE else text

    def by_code(value: Any) -> str | None:
        text = plain(value, WHO_LIMIT)
        return None if text is None else f"failure: {text}"

    def by_status(value: Any) -> str | None:
        if type(value) is not int or not 100 <= value <= 599:
            return None
        return "success" if value < 400 else f"failure: {value}"

    source = "None"
    for paths, test in ((form.outcome, by_word), (form.status, by_status), (form.error, by_code)):
        if paths:
            otherwise = source if source != "None" else default
            named = code.constant(test)
            source = f"({otherwise} if (o := {source_of(code, paths)}) is None or (o := {named}(o)) is None else o)"
    return source if source != "None" else default


def _recogniser(code: Code, alternatives: list[dict[str, Any]]) -> str:
    """The expression that is true where every test of one alternative holds: `path: '*'` (there and not null),
    `path: prefix*`, `path: value` or a list of values."""
    if not all(alternatives):
        raise ValueError("recognise: an alternative without tests would take every event")
    each = [
        " and ".join(_test(code, path, wanted) for path, wanted in tests.items()) for tests in alternatives
    ]
    return " or ".join(f"({tests})" for tests in each) or "False"


def _test(code: Code, path: str, wanted: Any) -> str:
    found = source_of(code, [path])
    if wanted == "*":
        return f"{found} is not None"
    if isinstance(wanted, list):
        return f"{found} in {code.constant(wanted)}"
    if isinstance(wanted, str) and wanted.endswith("*"):
        return f"(type(v := {found}) is str and v.startswith({code.constant(wanted[:-1])}))"
    return f"{found} == {code.constant(wanted)}"


GENERIC = Mapping(
    read_entries(Path(__file__).parent / "mappings" / "generic" / "unknown.yml", MappingForm, "name")[0]
)
"""For events that neither catalogue nor mappings know: the names that applications commonly use."""
