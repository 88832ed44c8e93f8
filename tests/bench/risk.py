"""`make bench-risk`: how well the rules tell labelled alerts and attacks from labelled non-alerts.

An event counts as an alert if any of its labels says alert or attack, as a non-alert if all of them say no_alert or
benign; verdicts that rest on mocked look-ups are left out. It is found if its risk is medium or above. CloudTrail captured
live is scored without userAgent, which names the tool. Labels that judge no single event (attack_dataset, attack_infra,
unlabelled and so on) are counted apart. `held out` are the labels of every third upstream rule, by a hash of its name:
none of those events was looked at while the rules were written, until one last pass over all of them. What was measured
before that pass, and so tells of events that nobody has seen, is in deploy/docs/rules.md. `second pass` splits the labels
anew: the rules of the second pass were written from one half; what the pass did to the other is the estimate.

`--unmapped` judges every event as one of a service that no mapping knows, by the rules over words alone: what to expect of
a source that is not among ours. What to expect of rules that are not among these: unlearn.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from schemas.catalog import load_catalog
from schemas.enrichment import RISKS
from schemas.mapping import Mappings
from schemas.topics import EVENT_LIMIT
from services.enricher.enrich import Coordinates, Enricher, EnrichSettings, load_enricher
from services.enricher.rules.index import load_rules
from services.enricher.rules.load import PACK

DATA = Path(__file__).parents[3] / "shared" / "data"
AT = Coordinates(bytes(16), 0, 5, 1_700_000_000_000)
LEVEL = "medium"
ALERTS, NON_ALERTS = ("alert", "attack"), ("no_alert", "benign")
SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "INFO", "none")


class Labelled(NamedTuple):
    """One event and what its labels say: `truth` is alert, non-alert, or the name of a label that judges no event."""

    source: str
    line: int
    value: bytes
    truth: str
    severity: str
    held_out: bool
    second_pass: bool = True
    rule: str = ""


class Scored(NamedTuple):
    """A labelled event and the risk that the enricher gave it."""

    event: Labelled
    risk: str

    @property
    def found(self) -> bool:
        return RISKS.index(self.risk) >= RISKS.index(LEVEL)


class Tally(NamedTuple):
    """Counts over some scored events, and what is made of them (None where there is nothing to divide by)."""

    alerts: int
    found: int
    non_alerts: int
    false: int

    @property
    def recall(self) -> float | None:
        return self.found / self.alerts if self.alerts else None

    @property
    def false_rate(self) -> float | None:
        return self.false / self.non_alerts if self.non_alerts else None

    @property
    def precision(self) -> float | None:
        flagged = self.found + self.false
        return self.found / flagged if flagged else None


def labelled(data: Path = DATA) -> Iterator[Labelled]:
    """Every labelled event of a folder of data, in the order of its files."""
    for file in sorted((data / "labels").glob("*.labels.jsonl")):
        name = file.name.removesuffix(".labels.jsonl")
        values = (data / f"{name}.jsonl").read_bytes().splitlines()
        rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for text in file.read_text().splitlines():
            row = json.loads(text)
            if not row.get("needs_mocks"):
                rows[row["line"]].append(row)
        for line, labels in rows.items():
            yield _event(name, line, values[line - 1], labels)
    yield from _prompts(data)


def score(enricher: Enricher, events: Iterable[Labelled]) -> list[Scored]:
    """The risk of every event."""
    return [
        Scored(event, enricher.enrich(None, event.value, [], AT, bytes(32)).document.risk) for event in events
    ]


def tally(scored: Iterable[Scored]) -> Tally:
    """Counts of alerts and non-alerts, found and not."""
    alerts = found = non_alerts = false = 0
    for one in scored:
        if one.event.truth == "alert":
            alerts, found = alerts + 1, found + one.found
        elif one.event.truth == "non-alert":
            non_alerts, false = non_alerts + 1, false + one.found
    return Tally(alerts, found, non_alerts, false)


def unmapped() -> Enricher:
    """The enricher without mappings, and with no rules but those over words."""
    settings = EnrichSettings.model_validate({})
    with TemporaryDirectory() as folder:
        for name in ("signals.yaml", "generic.yaml", "saas.yaml"):
            copy(PACK / name, folder)
        rules = load_rules([], pack=Path(folder))
    return Enricher(
        load_catalog(settings.catalog_dir), Mappings([], "none"), rules, event_limit=EVENT_LIMIT, ai=None
    )


def enricher_with(rules: Path | None) -> Enricher:
    """The enricher with our own rules and, where given, a folder of others."""
    return load_enricher(EnrichSettings.model_validate({} if rules is None else {"RULES_DIR": rules}))


def _event(source: str, line: int, value: bytes, labels: list[dict[str, Any]]) -> Labelled:
    alerts = [row for row in labels if row["label"] in ALERTS]
    if alerts:
        truth = "alert"
    else:
        truth = "non-alert" if all(row["label"] in NON_ALERTS for row in labels) else labels[0]["label"]
    severity = min((row.get("severity") or "none" for row in alerts or labels), key=SEVERITIES.index)
    group = labels[0].get("log_type") or source
    rule = _rule((alerts or labels)[0])
    return Labelled(
        group,
        line,
        _without_tool(source, value),
        truth,
        severity,
        _hash(rule) % 3 == 0,
        _hash(f"x{rule}") % 2 == 0,
        rule,
    )


def _without_tool(source: str, value: bytes) -> bytes:
    if source != "cloudtrail":
        return value
    event = json.loads(value)
    event.pop("userAgent", None)
    return json.dumps(event, separators=(",", ":")).encode()


def _rule(row: dict[str, Any]) -> str:
    return str(row.get("rule_id") or row.get("path"))


def _hash(text: str) -> int:
    return sha256(text.encode()).digest()[0]


def _prompts(data: Path) -> Iterator[Labelled]:
    """Prompts as events of a model's use; `payload` (shell, SQL, script) is counted apart."""
    truths = {"injection": "alert", "benign": "non-alert"}
    for line, text in enumerate((data / "prompt-injections.jsonl").read_text().splitlines(), 1):
        row = json.loads(text)
        content = next(row[key] for key in ("prompt", "text", "content") if isinstance(row.get(key), str))
        body = {"user_id": "u-1", "model_version": "m-1", "input_hash": "a", "output_hash": "b"}
        short = {"event_type": "model_inference", "event_data": body | {"prompt": content}}
        yield Labelled(
            "prompts",
            line,
            json.dumps(short).encode(),
            truths.get(row["label"], row["label"]),
            "none",
            _hash(content) % 3 == 0,
        )


