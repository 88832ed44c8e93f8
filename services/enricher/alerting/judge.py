"""From counts to alerts. Pure but for the state, which is a mapping: the same counts give the same alerts, once."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from schemas.events import TAG_RESERVED_SOURCE
from schemas.record import ABSENT
from services.common.alerts import Alert
from services.common.logging import get_logger
from services.enricher.alerting import words
from services.enricher.alerting.closing import Endings
from services.enricher.alerting.correlations import Correlator
from services.enricher.alerting.sequence import Sequence
from services.enricher.alerting.state import Source, State
from services.enricher.alerting.thresholds import Thresholds
from services.enricher.counts import Counts, Noted, SourceCount

log = get_logger(__name__)
_FORGET_EVERY_MS = 60_000
_HOUR_MS = 3_600_000


class Judge:
    """Takes counts in the order of their log, and looks at the time now and then."""

    def __init__(self, state: State, thresholds: Thresholds) -> None:
        self._state = state
        self._thresholds = thresholds
        self._named = thresholds.silent_source.by_producer()
        self._forgotten_ms = 0
        self._endings = Endings(state.table)
        self._correlator = Correlator(state, self._believed, self._endings)

    def take(self, counts: Counts, declared: Collection[str]) -> list[Alert]:
        """The alerts to which these counts lead. `declared`: ids of declared back-fills, those in question at least."""
        log = f"{counts.topic_id[:16]}/{counts.partition}"
        names = {producer: found.source for producer, found in counts.sources.items()}
        alerts: list[Alert] = []
        for (kind, subject, begin_ms), offsets in self._groups(counts, declared).items():
            alerts += self._count(kind, subject, begin_ms, offsets, names, log, counts.taken_ms)
        alerts += self._dead_letters(counts, log)
        for producer, found in counts.sources.items():
            self._hear(producer, found, log, counts.taken_ms)
            alerts += self._skew(producer, found, counts)
        alerts += self._undeclared(counts, declared, log)
        alerts += self._correlator.take(counts, declared, log)
        return alerts

    def look(self, now_ms: int, seen_until_ms: int) -> list[Alert]:
        """The alerts that time alone leads to. `seen_until_ms`: all that stood on audit.events then is counted."""
        self._expect_named(now_ms)
        alerts: list[Alert] = []
        for producer, source in self._state.sources():
            alerts += self._silence(producer, source, seen_until_ms)
            alerts += self._gaps(producer, source, seen_until_ms)
        alerts += self._endings.look(seen_until_ms)
        if now_ms - self._forgotten_ms > _FORGET_EVERY_MS:
            self._forgotten_ms = now_ms
            rules = self._thresholds
            longest = max(
                rules.risk_spike.window * (rules.risk_spike.history + 1),
                *(rule.window for rule in (rules.tag_spike, rules.dead_letters, rules.reserved_source)),
                rules.clock_skew.window,
                rules.undeclared_backfill.window,
            )
            self._state.forget(now_ms, 2 * longest + _HOUR_MS)
            self._state.forget_groups(now_ms)
            if surplus := self._endings.forget(now_ms):
                log.warning("correlation_state_too_large", forgotten=surplus)
        return alerts

    # -- windows

    def _groups(self, counts: Counts, declared: Collection[str]) -> dict[tuple[str, str, int], list[int]]:
        """The offsets to count, by kind, subject and start of the window."""
        groups: dict[tuple[str, str, int], list[int]] = {}
        for event in counts.noted:
            if not event.producer:
                continue
            if event.backfill in declared:
                if not self._thresholds.backfill.enabled:
                    continue
                whole = ("backfill", f"{event.producer}|{event.backfill}", 0)
                groups.setdefault(whole, []).append(event.offset)
                continue
            at_ms = self._believed(event.at_us, event.kafka_ms, counts)
            for kind, subject, length_ms in self._windows(event):
                groups.setdefault((kind, subject, at_ms - at_ms % length_ms), []).append(event.offset)
        return groups

    def _windows(self, event: Noted) -> Iterator[tuple[str, str, int]]:
        """Kind, subject and length of the windows that an event counts into."""
        rules = self._thresholds
        if rules.reserved_source.enabled and TAG_RESERVED_SOURCE in event.tags:
            yield "reserved_source", event.producer, rules.reserved_source.window
        if rules.risk_spike.enabled:
            yield "risk_spike", event.producer, rules.risk_spike.window
        if rules.tag_spike.enabled:
            for tag in dict.fromkeys(event.tags):
                if tag not in rules.tag_spike.except_tags:
                    yield "tag_spike", tag, rules.tag_spike.window

    def _believed(self, at_us: int, kafka_ms: int, counts: Counts) -> int:
        """The event's time in milliseconds where it is near Kafka's, else Kafka's, else the enricher's."""
        kafka_ms = kafka_ms if kafka_ms >= 0 else counts.taken_ms
        if at_us == ABSENT:
            return kafka_ms
        skew, apart = self._thresholds.clock_skew, at_us // 1000 - kafka_ms
        return at_us // 1000 if -skew.behind <= apart <= skew.ahead else kafka_ms

    def _count(
        self,
        kind: str,
        subject: str,
        begin_ms: int,
        offsets: list[int],
        names: dict[str, str],
        log: str,
        now_ms: int,
    ) -> list[Alert]:
        window = self._state.window(kind, subject, begin_ms)
        if not window.take(log, offsets, now_ms):
            return []
        window.source = window.source or names.get(subject.partition("|")[0], "")
        alert = None
        if not window.said and window.events >= getattr(self._thresholds, kind).events:
            usual = self._usual(subject, begin_ms) if kind == "risk_spike" else 0.0
            if window.events >= self._thresholds.risk_spike.factor * usual:
                alert = words.of_window(kind, subject, window, self._thresholds, usual)
                window.said = True
        self._state.keep_window(kind, subject, window)
        return [] if alert is None else [alert]

    def _usual(self, producer: str, begin_ms: int) -> float:
        """Mean of the windows before."""
        rule = self._thresholds.risk_spike
        before = [
            self._state.window("risk_spike", producer, begin_ms - back * rule.window).events
            for back in range(1, rule.history + 1)
        ]
        return sum(before) / len(before) if before else 0.0

    def _dead_letters(self, counts: Counts, log: str) -> list[Alert]:
        rule = self._thresholds.dead_letters
        if not rule.enabled:
            return []
        totals: dict[int, int] = {}
        for second, events in counts.seconds.items():
            at_ms = second * 1000 if second >= 0 else counts.taken_ms
            begin_ms = at_ms - at_ms % rule.window
            totals[begin_ms] = totals.get(begin_ms, 0) + events
        for begin_ms, events in totals.items():
            total = self._state.window("messages", "", begin_ms)
            total.take_share(log, counts.first, counts.last, events, counts.taken_ms)
            self._state.keep_window("messages", "", total)
        letters: dict[int, list[int]] = {}
        for letter in counts.noted:
            if not letter.producer:
                at_ms = letter.kafka_ms if letter.kafka_ms >= 0 else counts.taken_ms
                letters.setdefault(at_ms - at_ms % rule.window, []).append(letter.offset)
        alerts = []
        for begin_ms, offsets in letters.items():
            window = self._state.window("dead_letters", "", begin_ms)
            if not window.take(log, offsets, counts.taken_ms):
                continue
            total_events = max(self._state.window("messages", "", begin_ms).events, window.events)
            share = 100 * window.events / total_events
            if not window.said and window.events >= rule.events and share >= rule.percent:
                alerts.append(words.dead_letters(window, total_events, rule))
                window.said = True
            self._state.keep_window("dead_letters", "", window)
        return alerts

    def _skew(self, producer: str, found: SourceCount, counts: Counts) -> list[Alert]:
        rule = self._thresholds.clock_skew
        apart = found.ahead_ms if found.ahead_ms > rule.ahead else found.behind_ms
        if not rule.enabled or -rule.behind <= apart <= rule.ahead:
            return []
        seconds = max(counts.seconds)
        at_ms = seconds * 1000 if seconds >= 0 else counts.taken_ms
        window = self._state.window("clock_skew", producer, at_ms - at_ms % rule.window)
        if window.said:
            return []
        window.said, window.touched_ms, window.source = True, counts.taken_ms, found.source
        self._state.keep_window("clock_skew", producer, window)
        return [words.clock_skew(producer, window, apart, rule)]

    def _undeclared(self, counts: Counts, declared: Collection[str], log: str) -> list[Alert]:
        rule = self._thresholds.undeclared_backfill
        strange = {name: offset for name, offset in counts.backfills.items() if name not in declared}
        if not rule.enabled or not strange:
            return []
        window = self._state.window(
            "undeclared_backfill", "", counts.taken_ms - counts.taken_ms % rule.window
        )
        window.take(log, sorted(strange.values()), counts.taken_ms)
        if window.said:
            return []
        window.said = True
        self._state.keep_window("undeclared_backfill", "", window)
        return [words.undeclared_backfill(window, min(strange), rule)]

    # -- sources

    def _hear(self, producer: str, found: SourceCount, log: str, now_ms: int) -> None:
        """Notes when the source was heard of, and which numbers came."""
        source = self._state.source(producer) or Source(first_ms=now_ms, last_ms=now_ms)
        mark = source.marks.get(log, -1)
        if found.offset < mark:
            return
        source.name, source.marks[log] = found.source, found.offset + 1
        if found.alive:
            source.longest_ms = max(source.longest_ms, now_ms - source.last_ms)
            source.last_ms, source.silent = max(source.last_ms, now_ms), False
            source.events += found.alive
        for run in found.runs:
            if run.offset >= mark:
                if source.sequence is None:
                    source.sequence = Sequence(run.first, run.last, run.at_us)
                else:
                    source.sequence.take(run.first, run.last, run.at_us, now_ms)
        self._state.keep_source(producer, source)

    def _expect_named(self, now_ms: int) -> None:
        """A source that is named in the settings is expected from the first look on."""
        for producer, (name, _) in self._named.items():
            if self._state.source(producer) is None:
                self._state.keep_source(producer, Source(name=name, first_ms=now_ms, last_ms=now_ms))

    def _silence(self, producer: str, source: Source, seen_until_ms: int) -> list[Alert]:
        rule = self._thresholds.silent_source
        if not rule.enabled or source.silent:
            return []
        if producer in self._named:
            after_ms = self._named[producer][1]
        else:
            regular = source.events >= rule.events and source.last_ms - source.first_ms >= rule.after
            after_ms = max(rule.after, int(rule.factor * source.longest_ms)) if regular else None
        if after_ms is None or seen_until_ms - source.last_ms < after_ms:
            return []
        source.silent = True
        self._state.keep_source(producer, source)
        return [words.silent_source(producer, source, after_ms, rule)]

    def _gaps(self, producer: str, source: Source, seen_until_ms: int) -> list[Alert]:
        rule = self._thresholds.sequence_gap
        if source.sequence is None or not source.sequence.gaps or not rule.enabled:
            return []
        due = source.sequence.due(seen_until_ms - rule.grace)
        if not due or seen_until_ms < source.gaps_told_ms + rule.pause:
            return []
        source.sequence.tell(due)
        source.gaps_told_ms = seen_until_ms
        self._state.keep_source(producer, source)
        return [words.sequence_gap(producer, source.name, due, rule)]
