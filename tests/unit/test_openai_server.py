"""The stand-in for OpenAI has the shapes of recorded real exchanges."""

import json
import urllib.error
import urllib.request

import pytest

from tests.standins import openai_server as standin
from tests.standins.openai_server import OpenAiStandIn

BODY = {
    "model": "stand-in",
    "messages": [
        {"role": "system", "content": "…"},
        {"role": "user", "content": '=== events ab ===\n{"event":0,"type":"t"}\n=== end ab ==='},
    ],
}


@pytest.fixture(scope="module")
def recorded(shared_data):
    lines = (shared_data / "model_inference.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [
        exchange
        for exchange in found
        if "/chat/completions" in exchange["uri"]
        and isinstance(exchange["response_body"], dict)
        and "localhost" not in exchange["uri"]
    ]


def ask(behaviour):
    with OpenAiStandIn() as server:
        server.behave(behaviour)
        request = urllib.request.Request(
            f"{server.url}/chat/completions", json.dumps(BODY).encode(), {"authorization": "Bearer k"}
        )
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, dict(response.headers), json.load(response)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, dict(refused.headers), json.load(refused)


def completions(recorded):
    return [e for e in recorded if e["response_status"] == 200 and "error" not in e["response_body"]]


def test_an_answer_has_what_every_recorded_answer_has_and_nothing_that_none_has(recorded):
    _, _, body = ask(standin.honest)
    real = [
        e["response_body"] for e in completions(recorded) if "message" in e["response_body"]["choices"][0]
    ]
    assert len(real) > 100
    for part in (
        lambda said: said,
        lambda said: said["choices"][0],
        lambda said: said["choices"][0]["message"],
        lambda said: said["usage"],
    ):
        always = set.intersection(*(set(part(said)) for said in real))
        ever = set.union(*(set(part(said)) for said in real))
        assert always <= set(part(body)) <= ever
    by_type = {name: type(content) for name, content in body["usage"].items()}
    assert by_type.items() <= {name: type(said) for e in real for name, said in e["usage"].items()}.items()


def test_a_refusal_is_as_recorded(recorded):
    _, _, body = ask(standin.refusing)
    real = [
        said
        for e in completions(recorded)
        for choice in e["response_body"]["choices"]
        if (said := choice.get("message", {})).get("refusal")
    ]
    assert real
    said = body["choices"][0]["message"]
    assert any(set(said) == set(one) and one["content"] is said["content"] is None for one in real)


@pytest.mark.parametrize(("behaviour", "status"), [(standin.no_such_model, 404), (standin.old, 400)])
def test_an_error_is_as_recorded(recorded, behaviour, status):
    real = [
        e["response_body"]
        for e in recorded
        if e["response_status"] == status and "api.openai.com" in e["uri"]
    ]
    with OpenAiStandIn() as server:
        server.behave(behaviour)
        body = json.dumps(BODY | {"max_completion_tokens": 9}).encode()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{server.url}/chat/completions", body))
        with refused.value as response:
            said = json.load(response)
    assert refused.value.code == status
    assert {frozenset(one["error"]) for one in real} == {frozenset(said["error"])}


def test_the_content_filter_within_a_200_is_as_recorded(recorded):
    status, _, body = ask(standin.filtered)
    real = [
        e["response_body"] for e in recorded if e["response_status"] == 200 and "error" in e["response_body"]
    ]
    assert status == 200
    assert real
    assert set(body["error"]) <= set(real[0]["error"])
    assert body["error"]["code"] == real[0]["error"]["code"]


def test_headers_that_recorded_answers_always_have_are_there(recorded):
    _, headers, _ = ask(standin.honest)
    real = [e["response_headers"] for e in completions(recorded) if "api.openai.com" in e["uri"]]
    assert {"content-type", "date", "openai-version", "x-request-id"} <= {name.lower() for name in headers}
    assert set.intersection(*(set(one) for one in real)) <= {name.lower() for name in headers} | {
        "openai-processing-ms",
        "cf-ray",
    }
