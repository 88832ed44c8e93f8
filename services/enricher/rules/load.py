"""Reading rule files: what can be used, and by name, file, line and reason what cannot. One bad rule never stops the
others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError

from schemas.documents import fingerprint, yaml_files
from schemas.enrichment import RuleHit
from schemas.mapping import LogSource
from schemas.text import neutral
from services.enricher.rules.texts import RuleError
from services.enricher.rules.windowed import Windowed, windowed

PACK = Path(__file__).parent / "pack"
"""Our own rules."""
ID_LIMIT = 64
TITLE_LIMIT = 100
TAG_LIMIT = 64
_UNUSED = ("deprecated", "unsupported")
_loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Rule(NamedTuple):
    """A rule as read: what it says when it fires, what it is for, and pySigma's condition trees. `name`: by which
    correlations may refer to it."""

    hit: RuleHit
    tags: tuple[str, ...]
    logsource: LogSource
    conditions: tuple[Any, ...]
    file: str
    line: int = 0
    name: str = ""


class Refused(NamedTuple):
    """A rule, or a whole file, that is not used. `line`: where the rule, or what is wrong with it, stands; 0: the file."""

    file: str
    title: str
    reason: str
    line: int = 0


class LoadReport(NamedTuple):
    """What came of loading rules. `dormant` rules are fine, but no mapping makes events of their log source;
    `windowed` rules count events over time: `RuleSet.correlations` says which of them run."""

    loaded: list[Rule]
    refused: list[Refused]
    dormant: list[Rule]
    windowed: list[Windowed]
    version: str


class Content(NamedTuple):
    """What stands in one file, and the state of the file when it was read (time of change, size)."""

    state: tuple[int, int]
    rules: list[Rule]
    windowed: list[Windowed]
    refused: list[Refused]


class Files:
    """The rules of some folders. Read again, only files that have changed are parsed."""

    def __init__(self, directories: Iterable[Path]) -> None:
        self._directories = list(directories)
        self._contents: dict[Path, Content] = {}

    def state(self) -> dict[Path, tuple[int, int]]:
        """Time of change and size of every file: another state means that they are to be read again. Raises
        DocumentError where a folder does not exist."""
        return {file: _state(file) for directory in self._directories for file in yaml_files(directory)}

    def read(self) -> LoadReport:
        """Every rule once, in the order of folders and files, none compiled yet. Raises DocumentError where a folder
        does not exist."""
        states = self.state()
        contents = {}
        for file, state in states.items():
            known = self._contents.get(file)
            contents[file] = known if known is not None and known.state == state else _read_file(file, state)
        self._contents = contents
        report = LoadReport(
            [], [], [], [], fingerprint([file for file, state in states.items() if any(state)])
        )
        rules: dict[str, Rule] = {}
        for content in contents.values():
            report.refused.extend(content.refused)
            report.windowed.extend(content.windowed)
            for rule in content.rules:
                earlier = rules.setdefault(rule.hit.id, rule)
                if earlier is not rule:
                    reason = f"its id {rule.hit.id} is already used in {earlier.file}:{earlier.line}"
                    report.refused.append(Refused(rule.file, rule.hit.title, reason, rule.line))
        report.loaded.extend(rules.values())
        return report


class _Document(NamedTuple):
    content: Any
    line: int
    text: str


def _state(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _read_file(file: Path, state: tuple[int, int]) -> Content:
    made = Content(state, [], [], [])
    try:
        documents = _documents(file.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = f"not YAML: {' '.join(str(error).split())}"
        made.refused.append(Refused(str(file), "", reason, 0 if mark is None else mark.line + 1))
        return made
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        made.refused.append(Refused(str(file), "", f"not YAML: {' '.join(str(error).split())}"))
        return made
    shared = any(isinstance(one.content, dict) and "action" in one.content for one in documents)
    for group in [documents] if shared else [[document] for document in documents]:
        _read_documents(file, group, made)
    return made


def _documents(text: str) -> list[_Document]:
    """The documents of a file, each with the number of its first line and its text. Raises YAMLError."""
    loader, lines, found = _loader(text), text.splitlines(), []
    try:
        while loader.check_node():
            node = loader.get_node()
            content = loader.construct_document(node)
            if content is not None:
                first, last = node.start_mark.line, node.end_mark.line + 1
                found.append(_Document(content, first + 1, "\n".join(lines[first:last])))
    finally:
        loader.dispose()
    return found


def _read_documents(file: Path, documents: list[_Document], made: Content) -> None:
    """One rule, or all of a file whose documents build on each other (`action: global`)."""
    first = documents[0]
    title = str(first.content.get("title", "")) if isinstance(first.content, dict) else ""
    try:
        collection = SigmaCollection.from_dicts([one.content for one in documents], resolve_references=False)
    except (SigmaError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = f"not a Sigma rule: {type(error).__name__}: {error}"
        made.refused.append(Refused(str(file), title, reason, _line_of(first, reason)))
        return
    for parsed in collection.rules:
        document = next((one for one in documents if str(parsed.title) in one.text), first)
        try:
            if isinstance(parsed, SigmaCorrelationRule):
                made.windowed.append(windowed(parsed, str(file), document.line))
            else:
                made.rules.append(_rule(parsed, file, document.line))
        except (SigmaError, RuleError, RecursionError) as error:
            line = _line_of(document, str(error))
            made.refused.append(Refused(str(file), str(parsed.title), str(error), line))
    if collection.filters:
        reason = "filters are not supported: add the condition to the rule itself"
        made.refused.append(Refused(str(file), title, reason, first.line))


def _line_of(document: _Document, reason: str) -> int:
    """The first line that has a word which the reason quotes, else the first of the document."""
    for quoted in reason.split("'")[1::2]:
        for number, line in enumerate(document.text.splitlines()):
            if quoted and re.search(rf"(?<!\w){re.escape(quoted)}(?!\w)", line):
                return document.line + number
    return document.line


def _rule(parsed: Any, file: Path, line: int) -> Rule:
    """Raises SigmaError or RuleError where the rule cannot be used."""
    if parsed.status is not None and parsed.status.name.lower() in _UNUSED:
        raise RuleError(f"its status is {parsed.status.name.lower()}")
    level: Any = "low" if parsed.level is None else parsed.level.name.lower()
    conditions = tuple(condition.parse() for condition in parsed.detection.parsed_condition)
    if any(condition is None for condition in conditions):
        raise RuleError("a condition is empty")
    source = parsed.logsource
    return Rule(
        RuleHit(
            neutral(str(parsed.id or parsed.name or file.stem), ID_LIMIT),
            neutral(str(parsed.title), TITLE_LIMIT),
            level,
        ),
        tuple(dict.fromkeys(tag_of(str(tag)) for tag in parsed.tags)),
        LogSource(source.product, source.service, source.category),
        conditions,
        str(file),
        line,
        str(parsed.name or ""),
    )


def tag_of(sigma_tag: str) -> str:
    """`attack.t1530` as `attack:t1530`: lower case, area and detail."""
    area, _, detail = sigma_tag.lower().replace(" ", "-").partition(".")
    return neutral(f"{area}:{detail}" if detail else f"rule:{area}", TAG_LIMIT)
