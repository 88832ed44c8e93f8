"""What the enricher makes of one event: risk, tags, who did what, a sentence. Pure: bytes in, values out.

It never raises for any message. What cannot be read is POISON with a reason; should a rule or a mapping fail on an
event, which would be a fault of ours, the event is recorded with the tag `enrichment:failed` at high risk, and logged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from schemas.catalog import TAG_INCOMPLETE, TAG_UNKNOWN, Catalog, CatalogEntry, load_catalog
from schemas.commitment import ABSENT_HASH, identities
from schemas.documents import DocumentError
from schemas.enrichment import Enrichment, Risk, Who, clean, highest
from schemas.events import TAG_RESERVED_SOURCE, Event, PoisonError, is_reserved, read_message
from schemas.mapping import GENERIC, UNKNOWN, Mapping, Mappings, load_mappings
from schemas.record import Kind
from schemas.text import neutral
from schemas.topics import EVENT_LIMIT
from services.common.errors import ConfigurationError
from services.common.logging import get_logger
from services.common.settings import SettingsGroup
from services.enricher.identity import ProducerIds, TimeFrom, event_time, kafka_time, sequence_number
from services.enricher.rules.index import Armed, RuleSet, by_risk, load_rules
from services.enricher.summary import summarise

log = get_logger(__name__)

NAME_LIMIT = 2048
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

Headers = Sequence[tuple[str, bytes | None]]


class EnrichSettings(SettingsGroup):
    """The catalogue and the rules beside those that are shipped."""

    catalog_dir: Path | None = Field(
        None, alias="CATALOG_DIR", description="folder of event types of your own, over those shipped"
    )
    rules_dir: Path | None = Field(
        None, alias="RULES_DIR", description="folder of Sigma rules of your own, beside those shipped"
    )


class Coordinates(NamedTuple):
    """Where a message stands in Kafka. `timestamp_ms` below 0: it has none."""

    topic_id: bytes
    partition: int
    offset: int
    timestamp_ms: int


class Enriched(NamedTuple):
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
    """Catalogue, mappings and rules, ready to enrich. `ai`: an AI reading of each event is still to come."""

    def __init__(
        self, catalog: Catalog, mappings: Mappings, rules: RuleSet, *, event_limit: int, ai: bool
    ) -> None:
        self.rules = rules
        self._entries = catalog.entries
        self._recognise = mappings.recognise
        self._event_limit = event_limit
        self._ai = ai
        self._producers = ProducerIds()
        self._versions = {"catalog": catalog.version, "mappings": mappings.version, "rules": rules.version}

    def enrich(
        self, key: bytes | None, value: bytes | None, headers: Headers, at: Coordinates, payload_salt: bytes
    ) -> Enriched:
        """The enrichment of one Kafka message. `payload_salt`: 32 random bytes, for the event's salted identity."""
        size = _size(key, value, headers)
        if size > self._event_limit:
            reason = f"{size:,} bytes, and {self._event_limit:,} are the limit (EVENT_MAX_BYTES)"
            return self._poison(reason, TAG_TOO_LARGE, size, at, withheld=True)
        try:
            event = read_message(value, headers)
        except PoisonError as error:
            return self._poison(str(error), TAG_UNREADABLE, size, at, withheld=False)
        return self._event(event, at, payload_salt)

    def _event(self, event: Event, at: Coordinates, payload_salt: bytes) -> Enriched:
        data: dict[str, Any] = event.data if type(event.data) is dict else {}
        kind = self._kind(event, data)
        if not event.id or not event.source or not event.type:
            _complete(event, kind if type(kind) is Mapping else GENERIC, data, at)
        time_us, time_from = event_time(event.time, kind.time, data, at.timestamp_ms, event.tags)
        document = self._document(event, kind, data, time_from)
        salted_id, identity = identities(payload_salt, event.source, event.id)
        return Enriched(
            Kind.EVENT,
            time_us,
            sequence_number(event.sequence) if event.sequence is not None else 0,
            self._producers[event.source],
            salted_id,
            identity,
            document,
            False,
        )

    def _kind(self, event: Event, data: dict[str, Any]) -> CatalogEntry | Mapping:
        """The catalogue's entry for the type, else the mapping for the shape, else the generic one."""
        entry = self._entries.get(event.type)
        if entry is not None:
            if entry.missing(event.data):
                event.tags.append(TAG_INCOMPLETE)
            return entry
        mapping = self._recognise(data)
        if mapping is None:
            event.tags.append(TAG_UNKNOWN)
            return GENERIC
        return mapping

    def _document(
        self, event: Event, kind: CatalogEntry | Mapping, data: dict[str, Any], time_from: TimeFrom
    ) -> Enrichment:
        who, summary, hits = self._reading(event, kind, data)
        risk = _risk(event, hits)
        return Enrichment(
            event.form,
            clean(event.source, NAME_LIMIT),
            clean(event.id, NAME_LIMIT),
            clean(event.type, TYPE_LIMIT),
            summary,
            risk,
            _tags(event.tags, kind.tags, hits),
            None if event.subject is None else clean(event.subject, SUBJECT_LIMIT),
            time_from,
            kind.log_source,
            None if event.content_type is None else neutral(event.content_type, CONTENT_TYPE_LIMIT),
            who,
            [rule.hit for rule in hits[:HIT_LIMIT]],
            "rules",
            self._ai,
            None,
            None,
            self._versions,
        )

    def _reading(
        self, event: Event, kind: CatalogEntry | Mapping, data: dict[str, Any]
    ) -> tuple[Who, str, list[Armed]]:
        try:
            who = kind.who(data, event)
            hits = self.rules.match(kind.log_source, data, event)
            return (
                who,
                summarise(kind.summary, data, who, event),
                by_risk(hits) if len(hits) > 1 else hits,
            )
        except Exception:  # a fault of ours must neither hide this event nor stop those behind it
            log.exception("enrichment_failed", log_source=kind.log_source, form=event.form)
            event.tags.append(TAG_FAILED)
            return (Who(), "This event could not be judged: see the enricher's log.", [])

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
            Kind.POISON, kafka_time(at.timestamp_ms), 0, bytes(16), ABSENT_HASH, 0, document, withheld
        )


