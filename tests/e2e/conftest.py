"""The whole pipeline as processes: ingest, enricher, writer, on a real broker and a real database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from deploy.local.postgres import run_async
from services.common.settings import KafkaSettings
from services.reporter.verify import verify_database
from tests import query
from tests.fault import feeder
from tests.service_process import ServiceProcess


@dataclass
class Pipeline:
    """The running services, and what the tests ask of them."""

    kafka: KafkaSettings
    database: Any
    ingest: ServiceProcess
    enricher: ServiceProcess
    writer: ServiceProcess

    @property
    def url(self) -> str:
        return self.ingest.url

    def rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """A query as the reporter's role, as a user would ask."""
        return query.rows(self.database.reporter_dsn, sql, *arguments)

    def recorded(self) -> int:
        """How many offsets of audit.events are recorded, in all chains."""
        return int(
            self.rows(
                "SELECT count(*) FROM audit.record JOIN audit.chain USING (chain_no)"
                " WHERE topic = $1 AND kind IN (1, 2, 3)",
                self.kafka.topics.events,
            )[0][0]
        )

    def wait_recorded(self, count: int | None = None, *, timeout: float = 90.0) -> None:
        """Until `count` events are recorded; without it, until all that stand in audit.events now are."""
        goal = feeder.total(self.kafka, self.kafka.topics.events) if count is None else count
        feeder.wait_until(
            lambda: self.recorded() >= goal,
            timeout=timeout,
            what=f"{goal} records",
            every=0.2,
        )

    def assert_verified(self) -> None:
        """Every chain is good by the verifier that users run, and no record was left out."""
        count = "SELECT count(*) FROM audit.record"
        before = self.rows(count)[0][0]
        verification = run_async(verify_database(self.database.reporter_dsn, processes=1))
        assert verification.good, verification.findings
        assert not verification.partial
        # Alerts of the writer may be recorded meanwhile.
        assert before <= verification.records <= self.rows(count)[0][0]
        assert len(verification.chains) <= self.rows("SELECT count(*) FROM audit.chain")[0][0]


@pytest.fixture
def pipeline(kafka, database, start_service) -> Pipeline:
    """All three services, ready."""
    services = [start_service(name) for name in ("ingest", "enricher", "writer")]
    for service in services:
        service.wait_ready()
    return Pipeline(kafka, database, *services)
