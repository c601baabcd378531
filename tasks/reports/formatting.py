"""Numbers, times and names as a person reads them."""

import math
import re
import unicodedata

import numpy as np

UNDEFINED = "–"
"""What stands for a figure that does not exist."""


def number(value: float | None) -> str:
    """Return a number with about four significant digits; large ones with all digits before the point."""
    if value is None or math.isnan(value):
        return UNDEFINED
    if isinstance(value, int) or math.isinf(value):
        text = f"{value:,}"
    elif value and not 1e-4 <= abs(value) < 1e9:
        text = f"{value:.3g}"
    elif abs(value) >= 999.95:
        text = f"{value:,.0f}"
    elif abs(value) <= 1:
        text = f"{value:.4f}" if abs(value) >= 0.01 or not value else f"{value:.3g}"
    else:
        text = f"{value:#.4g}"
    return text.replace("-", "−")


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    return f"{'+' if value is not None and value > 0 else ''}{number(value)}"


def plain(value: float | None) -> str:
    """Return a number with up to four significant digits and no zeros at the end: for ranges and the like."""
    if value is None or math.isnan(value):
        return UNDEFINED
    text = f"{value:,.0f}" if 999.95 <= abs(value) < 1e9 else f"{value:.4g}"
    return text.replace("-", "−")


def percent(share: float | None) -> str:
    """Return a share, 0 to 1, in percent; what is above 0 and rounds to 0 becomes <0.1 %."""
    if share is None or math.isnan(share):
        return UNDEFINED
    if 0 < share < 0.0005:
        return "<0.1\u00a0%"
    digits = 0 if share in (0, 1) else 1
    return f"{100 * share:,.{digits}f}\u00a0%".replace("-", "−")


def points(difference: float | None) -> str:
    """Return a difference of shares in percentage points."""
    if difference is None or math.isnan(difference):
        return UNDEFINED
    return f"{round(100 * difference, 1) + 0:.1f} points".replace("-", "−")


def moment(seconds: float | None) -> str:
    """Return a time, given in seconds since 1970, as ISO 8601; the date alone at midnight."""
    if seconds is None or not math.isfinite(seconds):
        return UNDEFINED
    return str(np.datetime64(math.floor(seconds), "s")).replace("T", " ").removesuffix(" 00:00:00")


def shorten(name: str, length: int) -> str:
    """Return a name on one line with at most `length` characters; control characters become spaces."""
    line = "".join(" " if unicodedata.category(each) == "Cc" else each for each in name)
    line = re.sub(r"[^\S\u00a0]+", " ", line).strip() or "(blank)"
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"