def load_enricher(
    settings: EnrichSettings | None = None, *, event_limit: int = EVENT_LIMIT, ai: bool = False
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
    for refused in rules.report.refused:
        log.warning("rule_refused", file=refused.file, title=refused.title, reason=refused.reason)
    log.info(
        "rules_loaded",
        loaded=len(rules.report.loaded),
        refused=len(rules.report.refused),
        dormant=len(rules.report.dormant),
        version=rules.version,
    )
    return Enricher(catalog, mappings, rules, event_limit=event_limit, ai=ai)


def _size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    size = (0 if key is None else len(key)) + (0 if value is None else len(value))
    for name, content in headers:
        size += len(name) + (0 if content is None else len(content))
    return size


def _complete(event: Event, kind: Mapping, data: dict[str, Any], at: Coordinates) -> None:
    """Source, id and type of a short form or bare JSON: by its shape, else the coordinates in Kafka."""
    if not event.source:
        event.source = kind.source(data) or UNKNOWN
    if not event.id:
        event.id = kind.id(data) or f"{at.topic_id.hex()}/{at.partition}/{at.offset}"
    if not event.type:
        event.type = kind.event_type(data) or UNKNOWN


def _risk(event: Event, hits: list[Armed]) -> Risk:
    """The highest level of the rules that fired, which come highest first, and of what the tags stand for."""
    risk: Risk = hits[0].hit.level if hits else "informational"
    if is_reserved(event.source):
        event.tags.append(TAG_RESERVED_SOURCE)
        risk = highest(risk, "high")
    if TAG_FAILED in event.tags:
        risk = highest(risk, "high")
    return risk


def _tags(odd: list[str], own: list[str], hits: list[Armed]) -> list[str]:
    if not odd and not hits:
        return own.copy()
    tags = dict.fromkeys([*odd, *own, *(tag for rule in hits for tag in rule.tags)])
    return list(tags)[:TAG_LIMIT]
