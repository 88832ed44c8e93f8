"""Reading rule files: what can be used, and by name and reason what cannot. One bad rule never stops the others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from schemas.documents import fingerprint, yaml_files
from schemas.enrichment import RuleHit
from schemas.mapping import LogSource
from schemas.text import neutral
from services.enricher.rules.texts import RuleError

PACK = Path(__file__).parent / "pack"
"""Our own rules."""
ID_LIMIT = 64
TITLE_LIMIT = 100
TAG_LIMIT = 64
_UNUSED = ("deprecated", "unsupported")


class Rule(NamedTuple):
    """A rule as read: what it says when it fires, what it is for, and pySigma's condition trees."""

    hit: RuleHit
    tags: tuple[str, ...]
    logsource: LogSource
    conditions: tuple[Any, ...]
    file: str


class Refused(NamedTuple):
    """A rule, or a whole file, that is not used."""

    file: str
    title: str
    reason: str


class LoadReport(NamedTuple):
    """What came of loading rules. `dormant` rules are fine, but no mapping makes events of their log source."""

    loaded: list[Rule]
    refused: list[Refused]
    dormant: list[Rule]
    version: str


def read_rules(directories: Iterable[Path]) -> tuple[list[Rule], list[Refused], str]:
    """The rules of some folders in order, those that cannot be used, and a version of twelve hex digits over all
    files. Raises DocumentError where a folder does not exist."""
    files = [file for directory in directories for file in yaml_files(directory)]
    rules: dict[str, Rule] = {}
    refused: list[Refused] = []
    for file in files:
        found, wrong = _read_file(file)
        refused += wrong
        for rule in found:
            earlier = rules.setdefault(rule.hit.id, rule)
            if earlier is not rule:
                refused.append(
                    Refused(
                        rule.file, rule.hit.title, f"its id {rule.hit.id} is already used in {earlier.file}"
                    )
                )
    return list(rules.values()), refused, fingerprint(files)


def _read_file(file: Path) -> tuple[list[Rule], list[Refused]]:
    try:
        documents = [document for document in yaml.safe_load_all(file.read_bytes()) if document is not None]
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        return [], [Refused(str(file), "", f"not YAML: {' '.join(str(error).split())}")]
    rules, refused = [], []
    shared = [document for document in documents if isinstance(document, dict) and "action" in document]
    for group in [documents] if shared else [[document] for document in documents]:
        found, wrong = _read_documents(file, group)
        rules += found
        refused += wrong
    return rules, refused


def _read_documents(file: Path, documents: list[Any]) -> tuple[list[Rule], list[Refused]]:
    """One rule, or all of a file whose documents build on each other (`action: global`)."""
    title = str(documents[0].get("title", "")) if isinstance(documents[0], dict) else ""
    try:
        collection = SigmaCollection.from_dicts(documents, resolve_references=False)
    except (SigmaError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        return [], [Refused(str(file), title, f"not a Sigma rule: {type(error).__name__}: {error}")]
    rules, refused = [], []
    for parsed in collection.rules:
        try:
            rules.append(_rule(parsed, file))
        except (SigmaError, RuleError, RecursionError) as error:
            refused.append(Refused(str(file), str(parsed.title), str(error)))
    if collection.filters:
        refused.append(
            Refused(str(file), title, "filters are not supported: add the condition to the rule itself")
        )
    return rules, refused


def _rule(parsed: Any, file: Path) -> Rule:
    """Raises SigmaError or RuleError where the rule cannot be used."""
    if not isinstance(parsed, SigmaRule):
        raise RuleError("correlation rules look at several events; only rules on one event are supported")
    if parsed.status is not None and parsed.status.name.lower() in _UNUSED:
        raise RuleError(f"its status is {parsed.status.name.lower()}")
    level: Any = "low" if parsed.level is None else parsed.level.name.lower()
    conditions = tuple(condition.parse() for condition in parsed.detection.parsed_condition)
    if any(condition is None for condition in conditions):
        raise RuleError("a condition is empty")
    source = parsed.logsource
    return Rule(
        RuleHit(
            neutral(str(parsed.id or file.stem), ID_LIMIT), neutral(str(parsed.title), TITLE_LIMIT), level
        ),
        tuple(dict.fromkeys(tag_of(str(tag)) for tag in parsed.tags)),
        LogSource(source.product, source.service, source.category),
        conditions,
        str(file),
    )


def tag_of(sigma_tag: str) -> str:
    """`attack.t1530` as `attack:t1530`: lower case, area and detail."""
    area, _, detail = sigma_tag.lower().replace(" ", "-").partition(".")
    return neutral(f"{area}:{detail}" if detail else f"rule:{area}", TAG_LIMIT)
