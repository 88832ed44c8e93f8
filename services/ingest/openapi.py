"""The description of the two ways in, which FastAPI does not route and so does not describe."""

from __future__ import annotations

from typing import Any

from schemas.proof_file import MEDIA_TYPE
from services.ingest.media import Form

_PROBLEMS = {
    400: "Not JSON (with line and column), broken off, an invalid CloudEvent (`errors` names attributes), or an Idempotency-Key "
    "that is not the event's id or no UTF-8.",
    401: "An API key is required, or this one is not known.",
    403: "The key lacks the scope or may not send as this source, or the source is reserved (piperoll/…).",
    408: "The body did not come in time.",
    413: "Too large (EVENT_MAX_BYTES, INGEST_BATCH_MAX_BYTES, INGEST_BATCH_MAX_EVENTS). Where the broker refused one "
    "event for its size, `durable` and `not_recorded` name all.",
    415: "The Content-Type is not taken, or the body is compressed.",
    422: "Fields or attributes are missing (`missing` names them), or unknown ones stand in the short form (`unknown`).",
    500: "A mistake of ours; whether the event was recorded is not known.",
    503: "Not recorded, or not known to be: the broker is away, or too much is in flight. See Retry-After; `durable`, "
    "`unknown` and `not_recorded` name every event by index or line, and by the id to send it again with.",
}
_SHORT = {
    "type": "object",
    "title": "Short form",
    "required": ["event_type", "event_data"],
    "additionalProperties": False,
    "properties": {
        "event_type": {"type": "string", "minLength": 1, "examples": ["data_export"]},
        "event_data": {"description": "Any JSON; catalogued types have required fields."},
        "id": {
            "type": "string",
            "minLength": 1,
            "description": "Given if absent. A repeat needs the same id.",
        },
        "source": {
            "type": "string",
            "format": "uri-reference",
            "description": "Default: the API key's name, or http.",
        },
        "time": {
            "type": "string",
            "format": "date-time",
            "description": "Default: from the data, else the arrival.",
        },
        "subject": {"type": "string", "minLength": 1},
        "backfill": {
            "type": "string",
            "minLength": 1,
            "description": "The id of the declared back-fill that this old event belongs to.",
        },
    },
}
_CLOUDEVENT = {
    "type": "object",
    "title": "CloudEvent 1.0 in the JSON format",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "format": "uri-reference", "minLength": 1},
        "type": {"type": "string", "minLength": 1},
        "subject": {"type": ["string", "null"], "minLength": 1},
        "time": {"type": ["string", "null"], "format": "date-time"},
        "data": {"description": "Any JSON."},
        "data_base64": {"type": ["string", "null"], "contentEncoding": "base64"},
    },
}
_ITEMS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["id"],
        "properties": {
            "index": {"type": "integer", "minimum": 0, "description": "In a batch."},
            "line": {"type": "integer", "minimum": 1, "description": "In JSON lines."},
            "id": {"type": "string"},
        },
    },
}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem (RFC 9457)",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong and what to do."},
    },
}
_NOT_DURABLE = _PROBLEM | {
    "title": "Problem that may name each event",
    "properties": {**_PROBLEM["properties"], "durable": _ITEMS, "unknown": _ITEMS, "not_recorded": _ITEMS},
}
_RECEIPT = {
    "type": "object",
    "title": "Receipt (not signed): where the broker put the event",
    "required": ["topic", "topic_id", "partition", "offset", "timestamp_ms", "value_sha256", "proof"],
    "properties": {
        "topic": {"type": "string"},
        "topic_id": {"type": ["string", "null"]},
        "partition": {"type": "integer"},
        "offset": {"type": ["integer", "null"]},
        "timestamp_ms": {"type": "integer"},
        "value_sha256": {
            "type": ["string", "null"],
            "description": "Of the message's value as it stands in Kafka.",
        },
        "proof": {
            "type": ["string", "null"],
            "description": "Where the proof is, once the record is sealed.",
        },
    },
}
_REPLY = {
    "type": "object",
    "title": "The event as understood",
    "required": ["status", "id", "summary", "tags", "risk", "by"],
    "properties": {
        "status": {"const": "ok"},
        "id": {"type": "string"},
        "summary": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "risk": {"enum": ["informational", "low", "medium", "high", "critical"]},
        "by": {"type": "string", "description": "`rules`, or the model's name."},
        "pending": {"const": True, "description": "Only where a reading by AI is still to come."},
        "receipt": _RECEIPT,
    },
}
PROOF_ID = (
    "The number that audit_events shows, TOPIC-ID:PARTITION:OFFSET of a receipt, or the event's own id."
)
_STATUS = {"const": "accepted"}
_ACCEPTED_ONE = {
    "type": "object",
    "required": ["status", "id"],
    "properties": {"status": _STATUS, "id": {"type": "string"}, "receipt": _RECEIPT},
}
_ACCEPTED_MANY = {
    "type": "object",
    "required": ["status", "ids"],
    "properties": {"status": _STATUS, "ids": {"type": "array", "items": {"type": "string"}}},
}
_WAIT = {
    "name": "wait",
    "in": "query",
    "description": "Seconds to wait for the event to be understood; 0: do not wait.",
    "schema": {"type": "number", "minimum": 0, "default": 5},
}
_WANTS_RECEIPT = {
    "name": "receipt",
    "in": "query",
    "description": "1: say where the broker put the event, and where its proof will be.",
    "schema": {"enum": ["0", "1"], "default": "0"},
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Becomes the id of a short form, so that sending it again records nothing twice.",
    "schema": {"type": "string"},
}