def main() -> int:
    """Prints the tables; exit status 2 where there is no data."""
    options = argparse.ArgumentParser(prog="make bench-risk ARGS=…")
    options.add_argument("--data", type=Path, default=DATA)
    options.add_argument("--rules", type=Path, help="more rules; default: the community's in the data")
    options.add_argument(
        "--missed", action="store_true", help="name what was wrong, held-out events excepted"
    )
    options.add_argument("--unmapped", action="store_true", help="as if no mapping knew any of the sources")
    options.add_argument(
        "--held-out", action="store_true", help="by the pack without what a fold alone taught"
    )
    arguments = options.parse_args()
    if not arguments.data.is_dir():
        print(f"no labelled events: {arguments.data} is not there", file=sys.stderr)
        return 2
    events = list(labelled(arguments.data))
    community = arguments.rules or arguments.data / "sigma" / "rules"
    if arguments.unmapped:
        _heading()
        _sets(score(unmapped(), events))
        return 0
    scored = score(enricher_with(None), events)
    _print(scored, score(enricher_with(community), events))
    if arguments.missed:
        _print_missed(scored)
    return 0


def _heading() -> None:
    print(
        f"{'':34}{'alerts':>7}{'recall':>8}{'precision':>10}{'non-alerts':>11}{'false':>7}{'false/1,000':>12}"
    )


def _sets(scored: list[Scored]) -> None:
    audit = [one for one in scored if one.event.source != "prompts"]
    sets = {
        "all audit events, our rules": audit,
        "  first pass: looked at": [one for one in audit if not one.event.held_out],
        "  first pass: held out": [one for one in audit if one.event.held_out],
        "  second pass: looked at": [one for one in audit if one.event.second_pass],
        "  second pass: the other half": [one for one in audit if not one.event.second_pass],
        "prompts, our rules": [one for one in scored if one.event.source == "prompts"],
    }
    for name, some in sets.items():
        _line(name, some)


def _print(scored: list[Scored], with_community: list[Scored]) -> None:
    audit = [one for one in scored if one.event.source != "prompts"]
    _heading()
    _sets(scored)
    _line("all audit events, and community", [one for one in with_community if one.event.source != "prompts"])
    for title, key in (("by source", "source"), ("by severity of the label", "severity")):
        print(f"\n{title}, our rules")
        groups: dict[str, list[Scored]] = defaultdict(list)
        for one in audit:
            groups[getattr(one.event, key)].append(one)
        order = SEVERITIES if key == "severity" else sorted(groups)
        for name in order:
            if tally(groups[name])[::2] != (0, 0):
                _line(name, groups[name])
    print("\nlabels that judge no single event: share at medium or above")
    others = defaultdict(list)
    for one in scored:
        if one.event.truth not in ("alert", "non-alert"):
            others[f"{one.event.source} {one.event.truth}"].append(one.found)
    for name, found in sorted(others.items()):
        print(f"  {name:32}{len(found):>7}{100 * sum(found) / len(found):>7.0f} %")


def _line(name: str, scored: list[Scored]) -> None:
    counts = tally(scored)
    print(
        f"{name:34}{counts.alerts:>7}{_percent(counts.recall):>8}{_percent(counts.precision):>10}"
        f"{counts.non_alerts:>11}{_percent(counts.false_rate):>7}"
        f"{'' if counts.false_rate is None else round(1000 * counts.false_rate):>12}"
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _print_missed(scored: list[Scored]) -> None:
    print("\nwrong verdicts (none of those held out)")
    for one in scored:
        event = one.event
        wrong = (event.truth == "alert" and not one.found) or (event.truth == "non-alert" and one.found)
        if wrong and not event.held_out:
            print(f"  {event.source} line {event.line}: {event.truth} {event.severity}, risk {one.risk}")


if __name__ == "__main__":
    sys.exit(main())
