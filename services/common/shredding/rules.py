"""The file SUBJECT_FIELDS: which fields of which events are encrypted, and under whose key.

- source: /shop*               # shell patterns, * is any text; default: *
  type: user_*
  subject: user_id             # where the subject's id stands
  fields: [user_id, email, "@subject"]
- type: invoice.*
  namespace: customers         # another kind of id: customer 42 is not user 42
  subject: [customer.id, customer.email]   # the first that is there
  fields: [customer.id, customer.email, lines.note]

Paths are those of the mappings, below the event's data; @name is an attribute of the CloudEvent.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, RootModel, model_validator

from services.common.checked_yaml import place, read_checked
from services.common.errors import ConfigurationError

_KEPT = ("specversion", "id", "source", "type", "time", "sequence", "datacontenttype", "dataschema", "data")


def _path(path: str) -> str:
    name = path[1:]
    if path.startswith("@"):
        if not (name.isascii() and name.isalnum() and name.islower()):
            raise ValueError(
                "an attribute is @ and its name of small letters and digits, as in @subject or @partitionkey"
            )
        if name in _KEPT:
            raise ValueError(
                f"@{name} must stay readable: it tells one event from another, or how to read it"
            )
    elif not all(path.split(".")):
        raise ValueError("a path is keys with dots between them, as in actor.id")
    return path


Path_ = Annotated[str, AfterValidator(_path)]


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


Paths = Annotated[list[Path_], BeforeValidator(_listed), Field(min_length=1)]


class Rule(BaseModel):
    """The fields of events by source and type, all under the key of one subject."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    source: str = "*"
    type: str = "*"
    namespace: str = Field("", max_length=100)
    subject: Paths
    fields: list[Path_] = Field(min_length=1)

    def covers(self, source: str, event_type: str) -> bool:
        """Whether the rule is of such events. Bare JSON has no source or type yet: that it may be meant is enough."""
        return (not source or fnmatchcase(source, self.source)) and (
            not event_type or fnmatchcase(event_type, self.type)
        )


class _Rules(RootModel[list[Rule]]):
    model_config = ConfigDict(strict=True)

    @model_validator(mode="after")
    def _some(self) -> _Rules:
        if not self.root:
            raise ValueError("no rule stands here: a list of source, type, subject and fields")
        return self


def read_rules(file: Path) -> list[Rule]:
    """The rules of a file. Raises ConfigurationError, a line for each thing that is wrong."""
    found, lines = read_checked(file, _Rules, "SUBJECT_FIELDS")
    seen: dict[tuple[str, str, str], int] = {}
    for number, rule in enumerate(found.root):
        for at, path in enumerate(rule.fields):
            first = seen.setdefault((rule.source, rule.type, path), number)
            if first != number:
                raise ConfigurationError(
                    f"{file}, {place((number, 'fields', at), lines)}: {path} is under the key of rule [{first}] already: "
                    "a field has one key"
                )
    return found.root
