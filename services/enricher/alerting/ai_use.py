"""From what models were asked and said to alerts: spend, failures and disagreement with the rules, out of the usual. Pure
but for the state, as `judge`."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.alerts import Alert
from services.enricher.alerting import words
from services.enricher.alerting.ai_feed import Seen
from services.enricher.alerting.state import AiCursor, AiWindow, State
from services.enricher.alerting.thresholds import AiDisagreement, AiFailures, AiSpend, Thresholds, Windowed

_FINE = ("answered", "dialect")


class AiUse:
    """Counts into windows of Kafka's time, each kind of alert into its own."""

    def __init__(self, state: State, thresholds: Thresholds) -> None:
        self._state = state
        self._rules: dict[str, Windowed] = {
            "ai_spend": thresholds.ai_spend,
            "ai_failures": thresholds.ai_failures,
            "ai_disagreement": thresholds.ai_disagreement,
        }

    def cursor(self) -> int | None:
        """The offset of audit.system to read on from; None before the first look."""
        cursor = self._state.ai_cursor()
        return None if cursor is None else cursor.next

    def take(self, seen: Sequence[Seen], next_offset: int, now_ms: int) -> list[Alert]:
        """Counts what was read; `next_offset` is where to read on. The alerts to which that leads."""
        cursor = self._state.ai_cursor() or AiCursor(since_ms=now_ms)
        alerts = []
        for kind, rule in self._rules.items():
            if rule.enabled:
                for begin_ms in sorted({one.at_ms - one.at_ms % rule.window for one in seen}):
                    alerts += self._count(kind, rule, begin_ms, seen, cursor)
                if seen:
                    history = getattr(rule, "history", 0)
                    newest_ms = min(
                        now_ms, max(one.at_ms for one in seen)
                    )  # far behind, a window comes in pieces
                    self._state.forget_ai(kind, newest_ms - (history + 2) * rule.window)
        if (
            cursor.next != next_offset
        ):  # last, as the state goes out: a crash between must not lose what was counted
            cursor.next = next_offset
            self._state.keep_ai_cursor(cursor)
        return alerts

    def _count(
        self, kind: str, rule: Windowed, begin_ms: int, seen: Sequence[Seen], cursor: AiCursor
    ) -> list[Alert]:
        window = self._state.ai_window(kind, begin_ms)
        new = [
            one
            for one in seen
            if begin_ms <= one.at_ms < begin_ms + rule.window and one.offset >= window.upto
        ]
        if not new:
            return []
        for one in new:
            _add(window, one)
        window.upto = new[-1].offset + 1
        alert = None if window.said else self._judge(rule, window, cursor)
        window.said = window.said or alert is not None
        self._state.keep_ai_window(kind, window)
        return [] if alert is None else [alert]

    def _judge(self, rule: Windowed, window: AiWindow, cursor: AiCursor) -> Alert | None:
        if isinstance(rule, AiSpend):
            return self._spend(rule, window, cursor)
        if isinstance(rule, AiDisagreement):
            return self._disagreement(rule, window)
        if isinstance(rule, AiFailures):
            few = window.requests < rule.requests
            return (
                None if few or window.share_failed * 100 < rule.percent else words.ai_failures(window, rule)
            )
        return None

    def _spend(self, rule: AiSpend, window: AiWindow, cursor: AiCursor) -> Alert | None:
        """None while nobody can say what is usual: before so many windows were watched whole."""
        watched = (window.begin_ms - cursor.since_ms) // rule.window
        if window.requests < rule.requests or (rule.history and watched < rule.history):
            return None
        before = self._before("ai_spend", rule.window, rule.history, window)
        dollars = window.micro > 0
        spent = window.micro if dollars else window.tokens
        usual = sum(one.micro if dollars else one.tokens for one in before) / max(1, rule.history)
        return words.ai_spend(window, usual, rule) if spent >= rule.factor * usual else None

    def _disagreement(self, rule: AiDisagreement, window: AiWindow) -> Alert | None:
        if window.readings < rule.readings or window.share_apart * 100 < rule.percent:
            return None
        before = self._before("ai_disagreement", rule.window, rule.history, window)
        readings = sum(one.readings for one in before)
        usual = sum(one.apart for one in before) / readings if readings else 0.0
        return (
            words.ai_disagreement(window, usual, rule) if window.share_apart >= rule.factor * usual else None
        )

    def _before(self, kind: str, length_ms: int, history: int, window: AiWindow) -> list[AiWindow]:
        return [
            self._state.ai_window(kind, window.begin_ms - back * length_ms) for back in range(1, history + 1)
        ]


def _add(window: AiWindow, one: Seen) -> None:
    facts = one.facts
    window.readings += max(0, facts.readings)
    window.apart += max(0, facts.apart)
    if one.request:
        window.requests += 1
        window.tokens += facts.tokens_in + facts.tokens_out
        window.micro += round(1e6 * (facts.cost_usd or 0))
        if facts.outcome not in _FINE:
            window.whys[facts.outcome[:20]] = window.whys.get(facts.outcome[:20], 0) + 1
