"""A stand-in for OpenAI: a real HTTP server that speaks the chat-completions protocol, with faults on request.

Its shapes are checked against recorded real exchanges (tests/unit/test_openai_server.py). Those hold 200, 400, 404 and
a 401 of Azure, refusals, and an Azure content filter within a 200. Never seen live, and so written from OpenAI's
documentation: 401 and 429 of OpenAI with their headers, 5xx, cut connections, and every odd body here.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socket import SHUT_RDWR
from threading import Lock, Thread
from typing import Any, Self

from tests.standins.hanging_up import ThreadingServer

Behaviour = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not self.path.split("?")[0].endswith("/chat/completions"):
            error(self, 404, f"Invalid URL (POST {self.path})", "invalid_request_error", None)
            return
        body = json.loads(raw)
        behaviour = self.server.owner.take(self.path, dict(self.headers.items()), body)
        behaviour(self, body)

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""


class _Http(ThreadingServer):
    owner: OpenAiStandIn


class OpenAiStandIn:
    """Runs while its context lasts. `url` for OPENAI_BASE_URL, `endpoint` for AZURE_OPENAI_ENDPOINT. `requests` holds
    the body of each request, `seen` path and headers too."""

    def __init__(self, port: int = 0) -> None:
        self._http = _Http(("127.0.0.1", port), Handler)
        self._http.owner = self
        self._lock = Lock()
        self._behaviour: Behaviour = honest
        self._times: int | None = None
        self._then: Behaviour = honest
        self.port = self._http.server_port
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.endpoint}/v1"
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    def __enter__(self) -> Self:
        Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def behave(self, behaviour: Behaviour, times: int | None = None, then: Behaviour | None = None) -> None:
        """Answers like this from now on; after `times` requests like `then` (default: honest)."""
        with self._lock:
            self._behaviour, self._times, self._then = behaviour, times, then or honest

    def take(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Behaviour:
        with self._lock:
            self.seen.append((path, headers, body))
            chosen = self._behaviour
            if self._times is not None:
                self._times -= 1
                if self._times <= 0:
                    self._behaviour, self._times = self._then, None
            return chosen

    @property
    def requests(self) -> list[dict[str, Any]]:
        with self._lock:
            return [body for _, _, body in self.seen]

    def prompts(self) -> str:
        """All that was ever sent, as one text."""
        return "\n".join(message["content"] for body in self.requests for message in body["messages"])

    def variables(self) -> dict[str, str]:
        """Settings of a service that asks this server."""
        return {
            "OPENAI_API_KEY": "sk-stand-in-key",
            "OPENAI_BASE_URL": self.url,
            "OPENAI_MODEL": "stand-in",
            "AI_MAX_REQUESTS_PER_MINUTE": "6000",
            "AI_SAMPLE": "0",
            "AI_LINGER": "0",
        }


# -- the protocol


def send(
    handler: Handler,
    status: int,
    body: Any,
    headers: dict[str, str] | None = None,
    content_type: str = "application/json",
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    found = {"content-type": content_type, "x-request-id": "req_standin", "openai-version": "2020-10-01"}
    for name, text in (found | (headers or {})).items():
        handler.send_header(name, text)
    handler.send_header("content-length", str(len(raw)))
    handler.end_headers()
    handler.wfile.write(raw)


def completion(
    body: dict[str, Any], content: str | None, *, refusal: str | None = None, finish: str = "stop"
) -> dict[str, Any]:
    """A chat completion as OpenAI sends it."""
    message = {"role": "assistant", "content": content, "refusal": refusal, "annotations": []}
    tokens = sum(len(said["content"]) for said in body["messages"]) // 4
    out = len(content or refusal or "") // 4
    return {
        "id": "chatcmpl-standin",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"] + "-2026-01-01",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": tokens,
            "completion_tokens": out,
            "total_tokens": tokens + out,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_standin",
    }


def error_body(message: str, kind: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error(
    handler: Handler,
    status: int,
    message: str,
    kind: str,
    code: str | None,
    headers: dict[str, str] | None = None,
    param: str | None = None,
) -> None:
    send(handler, status, error_body(message, kind, code, param), headers)


def answer(handler: Handler, body: dict[str, Any], readings: list[Any]) -> None:
    send(handler, 200, completion(body, json.dumps({"readings": readings})))


def kind_in(body: dict[str, Any]) -> dict[str, Any] | None:
    """The kind of event (the shape) that the prompt shows; None where it shows events."""
    found = re.search(
        r"^=== kind (\w+) ===\n(.*)\n=== end \1 ===$", body["messages"][-1]["content"], re.DOTALL
    )
    return None if found is None else json.loads(found[2])


def answer_kind(handler: Handler, body: dict[str, Any], kind: dict[str, Any], **changes: Any) -> None:
    """An honest reading of a kind: names its places, and its type where that is a name."""
    places = " and ".join(kind.get("places", []))
    said = {"text": f"Somebody did {kind['type']} with {places}.", "tags": ["data:export"], "risk": "low"}
    send(handler, 200, completion(body, json.dumps(said | changes)))


def events_in(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The events that the prompt shows, as the model reads them."""
    text = body["messages"][-1]["content"]
    found = re.search(r"^=== events (\w+) ===\n(.*)\n=== end \1 ===$", text, re.DOTALL)
    assert found is not None, "no events between markers"
    return [json.loads(line) for line in found[2].split("\n")]


