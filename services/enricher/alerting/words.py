"""What the alerts say. Names that events chose stand in quotes and in one line."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.text import neutral
from services.common.alerts import Alert, Severity
from services.enricher.alerting.sequence import Gap, in_words
from services.enricher.alerting.state import AiWindow, Source, Window
from services.enricher.alerting.thresholds import (
    AiDisagreement,
    AiFailures,
    AiSpend,
    ClockSkew,
    DeadLetters,
    Rule,
    SequenceGap,
    SilentSource,
    Thresholds,
    Windowed,
)
from services.enricher.rules.matches import Spec

_PREFIX = "alerter"
_SEVERITIES: dict[str, Severity] = {"medium": "medium", "high": "high", "critical": "critical"}
"""By the level of a rule; all else is low."""
_NAME_LIMIT = 120


def of_window(kind: str, subject: str, window: Window, thresholds: Thresholds, usual: float) -> Alert:
    """Of a kind that counts events of high or critical risk: risk_spike, tag_spike, reserved_source or backfill."""
    rule = getattr(thresholds, kind)
    span = _span(window.begin_ms, getattr(rule, "window", 0))
    name = _quoted(window.source)
    events = f"{window.events:,} event{'' if window.events == 1 else 's'}"
    facts: dict[str, object] = {"events": window.events, "threshold": rule.events}
    if kind == "tag_spike":
        text = f"{events} of high or critical risk with the tag {_quoted(subject)} {span}."
        facts["tag"] = subject
    elif kind == "reserved_source":
        text = (
            f"{events} from {name} {span}: a source that only Piperoll's own services may use. Somebody who may write to "
            "audit.events passes for one of them."
        )
    elif kind == "backfill":
        declaration = subject.partition("|")[2]
        text = f"The back-fill {_quoted(declaration)} holds {events} of high or critical risk from {name}, or more."
        facts["backfill"] = declaration
    else:
        text = f"{events} of high or critical risk from {name} {span}; usual are {usual:.1f}."
        facts["usual"] = round(usual, 1)
    if window.source:
        facts["source"] = window.source
    return _alert(kind, f"{subject}:{window.begin_ms // 1000}", rule, text, _when(facts, window, rule))


def dead_letters(window: Window, messages: int, rule: DeadLetters) -> Alert:
    text = (
        f"{window.events:,} of {messages:,} messages {_span(window.begin_ms, rule.window)} could not be read as events. "
        "They are dead letters and records: `piperoll replay --help` says how to look at them and send them again."
    )
    facts: dict[str, object] = {"events": window.events, "messages": messages, "threshold": rule.events}
    return _alert("dead_letters", str(window.begin_ms // 1000), rule, text, _when(facts, window, rule))


def clock_skew(producer: str, window: Window, apart_ms: int, rule: ClockSkew) -> Alert:
    """`apart_ms`: by how much an event's time is ahead of Kafka's, below 0 for behind."""
    side = "ahead of" if apart_ms > 0 else "behind"
    text = (
        f"Events from {_quoted(window.source)} {_span(window.begin_ms, rule.window)} have times up to "
        f"{_duration(abs(apart_ms))} {side} Kafka's. Is its clock right? Old events that come late belong into a declared "
        "back-fill (`piperoll emit --backfill`)."
    )
    facts: dict[str, object] = {"source": window.source, "apart_seconds": apart_ms // 1000}
    return _alert(
        "clock_skew", f"{producer}:{window.begin_ms // 1000}", rule, text, _when(facts, window, rule)
    )


def undeclared_backfill(window: Window, example: str, rule: Rule) -> Alert:
    text = (
        f"Events {_span(window.begin_ms, getattr(rule, 'window', 0))} name a back-fill that nobody declared, "
        f"{_quoted(example)} for one. They were counted as any others. `piperoll emit --backfill` declares one first."
    )
    facts: dict[str, object] = {"backfill": example}
    return _alert("undeclared_backfill", str(window.begin_ms // 1000), rule, text, _when(facts, window, rule))


def silent_source(producer: str, source: Source, after_ms: int, rule: SilentSource) -> Alert:
    heard = "was heard of last" if source.events else "has not been heard of since"
    text = (
        f"{_quoted(source.name)} {heard} {_moment(source.last_ms)}, more than {_duration(after_ms)} ago. Either nothing "
        "happens there, or its events no longer arrive."
    )
    facts: dict[str, object] = {
        "source": source.name,
        "last_heard": _moment(source.last_ms),
        "after_seconds": after_ms // 1000,
    }
    return _alert("silent_source", f"{producer}:{source.last_ms}", rule, text, facts)


def sequence_gap(producer: str, name: str, gaps: list[Gap], rule: SequenceGap) -> Alert:
    missing = sum(gap.missing for gap in gaps)
    text = f"{missing:,} sequence number{'' if missing == 1 else 's'} of {_quoted(name)} did not arrive: {in_words(gaps)}."
    facts: dict[str, object] = {"source": name, "missing": missing, "numbers": in_words(gaps, 100)}
    return _alert("sequence_gap", f"{producer}:{gaps[0].turn}:{gaps[0].first}", rule, text, facts)


def ai_spend(window: AiWindow, usual: float, rule: AiSpend) -> Alert:
    """`usual` in micro-dollars where the window has a price, else in tokens."""
    if window.micro:
        spent, mean = f"${window.micro / 1e6:,.4f}", f"${usual / 1e6:,.4f}"
    else:
        spent, mean = f"{window.tokens:,} tokens", f"{usual:,.0f}"
    text = (
        f"{window.requests:,} requests to models {_span(window.begin_ms, rule.window)} took {spent}; usual are {mean}. Either many new "
        "kinds of events or many of high risk came, or somebody makes them up: `piperoll ai usage` says for what was asked."
    )
    facts: dict[str, object] = {
        "requests": window.requests,
        "tokens": window.tokens,
        "dollars": round(window.micro / 1e6, 6),
        "usual": round(usual / 1e6 if window.micro else usual, 6),
    }
    return _of_ai("ai_spend", window, rule, text, facts)


def ai_failures(window: AiWindow, rule: AiFailures) -> Alert:
    why = max(window.whys, key=window.whys.__getitem__)
    text = (
        f"{window.failed:,} of {window.requests:,} requests to models {_span(window.begin_ms, rule.window)} failed, most often as "
        f"{_quoted(why)}. Events flow on with summaries by rules; `piperoll ai check` says what to fix."
    )
    facts: dict[str, object] = {"requests": window.requests, "failed": window.failed, "why": neutral(why, 20)}
    return _of_ai("ai_failures", window, rule, text, facts)


def ai_disagreement(window: AiWindow, usual: float, rule: AiDisagreement) -> Alert:
    text = (
        f"Of {window.readings:,} readings {_span(window.begin_ms, rule.window)} the risk of {window.apart:,} "
        f"({100 * window.share_apart:.0f} %) lies two levels or more from that of the rules; usual are {100 * usual:.0f} %. Either something "
        "goes on that rules do not know, or the model is wrong, changed or misled: compare risk_ai and risk_floor in audit_events."
    )
    facts: dict[str, object] = {
        "readings": window.readings,
        "apart": window.apart,
        "usual_percent": round(100 * usual, 1),
    }
    return _of_ai("ai_disagreement", window, rule, text, facts)


def _of_ai(kind: str, window: AiWindow, rule: Windowed, text: str, facts: dict[str, object]) -> Alert:
    facts |= {"from": _moment(window.begin_ms), "to": _moment(window.begin_ms + rule.window)}
    return _alert(kind, str(window.begin_ms // 1000), rule, text, facts)


def correlation(spec: Spec, subject: str, shown: list[str], place: str, at_ms: int) -> Alert:
    """`place`: log and offset of the event that completed it."""
    by = ", ".join(f"{name} {_quoted(value)}" for name, value in zip(spec.group_by, shown, strict=False))
    counted = {
        "event_count": f"{spec.least:,} events",
        "value_count": f"{spec.least:,} different values",
        "temporal": f"events of {spec.least} of its rules",
        "temporal_ordered": f"events of its {spec.least} rules, one after the other,",
    }
    text = (
        f"The rule {_quoted(spec.title)} found {counted.get(spec.kind, 'what it asks for')} within "
        f"{_duration(spec.seconds * 1000)}{f' of {by}' if by else ''}, the last at {_moment(at_ms)}."
    )
    return _correlated(spec, subject, shown, place, text, {"at": _moment(at_ms), "event": place})


def ended(spec: Spec, subject: str, shown: list[str], begin_ms: int, found: int) -> Alert:
    """Of a correlation that the end of a window decides; `found`: events, or different values, in it."""
    by = ", ".join(f"{name} {_quoted(value)}" for name, value in zip(spec.group_by, shown, strict=False))
    what = "events" if spec.kind == "event_count" else "different values"
    wanted = {"lt": "fewer than", "lte": "at most", "neq": "other than"}.get(spec.operator, "")
    many = f"more than {spec.limit:,}" if found > spec.limit and spec.kind == "value_count" else f"{found:,}"
    text = (
        f"The rule {_quoted(spec.title)} found {many} {what}{f' of {by}' if by else ''} "
        f"{_span(begin_ms, spec.seconds * 1000)}; it looks for {wanted} {spec.limit:,}."
    )
    facts: dict[str, object] = {
        "found": found,
        "from": _moment(begin_ms),
        "to": _moment(begin_ms + spec.seconds * 1000),
    }
    return _correlated(spec, subject, shown, str(begin_ms), text, facts)


def _correlated(
    spec: Spec, subject: str, shown: list[str], last: str, text: str, more: dict[str, object]
) -> Alert:
    facts: dict[str, object] = {
        "rule": spec.id,
        "title": spec.title,
        "level": spec.level,
        "seconds": spec.seconds,
        **more,
        "group": dict(zip(spec.group_by, shown, strict=False)),
    }
    backfill = subject.partition("|")[2]
    if backfill:
        facts["backfill"] = backfill
    severity = _SEVERITIES.get(spec.level, "low")
    return Alert(f"{_PREFIX}:correlation:{spec.id}:{subject}:{last}", severity, "correlation", text, facts)


def _alert(kind: str, subject: str, rule: Rule, text: str, facts: dict[str, object]) -> Alert:
    return Alert(f"{_PREFIX}:{kind.replace('_', '-')}:{subject}", rule.severity, kind, text, facts)


def _when(facts: dict[str, object], window: Window, rule: Rule) -> dict[str, object]:
    length_ms = getattr(rule, "window", 0)
    if not length_ms:
        return facts
    return facts | {"from": _moment(window.begin_ms), "to": _moment(window.begin_ms + length_ms)}


def _span(begin_ms: int, length_ms: int) -> str:
    """`from 2026-11-25 21:40:00 to 21:50:00 UTC`."""
    end = datetime.fromtimestamp((begin_ms + length_ms) / 1000, UTC)
    return f"from {_moment(begin_ms).removesuffix(' UTC')} to {end:%H:%M:%S} UTC"


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _duration(length_ms: int) -> str:
    """The two largest units: `1 d 2 h`, `15 min`."""
    seconds, found = max(length_ms // 1000, 0), []
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            found.append(f"{seconds // size:,} {unit}")
            seconds %= size
    return " ".join(found[:2]) or "0 s"


def _quoted(text: str) -> str:
    return '"' + neutral(text, _NAME_LIMIT).replace('"', "'") + '"'
