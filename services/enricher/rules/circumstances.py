"""What an event of any source says about itself, by the names of its keys, so that rules need no path per source.

Rules read `ce.own_severity` (informational to critical, in the words of RISKS), `ce.own_status` (`closed`, `sample`: it needs
nobody any more, or never did) and `ce.new_state` (to what something was changed: `on`, `off`,
`open` to everybody, `powerful`: a role of administrators). Keys that describe the check
behind an event (`control`, `rule`, `policy`) are passed by: the severity of a rule is not that of what it found. What stands
nearest to the top counts; where one level says both on and off, neither is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from schemas.enrichment import RISKS
from schemas.events import Event

SEVERITY, STATUS, STATE = "own_severity", "own_status", "new_state"
FACTS = (SEVERITY, STATUS, STATE)
_DEPTH = 3
_MOST_KEYS = 400
"""Levels and keys that are looked at: an event's sender chooses how many there are."""
_NAME_LIMIT = 64
_REMEMBERED, _REMEMBERED_LENGTH = 4096, 1000
"""Sets of keys that are remembered, and characters of one of them."""

_KINDS = {
    SEVERITY: "severity severitylabel severityname severitytext severitylevel risk risklevel riskseverity threatlevel "
    "threatseverity alertseverity criticality confidencelevel",
    STATUS: "status state workflowstatus recordstate alertstatus issuestatus findingstatus resolution disposition "
    "sample issample archived istest",
    STATE: "newvalue new to newstate currentvalue enabled isenabled state",
}
_CHECKS = frozenset(["control", "rule", "sourcerule", "policy", "detectionrule", "check", "definition"])
_WORDS = {
    SEVERITY: {
        "critical": "critical fatal severe imminentcompromise",
        "high": "high malicious suspicious",
        "medium": "medium moderate",
        "low": "low minor",
        "informational": "info informational none negligible",
    },
    STATUS: {
        "closed": "closed resolved dismissed suppressed archived falsepositive remediated fixed ignored mitigated",
        "sample": "sample test",
    },
    STATE: {
        "on": "on true enabled required active enforced",
        "off": "off false disabled none never optional no inactive",
        "open": "public anyone everyone anyonewithlink anyonewiththelink world",
        "powerful": "admin administrator owner superadmin superadministrator systemadministrator superuser accountadmin orgowner",
    },
}
_SAID = {
    fact: {text: said for said, texts in words.items() for text in texts.split()}
    for fact, words in _WORDS.items()
}
_PREFIXES = ("e", "s", "severity")


class Circumstances(NamedTuple):
    """What an event says about itself; None: nothing."""

    own_severity: str | None = None
    own_status: str | None = None
    new_state: str | None = None


_NOTHING = Circumstances()


class _Reader:
    """Reads once for all rules that ask about an event."""

    def __init__(self) -> None:
        self._last: tuple[Any, Circumstances] = (None, Circumstances())

    def of(self, data: dict[str, Any], event: Event) -> Circumstances:
        if self._last[0] is not event:
            self._last = (event, circumstances(data))
        return self._last[1]


_READER = _Reader()


def fact_reader(name: str) -> Any:
    """The function for one of FACTS of an event."""
    position = FACTS.index(name)
    return lambda data, event: _READER.of(data, event)[position]


def circumstances(data: dict[str, Any]) -> Circumstances:
    """What is said nearest to the top of an event's data."""
    found: dict[str, str | None] = {}
    level, left = [data], _MOST_KEYS
    for _ in range(_DEPTH):
        said: dict[str, set[str]] = {}
        below: list[dict[str, Any]] = []
        for part in level:
            left -= len(part)
            if left < 0:
                break
            _look(part, said, below)
        for fact, texts in said.items():
            found.setdefault(fact, _one(fact, texts))
        level = below
        if not level:
            break
    return Circumstances(**found) if found else _NOTHING


def _look(part: dict[str, Any], said: dict[str, set[str]], below: list[dict[str, Any]]) -> None:
    for key, facts in _telling(tuple(part)):
        value = part[key]
        if type(value) is not dict:
            for fact in facts:
                _say(fact, value, key, said)
        elif SEVERITY in facts:
            _say(SEVERITY, value.get("Label", value.get("label", value.get("name"))), key, said)
    for key, value in part.items():
        kind = type(value)
        if kind is dict:
            if _facts(key) is not None:
                below.append(value)
        elif kind is list:
            below += [item for item in value[:_MOST_KEYS] if type(item) is dict and _facts(key) is not None]


_plans: dict[tuple[str, ...], list[tuple[str, tuple[str, ...]]]] = {}


def _telling(keys: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """Those of an object's keys that tell a fact, remembered if they are not very long."""
    found = _plans.get(keys)
    if found is None:
        found = [(key, facts) for key in keys if (facts := _facts(key))]
        if len(_plans) >= _REMEMBERED:
            _plans.clear()
        if sum(map(len, keys)) <= _REMEMBERED_LENGTH:
            _plans[keys] = found
    return found


def _say(fact: str, value: Any, key: str, said: dict[str, set[str]]) -> None:
    if type(value) is bool:
        text = ("sample" if "sample" in key.lower() or "test" in key.lower() else "closed") if value else ""
        text = text if fact == STATUS else str(value).lower()
    elif type(value) is str and len(value) <= _NAME_LIMIT:
        text = _plain(value)
    else:
        return
    meant = _SAID[fact].get(text)
    if meant is not None:
        said.setdefault(fact, set()).add(meant)


def _one(fact: str, texts: Iterable[str]) -> str | None:
    if fact == SEVERITY:
        return max(texts, key=RISKS.index)
    several = list(texts)
    return several[0] if len(several) == 1 or fact == STATUS else None


def _facts(key: str) -> tuple[str, ...] | None:
    """The facts that a key of this name tells, None for one that describes the check behind the event."""
    return _facts_of_name(key) if len(key) <= _NAME_LIMIT else ()  # a key may be a megabyte: not remembered


@lru_cache(maxsize=4096)
def _facts_of_name(key: str) -> tuple[str, ...] | None:
    name = _plain(key)
    if name in _CHECKS:
        return None
    return tuple(fact for fact, names in _NAMES.items() if name in names)


_NAMES = {fact: frozenset(names.split()) for fact, names in _KINDS.items()}


@lru_cache(maxsize=4096)
def _plain(text: str) -> str:
    """Lower case without what joins words; `E_HIGH` and `SEVERITY_HIGH` are `high`."""
    parts = text.lower().replace("-", "_").replace(" ", "_").replace(".", "_").split("_")
    if len(parts) == 2 and parts[0] in _PREFIXES and parts[1] in _SAID[SEVERITY]:
        return parts[1]
    return "".join(parts)
