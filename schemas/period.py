"""Which of the source's rows a run takes, by their time."""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from schemas.document import Document

if TYPE_CHECKING:
    from schemas.spec import Spec


def _from_iso(value: Any) -> Any:
    """Read ISO 8601 alone: pydantic would take 2024 for a number of seconds."""
    if isinstance(value, datetime):
        return value
    text = value.isoformat() if isinstance(value, date) else value
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise ValueError("must be a date or a time such as 2024-06-01 or 2024-06-01T12:00+02:00") from error


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Moment = Annotated[
    datetime,
    BeforeValidator(_from_iso),
    AfterValidator(_in_utc),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}),
]
"""A time in UTC; a date is its midnight, and without a zone UTC is meant, as in the data."""


class Days(Document):
    """The rows of the newest days."""

    days: float = Field(gt=0, le=366_000)
    """How many days, back from data.until or, without it, from the newest row."""


class NewestRows(Document):
    """So many of the newest rows."""

    rows: int = Field(ge=1)
    """How many; rows of the same time as the oldest of them come with them."""


Window = Days | NewestRows


class Period(Document):
    """The rows that a run takes: from `since` on and before `until`, and of these the newest."""

    column: str
    """The column with the time."""
    since: Moment | None = None
    """The first time that is taken."""
    until: Moment | None = None
    """The first time that is not taken any more."""
    window: Window | None = None
    """How many of the newest are taken."""

    @classmethod
    def of(cls, spec: "Spec") -> Self | None:
        """Return the period that a spec asks for, or None for all rows."""
        data, window = spec.data, spec.retraining.window
        if spec.time is None or (data.since, data.until, window) == (None, None, None):
            return None
        return cls(column=spec.time, since=data.since, until=data.until, window=window)
