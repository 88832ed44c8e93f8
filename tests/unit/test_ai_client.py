"""One question to a model over real HTTP: every way in which a server may fail is a failure with advice, never a raise."""

import asyncio
import json
from threading import Event

import pytest
from click.testing import CliRunner

from services.cli.__main__ import load
from services.common.ai.client import Client
from services.common.ai.outcome import Answer, Failure
from services.common.ai.settings import AiSettings, ai_configured, read_ai_settings
from services.common.errors import ConfigurationError
from services.common.settings import read_settings
from tests.standins import openai_server as standin
from tests.standins.openai_server import OpenAiStandIn

KEY = "sk-stand-in-key"
MESSAGES = [
    {"role": "system", "content": "…"},
    {"role": "user", "content": '=== events ab ===\n{"event":0,"type":"t"}\n=== end ab ==='},
]
SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


@pytest.fixture
def server():
    with OpenAiStandIn() as running:
        yield running


@pytest.fixture
async def client(server):
    made = Client(read_settings(AiSettings, server.variables() | {"AI_TIMEOUT": "30"}))
    yield made
    await made.close()


async def ask(client):
    return await client.ask(MESSAGES, "readings", SCHEMA)


async def test_an_honest_answer_is_text_with_model_and_tokens(server, client):
    result = await ask(client)
    assert isinstance(result, Answer)
    assert json.loads(result.text)["readings"][0]["event"] == 0
    assert result.model == "stand-in-2026-01-01"
    assert result.tokens_in > 0
    assert result.tokens_out > 0
    body = server.requests[0]
    assert body["response_format"]["json_schema"]["strict"] is True
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert body["model"] == "stand-in"
    assert set(body) == {"model", "messages", "max_completion_tokens", "response_format"}


@pytest.mark.parametrize(
    ("behaviour", "kind", "advice"),
    [
        (standin.key_refused, "key", "OPENAI_API_KEY"),
        (standin.no_such_model, "model", "OPENAI_MODEL"),
        (standin.out_of_quota, "quota", "add credit"),
        (standin.rate_limited("7"), "rate", "AI_MAX_REQUESTS_PER_MINUTE"),
        (standin.failing, "away", "500"),
        (standin.cut, "away", "OPENAI_BASE_URL"),
        (standin.cut_midway, "away", "OPENAI_BASE_URL"),
        (standin.refusing, "refused", "declined"),
        (standin.filtered, "refused", "declined"),
        (standin.truncated, "truncated", "AI_MAX_OUTPUT_TOKENS"),
        (standin.not_json, "malformed", "cannot be read"),
        (standin.a_web_page, "malformed", "OPENAI_BASE_URL"),
        (standin.no_choices, "malformed", "no choices"),
        (standin.odd_json, "malformed", "empty"),
    ],
)
async def test_every_fault_is_a_failure_that_says_what_to_do_and_holds_no_key(
    server, client, behaviour, kind, advice
):
    server.behave(behaviour)
    result = await ask(client)
    assert isinstance(result, Failure)
    assert result.kind == kind
    assert advice in result.advice
    assert KEY not in repr(result)
    assert len(server.requests) == 1


async def test_a_server_that_does_not_answer_in_time_is_slow_and_asked_once(server):
    answers = Event()

    def late(handler, body):
        answers.wait(60)
        standin.honest(handler, body)

    server.behave(late)
    impatient = Client(read_settings(AiSettings, server.variables() | {"AI_TIMEOUT": "3"}))
    result = await ask(impatient)
    answers.set()
    await impatient.close()
    assert isinstance(result, Failure)
    assert (result.kind, "AI_TIMEOUT" in result.advice) == ("slow", True)
    assert KEY not in repr(result)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0.5", 0.5), (None, None), ("soon", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0)],
)
async def test_retry_after_is_read_as_seconds_or_date(server, client, header, seconds):
    server.behave(standin.rate_limited(header))
    assert (await ask(client)).retry_after_s == seconds


async def test_what_a_server_of_the_first_days_refuses_is_found_out_once(server, client):
    server.behave(standin.old)
    found = [await ask(client) for _ in range(5)]
    assert [getattr(result, "kind", "answer") for result in found] == ["dialect"] * 3 + ["answer"] * 2
    assert client.form == "text"
    assert set(server.requests[-1]) == {"model", "messages", "max_tokens"}


