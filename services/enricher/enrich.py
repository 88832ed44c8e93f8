"""What the enricher makes of one event: risk, tags, who did what, a sentence. Pure: bytes in, values out.

It never raises for any message. What cannot be read is POISON with a reason; should a rule or a mapping fail on an
event, which would be a fault of ours, the event is recorded with the tag `enrichment:failed` at high risk, and logged.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from pydantic import Field

from schemas.catalog import TAG_INCOMPLETE, TAG_UNKNOWN, Catalog, CatalogEntry, load_catalog
from schemas.commitment import ABSENT_HASH, headers_fit, identities_each
from schemas.documents import DocumentError
from schemas.enrichment import Enrichment, Who, clean, highest
from schemas.events import TAG_RESERVED_SOURCE, Event, PoisonError
from schemas.mapping import GENERIC, UNKNOWN, Mapping, Mappings, load_mappings
from schemas.record import Kind
from schemas.shredding.token import read_shown
from schemas.text import neutral
from schemas.topics import EVENT_LIMIT
from services.common.errors import ConfigurationError
from services.common.logging import get_logger
from services.common.settings import SettingsGroup
from services.common.wire_records import OddName
from services.enricher.envelope import unwrapped
from services.enricher.identity import NAME_LIMIT, Sources, TimeFrom, event_time, kafka_time, sequence_number
from services.enricher.readings import Readings
from services.enricher.rules.follow import tell
from services.enricher.rules.index import Armed, RuleSet, by_risk, load_rules
from services.enricher.rules.matches import Match, Spec
from services.enricher.summary import summarise

log = get_logger(__name__)

TYPE_LIMIT = 512
SUBJECT_LIMIT = 1024
TAG_LIMIT = 48
HIT_LIMIT = 16
"""Tags and rules of one event in its enrichment: with the limits of the texts, it stays below 64 KiB."""
CONTENT_TYPE_LIMIT = 200
REASON_LIMIT = 500
TAG_FAILED = "enrichment:failed"
TAG_UNREADABLE = "poison:unreadable"
TAG_TOO_LARGE = "poison:too-large"

_JSON = "application/json"
_EVENT, _POISON = int(Kind.EVENT), int(Kind.POISON)

Headers = Sequence[tuple[str, bytes | None]]


class EnrichSettings(SettingsGroup):
    """The catalogue and the rules beside those that are shipped."""

    catalog_dir: Path | None = Field(
        None, alias="CATALOG_DIR", description="folder of event types of your own, over those shipped"
    )
    rules_dir: Path | None = Field(
        None, alias="RULES_DIR", description="folder of Sigma rules of your own, beside those shipped"
    )


class Coordinates(msgspec.Struct, frozen=True, gc=False):
    """Where a message stands in Kafka. `timestamp_ms` below 0: it has none."""

    topic_id: bytes
    partition: int
    offset: int
    timestamp_ms: int


class Message(msgspec.Struct, frozen=True, gc=False):
    """A Kafka message to enrich. `payload_salt`: 32 random bytes, for the event's salted identity."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    at: Coordinates
    payload_salt: bytes


class Enriched(msgspec.Struct, frozen=True, gc=False):
    """The fields of the header that come from the event, and the enrichment. `withheld`: the message is over the size
    limit, so only its commitment goes on."""

    kind: int
    event_time_us: int
    producer_seq: int
    producer_id: bytes
    event_id: bytes
    identity_hash: int
    document: Enrichment
    withheld: bool


