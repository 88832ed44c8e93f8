"""The services that the local stack runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Service:
    """`python -m module *arguments`; `port` is where it serves /readyz (ingest: its API), `role` its PostgreSQL role."""

    name: str
    module: str
    arguments: tuple[str, ...]
    port: int
    port_variable: str = "HEALTH_PORT"
    role: str | None = None
    needs: tuple[str, ...] = ()
    """It runs where one of these variables is set; always where there are none."""
    folders: tuple[tuple[str, str], ...] = ()
    """Variables that name folders, and the folder in the stack's home for each, unless the variable is set."""


SERVICES = (
    Service("ingest", "services.ingest", (), 8080, port_variable="INGEST_PORT", role="piperoll_reporter"),
    Service("enricher", "services.enricher", (), 8081),
    Service("writer", "services.writer", (), 8082, role="piperoll_writer"),
    Service(
        "sealer",
        "services.writer",
        ("sealer",),
        8086,
        role="piperoll_sealer",
        folders=(("SEALER_DIR", "sealer"),),
    ),
    Service(
        "annotator",
        "services.enricher",
        ("annotator",),
        8083,
        needs=("OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"),
    ),
    Service("alerter", "services.enricher", ("alerter",), 8085),
    Service(
        "reporter",
        "services.reporter",
        ("serve",),
        8084,
        role="piperoll_reporter",
        folders=(("VERIFY_CHECKPOINTS", "sealer/published"), ("REPORT_DIR", "reports")),
    ),
)
RUNNABLE = ("ingest", "enricher", "annotator", "alerter", "writer", "sealer", "reporter")
"""What `piperoll run` takes."""


def service_named(name: str) -> Service:
    """The service `name`: one of RUNNABLE."""
    return next(service for service in SERVICES if service.name == name)


def wanted_services(variables: Mapping[str, str]) -> list[Service]:
    """Those that `up` starts under these variables. A secret may come as NAME_FILE."""
    return [
        service
        for service in SERVICES
        if not service.needs
        or any(variables.get(name) or variables.get(f"{name}_FILE") for name in service.needs)
    ]
