"""Breaker, budget and asker by a clock that the test sets: when a model is asked, how often, and when not any more."""

import asyncio

import pytest

from services.common.ai.account import Limits
from services.common.ai.asker import About, Asker
from services.common.ai.breaker import Breaker
from services.common.ai.budget import Budget, MemoryLog
from services.common.ai.outcome import Answer, Failure

ABOUT = About("event", "p-1")
ANSWER = Answer("{}", "m-1", 10, 2)


def failure(kind, retry_after_s=None):
    return Failure(kind, "do this", 500, retry_after_s)


class Time:
    """Seconds that pass only by sleeping."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Scripted:
    """A client that answers as told, then honestly."""

    model = "m"
    output_tokens = 100

    def __init__(self, *script):
        self.script = list(script)
        self.asked = 0

    async def ask(self, messages, name, schema, output_tokens=None):
        self.asked += 1
        await asyncio.sleep(0)
        return self.script.pop(0) if self.script else ANSWER


class Bench:
    def __init__(self, *script, a_minute=100_000, in_all=100_000, give_up_after_s=600.0):
        self.time = Time()
        self.client = Scripted(*script)
        self.breaker = Breaker(sleep=self.time.sleep, now=self.time)
        self.log = MemoryLog(lambda: self.time.now * 1000)
        limits = Limits(minute=(a_minute, 0, 0), month=(in_all, 0, 0))
        self.budget = Budget(self.log, limits, None, sleep=self.time.sleep)
        self.recorded = []
        self.spent = []
        self.asker = Asker(
            self.client,
            self.breaker,
            self.budget,
            self.record,
            self.note_spent,
            give_up_after_s=give_up_after_s,
            now=self.time,
        )

    async def record(self, exchange):
        self.recorded.append(exchange)

    async def note_spent(self, limit, purpose):
        self.spent.append((limit, purpose))

    async def ask(self):
        return (await self.asker.ask([{"role": "user", "content": "?"}], "n", {}, ABOUT)).result


async def test_an_answer_costs_one_request_and_is_recorded_with_hashes():
    bench = Bench()
    assert await bench.ask() == ANSWER
    (exchange,) = bench.recorded
    assert exchange.outcome == "answered"
    assert (exchange.tokens_in, exchange.tokens_out, exchange.status) == (10, 2, 200)
    assert len(exchange.input_hash) == len(exchange.output_hash) == 64
    assert (exchange.model, exchange.answered_by) == ("m", "m-1")


async def test_a_model_that_is_away_is_asked_again_with_growing_pauses_and_each_request_is_recorded():
    bench = Bench(*[failure("away")] * 8)
    assert await bench.ask() == ANSWER
    assert bench.time.slept == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [exchange.outcome for exchange in bench.recorded] == ["away"] * 8 + ["answered"]


async def test_retry_after_is_honoured():
    bench = Bench(failure("rate", 17.0), failure("rate", 0.0))
    assert await bench.ask() == ANSWER
    assert bench.time.slept == [17]


@pytest.mark.parametrize("kind", ["key", "model", "quota"])
async def test_what_somebody_must_fix_is_tried_every_few_minutes_only(kind):
    bench = Bench(failure(kind), failure(kind))
    assert await bench.ask() == ANSWER
    assert bench.time.slept == [180, 180]


@pytest.mark.parametrize("kind", ["refused", "truncated", "malformed", "request"])
async def test_what_concerns_one_request_only_is_not_asked_again(kind):
    bench = Bench(failure(kind))
    assert (await bench.ask()).kind == kind
    assert bench.client.asked == 1
    assert not bench.breaker.open


async def test_a_refused_form_is_asked_in_a_plainer_one_at_once():
    bench = Bench(*[failure("dialect")] * 3)
    assert await bench.ask() == ANSWER
    assert bench.time.slept == []
    assert len(bench.recorded) == 4


async def test_while_the_model_is_away_one_request_at_a_time_tries():
    bench = Bench(*[failure("away")] * 9)
    results = await asyncio.gather(*(bench.ask() for _ in range(5)))
    assert results == [ANSWER] * 5
    assert bench.client.asked == 14
    assert bench.time.slept[-4:] == [2, 4, 8, 16]  # after the five that were under way together


async def test_a_model_that_stays_away_is_given_up_after_some_time():
    bench = Bench(*[failure("slow")] * 1000, give_up_after_s=600)
    assert (await bench.ask()).kind == "slow"
    assert 600 <= bench.time.now <= 700


async def test_a_request_that_fails_while_others_succeed_is_given_up_after_four_attempts():
    bench = Bench(give_up_after_s=1e9)
    poison = {"role": "user", "content": "poison"}

    async def ask(messages, name, schema, output_tokens=None):
        bench.client.asked += 1
        await asyncio.sleep(0)
        return failure("away") if messages == [poison] else ANSWER

    bench.client.ask = ask

    async def others():
        while True:
            await bench.ask()
            await asyncio.sleep(0)

    running = asyncio.create_task(others())
    asked = await asyncio.wait_for(bench.asker.ask([poison], "n", {}, ABOUT), 10)
    running.cancel()
    assert asked.result.kind == "away"


async def test_requests_beyond_the_limit_of_a_minute_wait_for_the_next():
    bench = Bench(a_minute=3)
    for _ in range(7):
        await bench.ask()
    assert bench.time.now == 120


async def test_when_all_requests_are_used_nothing_is_asked_and_nothing_waits():
    bench = Bench(in_all=2)
    kinds = [getattr(await bench.ask(), "kind", "answer") for _ in range(4)]
    assert kinds == ["answer", "answer", "budget", "budget"]
    assert bench.client.asked == len(bench.recorded) == 2


async def test_attempts_count_as_requests():
    bench = Bench(*[failure("away")] * 10, in_all=3)
    assert (await bench.ask()).kind == "budget"
    assert bench.client.asked == 3


async def test_a_request_that_is_cancelled_while_it_waits_lets_the_next_one_try():
    bench = Bench(failure("away"))
    forever = asyncio.Event()
    bench.breaker = Breaker(sleep=lambda _: forever.wait(), now=bench.time)
    bench.asker._breaker = bench.breaker
    waiting = asyncio.create_task(bench.ask())
    for _ in range(5):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    bench.time.now = 100
    assert await bench.ask() == ANSWER