class Enricher:
    """Catalogue, mappings and rules, ready to enrich. `ai`: the AI readings of shapes, None where no model is asked."""

    def __init__(
        self, catalog: Catalog, mappings: Mappings, rules: RuleSet, *, event_limit: int, ai: Readings | None
    ) -> None:
        self.rules = rules
        self._entries = catalog.entries
        self._recognise = mappings.recognise
        self._event_limit = event_limit
        self._ai = ai
        self._sources = Sources()
        self._matches: list[Match] = []
        self._specs: dict[str, Spec] = {}
        self._versions = {"catalog": catalog.version, "mappings": mappings.version, "rules": rules.version}

    def take_rules(self, rules: RuleSet) -> None:
        """Other rules from now on; what is enriched already keeps the version of those that judged it."""
        self.rules = rules
        self._versions = self._versions | {"rules": rules.version}

    def enrich(
        self, key: bytes | None, value: bytes | None, headers: Headers, at: Coordinates, payload_salt: bytes
    ) -> Enriched:
        """The enrichment of one Kafka message."""
        return self.enrich_all([Message(key, value, headers, at, payload_salt)])[0]

    def enrich_all(self, messages: Sequence[Message]) -> list[Enriched]:
        """The enrichments of Kafka messages, in their order. None depends on what else is in the list."""
        read = [self._read(message) for message in messages]
        found = [
            (message, event)
            for message, event in zip(messages, read, strict=True)
            if isinstance(event, Event)
        ]
        noted = len(self._matches)
        try:
            judged = iter(self._judge([message for message, _ in found], [event for _, event in found]))
        except Exception as error:  # noqa: BLE001 - a fault of ours must neither hide an event nor stop those beside it
            del self._matches[noted:]
            if len(messages) > 1:
                return [self.enrich_all([message])[0] for message in messages]
            return [self._failed(message, event, error) for message, event in found]
        return [next(judged) if isinstance(one, Event) else one for one in read]

    def _read(self, message: Message) -> Event | Enriched:
        """The event in a message, or that it is poison."""
        value, headers, at = message.value, message.headers, message.at
        size = len(value or b"")
        if headers or message.key is not None:
            size = _size(message.key, value, headers)
        if size > self._event_limit:
            reason = f"{size:,} bytes, and {self._event_limit:,} are the limit (EVENT_MAX_BYTES)"
            return self._poison(reason, TAG_TOO_LARGE, size, at, withheld=True)
        if headers and (unfit := _unfit(headers)) is not None:
            return self._poison(unfit, TAG_TOO_LARGE, size, at, withheld=True)
        try:
            return read_shown(value, headers)
        except PoisonError as error:
            return self._poison(str(error), TAG_UNREADABLE, size, at, withheld=False)

    def _judge(self, messages: list[Message], events: list[Event]) -> list[Enriched]:
        """Each step for all events before the next one begins: what a step needs then stays in the processor's caches,
        which saves a third of the time."""
        known = [self._known(event, message.at) for message, event in zip(messages, events, strict=True)]
        times = [
            event_time(event.time, kind.time, data, message.at.timestamp_ms, event.tags)
            for message, event, (kind, data) in zip(messages, events, known, strict=True)
        ]
        whos = [kind.who(data, event) for event, (kind, data) in zip(events, known, strict=True)]
        match = self.rules.match
        hits = [
            match(kind.log_source, data, event) for event, (kind, data) in zip(events, known, strict=True)
        ]
        if self.rules.matcher is not None:
            for message, event, (kind, data), time, fired in zip(
                messages, events, known, times, hits, strict=True
            ):
                if fired:
                    self._note(fired, kind.log_source, data, event, message.at, time[0])
        summaries = [
            summarise(kind.summary, data, who, event)
            for event, (kind, data), who in zip(events, known, whos, strict=True)
        ]
        documents = [
            self._document(event, kind, time[1], who, fired, summary)
            for event, (kind, _), time, who, fired, summary in zip(
                events, known, times, whos, hits, summaries, strict=True
            )
        ]
        if self._ai is not None:
            for event, (kind, data), document in zip(events, known, documents, strict=True):
                self._ai.apply(document, kind, event.type, data)
        names = identities_each(
            [message.payload_salt for message in messages], [(event.source, event.id) for event in events]
        )
        return [
            self._enriched(event, document, time[0], name)
            for event, document, time, name in zip(events, documents, times, names, strict=True)
        ]

    def _known(self, event: Event, at: Coordinates) -> tuple[CatalogEntry | Mapping, dict[str, Any]]:
        """What kind of event it is, and the data that tells of it; completes source, id and type by it."""
        data: dict[str, Any] = event.data if type(event.data) is dict else {}
        kind = self._entries.get(event.type) or self._by_shape(event, data)
        if type(kind) is Mapping and kind.within is not None and (inner := unwrapped(kind.within(data))):
            data, kind = inner, self._recognise(inner) or kind
        if not event.id or not event.source or not event.type:
            _complete(event, kind, data, at)
        if type(kind) is CatalogEntry and kind.missing(event.data):
            event.tags.append(TAG_INCOMPLETE)
        return kind, data

    def _document(
        self,
        event: Event,
        kind: CatalogEntry | Mapping,
        time_from: TimeFrom,
        who: Who,
        hits: list[Armed],
        summary: str,
    ) -> Enrichment:
        if len(hits) > 1:
            hits = by_risk(hits)
        return Enrichment(
            event.form,
            event.source,
            event.id,
            event.type,
            summary,
            hits[0].hit.level if hits else "informational",
            _tags(event.tags, kind.tags, hits) if hits or event.tags else kind.tags.copy(),
            event.subject,
            time_from,
            kind.log_source,
            event.content_type,
            who,
            [rule.hit for rule in hits[:HIT_LIMIT]] if hits else [],
            "rules",
            False,
            None,
            None,
            self._versions,
        )

    def take_matches(self) -> tuple[list[Match], dict[str, Spec]]:
        """What counted towards correlations since this was asked last, and these correlations by id."""
        found, self._matches = self._matches, []
        specs, self._specs = self._specs, {}
        return found, specs

    def _note(
        self,
        hits: list[Armed],
        log_source: str,
        data: dict[str, Any],
        event: Event,
        at: Coordinates,
        time_us: int,
    ) -> None:
        matcher, rules = self.rules.matcher, (rule.hit.id for rule in hits)
        if matcher is not None:
            fields = self.rules.sources[log_source][1]
            for found in matcher.of(log_source, fields, rules, data, event):
                for rule in (found.rule, *(above.rule for above in found.above)):
                    self._specs[rule] = matcher.specs[rule]
                self._matches.append(
                    Match(
                        found.rule,
                        found.number,
                        at.offset,
                        time_us,
                        at.timestamp_ms,
                        found.group,
                        found.shown,
                        found.counted,
                        above=found.above,
                    )
                )

    def _by_shape(self, event: Event, data: dict[str, Any]) -> Mapping:
        """The mapping for data whose type the catalogue does not know."""
        mapping = self._recognise(data)
        if mapping is None:
            event.tags.append(TAG_UNKNOWN)
            return GENERIC
        return mapping

    def _failed(self, message: Message, event: Event, error: Exception) -> Enriched:
        """The event as it came, at high risk: nobody knows what its rules would say."""
        at = message.at
        where = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        log.error(
            "enrichment_failed",  # without the traceback's own text: it may show what is in the event
            partition=at.partition,
            offset=at.offset,
            kind=type(error).__name__,
            where=where,
        )
        for name in ("source", "type"):
            setattr(event, name, getattr(event, name) or UNKNOWN)
        event.id = event.id or _coordinates(at)
        summary = "This event could not be judged: see the enricher's log."
        tags = _tags([*event.tags, TAG_FAILED], [], [])
        document = Enrichment(
            event.form, event.source, event.id, event.type, summary, "high", tags, event.subject
        )
        document.time_from, document.content_type = "kafka", event.content_type
        document.pending, document.versions = self._ai is not None, self._versions
        [names] = identities_each([message.payload_salt], [(event.source, event.id)])
        return self._enriched(event, document, kafka_time(at.timestamp_ms), names)

    def _enriched(
        self, event: Event, document: Enrichment, time_us: int, names: tuple[bytes, int]
    ) -> Enriched:
        """Names are hashed whole and shown cut; a reserved source is at least of high risk."""
        producer, document.source, reserved = self._sources[event.source]
        salted_id, identity = names
        if len(event.id) > NAME_LIMIT or not event.id.isprintable():
            document.id = clean(event.id, NAME_LIMIT)
        if len(event.type) > TYPE_LIMIT or not event.type.isprintable():
            document.type = clean(event.type, TYPE_LIMIT)
        if event.subject is not None:
            document.subject = clean(event.subject, SUBJECT_LIMIT)
        if event.content_type is not None and event.content_type != _JSON:
            document.content_type = neutral(event.content_type, CONTENT_TYPE_LIMIT)
        if reserved:
            document.tags.insert(0, TAG_RESERVED_SOURCE)
            document.risk = highest(document.risk, "high")
            document.pending = self._ai is not None
        sequence = 0 if event.sequence is None else sequence_number(event.sequence)
        return Enriched(_EVENT, time_us, sequence, producer, salted_id, identity, document, False)

    def _poison(self, reason: str, tag: str, length: int, at: Coordinates, *, withheld: bool) -> Enriched:
        """What cannot be read may be an accident or a hiding place: medium risk."""
        reason = neutral(reason, REASON_LIMIT)
        document = Enrichment(
            form="poison",
            source="",
            id="",
            type="",
            summary=f"Not an event: {reason}.",
            risk="medium",
            tags=[tag],
            time_from="kafka",
            reason=reason,
            length=length,
            versions=self._versions,
        )
        return Enriched(
            _POISON, kafka_time(at.timestamp_ms), 0, bytes(16), ABSENT_HASH, 0, document, withheld
        )


