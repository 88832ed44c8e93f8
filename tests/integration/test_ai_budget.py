"""The budget's log on a real broker: two processes decide alike, and a restart knows what was spent."""

import asyncio

from services.common.ai import budget_log
from services.common.ai.account import Granted, Limits, Reserve, Settle
from services.common.ai.budget_log import KafkaBudgetLog

LIMITS = Limits(month=(100, 0, 1000))


def reserve(name):
    return Reserve(name, "event", 10, 10, LIMITS)


async def test_two_readers_of_the_log_never_exceed_it_and_a_restart_goes_on_from_a_snapshot(
    kafka, monkeypatch
):
    monkeypatch.setattr(budget_log, "SNAPSHOT_EVERY", 20)
    logs = [await asyncio.to_thread(KafkaBudgetLog, kafka) for _ in range(2)]
    decisions = await asyncio.gather(*(logs[n % 2].decide(reserve(f"r{n}")) for n in range(90)))
    assert sum(isinstance(decision, Granted) for decision in decisions) == 70  # 30 of 100 are kept for others
    await logs[0].append(Settle("r0", 1, 1))
    again = await asyncio.to_thread(KafkaBudgetLog, kafka)
    accounts = [await log.catch_up() for log in (*logs, again)]
    assert {str(account.spent) for account in accounts} == {"{'event': [70, 691, 691]}"}
    assert not isinstance(await again.decide(reserve("late")), Granted)
    assert again._next > 90
    for log in (*logs, again):
        await asyncio.to_thread(log.close)
