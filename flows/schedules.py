"""Schedules of a model's deployment, from the spec or from a command's options, as Prefect takes them."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import SCHEDULE_TYPES, CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import ValidationError

from schemas.errors import SpecError
from schemas.schedules import Schedule
from schemas.spec_file import read_spec


def asked_for(
    *, cron: Sequence[str], interval_s: float | None, rrule: str | None, timezone: str
) -> tuple[Schedule, ...]:
    """Return the schedules that options ask for; raises SpecError for one that is none."""
    said: list[dict[str, object]] = [{"cron": each} for each in cron]
    said += [{"interval_s": interval_s}] if interval_s is not None else []
    said += [{"rrule": rrule}] if rrule else []
    try:
        return tuple(Schedule.model_validate({**each, "timezone": timezone}) for each in said)
    except ValidationError as error:
        first = error.errors()[0]
        raise SpecError(f"no schedule: {first['input']!r} {first['msg'].removeprefix('Value error, ')}") from error


def made(
    schedules: Sequence[Schedule], path: Path, overrides: tuple[str, ...] = ()
) -> Iterator[DeploymentScheduleCreate]:
    """Yield schedules as Prefect takes them; one with overrides carries the spec of this path with them applied.

    Raises SpecError for a schedule or an override that does not fit.
    """
    for schedule in schedules:
        own = tuple(f"{key}={json.dumps(value)}" for key, value in schedule.overrides.items())
        spec = read_spec(path, overrides=(*overrides, *own)) if own else None
        parameters = {"spec": spec.model_dump(mode="json")} if spec else {}
        yield DeploymentScheduleCreate(schedule=_as_prefect(schedule), parameters=parameters)


def _as_prefect(schedule: Schedule) -> SCHEDULE_TYPES:
    try:
        if schedule.cron:
            return CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
        if schedule.rrule:
            return RRuleSchedule(rrule=schedule.rrule, timezone=schedule.timezone)
    except ValueError as error:
        raise SpecError(f"Prefect refuses the schedule {schedule.cron or schedule.rrule!r}: {error}") from error
    return IntervalSchedule(interval=timedelta(seconds=schedule.interval_s or 0))  # in a zone it would miss an hour
