"""A month with something of everything that a report tells, as rows: what the document is tested on."""

from __future__ import annotations

from tests.chain_rows import START_US, ChainRows

HOSTILE = '<script>alert(1)</script> | `x` \u202e =1+1 "\n# Heading'
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
HIT = [{"id": "r-1", "title": f"Mass export {HOSTILE}", "level": "high"}]


class Month:
    """Two chains of events, one of annotations, one of own events, all of October 2026; `system` may be added to."""

    def __init__(self, first_day_us: int = START_US) -> None:
        self.first = ChainRows(chain_no=1, step_us=HOUR_US)
        self.second = ChainRows(chain_no=2, partition=1, seed=2, step_us=7 * HOUR_US)
        self.annotations = ChainRows(chain_no=3, topic="audit.annotations", seed=4, step_us=24 * HOUR_US)
        self.system = ChainRows(chain_no=4, topic="audit.system", seed=5, step_us=10 * HOUR_US)
        self.start_us = first_day_us
        self._events()
        self._said_later()
        self._own()

    @property
    def chains(self) -> list[ChainRows]:
        return [self.first, self.second, self.annotations, self.system]

    def review(self, chain: ChainRows, offset: int, status: str, **more: str) -> None:
        """A review of the event at a source offset."""
        place = {"topic_id": chain.topic_id.hex(), "partition": chain.partition, "source_offset": offset}
        said = {"by": "casey", "reason": "looked at it", "event": place, "status": status} | more
        self.own("piperoll.review", "piperoll/review", **said)

    def own(self, kind: str, sender: str, **data: object) -> None:
        self.system.own_event(type=kind, source=sender, data=data)

    def erase(self, *offsets: int) -> None:
        """The own event of an erasure of events of the first chain; the rows stay."""
        named = [
            {"topic_id": self.first.topic_id.hex(), "partition": 0, "source_offset": at} for at in offsets
        ]
        more = {"requested_us": START_US, "request": "req-1", "part": 1, "parts": 1, "ticket": "T-7"}
        self.own("piperoll.erasure", "piperoll/erase", by="casey", reason="Art. 17", events=named, **more)

    def _events(self) -> None:
        for at in range(300):
            high = at % 20 == 7
            kind = HOSTILE if at % 30 == 11 else ("data_export" if high else "user_login")
            self.first.event(
                type=kind,
                risk="high" if high else "informational",
                rules=HIT if high else [],
                summary=HOSTILE if at % 30 == 11 else f"User {at % 7} did {kind}.",
                tags=["auth:login", "catalog:unknown"] if at % 30 == 11 else ["auth:login"],
                by="gpt-x" if at % 40 == 3 else "rules",
                pending=at % 40 == 5,
                sequence=at + 1 if at not in (30, 31) else 0,
                source="app/shop",
                versions={"catalog": "c-1", "mappings": "m-1", "rules": "rules-1" if at < 200 else "rules-2"},
            )
        self.first.poison(reason=HOSTILE)
        self.first.duplicate(3)
        self.first.duplicate(4, tags=("identity:unchecked",))
        self.first.skip(5)
        self.first.event()
        for at in range(80):
            self.second.event(type="payment_made", source="app/billing", summary=f"Payment {at}.")
        self.second.event(source="app/clock", tags=["time:no-zone"], summary="Without a zone.")
        self.second.event(time_us=START_US - 40 * DAY_US, source="app/late", summary="Late.")
        self.second.event(time_us=START_US + 300 * DAY_US, source="app/future", summary="Ahead.")

    def _said_later(self) -> None:
        for offset in (0, 1, 2):
            more = {"prompt_version": "7", "evidence": "three exports in a minute", "model": "small-model"}
            self.annotations.annotation(
                self.first.topic_id, 0, offset, summary=f"raised later {HOSTILE}", risk="critical", **more
            )

    def _own(self) -> None:
        alert = {"severity": "high", "text": f"app/old sends nothing {HOSTILE}"}
        self.own("alert", "piperoll/alerter", name="silent_source", **alert)
        self.own("alert", "piperoll/alerter", name="risk_spike", **(alert | {"severity": "critical"}))
        self.review(self.first, 0, "false-positive", reason=f"a test {HOSTILE}")
        self.review(self.first, 7, "incident")
        self.review(self.first, 27, "open", reason="asked the owner")
        self.own(
            "piperoll.drill", "piperoll/drill", passed=True, attacks=26, detected=26, slowest_seconds=0.2
        )
        self.own(
            "piperoll.read",
            "piperoll/report",
            by="audrey",
            what="export",
            range={"month": "2026-10"},
            count=381,
        )
        self.own(
            "piperoll.backfill.declared", "piperoll/emit", by="ops", reason="moved a site", file="old.jsonl"
        )
        inference = {"model": "gpt-x", "purpose": "high", "prompt_version": "7", "outcome": "answered"}
        for tokens in (100, 200):
            self.own(
                "model_inference",
                "piperoll/annotator",
                tokens_in=tokens,
                tokens_out=10,
                latency_ms=800,
                **inference,
            )
        self.own("model_inference", "piperoll/annotator", **(inference | {"outcome": "slow"}))
        self.own(
            "piperoll.report.signature",
            "piperoll/report",
            edition="monthly/2026-09/1",
            by="casey",
            role="CCO",
            statement="Read.",
        )
        self.erase(40, 41)
        self.system.duplicate(1)  # said again after a crash: no repeat of an event