def load_enricher(
    settings: EnrichSettings | None = None, *, event_limit: int = EVENT_LIMIT, ai: Readings | None = None
) -> Enricher:
    """The enricher with what is shipped and what the settings add. Rules that cannot be used are logged by name.
    Raises ConfigurationError where a folder is missing or the catalogue is wrong."""
    settings = settings if settings is not None else EnrichSettings.model_validate({})
    try:
        catalog = load_catalog(settings.catalog_dir)
        mappings = load_mappings()
        rules = load_rules(mappings.all, settings.rules_dir)
    except DocumentError as error:
        raise ConfigurationError(f"CATALOG_DIR or RULES_DIR: {error}") from error
    tell(rules)
    return Enricher(catalog, mappings, rules, event_limit=event_limit, ai=ai)


def _size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    size = len(key or b"") + len(value or b"")
    for name, content in headers:
        size += len(name.encode("utf-8", "surrogateescape")) + (0 if content is None else len(content))
    return size


def _unfit(headers: Headers) -> str | None:
    """Why these headers can go no further, None if they can."""
    if not headers_fit(headers):
        return "more than 65,535 headers, or a header name of more than 65,535 bytes"
    return "a header name that is not UTF-8" if any(type(name) is OddName for name, _ in headers) else None


def _complete(event: Event, kind: CatalogEntry | Mapping, data: dict[str, Any], at: Coordinates) -> None:
    """Source, id and type of a short form or bare JSON: by its shape, else the coordinates in Kafka."""
    mapping = kind if type(kind) is Mapping else GENERIC
    if not event.source:
        event.source = mapping.source(data) or UNKNOWN
    if not event.id:
        event.id = mapping.id(data) or _coordinates(at)
    if not event.type:
        event.type = mapping.event_type(data) or UNKNOWN


def _coordinates(at: Coordinates) -> str:
    return f"{at.topic_id.hex()}/{at.partition}/{at.offset}"


def _tags(odd: list[str], own: list[str], hits: list[Armed]) -> list[str]:
    tags = dict.fromkeys([*odd, *own, *(tag for rule in hits for tag in rule.tags)])
    return list(tags)[: TAG_LIMIT - 1]