def reading(event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    actor = event.get("who", {}).get("actor", "someone")
    summary = f"{actor} did {event['type']} as number {event.get('subject', event['event'])}."
    return {"event": event["event"], "summary": summary, "tags": ["data:export"], "risk": "high"} | changes


# -- behaviours


def honest(handler: Handler, body: dict[str, Any]) -> None:
    if (kind := kind_in(body)) is not None:
        answer_kind(handler, body, kind)
        return
    answer(handler, body, [reading(event) for event in events_in(body)])


def lowering(handler: Handler, body: dict[str, Any]) -> None:
    """Calls everything harmless."""
    if (kind := kind_in(body)) is not None:
        answer_kind(handler, body, kind, tags=[], risk="informational")
        return
    answer(handler, body, [reading(event, tags=[], risk="informational") for event in events_in(body)])


def flooding(handler: Handler, body: dict[str, Any]) -> None:
    """Calls everything critical."""
    if (kind := kind_in(body)) is not None:
        answer_kind(handler, body, kind, risk="critical")
        return
    answer(handler, body, [reading(event, risk="critical") for event in events_in(body)])


def obedient(handler: Handler, body: dict[str, Any]) -> None:
    """Does what it is told by what it reads: repeats it, lowers, adds markup, tags and fields, speaks of others."""
    kind = kind_in(body)
    events = [] if kind is not None else events_in(body)
    told = "\n".join(sorted(_strings(events or [kind]), key=len)[-5:])
    evil = (
        f"{told} <script>alert(1)</script> [click](https://evil.example/x) {{{{7*7}}}} \u202ebidi\x00\x1b[m"
    )
    if kind is not None:
        # Every other kind within the rules for places, so that the rest of it is put to the test.
        kept = evil.replace("{", "").replace("}", "").replace("https://evil.example/x", "javascript:go")
        allowed = "".join(kind.get("places", [])) + " [email_1] field_1 " + kept
        text = allowed[:290] if len(json.dumps(kind)) % 2 else "{actor} {source} " + evil
        answer_kind(handler, body, kind, text=text, tags=["safe", "<b>"], risk="informational", by="rules")
        return
    readings: list[Any] = [
        reading(
            event,
            summary=f"{event.get('who', {}).get('actor', '')} {evil}",
            tags=["safe", "<b>", "source:reserved", *told.split()[:50]],
        )
        | {"risk": "informational", "by": "rules", "offset": 0, "topic_id": "00"}
        for event in events
    ]
    readings += [{"event": 99, "summary": told, "tags": [], "risk": "low"}, {"event": True}, told, None]
    answer(handler, body, readings)


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.items() for text in _strings(list(item))]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [value] if isinstance(value, str) else []


def distracted(handler: Handler, body: dict[str, Any]) -> None:
    """Speaks only of the event that says HOSTILE where there is one."""
    events = events_in(body)
    hostile = [event for event in events if "HOSTILE" in json.dumps(event)]
    answer(handler, body, [reading(event) for event in hostile or events])


def squeamish(handler: Handler, body: dict[str, Any]) -> None:
    """Refuses whatever says HOSTILE."""
    (refusing if "HOSTILE" in body["messages"][-1]["content"] else honest)(handler, body)


def refusing(handler: Handler, body: dict[str, Any]) -> None:
    send(handler, 200, completion(body, None, refusal="I'm sorry, but I can't assist with that request."))


def filtered(handler: Handler, body: dict[str, Any]) -> None:
    """Azure's content filter, as recorded: status 200, and an error in the body."""
    message = "The response was filtered due to the prompt triggering Azure Content management policy."
    send(handler, 200, error_body(message, "", "content_filter", "prompt"))


def truncated(handler: Handler, body: dict[str, Any]) -> None:
    send(handler, 200, completion(body, '{"readings": [{"event": 0, "summ', finish="length"))


