"""The score of our rules on labelled events does not fall: the figures of `make bench-risk`."""

import pytest

from tests.bench.risk import Labelled, Scored, enricher_with, labelled, score, tally

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def scored(shared_data):
    return score(enricher_with(None), labelled(shared_data))


def test_alerts_and_attacks_are_found_and_non_alerts_left_alone(scored):
    """The issue's bar: at least 60 of 100 alerts at medium or above, at most 10 of 100 non-alerts."""
    counts = tally(scored)
    assert counts.alerts > 1000
    assert counts.non_alerts > 600
    assert counts.recall >= 0.60
    assert counts.false_rate <= 0.10


def test_audit_events_without_the_prompts_are_near_the_bar_too(scored):
    """Non-alerts are near misses that authors of rules wrote for one rule; another rule may be right about them."""
    counts = tally(one for one in scored if one.event.source != "prompts")
    assert counts.recall >= 0.68
    assert counts.false_rate <= 0.10


@pytest.mark.parametrize(
    ("name", "most"), [("model.call", 0.01), ("github_webhooks", 0.05), ("cdevents", 0.0)]
)
def test_ordinary_traffic_is_left_alone(shared_data, name, most):
    file = shared_data / f"{'model_inference' if name == 'model.call' else name}.jsonl"
    events = [
        Labelled(name, line, value, "ordinary", "none", held_out=False)
        for line, value in enumerate(file.read_bytes().splitlines(), 1)
    ]
    found = [one.found for one in score(enricher_with(None), events)]
    assert sum(found) <= most * len(found)


def test_the_score_counts_what_it_says():
    def one(truth, risk):
        return Scored(Labelled("s", 1, b"", truth, "HIGH", held_out=False), risk)

    counts = tally(
        [one("alert", "medium"), one("alert", "low"), one("non-alert", "high"), one("unlabelled", "critical")]
    )
    assert counts == (2, 1, 1, 1)
    assert (counts.recall, counts.precision, counts.false_rate) == (0.5, 0.5, 1.0)
