"""Topics are made once, and only when the broker shows them all are they said to be there."""

from types import SimpleNamespace

import pytest

from services.common import kafka
from services.common.errors import TransientError
from services.common.settings import KafkaSettings

SETTINGS = KafkaSettings(bootstrap_servers="127.0.0.1:9", partitions=2)
NAMES = [topic.name for topic in SETTINGS.topics.layout(SETTINGS.event_limit)]


class SlowBroker:
    """Takes topics at once, and shows them `lag` questions later, at first without leaders."""

    def __init__(self, lag):
        self.lag = lag
        self.made = []
        self.closed = False

    def list_topics(self):
        return []

    def create_topics(self, new):
        self.made += [topic.name for topic in new]

    def describe_topics(self):
        self.lag -= 1
        shown = self.made[:-1] if self.lag > 1 else self.made
        leader = -1 if self.lag > 0 else 1
        return [
            {"name": name, "error_code": 0, "partitions": [{"leader_id": 1}, {"leader_id": leader}]}
            for name in shown
        ]

    def close(self):
        self.closed = True


@pytest.fixture
def broker(monkeypatch):
    made = SlowBroker(4)
    monkeypatch.setattr(kafka, "admin_client", lambda *_: made)
    monkeypatch.setattr(
        kafka, "time", SimpleNamespace(sleep=lambda _s: None, monotonic=iter(range(100)).__next__)
    )
    return made


def test_topics_are_waited_for_until_all_have_leaders(broker):
    assert kafka.create_topics(SETTINGS) == NAMES
    assert broker.lag == 0
    assert broker.closed


def test_topics_that_do_not_appear_are_named(broker):
    broker.lag = 1000
    with pytest.raises(TransientError, match=NAMES[-1]):
        kafka.create_topics(SETTINGS)
    assert broker.closed
