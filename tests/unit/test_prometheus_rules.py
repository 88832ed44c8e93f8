"""deploy/prometheus/alerts.yaml: every metric, label and alert that it names exists."""

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from services.ingest.metrics import Metrics as IngestMetrics
from services.reporter.watch import WatchMetrics
from services.writer.metrics import Metrics as WriterMetrics
from services.writer.sealer import alerts
from services.writer.sealer.metrics import SealerMetrics

ROOT = Path(__file__).parents[2]
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]


def samples():
    """Sample name -> metric, of every metric of ingest, the sealer, the writer and the reporter's verification."""
    found, verification = {}, CollectorRegistry()
    WatchMetrics(verification)
    for metric in [
        *IngestMetrics().registry.collect(),
        *SealerMetrics().registry.collect(),
        *WriterMetrics().registry.collect(),
        *verification.collect(),
    ]:
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(
            metric.type, ("",)
        )
        found.update({metric.name + suffix: metric for suffix in suffixes})
    return found


def labels():
    metrics = vars(SealerMetrics())
    return {name for metric in metrics.values() for name in getattr(metric, "_labelnames", ())}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_names_metrics_and_labels_that_exist(rule):
    named = set(re.findall(r"\bpiperoll_\w+", rule["expr"]))
    assert named
    assert named <= set(samples())
    matched = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", rule["expr"]))
    shown = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    grouped = set(re.findall(r"by \((\w+)\)", rule["expr"]))
    assert matched | shown | grouped <= labels()
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "action"}


def test_alerts_are_named_once_and_those_of_the_sealer_exist():
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    source = Path(alerts.__file__).read_text()
    (rule,) = [rule for rule in RULES if rule["alert"] == "PiperollSealerCriticalAlert"]
    named = re.search(r'name=~"([^"]+)"', rule["expr"])[1].split("|")
    said = re.findall(r'"critical",\s+"(\w+)"', source)
    assert sorted(named) == sorted(said)


def test_what_must_not_go_unseen_has_a_rule():
    text = " ".join(rule["expr"] for rule in RULES)
    for name in (
        "last_seal_timestamp_seconds",
        "refused_chains",
        "failures_total",
        "last_publication_timestamp_seconds",
    ):
        assert f"piperoll_sealer_{name}" in text


def test_brackets_are_closed():
    """A slip that YAML does not see. Prometheus itself is not at hand here."""
    for rule in RULES:
        for left, right in ("()", "[]", "{}"):
            assert rule["expr"].count(left) == rule["expr"].count(right), rule["alert"]
