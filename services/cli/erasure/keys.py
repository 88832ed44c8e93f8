"""The key of a subject, for `piperoll erase`: found, put on record, destroyed. With it go the encrypted fields of every copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from schemas.shredding.token import shown_as
from services.cli.ordering import Request
from services.cli.target import say
from services.common.clock import system_clock
from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings, read_settings
from services.common.shredding.keys import Destroyed, SubjectKeys
from services.common.shredding.rules import read_rules
from services.common.shredding.settings import SubjectKeySettings
from services.reporter.runs.own_events import SystemTopic, own_event, user

KEY_DESTRUCTION = "piperoll.key-destruction"
"""Before: who destroys which key, and why. Reports list these."""
KEY_DESTROYED = "piperoll.key-destroyed"
"""After: that it is gone, and since when."""
SOURCE = "piperoll/erase"


class Subject(NamedTuple):
    """Whom an erasure is about: `text` as people write it; `key_id` of the key, None where there is none."""

    text: str
    key_id: str | None

    @property
    def texts(self) -> list[str]:
        """What stands in events that concern it: the text, or a token with this key id."""
        return [self.text] if self.key_id is None else [self.text, self.key_id]

    @property
    def names(self) -> list[str]:
        """How an enrichment names it as an actor."""
        return [self.text] if self.key_id is None else [self.text, shown_as(self.key_id)]


class Keyring:
    """The folder of keys that the settings name, if they name one."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        settings = read_settings(SubjectKeySettings, variables)
        self._keys = None if settings.folder is None else SubjectKeys(settings.folder, create=False)
        self._fields = settings.fields

    def subject(self, text: str, namespace: str | None) -> Subject:
        """The subject and its key; `text` may be a key id too. Raises ConfigurationError where the text is an id in several
        namespaces."""
        if self._keys is None:
            if namespace is not None:
                raise ConfigurationError(
                    "--namespace is of keys: set SUBJECT_KEYS_DIR, the folder that ingest uses"
                )
            return Subject(text, None)
        if namespace is None and self._keys.by_id(text) is not None:
            return Subject(text, text)
        names = self._namespaces() if namespace is None else [namespace]
        found = {name: key_id for name in names if (key_id := self._keys.find(text, name)) is not None}
        if len(found) > 1:
            raise ConfigurationError(
                "this is the id of several subjects, in the namespaces "
                + ", ".join(map(repr, sorted(found)))
                + ": say which with --namespace"
            )
        if not found and namespace is None and self._fields is None:
            say(
                "SUBJECT_FIELDS is not set: only a key without a namespace was looked for; else say --namespace"
            )
        return Subject(text, next(iter(found.values()), None))

    def destroy(self, settings: KafkaSettings, key_id: str, request: Request, *, rows: str) -> Destroyed:
        """Puts on record that the key goes, destroys it, and puts on record that it is gone. Cut short anywhere, it is
        finished by being called again; what is on record already is a repeat then. `rows`: what became of the events
        (erased, kept, left: some are still there)."""
        if self._keys is None:
            raise ConfigurationError("set SUBJECT_KEYS_DIR, the folder that ingest uses")
        data = {
            "by": request.by or user(),
            "reason": request.reason,
            "ticket": request.ticket,
            "request": request.id,
            "requested_us": request.requested_us,
            "key": key_id,
            "rows": rows,
        }
        topic = SystemTopic(settings, "piperoll-erase")
        try:
            topic.record(
                [own_event(KEY_DESTRUCTION, f"key-destruction:{key_id}", data, system_clock(), SOURCE)]
            )
            with self._keys.destroyed(key_id, request.id) as gone:
                done = data | {"destroyed": gone.at}
                topic.record(
                    [own_event(KEY_DESTROYED, f"key-destroyed:{key_id}", done, system_clock(), SOURCE)]
                )
        finally:
            topic.close()
        return gone

    def _namespaces(self) -> list[str]:
        rules = [] if self._fields is None else read_rules(self._fields)
        return sorted({"", *(rule.namespace for rule in rules)})