def describe(generated: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document with the two ways in."""
    responses = {
        "200": _response("Recorded and understood.", _REPLY),
        "202": _response("Recorded; not yet understood at the time-out.", _ACCEPTED_ONE),
    }
    audit = _operation("Send one event and hear how it is understood.", responses, many=False)
    audit["parameters"] = [_WAIT, _WANTS_RECEIPT, _IDEMPOTENCY_KEY]
    responses = {"202": _response("Recorded.", _ACCEPTED_MANY)}
    events = _operation("Send one CloudEvent, a batch, or JSON lines.", responses, many=True)
    events["parameters"] = [_IDEMPOTENCY_KEY]
    paths = generated["paths"] | {"/audit": {"post": audit}, "/v1/events": {"post": events}}
    components = {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}}
    return generated | {"paths": paths, "components": generated.get("components", {}) | components}


def _operation(summary: str, responses: dict[str, Any], *, many: bool) -> dict[str, Any]:
    problems = {
        str(status): _response(
            description, _NOT_DURABLE if status in (413, 503) else _PROBLEM, "application/problem+json"
        )
        for status, description in _PROBLEMS.items()
    }
    content = {
        media: {"schema": _schema(form)} for form in Form if many or not form.many for media in form.value
    }
    content["*/*"] = {"schema": {"description": "The data of a binary CloudEvent, with ce- headers."}}
    return {
        "summary": summary,
        "security": [{}, {"key": []}],
        "requestBody": {"required": True, "content": content},
        "responses": responses | problems,
    }


def _schema(form: Form) -> dict[str, Any]:
    if form is Form.JSON:
        return {"anyOf": [_SHORT, _CLOUDEVENT]}
    if form is Form.BATCH:
        return {"type": "array", "items": _CLOUDEVENT}
    if form is Form.LINES:
        return {"type": "string", "description": "Each line a short form or a CloudEvent."}
    return _CLOUDEVENT


def _response(description: str, schema: dict[str, Any], media: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media: {"schema": schema}}}


PROOF_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The proof (PROOF_FORMAT.md). Without a key it leaves out what the record says.",
        "content": {MEDIA_TYPE: {"schema": {"type": "object"}}},
    },
    **{
        status: _response(text, _PROBLEM, "application/problem+json")
        for status, text in {
            401: "An API key is required (always, beyond the loopback address), or this one is not known.",
            403: "The key lacks the scope read or is for other sources; or the way here is without TLS (`tls-required`).",
            404: "No such record, or not recorded yet.",
            409: "Several records are meant; `detail` has their ids.",
            422: "A parameter is not of its type.",
            500: "The record is not as it was sealed, or a mistake of ours.",
            503: "Not sealed yet (see Retry-After), the database is away or this ingest knows of none, or who reads cannot be put on record now.",
        }.items()
    },
}