async def test_a_bad_request_after_answers_is_no_reason_to_ask_more_plainly(server, client):
    await ask(client)

    def too_long(handler, body):
        message = "This model's maximum context length is 8192 tokens."
        standin.error(handler, 400, message, "invalid_request_error", "context_length_exceeded")

    server.behave(too_long)
    result = await ask(client)
    assert result.kind == "request"
    assert "8192" in result.advice
    assert client.form == "json_schema"


async def test_an_unreachable_server_is_away():
    client = Client(AiSettings(OPENAI_API_KEY=KEY, OPENAI_BASE_URL="http://127.0.0.1:9/v1"))
    result = await ask(client)
    await client.close()
    assert result.kind == "away"


async def test_a_cancelled_question_raises_as_usual(server, client):
    server.behave(standin.slow(3))
    task = asyncio.create_task(ask(client))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_azure_is_asked_by_deployment_and_version_with_its_own_key(server):
    settings = AiSettings(
        AZURE_OPENAI_ENDPOINT=server.endpoint,
        AZURE_OPENAI_API_KEY="azure-key",
        AZURE_OPENAI_DEPLOYMENT="audit-small",
        OPENAI_API_KEY=KEY,
    )
    client = Client(settings)
    assert isinstance(await ask(client), Answer)
    await client.close()
    path, headers, _ = server.seen[0]
    assert path == "/openai/deployments/audit-small/chat/completions?api-version=2024-10-21"
    assert headers["api-key"] == "azure-key"
    assert settings.model_name == "audit-small"


@pytest.mark.parametrize(
    ("variables", "configured"),
    [
        ({}, False),
        ({"OPENAI_API_KEY": ""}, False),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, False),
        ({"OPENAI_API_KEY": KEY}, True),
        ({"AZURE_OPENAI_ENDPOINT": "https://x.example", "OPENAI_API_KEY": KEY}, True),
        ({"AZURE_OPENAI_ENDPOINT": "https://x.example", "AZURE_OPENAI_API_KEY": KEY}, True),
        ({"OPENAI_API_KEY": KEY, "AI_ENABLED": "off"}, False),
    ],
)
def test_there_is_ai_only_with_a_key(variables, configured):
    assert ai_configured(variables) is configured
    if configured:
        assert KEY not in repr(read_ai_settings(variables))
    else:
        with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
            read_ai_settings(variables)


def test_an_enricher_can_be_told_of_an_annotator_without_having_the_key():
    assert ai_configured({"AI_ENABLED": "on"})
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        read_ai_settings({"AI_ENABLED": "on"})


def test_an_azure_endpoint_without_a_key_is_a_wrong_setting():
    with pytest.raises(ConfigurationError, match="AZURE_OPENAI_API_KEY"):
        ai_configured({"AZURE_OPENAI_ENDPOINT": "https://x.example"})


# -- piperoll ai check


def check(server, *arguments, **changes):
    unset = {"AZURE_OPENAI_ENDPOINT": "", "AZURE_OPENAI_API_KEY": "", "OPENAI_API_KEY_FILE": ""}
    variables = unset | server.variables() | {"AI_TIMEOUT": "30"} | changes
    found = CliRunner().invoke(load("ai"), ["check", *arguments], env=variables)
    assert found.exception is None or isinstance(found.exception, SystemExit)
    assert KEY not in found.output
    return found.exit_code, found.output


def yes(handler, body):
    standin.send(handler, 200, standin.completion(body, '{"ok": true}'))


def old_yes(handler, body):
    (yes if set(body) == {"model", "messages", "max_tokens"} else standin.old)(handler, body)


@pytest.mark.parametrize(
    ("behaviour", "status", "said"),
    [
        (yes, 0, "answers as stand-in-2026-01-01"),
        (old_yes, 0, "no structured output"),
        (standin.malformed, 1, "not with the JSON"),
        (standin.refusing, 1, "declined"),
        (standin.key_refused, 1, "set OPENAI_API_KEY"),
        (standin.no_such_model, 1, "set OPENAI_MODEL"),
        (standin.out_of_quota, 1, "add credit"),
        (standin.cut, 2, "check OPENAI_BASE_URL"),
    ],
)
def test_ai_check_says_what_to_fix_and_never_the_key(server, behaviour, status, said):
    server.behave(behaviour)
    found, text = check(server)
    assert (found, said in text) == (status, True), text


def test_ai_check_without_a_key_says_what_to_set(server):
    status, text = check(server, OPENAI_API_KEY="")
    assert status == 2
    assert "set OPENAI_API_KEY" in text
    assert server.requests == []


def test_ai_check_as_json(server):
    server.behave(yes)
    status, text = check(server, "--json")
    assert status == 0
    assert json.loads(text)["form"] == "json_schema"
