"""What several classes ask for: who is taken for whom, and the figures of each class."""

import numpy as np

from tasks.encoders.base import Array
from tasks.metrics import Scored
from tasks.reports import confusion, one_against_rest, reliability
from tasks.reports.confusion import Rates
from tasks.reports.content import Content, weights
from tasks.reports.elements import Plot, Section, Table
from tasks.reports.formatting import number, percent

_MOST_DRAWN = 20
_MOST_LISTED = 100
_MOST_CONFUSIONS = 10


def section(content: Content) -> Section:
    """Return the section on the test rows; of many classes those with the most test rows are shown."""
    test = content.test
    rows = np.bincount(test.truth, minlength=len(test.names))
    ranked = np.argsort(-rows, kind="stable")
    confusions = _confusions(test, rows)
    tables = (_classes(test, rows, np.sort(ranked[:_MOST_LISTED])), *([confusions] if confusions.rows else []))
    curves = one_against_rest.plot(test, ranked)
    plots = (*_matrices(test, np.sort(ranked[:_MOST_DRAWN])), *([curves] if curves else []), _confidence(test))
    return Section(plots=plots, tables=tables)


def _confidence(test: Scored) -> Plot:
    return reliability.plot(
        test.predicted.max(axis=1),
        (test.truth == test.decided).astype(np.float64),
        weights(test),
        x="probability of the predicted class",
        y="share that is right",
        caption="Of predictions made with 70\u00a0% confidence, 70\u00a0% should be right. "
        "A point with few rows below it says little.",
    )


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
    counts = confusion.matrix(truth, decided, len(shown))
    data = confusion.data(counts, rates, names)
    return (
        Plot(
            "confusion_counts",
            "Confusion matrix, rows",
            confusion.counts_figure(counts, rates, names),
            data,
            said + left_out,
        ),
        Plot(
            "confusion_rates",
            "Confusion matrix, percent",
            confusion.rates_figure(rates, names),
            data,
            f"Percent of each true class: the diagonal is its recall.{left_out}",
        ),
    )


def _classes(test: Scored, rows: Array, shown: Array) -> Table:
    classes, right = len(test.names), test.truth == test.decided
    weight = weights(test)
    sampled = one_against_rest.sample(test)
    rates = Rates.of(
        actual=np.bincount(test.truth, weight, minlength=classes),
        decided=np.bincount(test.decided, weight, minlength=classes),
        hit=np.bincount(test.truth[right], weight[right], minlength=classes),
        total=float(weight.sum()),
    )
    return Table(
        title="Each class",
        header=("class", "precision", "recall", "specificity", "F1", "ROC AUC", "test rows"),
        rows=tuple(
            (test.names[code], *rates.row(code), number(area), number(int(rows[code])))
            for code, area in zip(shown, one_against_rest.areas(sampled, shown), strict=True)
        ),
        caption=(f"The {len(shown)} classes with the most test rows of {classes:,}." if len(shown) < classes else "")
        + one_against_rest.note(test, sampled).replace(" From", " ROC AUC from"),
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
