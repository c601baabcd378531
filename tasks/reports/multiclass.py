"""What several classes ask for: who is taken for whom, and the figures of each class."""

import numpy as np

from tasks.encoders.base import Array
from tasks.metrics import Scored
from tasks.reports import confusion
from tasks.reports.confusion import Rates
from tasks.reports.elements import Plot, Section, Table
from tasks.reports.formatting import number, percent

_MOST_DRAWN = 20
_MOST_LISTED = 100
_MOST_CONFUSIONS = 10


def section(test: Scored) -> Section:
    """Return the section on the test rows; of many classes those with the most test rows are shown."""
    rows = np.bincount(test.truth, minlength=len(test.names))
    ranked = np.argsort(-rows, kind="stable")
    confusions = _confusions(test, rows)
    tables = (_classes(test, rows, np.sort(ranked[:_MOST_LISTED])), *([confusions] if confusions.rows else []))
    return Section(plots=_matrices(test, np.sort(ranked[:_MOST_DRAWN])), tables=tables)


def _matrices(test: Scored, shown: Array) -> tuple[Plot, Plot]:
    """Draw counts and rates; `shown` are the codes of the classes, ascending."""
    place = np.full(len(test.names), len(shown))
    place[shown] = np.arange(len(shown))
    truth, decided = place[test.truth], place[test.decided]
    actual = np.bincount(truth, test.weight, minlength=len(shown))[: len(shown), None]
    with np.errstate(invalid="ignore"):
        rates = confusion.matrix(truth, decided, len(shown), test.weight) / actual
    names = [test.names[code] for code in shown]
    said, left_out = "Test rows by true and predicted class.", ""
    if len(shown) < len(test.names):
        left_out = (
            f" Of {len(test.names):,} classes these are the {len(shown)} with the most test rows; what was taken for "
            "another class is not shown, so that a row may add up to less than all."
        )
    counts_figure = confusion.counts_figure(confusion.matrix(truth, decided, len(shown)), rates, names)
    return (
        Plot("confusion_counts", "Confusion matrix, rows", counts_figure, said + left_out),
        Plot(
            "confusion_rates",
            "Confusion matrix, percent",
            confusion.rates_figure(rates, names),
            f"Percent of each true class: the diagonal is its recall.{left_out}",
        ),
    )


def _classes(test: Scored, rows: Array, shown: Array) -> Table:
    classes, right = len(test.names), test.truth == test.decided
    weight = np.ones(len(test.truth)) if test.weight is None else test.weight
    rates = Rates.of(
        actual=np.bincount(test.truth, weight, minlength=classes),
        decided=np.bincount(test.decided, weight, minlength=classes),
        hit=np.bincount(test.truth[right], weight[right], minlength=classes),
        total=float(weight.sum()),
    )
    return Table(
        title="Each class",
        header=("class", "precision", "recall", "specificity", "F1", "test rows"),
        rows=tuple((test.names[code], *rates.row(code), number(int(rows[code]))) for code in shown),
        caption=f"The {len(shown)} classes with the most test rows of {classes:,}." if len(shown) < classes else "",
    )


def _confusions(test: Scored, rows: Array) -> Table:
    wrong = test.truth != test.decided
    pairs, counts = np.unique(np.column_stack([test.truth, test.decided])[wrong], axis=0, return_counts=True)
    first = np.argsort(-counts, kind="stable")[:_MOST_CONFUSIONS]
    return Table(
        title="Most frequent confusions",
        header=("true", "taken for", "test rows", "share of the true class's rows"),
        rows=tuple(
            (test.names[true], test.names[taken], number(int(count)), percent(float(count / rows[true])))
            for (true, taken), count in zip(pairs[first], counts[first], strict=True)
        ),
        text_columns=2,
    )
