"""Challenger beside champion, output by output."""

from collections.abc import Mapping, Sequence

from tasks.encoders.base import Array
from tasks.reports.confusion import Rates
from tasks.reports.elements import Table
from tasks.reports.formatting import number, signed


def table(
    what: str, names: Sequence[str], figures: Mapping[str, tuple[Array, Array]], *, shown: Array, caption: str = ""
) -> Table:
    """Return a row for each output, class or label that is shown, with challenger, champion and their difference.

    `figures` are challenger's and champion's by the name of the figure, each of shape (names,).
    """
    return Table(
        title=f"Each {what}, beside the champion",
        header=(what, *(title for figure in figures for title in (figure, "champion", "difference"))),
        rows=tuple(
            (
                names[at],
                *(
                    text
                    for challenger, champion in figures.values()
                    for text in (number(challenger[at]), number(champion[at]), signed(challenger[at] - champion[at]))
                ),
            )
            for at in shown
        ),
        caption=f"{caption} The difference is challenger less champion, on the same test rows.".strip(),
    )


def rates(what: str, names: Sequence[str], challenger: Rates, champion: Rates, *, shown: Array) -> Table:
    """Return a row for each class or label that is shown, with F1, precision and recall of both."""
    figures = {
        "F1": (challenger.f1, champion.f1),
        "precision": (challenger.precision, champion.precision),
        "recall": (challenger.recall, champion.recall),
    }
    return table(what, names, figures, shown=shown)
