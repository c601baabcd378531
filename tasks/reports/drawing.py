"""How plots look, and how they become SVG for the page and PNG for other uses."""

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from tasks.encoders.base import Array

INK = "#1f2430"
"""Text and axes. On the page it becomes the colour of the page's own text, which differs in light and dark."""
BLUE, ORANGE, GREEN = "#1f7fc4", "#d55e00", "#009e73"
"""Told apart with any kind of colour vision (after Okabe and Ito, 2008), with contrast on white and on black."""
CYCLE = (BLUE, ORANGE, GREEN, "#b05a98", "#8a7a3a")
"""Colours of several series, in this order."""

CHAMPION: Mapping[str, Any] = {"color": INK, "alpha": 0.55, "linewidth": 1.4, "linestyle": (0, (5, 1.5))}
"""How the champion's line looks, below the challenger's."""

HALF, FULL = 460, 940
"""Widths of a plot on the page in CSS pixels."""

_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same measures on every machine
    "font.size": 11,
    "axes.titlesize": 11,
    "text.color": INK,
    "text.parse_math": False,  # names may hold dollar signs
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "grid.alpha": 0.13,
    "grid.color": INK,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "xtick.color": INK,
    "ytick.color": INK,
}
_PIXELS_PER_INCH = 72
_PNG_DPI = 144
_TITLE = 32
_MOST_VECTOR_POINTS = 300
_MOST_POINTS = 20_000


@contextmanager
def style() -> Iterator[None]:
    """Give plots that are drawn and saved inside it one look, whatever the machine's own matplotlib settings are."""
    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")  # a name may hold any character
        yield


def canvas(width: int = HALF, height: int = 330) -> Figure:
    """Return an empty figure of a size in CSS pixels, without the strip for its title."""
    whole = height + _TITLE
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, height / whole))
    return Figure(figsize=(width / _PIXELS_PER_INCH, whole / _PIXELS_PER_INCH), layout=layout)


def size(figure: Figure) -> tuple[int, int]:
    """Return a figure's width and height in CSS pixels, without the strip for its title."""
    width, whole = figure.get_size_inches()
    return round(width * _PIXELS_PER_INCH), round(whole * _PIXELS_PER_INCH) - _TITLE


def png(figure: Figure, path: Path, *, title: str) -> None:
    """Write a PNG on white, with the title that the page sets in type of its own."""
    _, height = size(figure)
    figure.text(0.5, (height + _TITLE / 2) / (height + _TITLE), title, ha="center", va="center", fontsize=13)
    figure.savefig(path, dpi=_PNG_DPI, facecolor="white", metadata={"Software": None})


def svg(figure: Figure, *, name: str, label: str) -> Markup:
    """Return a plot as an SVG element that takes font and ink from the page.

    `name` keeps its identifiers apart from those of other plots; `label` is for those who cannot see it.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # it is laid out now: once is enough
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(
            buffer,
            format="svg",
            dpi=2 * _PIXELS_PER_INCH,
            metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
        )
    _, _, inner = buffer.getvalue().partition("<svg")
    inner = inner[inner.index(">") + 1 :]
    inner = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", inner, flags=re.DOTALL)
    inner = re.sub(r'<g id="[\w.]+"', "<g", inner).replace(" xlink:href=", " href=")
    inner = inner.replace(" font-family: 'DejaVu Sans';", "").replace(f": {INK}", ": currentColor")
    tag = Markup('<svg viewBox="0 {} {} {}" role="img" aria-label="{}">').format(_TITLE, *size(figure), label)
    return tag + Markup(inner)  # noqa: S704  (matplotlib has escaped it)


def scatter(axes: Axes, x: Array, y: Array) -> None:
    """Draw points, each of shape (n,), with so much transparency that crowds can be told from single ones.

    Many points become a picture inside the SVG, and of more than 20,000 only those at `drawn` appear.
    """
    positions = drawn(len(x))
    axes.scatter(
        x[positions],
        y[positions],
        s=20 if len(x) <= 1_000 else 8,
        color=BLUE,
        alpha=float(np.clip(10 / np.sqrt(max(len(x), 1)), 0.2, 0.85)),
        linewidths=0,
        rasterized=len(x) > _MOST_VECTOR_POINTS,
    )


def drawn(rows: int) -> Array:
    """Return the positions of the points that `scatter` draws: all, or 20,000 chosen at random."""
    if rows <= _MOST_POINTS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, _MOST_POINTS, replace=False))


def count_ticks(axis: Axis) -> None:
    """Put the ticks of an axis at whole numbers, written with commas."""
    axis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 2.5, 5, 10], integer=True, min_n_ticks=1))
    axis.set_major_formatter("{x:,.0f}")


def points_note(rows: int) -> str:
    """Return what a caption must say when `scatter` leaves points out."""
    return f" {_MOST_POINTS:,} of {rows:,} rows are drawn, chosen at random." if rows > _MOST_POINTS else ""


def thinned(*series: Array, limit: int = 600) -> list[Array]:
    """Return curves, each of shape (n,), at no more than `limit` evenly spaced positions, ends included."""
    positions = np.unique(np.linspace(0, len(series[0]) - 1, limit).round().astype(int))
    return [each[positions] for each in series]