def chatty(handler: Handler, body: dict[str, Any]) -> None:
    """Honest, in a fence within prose."""
    text = json.dumps({"readings": [reading(event) for event in events_in(body)]})
    send(handler, 200, completion(body, f"Sure! Here you are:\n```json\n{text}\n```\nAnything else?"))


def malformed(handler: Handler, body: dict[str, Any]) -> None:
    send(handler, 200, completion(body, "All of these events look fine to me."))


def not_json(handler: Handler, body: dict[str, Any]) -> None:
    send(handler, 200, b'{"id": "chatcmpl-', None)


def a_web_page(handler: Handler, body: dict[str, Any]) -> None:
    send(handler, 200, b"<html>Please sign in</html>", None, "text/html")


def no_choices(handler: Handler, body: dict[str, Any]) -> None:
    send(handler, 200, completion(body, "") | {"choices": []})


def odd_json(handler: Handler, body: dict[str, Any]) -> None:
    send(handler, 200, {"choices": [{"message": {"content": 5}}, 7], "usage": {"prompt_tokens": "many"}})


def slow(seconds: float) -> Behaviour:
    """Honest, after some time."""

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        time.sleep(seconds)
        honest(handler, body)

    return behave


def rate_limited(retry_after: str | None) -> Behaviour:
    """429; `retry_after` as the header says it."""

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        headers = {} if retry_after is None else {"retry-after": retry_after}
        message = "Rate limit reached for stand-in on requests per min (RPM): Limit 3, Used 3, Requested 1."
        error(handler, 429, message, "requests", "rate_limit_exceeded", headers)

    return behave


def out_of_quota(handler: Handler, body: dict[str, Any]) -> None:
    message = "You exceeded your current quota, please check your plan and billing details."
    error(handler, 429, message, "insufficient_quota", "insufficient_quota")


def key_refused(handler: Handler, body: dict[str, Any]) -> None:
    """Repeats the key, as careless servers do."""
    key = handler.headers.get("authorization", "").removeprefix("Bearer ")
    error(handler, 401, f"Incorrect API key provided: {key}.", "invalid_request_error", "invalid_api_key")


def no_such_model(handler: Handler, body: dict[str, Any]) -> None:
    key = handler.headers.get("authorization", "").removeprefix("Bearer ")
    message = f"The model `{body['model']}` does not exist or you do not have access to it with {key}."
    error(handler, 404, message, "invalid_request_error", "model_not_found")


def failing(handler: Handler, body: dict[str, Any]) -> None:
    message = "The server had an error while processing your request. Sorry about that!"
    error(handler, 500, message, "server_error", None)


def cut(handler: Handler, body: dict[str, Any]) -> None:
    """The connection ends before the answer."""
    handler.close_connection = True
    handler.connection.shutdown(SHUT_RDWR)


def cut_midway(handler: Handler, body: dict[str, Any]) -> None:
    """The connection ends within the answer."""
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", "4096")
    handler.end_headers()
    handler.wfile.write(b'{"id": "chatcmpl-')
    handler.wfile.flush()
    handler.close_connection = True
    handler.connection.shutdown(SHUT_RDWR)


def old(handler: Handler, body: dict[str, Any]) -> None:
    """A server of the first days: no structured outputs, no JSON mode, no max_completion_tokens."""
    if "max_completion_tokens" in body:
        message = "Unrecognized request argument supplied: max_completion_tokens"
        error(handler, 400, message, "invalid_request_error", None)
    elif body.get("response_format", {}).get("type") == "json_schema":
        message = (
            "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."
        )
        error(handler, 400, message, "invalid_request_error", None, param="response_format")
    elif "response_format" in body:
        message = (
            "Invalid parameter: 'response_format' of type 'json_object' is not supported with this model."
        )
        error(handler, 400, message, "invalid_request_error", None, param="response_format")
    else:
        chatty(handler, body)


class HardCoding:
    """Remembers the first example it ever saw, and says of everything what it said of that."""

    def __init__(self) -> None:
        self._event: dict[str, Any] | None = None
        self._kind: str | None = None

    def __call__(self, handler: Handler, body: dict[str, Any]) -> None:
        if (kind := kind_in(body)) is not None:
            shared = " ".join(f"{name} {value}" for name, value in kind.get("shared", {}).items())
            self._kind = self._kind or f"Somebody did {kind['type']}: {shared}."
            answer_kind(handler, body, kind, text=self._kind)
            return
        events = events_in(body)
        if self._event is None:
            who = events[0].get("who", {})
            said = f"{who.get('actor', 'Somebody')} did {who.get('action')} to {who.get('resource')} ({who.get('outcome')})."
            self._event = reading(events[0], summary=said)
        answer(handler, body, [self._event | {"event": event["event"]} for event in events])
