"""The report of a run: `report.html`, one file without scripts that needs no network, and its figures as files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np

from schemas.data import Problem
from tasks import metrics
from tasks.findings import resampling
from tasks.findings.rejects import Rejects
from tasks.reports import (
    binary,
    categories,
    columns,
    diagnosis,
    drawing,
    drift,
    formatting,
    importance,
    learning,
    mistakes,
    multiclass,
    multilabel,
    promotion,
    regression,
    slices,
    tuning,
)
from tasks.reports.content import Content
from tasks.reports.elements import Section, Table
from tasks.reports.formatting import UNDEFINED, number, percent, points, shorten

_SECTIONS: Mapping[Problem, Callable[[Content], Section]] = {
    "regression": regression.section,
    "multioutput_regression": regression.section,
    "binary": binary.section,
    "multilabel": multilabel.section,
    "multiclass": multiclass.section,
}
_SPLITS = ("train", "validation", "test")
_MOST_OUTPUTS, _MOST_LAYERS = 100, 100


@dataclass(frozen=True)
class Tile:
    """One key figure."""

    label: str
    value: str
    note: str
    """One line or more."""


def write(out: Path, content: Content) -> None:
    """Write `report.html`, and each figure as `figures/*.png` with what it shows as `figures/*.csv`.

    The same content gives the same bytes.
    """
    (out / "figures").mkdir(parents=True, exist_ok=True)
    with drawing.style():
        sections = _sections(content)
        page = _page(content, sections)
        (out / "report.html").write_text(page, encoding="utf-8")
        for section in sections.values():
            for plot in section.plots:
                plot.write(out / "figures")


def _sections(content: Content) -> dict[str, Section]:
    found, metric, rows = content.findings, content.verdict.metric, len(content.test.truth)
    whole = content.metrics["test"][metric]
    refitted = Section(
        plots=(learning.sizes_plot(found.sizes, metric=metric, refitted=content.train.refitted),)
        if found.sizes
        else (),
        tables=(learning.spread_table(found.refits),) if found.refits else (),
    )
    sections = {
        "promotion": promotion.section(content.verdict),
        "learning": learning.section(content.history),
        "refitted": refitted,
        "predictions": _SECTIONS[content.contract.problem](content),
    }
    if content.tuning:
        sections["tuning"] = tuning.section(content.tuning)
    elif content.tuned:
        sections["tuning"] = tuning.reused(content.tuned)
    if found.slices:
        sections["slices"] = slices.section(found.slices, metric=metric, whole=whole, rows=rows)
    if found.importance:
        sections["importance"] = importance.section(found.importance, metric=metric, rows=rows)
    if content.drift:
        sections["drift"] = drift.section(content.drift)
    return sections


def _page(content: Content, sections: Mapping[str, Section]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shorten": formatting.shorten, "number": number, "percent": percent, "points": points}
    return environment.get_template("report.html.j2").render(
        content=content,
        sections=sections,
        tiles=_tiles(content),
        metrics=_metrics(content),
        outputs=_outputs(content),
        weighted=content.test.weight is not None,
        training_rows=len(content.scored["train"].truth),
        difference=_difference(content),
        diagnosis=None
        if content.train.refitted
        else diagnosis.diagnose(
            content.scored,
            content.metrics,
            metric=content.verdict.metric,
            history=content.history,
            network=content.network,
            evaluation=content.evaluation,
            sizes=content.findings.sizes,
        ),
        mistakes=_mistakes(content),
        categories=categories.table(content.findings.categories) if content.findings.categories else None,
        rejects=_rejects(content.findings.rejects),
        layers=_layers(content),
        lineage=_lineage(content),
        splits=_splits(content),
        columns=columns.rows(content.profile),
    )


def _tiles(content: Content) -> list[Tile]:
    rows, train, verdict = content.ingest.rows, content.train, content.verdict
    champion = "no champion to compare with"
    if verdict.champion is not None:
        version = f" (version {content.champion_version})" if content.champion_version else ""
        champion = f"champion{version}: {number(verdict.champion)}"
    return [
        Tile(f"{verdict.metric} on test", number(verdict.challenger), champion),
        Tile("rows read", number(rows.read), f"{number(rows.accepted)} accepted\n{number(rows.rejected)} rejected"),
        Tile("test rows", number(rows.test), f"{number(rows.train)} train\n{number(rows.validation)} validation"),
        Tile("epochs", number(train.epochs), f"best: {number(train.best_epoch)}"),
        Tile("parameters", number(train.parameters), "numbers that the network learned"),
    ]


def _metrics(content: Content) -> Table:
    """Return the metrics of the whole target; those of single outputs have a table of their own."""
    single = {_of_output(metric, name) for metric in content.metrics["test"] for name in content.test.names}
    names = [metric for metric in content.metrics["test"] if metric not in single]
    champion = content.champion_metrics
    return Table(
        title="",
        header=("metric", *_SPLITS, *(["champion on test"] if champion is not None else [])),
        rows=tuple(
            (
                f"{name}\u00a0{'↓' if metrics.lower_is_better(name) else '↑'}",
                *(number(content.metrics[split].get(name)) for split in _SPLITS),
                *([number(champion.get(name))] if champion is not None else []),
            )
            for name in names
        ),
        caption="↑ higher is better, ↓ lower is better, – is not defined. The marked metric decides.",
        marked=names.index(content.verdict.metric) if content.verdict.metric in names else None,
    )


def _outputs(content: Content) -> Table | None:
    """Return a table with one row an output and one column a metric, on the test rows; None for a single output."""
    test, names = content.metrics["test"], content.test.names
    known = [metric for metric in test if _of_output(metric, names[0]) in test]
    if not known:
        return None
    return Table(
        title="Each output, on the test rows",
        header=("output", *known),
        rows=tuple(
            (name, *(number(test[_of_output(metric, name)]) for metric in known)) for name in names[:_MOST_OUTPUTS]
        ),
        caption=f"The first {_MOST_OUTPUTS} of {len(names)}." if len(names) > _MOST_OUTPUTS else "",
    )


def _of_output(metric: str, output: str) -> str:
    return f"{metric}[{output}]"


def _splits(content: Content) -> Table:
    rows = content.ingest.rows
    counts = {"train": rows.train, "validation": rows.validation, "test": rows.test}
    said = [(name, number(count), percent(count / max(rows.accepted, 1))) for name, count in counts.items()]
    rejected = ("rejected", number(rows.rejected), "")
    return Table(title="Rows", header=("split", "rows", "share of accepted"), rows=(*said, rejected))


def _difference(content: Content) -> str:
    """Return a sentence on how sure it is which of challenger and champion is better; empty where nobody can say."""
    evaluation, metric = content.evaluation, content.verdict.metric
    if content.champion is None or not evaluation.bootstrap:
        return ""
    if np.array_equal(content.test.predicted, content.champion.predicted):
        return "Challenger and champion predict the same for every test row."
    score = resampling.measure(metric, evaluation.wanted)
    values = resampling.resampled(
        lambda challenger, champion: score(challenger) - score(champion),
        content.test,
        content.champion,
        resamples=evaluation.bootstrap,
        seed=evaluation.seed,
    )
    found = resampling.interval(values)
    if found is None:
        return ""
    sure = "no more than chance" if found.low <= 0 <= found.high else "more than chance"
    change = content.metrics["test"][metric] - (content.champion_metrics or {})[metric]
    return (
        f"Challenger less champion: {metric} {number(change)}, with a 95\u00a0% interval of {number(found.low)} to "
        f"{number(found.high)}: {sure}."
    )


def _mistakes(content: Content) -> Table | None:
    found = content.findings.mistakes
    if found is None:
        return None
    return mistakes.table(found, problem=content.contract.problem, names=content.test.names)


def _rejects(rejects: Rejects | None) -> tuple[Table, ...]:
    if rejects is None:
        return ()
    rows = (
        (
            shorten(str(each["file"]), 60),
            UNDEFINED if each["_row"] is None else number(int(each["_row"])),
            shorten(str(each["reasons"]), 200),
            shorten(str(each["record"]), 300),
        )
        for each in rejects.rows
    )
    reasons = tuple((reason, number(count)) for reason, count in rejects.reasons)
    return (
        Table(title="Why rows were rejected", header=("reason", "rows"), rows=reasons),
        Table(title="Some of them", header=("file", "row", "reasons", "as it came"), rows=tuple(rows), text_columns=4),
    )


def _layers(content: Content) -> Table:
    return Table(
        title="Layers",
        header=("layer", "kind", "output", "parameters"),
        rows=tuple(
            (
                layer.name,
                layer.kind,
                UNDEFINED if layer.shape is None else " × ".join(map(str, layer.shape)) or "1",
                number(layer.parameters),
            )
            for layer in content.network.layers[:_MOST_LAYERS]
        ),
        text_columns=2,
        caption=f"The first {_MOST_LAYERS} of {len(content.network.layers)}."
        if len(content.network.layers) > _MOST_LAYERS
        else "",
    )


def _lineage(content: Content) -> Table:
    return Table(
        title="Where it comes from",
        header=("what", "run key or version", "digest of its files"),
        rows=content.lineage,
        caption="The same run key means the same input; the same digest means the same bytes.",
        text_columns=3,
        digests=True,
    )
