"""Mappings: how the events of a source are recognised, and where in them stands who did what to what.

`mappings/*.yaml` holds one mapping per log source; README.md there has the form. Mappings are compiled once; a mapping
knows nothing of rules or summaries but the names that those use.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from schemas.codegen import Code
from schemas.documents import DocumentError, fingerprint, read_entries, yaml_files
from schemas.enrichment import Who
from schemas.events import Event
from schemas.paths import compile_path, compile_paths
from schemas.template import Name, sentence
from schemas.text import plain

SHIPPED = Path(__file__).parent / "mappings"
WHO_LIMIT = 256
"""Characters of actor, action, resource, origin and outcome."""
NAME_LIMIT = 512

UNKNOWN = "unknown"
"""The log source of events that neither catalogue nor mappings know, and the name of whatever has none."""

_SUCCESS = frozenset(
    {"success", "succeeded", "successful", "ok", "true", "allow", "allowed", "granted", "passed"}
)
_FAILURE = frozenset(
    {"failure", "failed", "fail", "false", "error", "deny", "denied", "forbidden", "rejected"}
)
Test = Callable[[dict[str, Any]], bool]
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
    tags: list[str] = []


class Mapping:
    """A compiled mapping. Raises ValueError where the form is wrong."""

    def __init__(self, form: MappingForm) -> None:
        self.log_source = form.name
        self.logsources = form.logsource
        self.discriminators = form.discriminators
        self.fields = {name: [path] if isinstance(path, str) else path for name, path in form.fields.items()}
        self.tags = form.tags
        self.summary = sentence(form.summary)
        self.recognises = _recogniser(form.recognise)
        self.who = compile_who(form)
        self._source = Name(form.source)
        self._type = Name(form.type)
        self._id = compile_paths(form.id)
        self.time = compile_paths(form.time)

    def source(self, data: dict[str, Any]) -> str:
        """The source that a bare event has by its shape; empty if it does not tell."""
        return self._source.compose(data, NAME_LIMIT)

    def event_type(self, data: dict[str, Any]) -> str:
        """The event type that a bare event has by its shape; empty if it does not tell."""
        return self._type.compose(data, NAME_LIMIT)

    def id(self, data: dict[str, Any]) -> str:
        """The event's own id; empty if it has none."""
        found = self._id(data)
        return found if isinstance(found, str) else str(found) if type(found) is int else ""


class Mappings:
    """All mappings, in the order of their files' names."""

    def __init__(self, mappings: list[Mapping], version: str) -> None:
        self.version = version
        self.all = mappings
        self._tests = [(mapping.recognises, mapping) for mapping in mappings]

    def recognise(self, data: dict[str, Any]) -> Mapping | None:
        """The mapping for an event by its shape."""
        for recognises, mapping in self._tests:
            if recognises(data):
                return mapping
        return None


def load_mappings(directory: Path = SHIPPED) -> Mappings:
    """The mappings of a folder, by default those shipped. Raises DocumentError."""
    files = yaml_files(directory)
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
    code = Code(plain=plain)

    def value(paths: list[str]) -> str:
        single = len(paths) == 1 and "." not in paths[0]
        found = f"d.get({code.constant(paths[0])})" if single else f"{code.constant(compile_paths(paths))}(d)"
        return f"plain({found}, {limit})"

    limit = code.constant(WHO_LIMIT)
    nothing = code.constant(None)
    outcome = _outcome(form)
    parts = [
        value(form.actor) if form.actor else nothing,
        (f"{value(form.action)} or " if form.action else "") + f"plain(e.type, {limit})",
        (f"{value(form.resource)} or " if form.resource else "") + f"plain(e.subject, {limit})",
        value(form.origin) if form.origin else nothing,
        f"{code.constant(outcome)}(d)",
    ]
    who: WhoReader = code.function("d, e", f"{code.constant(Who)}({', '.join(parts)})")
    return who


def _outcome(form: WhoForm) -> Callable[[dict[str, Any]], str | None]:
    """`success`, `failure`, `failure: CODE`, or the event's own word for what came of it."""
    default = form.default_outcome
    stated, error, status = map(compile_paths, (form.outcome, form.error, form.status))

    def by_word(data: dict[str, Any]) -> str | None:
        value = stated(data)
        if value is None:
            return default
        text = plain(value, WHO_LIMIT)
        if text is None:
            return default
        lower = text.lower()
        return "success" if lower in _SUCCESS else "failure" if lower in _FAILURE else text

    def by_code(data: dict[str, Any]) -> str | None:
        code = plain(error(data), WHO_LIMIT)
        if code is not None:
            return f"failure: {code}"
        number = status(data)
        if type(number) is int and 100 <= number <= 599:
            return "success" if number < 400 else f"failure: {number}"
        return by_word(data)

    return by_code if form.error or form.status else by_word


def _recogniser(alternatives: list[dict[str, Any]]) -> Test:
    """True where every test of one alternative holds: `path: '*'` (there and not null), `path: prefix*`, `path: value`
    or a list of values."""
    compiled = [[_test(path, wanted) for path, wanted in tests.items()] for tests in alternatives]
    if not all(compiled):
        raise ValueError("recognise: an alternative without tests would take every event")

    def recognises(data: dict[str, Any]) -> bool:
        for tests in compiled:
            for test in tests:
                if not test(data):
                    break
            else:
                return True
        return False

    return recognises


def _test(path: str, wanted: Any) -> Test:
    get = compile_path(path)
    if wanted == "*":
        return lambda data: get(data) is not None
    if isinstance(wanted, list):
        return lambda data: get(data) in wanted
    if isinstance(wanted, str) and wanted.endswith("*"):
        prefix = wanted[:-1]
        return lambda data: isinstance(text := get(data), str) and text.startswith(prefix)
    return lambda data: bool(get(data) == wanted)


GENERIC = Mapping(
    MappingForm(
        name=UNKNOWN,
        recognise=[],
        logsource=[],
        actor=[
            "actor_id",
            "user_id",
            "actor",
            "user",
            "username",
            "user_name",
            "email",
            "principal",
            "account_id",
        ],
        action=["action", "operation", "event_name", "method"],
        resource=["resource", "resource_id", "object_id", "target", "target_id", "file", "path"],
        origin=["ip_address", "source_ip", "client_ip", "ip", "remote_addr"],
        outcome=["outcome", "result", "success"],
        error=["error_code", "error"],
        time=["timestamp", "event_time", "time", "@timestamp"],
        summary="Event {@type}[ by {@actor}][ on {@resource}] of {@source}",
    )
)
"""For events that neither catalogue nor mappings know: the names that applications commonly use."""
