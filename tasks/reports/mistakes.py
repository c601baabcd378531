"""The worst predicted rows, as a table."""

import base64
import io
from typing import Any

import matplotlib.image
from markupsafe import Markup

from schemas.data import REGRESSION, Problem
from tasks.encoders.base import Array
from tasks.findings.mistakes import Mistakes
from tasks.reports.elements import Table
from tasks.reports.formatting import UNDEFINED, number, plain, shorten

_MOST_COLUMNS = 12
_LONGEST = 60
_PIXELS = 56


def table(mistakes: Mistakes, *, problem: Problem, names: tuple[str, ...]) -> Table:
    """Return one row a mistake; `names` are those of the outputs."""
    shown = mistakes.columns[:_MOST_COLUMNS]
    measure = "error" if problem in REGRESSION else "log loss"
    several = problem in REGRESSION and len(names) > 1
    pairs = [f"{kind} {name}" for name in names for kind in ("true", "predicted")] if several else ["true", "predicted"]
    said = {
        "regression": "The largest absolute errors first.",
        "multioutput_regression": "Ranked by the root of the mean squared errors, each over its output's deviation.",
    }.get(problem, "Those first whose true answer was given the lowest probability.")
    if len(shown) < len(mistakes.columns):
        said += f" The {len(shown)} most important of {len(mistakes.columns)} columns."
    return Table(
        title="",
        header=("row", *mistakes.key, *pairs, measure, *mistakes.pictures, *shown),
        rows=tuple(
            (
                number(each.row),
                *(shorten(value, _LONGEST) for value in each.key),
                *_answers(each.truth, each.predicted),
                number(each.error),
                *(_thumbnail(picture) for picture in each.pictures),
                *(_text(value) for value in each.values[:_MOST_COLUMNS]),
            )
            for each in mistakes.rows
        ),
        caption=f"{said} row is the row's number in the source, from 0.",
        text_columns=0 if several or problem in REGRESSION else 1 + len(mistakes.key) + 2,
    )


def _answers(truth: str | tuple[float, ...], predicted: str | tuple[float, ...]) -> list[str]:
    if isinstance(truth, str) or isinstance(predicted, str):
        return [shorten(str(truth), _LONGEST), shorten(str(predicted), _LONGEST)]
    return [plain(value) for pair in zip(truth, predicted, strict=True) for value in pair]


def _thumbnail(picture: Array | None) -> str:
    """Return a tensor of shape (height, width) or (height, width, 3) as a small PNG; its largest value is the ink."""
    if picture is None:
        return UNDEFINED
    step = -(-max(picture.shape[:2]) // _PIXELS)
    small = picture[::step, ::step]
    low, high = float(small.min()), float(small.max())
    buffer = io.BytesIO()
    shades = (small - low) / ((high - low) or 1)
    matplotlib.image.imsave(buffer, shades, cmap="gray_r", vmin=0, vmax=1, format="png")
    source = base64.b64encode(buffer.getvalue()).decode()
    return Markup('<img class="thumbnail" alt="" src="data:image/png;base64,{}">').format(source)


def _text(value: Any) -> str:
    if value is None:
        return UNDEFINED
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return plain(value)
    return shorten(", ".join(map(str, value)) if isinstance(value, list) else str(value), _LONGEST)
