"""`piperoll rules`: which rules there are, whether they can be used, and why one fires on an event or does not."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas.catalog import load_catalog
from schemas.documents import DocumentError
from schemas.enrichment import Enrichment
from schemas.events import Event, PoisonError
from schemas.mapping import UNKNOWN, Mappings, load_mappings
from schemas.shredding.token import read_shown
from schemas.text import neutral
from services.cli.target import errors_told
from services.common.errors import ConfigurationError
from services.common.settings import read_settings
from services.enricher.enrich import Coordinates, Enriched, Enricher, EnrichSettings
from services.enricher.envelope import unwrap
from services.enricher.rules.explain import explain as explain_rule
from services.enricher.rules.fit import Fit, Unfit
from services.enricher.rules.index import RuleSet, load_rules
from services.enricher.rules.load import PACK, Rule
from services.enricher.rules.windowed import Windowed

app = typer.Typer(no_args_is_help=True, add_completion=False)
Folder = Annotated[Path | None, typer.Option("--rules", help="A folder of rules; default: RULES_DIR.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]

_AT = Coordinates(bytes(16), 0, 0, -1)
_SHOWN = 6
_EVENT_LIMIT = 16 * 1024 * 1024


@app.callback()
def rules() -> None:
    """Rules that judge events."""


@app.command("list")
def show(folder: Folder = None, as_json: AsJson = False) -> None:
    """Every rule: level, what events it looks at, file and line; and those that are not used, with the reason.

    Exit status: 0 all can be used; 1 some cannot; 2 the folder could not be read.
    """
    with errors_told():
        found = _rules(folder)
    rows = _rows(found)
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            where = f"{row['file']}:{row['line']}" if row["line"] else row["file"]
            print(f"{row['state']:13} {row['level'] or '':13} {row['title']}")
            print(f"{'':13} {row['reason'] or _some(row['sources'])} ({where})")
        states = Counter(row["state"] for row in rows)
        print(", ".join(f"{count} {state}" for state, count in states.most_common()))
    raise typer.Exit(1 if found.report.refused else 0)


@app.command("test")
def check(
    events: Annotated[
        list[Path] | None, typer.Argument(help="Files of events, one JSON a line; `-` for standard input.")
    ] = None,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Check that every rule can be used; with files of events, count what each rule fires on, and name the rules that ask
    for fields which no event of their log source has.

    Exit status: 0 all can be used; 1 some cannot; 2 a file could not be read.
    """
    with errors_told():
        found = _rules(folder)
        enricher = _enricher(found)
        hits: Counter[str] = Counter()
        risks: Counter[str] = Counter()
        counted: Counter[str] = Counter()
        fit = Fit(found)
        for value in _lines(events or []):
            document = enricher.enrich(None, value, [], _AT, bytes(32)).document
            if (event := _read_again(found, value, document)) is not None:
                fit.see(document.log_source or UNKNOWN, *event)
            matches, specs = enricher.take_matches()
            counted.update(f"{specs[rule].title} ({rule})" for rule in {match.rule for match in matches})
            hits.update(f"{hit.level}: {hit.title} ({hit.id})" for hit in document.rules)
            risks[document.risk] += 1
    refused = [_refused(one) for one in found.report.refused]
    if as_json:
        told = {"usable": len(found.report.loaded), "refused": refused, "hits": hits, "risks": risks}
        told["counted"] = counted
        told["cannot_fire"] = [_unfit(one) for one in fit.unfit(PACK)]
        print(json.dumps(told, indent=1))
    else:
        for one in refused:
            title = f"{one['title']}: " if one["title"] else ""
            print(f"{one['file']}:{one['line']}: {title}{one['reason']}")
        print(f"{len(found.report.loaded)} rules can be used, {len(refused)} cannot")
        for name, count in hits.most_common():
            print(f"{count:8} {name}")
        for name, count in counted.most_common():
            print(f"{count:8} count towards {name}, which the alerter judges")
        for one in map(_unfit, fit.unfit(PACK)):
            print(
                f"cannot fire: {one['title']} ({one['file']}:{one['line']}): of {one['events']:,} events of "
                f"{_some(one['sources'])} none has {_some(one['missing'])}"
            )
        if risks:
            print(", ".join(f"{count} {risk}" for risk, count in risks.most_common()))
    raise typer.Exit(1 if refused else 0)


