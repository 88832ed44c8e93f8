"""`reports.yaml`: which reports are made by themselves, for whom. What is wrong in it is told with file, line and key.

schedules:
  - name: monthly
    every: monthly              # monthly, weekly (from Monday), daily, or cron
    time_zone: Europe/Berlin    # default: UTC
    recipients:
      - {name: compliance, role: compliance officer, target: "directory:compliance", detail: full}
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from services.common.checked_yaml import place, read_checked
from services.common.errors import ConfigurationError
from services.reporter.document import BY_HAND
from services.reporter.formats import FORMATS
from services.reporter.runs.calendar import Calendar, Unit
from services.reporter.runs.targets import check_target

DEFAULT_FILE = Path(__file__).with_name("reports.yaml")
"""The schedule that is there where REPORTS_FILE names none."""
_DURATION = re.compile(r"^(\d{1,6})([smhd])$")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LANGUAGES = ("en",)
_UNITS: dict[str, Unit] = {"monthly": "month", "weekly": "week", "daily": "day"}
_PERIODS: dict[str, Unit] = {"month": "month", "week": "week", "day": "day", "between": "fire"}


def _duration(text: Any) -> Any:
    if isinstance(text, timedelta):
        return text
    found = _DURATION.match(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("a duration is a number and s, m, h or d, as in 90m or 2d")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def _format(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"a format is one of {', '.join(FORMATS)}")
    return name


def _language(text: str) -> str:
    if text not in LANGUAGES:
        raise ValueError(f"reports are written in {', '.join(LANGUAGES)} only, for now: leave it out")
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("no such time zone; name one as in Europe/Berlin, or UTC") from None
    return name


def _cron(text: str) -> str:
    try:
        if len(text.split()) != 5:
            raise ValueError("a cron expression has five fields: minute hour day month weekday")
        next(CronSim(text, datetime(2024, 1, 1)))  # noqa: DTZ001 - a time of the wall clock
    except (CronSimError, StopIteration) as error:
        raise ValueError(f"not a cron expression: {error or 'it never comes'}") from None
    return text


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Words = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Target = Annotated[str, AfterValidator(check_target)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Filters(_Strict):
    """Which events a report is about: those that match one of each list; an empty list leaves none out."""

    source: list[Words] = []
    type: list[Words] = []
    tags: list[Words] = []


class Recipient(_Strict):
    """Who gets the report, where, and how much of it."""

    name: Name
    target: Target
    role: Words = "reader"
    detail: Literal["figures", "pseudonymous", "full"] = "pseudonymous"


class Alarm(_Strict):
    """Who is told where the report does not come in time: another one than those who wait for it."""

    name: Name
    target: Target


class Schedule(_Strict):
    """One schedule. `grace`: how long after the period's end its report is made, so that what was under way is recorded;
    `due`: how long after it everybody must have it."""

    name: Name
    every: Literal["monthly", "weekly", "daily", "cron"]
    recipients: list[Recipient] = Field(min_length=1, max_length=100)
    cron: Annotated[str, AfterValidator(_cron)] | None = None
    period: Literal["month", "week", "day", "between"] | None = None
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    first: date | None = None
    grace: Duration = timedelta(hours=1)
    due: Duration = timedelta(days=1)
    formats: list[Annotated[str, AfterValidator(_format)]] = Field(["html", "json"], min_length=1)
    filters: Filters = Filters()
    language: Annotated[str, AfterValidator(_language)] = "en"
    template: Path | None = None
    alarm: Alarm | None = None

    @model_validator(mode="after")
    def _fits(self) -> Schedule:
        if self.name == BY_HAND:
            raise ValueError(f"{BY_HAND} is the name of reports that people build: take another")
        if (self.every == "cron") != (self.cron is not None):
            raise ValueError("`cron` and `every: cron` belong together: give both or neither")
        if self.period is not None and self.cron is None:
            raise ValueError("`period` goes with `every: cron`: the others are their own period")
        if self.due <= self.grace:
            raise ValueError("`due` must come after `grace`, in which no report is made yet")
        names = [recipient.name for recipient in self.recipients]
        if len(set(names)) < len(names):
            raise ValueError("two recipients have one name: receipts could not tell them apart")
        if self.alarm is not None and self.alarm.target in {one.target for one in self.recipients}:
            raise ValueError("`alarm` must reach somebody else: its target is that of a recipient")
        return self

    @property
    def calendar(self) -> Calendar:
        """How it cuts time."""
        unit = _UNITS[self.every] if self.cron is None else _PERIODS[self.period or "between"]
        return Calendar(unit, self.time_zone, self.cron)


class Configuration(_Strict):
    """All of the file."""

    schedules: list[Schedule]

    @model_validator(mode="after")
    def _names(self) -> Configuration:
        names = [schedule.name for schedule in self.schedules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two schedules are called {twice[0]}: each needs a name of its own")
        return self

    def schedule(self, name: str) -> Schedule | None:
        return next((schedule for schedule in self.schedules if schedule.name == name), None)


def read_configuration(path: Path | None) -> Configuration:
    """The schedules of a file; those that Piperoll brings where `path` is None. Raises ConfigurationError, a line for each
    thing that is wrong."""
    file = DEFAULT_FILE if path is None else path
    found, lines = read_checked(file, Configuration, "REPORTS_FILE")
    for number, schedule in enumerate(found.schedules):
        if schedule.template is not None and not (file.parent / schedule.template).is_file():
            at = place(("schedules", number, "template"), lines)
            raise ConfigurationError(f"{file}, {at}: no such file: {file.parent / schedule.template}")
    placed = [
        schedule
        if schedule.template is None
        else schedule.model_copy(update={"template": (file.parent / schedule.template).resolve()})
        for schedule in found.schedules
    ]
    return found.model_copy(update={"schedules": placed})


def first_moment(schedule: Schedule) -> datetime | None:
    """Where the first period of a schedule that says so begins."""
    if schedule.first is None:
        return None
    midnight = datetime(schedule.first.year, schedule.first.month, schedule.first.day)  # noqa: DTZ001
    return schedule.calendar.instant(midnight).astimezone(UTC)
