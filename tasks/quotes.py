"""What messages quote from data: single values, unless the operator wants none."""

import os

HIDE_VALUES = "EVERMODEL_HIDE_VALUES"
"""Set to 1 by an operator: messages tell columns, rows and reasons, and none of the rows' values."""

_MOST_SIGNS = 40


def quoted(value: object) -> str:
    """Return a value of a row for a message, a text in quotes and cut to 40 characters; or that it is hidden."""
    if _hidden():
        return "(value hidden)"
    return repr(value[:_MOST_SIGNS] if isinstance(value, str) else value)


def told(error: Exception) -> str:
    """Return what a library says of data that it cannot read, which may quote it; or only the kind of error."""
    return type(error).__name__ if _hidden() else str(error)


def cause(error: Exception) -> Exception | None:
    """Return the error as the cause of another one, whose traceback shows it; none if values are hidden."""
    return None if _hidden() else error


def _hidden() -> bool:
    return os.environ.get(HIDE_VALUES, "") not in ("", "0")