@app.command()
def explain(
    event: Annotated[str, typer.Argument(help="The event: a file, `-` for standard input, or JSON.")],
    rule: Annotated[str | None, typer.Option("--rule", help="Id or title of a rule to explain.")] = None,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """How one event is judged: log source, who did what, and every rule that fires with what it found; `--rule` shows
    why a rule fires or does not.

    Exit status: 0 explained; 2 the event or the rule could not be read.
    """
    with errors_told():
        found = _rules(folder)
        value = _event(event)
        result = _enricher(found).enrich(None, value, [], _AT, bytes(32))
        chosen = _chosen(found, result, rule)
        told = _told(found, value, result, chosen)
    print(json.dumps(told, indent=1) if as_json else _as_text(told))


def _rules(folder: Path | None) -> RuleSet:
    """Raises ConfigurationError where the folder does not exist."""
    directory = folder if folder is not None else read_settings(EnrichSettings).rules_dir
    try:
        return load_rules(load_mappings().all, directory)
    except DocumentError as error:
        raise ConfigurationError(f"RULES_DIR: {error}") from error


def _enricher(rules: RuleSet) -> Enricher:
    catalog = load_catalog(read_settings(EnrichSettings).catalog_dir)
    return Enricher(catalog, load_mappings(), rules, event_limit=_EVENT_LIMIT, ai=None)


def _rows(found: RuleSet) -> list[dict[str, Any]]:
    report = found.report
    dormant = {rule.hit.id for rule in report.dormant}
    rows = [_row(found, rule, dormant=rule.hit.id in dormant) for rule in report.loaded]
    rows += [
        _window_row("over a window", one, f"by the alerter: {one.asks}") for one in found.correlations.running
    ]
    rows += [_window_row("does not run", one.correlation, one.reason) for one in found.correlations.idle]
    return rows + [
        {"state": "refused", "level": None, "id": None, "sources": []} | _refused(one)
        for one in report.refused
    ]


def _some(names: list[str]) -> str:
    """Names, the first few of many."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _window_row(state: str, one: Windowed, reason: str) -> dict[str, Any]:
    told = {"state": state, "level": one.level, "title": one.title, "id": one.id, "sources": []}
    return told | {"reason": reason, "file": one.file, "line": one.line}


def _row(found: RuleSet, rule: Rule, *, dormant: bool) -> dict[str, Any]:
    wanted = ", ".join(f"{name} {value}" for name, value in _logsource(rule).items() if value)
    return {
        "state": "no events" if dormant else "used",
        "level": rule.hit.level,
        "title": rule.hit.title,
        "id": rule.hit.id,
        "sources": found.covered(rule),
        "reason": f"no mapping makes events of {wanted}" if dormant else None,
        "file": rule.file,
        "line": rule.line,
    }


def _logsource(rule: Rule) -> dict[str, str | None]:
    source = rule.logsource
    return {"product": source.product, "service": source.service, "category": source.category}


def _refused(one: Any) -> dict[str, Any]:
    return {
        "title": neutral(one.title, 100),
        "reason": neutral(one.reason, 500),
        "file": one.file,
        "line": one.line,
    }


def _lines(files: list[Path]) -> Iterator[bytes]:
    for file in files:
        try:
            content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
            yield from (line for line in content.splitlines() if line.strip())
        except OSError as error:
            raise ConfigurationError(f"{file}: {error.strerror or error}") from error


def _event(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if text.lstrip().startswith(("{", "[")):
        return text.encode()
    try:
        return Path(text).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{text}: {error.strerror or error} (a file, `-`, or JSON)") from error


def _chosen(found: RuleSet, result: Enriched, wanted: str | None) -> list[Rule]:
    """The rules to explain: those that fired, or the one asked for."""
    if wanted is None:
        fired = {hit.id for hit in result.document.rules}
        return [rule for rule in found.report.loaded if rule.hit.id in fired]
    named = [rule for rule in found.report.loaded if wanted in (rule.hit.id, rule.hit.title)]
    if not named:
        raise ConfigurationError(f"no rule has the id or title {wanted!r}: see `piperoll rules list`")
    return named


def _told(found: RuleSet, value: bytes, result: Enriched, chosen: list[Rule]) -> dict[str, Any]:
    document = result.document
    told: dict[str, Any] = {
        "log_source": document.log_source,
        "who": {name: getattr(document.who, name) for name in document.who.__struct_fields__},
        "summary": document.summary,
        "risk": document.risk,
        "tags": document.tags,
        "rules": [],
    }
    read = _read_again(found, value, document)
    if read is None:
        return told
    data, event = read
    fields = found.sources[document.log_source or UNKNOWN][1]
    fired = {hit.id for hit in document.rules}
    for rule in chosen:
        tests = [test._asdict() for test in explain_rule(rule, fields, data, event)]
        told["rules"].append(
            {"id": rule.hit.id, "title": rule.hit.title, "level": rule.hit.level, "file": rule.file}
            | {"fires": rule.hit.id in fired, "covers": document.log_source in found.covered(rule)}
            | {"tests": tests}
        )
    return told


def _read_again(found: RuleSet, value: bytes, document: Enrichment) -> tuple[dict[str, Any], Event] | None:
    """The data and the event as rules see them; None for what is no event."""
    if (document.log_source or UNKNOWN) not in found.sources:
        return None
    try:
        event = read_shown(value, [])
    except PoisonError:
        return None
    event.type, event.source, event.id, event.tags = (
        document.type,
        document.source,
        document.id,
        document.tags,
    )
    data = unwrap(_mappings().recognise, event.data)
    return (data, event) if type(data) is dict else None


@cache
def _mappings() -> Mappings:
    return load_mappings()


def _unfit(one: Unfit) -> dict[str, Any]:
    told = {"title": one.rule.hit.title, "id": one.rule.hit.id, "file": one.rule.file, "line": one.rule.line}
    missing = [neutral(field, 100) for field in one.missing]
    return told | {"sources": one.sources, "events": one.events, "missing": missing}


def _as_text(told: dict[str, Any]) -> str:
    lines = [told["summary"], f"risk {told['risk']}, log source {told['log_source']}"]
    lines += [f"  {name}: {value}" for name, value in told["who"].items() if value is not None]
    if told["tags"]:
        lines.append(f"  tags: {', '.join(told['tags'])}")
    for rule in told["rules"]:
        lines.append(
            f"{'fires' if rule['fires'] else 'does not fire'}: {rule['level']} {rule['title']} ({rule['id']})"
        )
        if not rule["covers"]:
            lines.append("  it is for other log sources")
        for test in rule["tests"]:
            mark = "yes" if test["holds"] else "no "
            sign = "not " if test["negated"] else ""
            named = test["field"] or "anywhere"
            lines.append(f"  {mark} {sign}{named}: asks for {test['wanted']}, found {test['found']}")
    return "\n".join(lines)
