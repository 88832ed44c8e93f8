"""`python -m tests.bench.enrich_speed [--rules DIR]`: microseconds an event costs the enricher, by source and by part.

Each figure is processor time, the least of many short runs; garbage collection is off. `sent` is what an event costs in
the enricher's own loop, from the record as fetched to the record batch as the producer sends it; a core's events a second
are 1,000,000 / (`sent` + what Faust, aiokafka and the kernel take, 5 to 7).
Real CloudTrail events are used where ../shared/data is, else one of our own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from aiokafka.producer.message_accumulator import BatchBuilder

from schemas.shredding.token import read_shown
from schemas.topics import Topics
from services.enricher.enrich import Coordinates, Enricher, EnrichSettings, Message, load_enricher
from services.enricher.ledger import Range
from services.enricher.metrics import Metrics
from services.enricher.pipeline import Pipeline
from services.enricher.summary import summarise
from services.enricher.transport import Batch

AT = Coordinates(bytes(16), 0, 5, 1_700_000_000_000)
SALT = bytes(32)
DATA = Path(__file__).parents[3] / "shared" / "data"
EVENTS = {
    "data_export": {
        "user_id": 42,
        "dataset_id": "ds-99",
        "export_time": "2026-05-01T12:00:00Z",
        "export_reason": "regulator request",
        "ip_address": "10.1.2.3",
    },
    "user_login": {
        "user_id": "u-1142",
        "timestamp": "2026-05-01T12:00:00Z",
        "ip_address": "10.1.2.3",
        "mfa": "totp",
    },
    "model_inference": {
        "user_id": "svc-triage",
        "model_version": "triage-3.4.1",
        "input_hash": "9f86d081884c7d65",
        "output_hash": "60303ae22b998861",
        "timestamp": "2026-05-01T12:00:00Z",
    },
}
TRAIL = {
    "eventVersion": "1.08",
    "userIdentity": {
        "type": "IAMUser",
        "userName": "ann",
        "accountId": "1",
        "arn": "arn:aws:iam::1:user/ann",
    },
    "eventTime": "2026-05-01T12:00:00Z",
    "eventSource": "s3.amazonaws.com",
    "eventName": "GetBucketAcl",
    "awsRegion": "eu-west-1",
    "sourceIPAddress": "192.0.2.1",
    "userAgent": "aws-cli/2.15 " + "x" * 600,
    "requestParameters": {"bucketName": "logs", "Host": "logs.s3.amazonaws.com"},
    "responseElements": None,
    "eventID": "e-1",
    "recipientAccountId": "1",
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rules", type=Path, help="a folder of more rules, the community's, say")
    arguments = options.parse_args()
    enricher = load_enricher(
        EnrichSettings.model_validate({"RULES_DIR": arguments.rules} if arguments.rules else {})
    )
    print(
        f"{'microseconds an event':30}{'bytes':>7}{'sent':>8}{'all':>8}{'parse':>8}{'who':>8}{'rules':>8}{'summary':>9}{'encode':>8}"
    )
    for name, messages in _messages().items():
        _line(enricher, name, messages)


def _messages() -> dict[str, list[bytes]]:
    made = {kind: [_cloudevent(kind, data, number) for number in range(100)] for kind, data in EVENTS.items()}
    file = DATA / "cloudtrail.jsonl"
    trails = file.read_bytes().splitlines()[::20] if file.is_file() else [_json(TRAIL)] * 100
    return made | {
        "CloudTrail": trails,
        "unknown": [_cloudevent("no_such_type", EVENTS["user_login"], 1)] * 100,
    }


def _cloudevent(kind: str, data: dict[str, Any], number: int) -> bytes:
    attributes = {"specversion": "1.0", "id": f"a-123-{number}", "source": "/shop/eu", "type": kind}
    return _json(
        attributes | {"time": "2026-05-01T12:00:00Z", "datacontenttype": "application/json", "data": data}
    )


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _line(enricher: Enricher, name: str, messages: list[bytes]) -> None:
    read = [read_shown(message, []) for message in messages]
    known = [
        (event, enricher._entries.get(event.type) or enricher._by_shape(event, event.data), event.data)
        for event in read
    ]
    told = [(event, kind, data, kind.who(data, event)) for event, kind, data in known]
    together = [Message(None, message, [], AT, SALT) for message in messages]
    documents = [enricher.enrich(None, message, [], AT, SALT).document for message in messages]
    parts: list[Callable[[], Any]] = [
        lambda: enricher.enrich_all(together),
        lambda: [read_shown(message, []) for message in messages],
        lambda: [kind.who(data, event) for event, kind, data in known],
        lambda: [enricher.rules.match(kind.log_source, data, event) for event, kind, data in known],
        lambda: [summarise(kind.summary, data, who, event) for event, kind, data, who in told],
        lambda: [msgspec.json.encode(document) for document in documents],
    ]
    figures = [_sent(enricher, messages), *(_least(part) / len(messages) for part in parts)]
    size = sum(map(len, messages)) // len(messages)
    print(
        f"{name:30}{size:7}"
        + "".join(
            f"{figure:{width}.1f}" for figure, width in zip(figures, (8, 8, 8, 8, 8, 9, 8), strict=True)
        )
    )


class _NoBroker:
    """A producer that makes the record batches and sends them nowhere."""

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(512 * 1024, 0, is_transactional=False)

    async def send_batch(self, builder: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[None]:
        builder.close()
        builder._set_producer_state(1, 1, 0)
        builder._build()
        acknowledged = asyncio.get_running_loop().create_future()
        acknowledged.set_result(None)
        return acknowledged


def _sent(enricher: Enricher, messages: list[bytes]) -> float:
    """Microseconds of processor time of one event in batches of a thousand."""
    records = [
        SimpleNamespace(
            offset=offset, key=None, value=value, headers=[], timestamp=AT.timestamp_ms, timestamp_type=0
        )
        for offset, value in enumerate((messages * 1000)[:1000])
    ]
    batch = Batch("audit.events", AT.topic_id, 0, -1, False, records, Range(0, 999, 0.0))
    nothing = lambda *_: None  # noqa: E731 - two words
    pipeline = Pipeline(
        enricher,
        _NoBroker(),
        Topics(),
        Metrics(),
        complete=nothing,
        fail=nothing,
        in_flight=4,
        ack_timeout_s=60,
    )

    async def run() -> float:
        best = float("inf")
        for _ in range(40):
            begun = time.process_time()
            await pipeline._send(batch)
            best = min(best, time.process_time() - begun)
        return best * 1e6 / len(records)

    return asyncio.run(run())


def _least(part: Callable[[], Any]) -> float:
    """Microseconds of processor time of one call."""
    return min(timeit.repeat(part, timer=time.process_time, number=1, repeat=100)) * 1e6


if __name__ == "__main__":
    main()
