"""The part of a spec about schedules: when a deployed model is retrained by itself."""

import zoneinfo
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from schemas.document import Document

_FIELDS_OF_CRON = 5
_TEN_YEARS_S = 10 * 365 * 86_400


def _known_cron(line: str) -> str:
    from cronsim import CronSim, CronSimError  # the flow's environment alone has it, and only schedules need it

    try:
        if len(line.split()) != _FIELDS_OF_CRON:
            raise CronSimError(f"{_FIELDS_OF_CRON} fields are wanted")
        CronSim(line, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"is no cron line ({error}); write it as in 0 3 * * * for every night at three") from error
    return line


def _known_rrule(rule: str) -> str:
    from dateutil.rrule import rrulestr

    try:
        rrulestr(rule)
    except (ValueError, TypeError) as error:
        raise ValueError(f"is no iCalendar rule ({error}); write it as in FREQ=WEEKLY;BYDAY=MO;BYHOUR=3") from error
    return rule


def _known_timezone(name: str) -> str:
    if name not in zoneinfo.available_timezones():
        raise ValueError("is no time zone; write it as in Europe/Berlin or UTC")
    return name


class Schedule(Document):
    """One schedule: a cron line, an interval or an iCalendar rule."""

    cron: Annotated[str, AfterValidator(_known_cron)] | None = None
    """Minute, hour, day of the month, month and weekday, such as "0 3 * * *" for every night at three."""
    interval_s: float | None = Field(default=None, ge=1, le=_TEN_YEARS_S)
    """Every so many seconds, from the time of the deployment on."""
    rrule: Annotated[str, AfterValidator(_known_rrule)] | None = None
    """A rule of iCalendar (RFC 5545), such as FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=3;BYMINUTE=0;BYSECOND=0."""
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "UTC"
    """The time zone whose clock cron and rrule mean, in summer and in winter; an interval counts seconds."""
    overrides: dict[str, Any] = {}
    """Keys of this spec that are different in runs of this schedule, such as {training.epochs: 200}."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(each is not None for each in (self.cron, self.interval_s, self.rrule)) != 1:
            raise ValueError("give either cron, interval_s or rrule")
        return self

    @model_validator(mode="after")
    def _no_whole_section(self) -> Self:
        for key, value in self.overrides.items():
            if isinstance(value, dict) and "." not in key and not {"kind", "by"} & value.keys():
                dotted = ", ".join(f"{key}.{inner}" for inner in value)
                raise ValueError(f"overrides: {key} would be replaced as a whole; write its keys as {dotted}")
        return self
