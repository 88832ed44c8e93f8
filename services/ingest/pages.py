"""Everything beside the two ways in: health, metrics, and the API's description."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from services.ingest.answers import Answer
from services.ingest.metrics import Metrics
from services.ingest.openapi import PROOF_ID, PROOF_RESPONSES, describe
from services.ingest.problems import ProblemError
from services.ingest.proofs import Proofs

_TEXT = {"text/plain": {"schema": {"type": "string"}}}


def build_pages(metrics: Metrics, trouble: Callable[[], str | None], proofs: Proofs) -> FastAPI:
    """`trouble` says why the service is not ready. No documentation pages: they would load scripts from elsewhere."""
    app = FastAPI(
        title="Piperoll ingest",
        version=version("piperoll"),
        summary="Takes audit events and answers once they are durable.",
        docs_url=None,
        redoc_url=None,
    )

    @app.get("/healthz", response_class=PlainTextResponse, summary="The process lives.")
    async def healthz() -> str:
        return "ok\n"

    @app.get(
        "/readyz",
        response_class=PlainTextResponse,
        summary="Events can be taken: the broker is connected, and replies are heard.",
        responses={503: {"description": "Not now; the text says why.", "content": _TEXT}},
    )
    async def readyz() -> PlainTextResponse:
        wrong = trouble()
        status = HTTPStatus.OK if wrong is None else HTTPStatus.SERVICE_UNAVAILABLE
        return PlainTextResponse(f"{wrong or 'ok'}\n", status)

    @app.get("/metrics", response_class=PlainTextResponse, summary="Metrics for Prometheus.")
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get(
        "/v1/events/{identifier:path}/proof",
        summary="The proof file of one sealed record, to be checked offline.",
        response_class=Response,
        responses=PROOF_RESPONSES,
        openapi_extra={"security": [{}, {"key": []}]},
    )
    async def show_proof(
        request: Request,
        identifier: Annotated[str, PathParameter(description=PROOF_ID)],
        source: Annotated[
            str | None, Query(description="The event's source; the id is then its own.")
        ] = None,
        content: Annotated[bool, Query(description="Payload and enrichment too; needs a key.")] = True,
    ) -> Response:
        authorization = request.headers.get("authorization")
        given = None if authorization is None else authorization.encode("latin-1")
        try:
            answer = await proofs.answer(given, identifier, source, content=content)
        except ProblemError as problem:
            answer = problem.answer()
        metrics.requests.labels("/v1/events/{id}/proof", answer.status).inc()
        return _response(answer)

    app.add_exception_handler(HTTPException, _problem)
    app.add_exception_handler(RequestValidationError, _unreadable)
    generated = app.openapi
    app.openapi = lambda: describe(generated())  # type: ignore[method-assign]
    return app


async def _problem(request: Request, error: Exception) -> Response:
    """404 and 405 in the form of all other errors."""
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    if status == HTTPStatus.METHOD_NOT_ALLOWED or request.url.path in ("/audit", "/v1/events"):
        problem = ProblemError(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "This path takes another method: events are sent by POST.",
            headers={b"allow": b"POST" if request.url.path in ("/audit", "/v1/events") else b"GET"},
        )
    else:
        problem = ProblemError(
            status, "not-found", "Nothing is here: events go to POST /audit or POST /v1/events."
        )
    return _response(problem.answer())


async def _unreadable(_request: Request, _error: Exception) -> Response:
    """A parameter that is not of its type."""
    return _response(
        ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "parameter", "content is true or false; source is a text."
        ).answer()
    )


def _response(answer: Answer) -> Response:
    headers = {name.decode(): text.decode() for name, text in answer.headers}
    return Response(answer.body, answer.status, headers)
