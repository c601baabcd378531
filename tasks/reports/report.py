"""The report of a run: `report.html`, one file without scripts that needs no network, and `figures/*.png`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from schemas.contract import Contract
from schemas.profile import Profile
from schemas.spec import Problem
from schemas.stages import IngestResult, TrainResult, Verdict
from tasks import metrics
from tasks.metrics import Scored
from tasks.reports import binary, columns, diagnosis, drawing, formatting, learning, multiclass, multilabel, regression
from tasks.reports.elements import Section, Table
from tasks.reports.formatting import number, percent

_SECTIONS: Mapping[Problem, Callable[[Scored], Section]] = {
    "regression": regression.section,
    "multioutput_regression": regression.section,
    "binary": binary.section,
    "multilabel": multilabel.section,
    "multiclass": multiclass.section,
}
_SPLITS = ("train", "validation", "test")
_MOST_OUTPUTS = 100


@dataclass(frozen=True)
class Content:
    """What the report tells of."""

    name: str
    """The model's name."""
    champion_version: str | None
    """The champion's version in the registry, if there is one."""
    scored: dict[str, Scored]
    """Predictions beside the truth, by split."""
    metrics: dict[str, dict[str, float]]
    """The challenger's metrics, by split."""
    champion_metrics: dict[str, float] | None
    """The champion's metrics on the test rows."""
    verdict: Verdict
    """Whether the challenger should replace the champion."""
    history: dict[str, Any]
    """What train has published as history.json: loss, validation_loss, best_epoch."""
    profile: Profile
    """The columns of the accepted rows."""
    contract: Contract
    """What a row must look like."""
    ingest: IngestResult
    """How many rows went where."""
    train: TrainResult
    """What was trained."""


@dataclass(frozen=True)
class Tile:
    """One key figure."""

    label: str
    value: str
    note: str
    """One line or more."""


def write(out: Path, content: Content) -> None:
    """Write `report.html` and `figures/*.png` into a directory. The same content gives the same bytes."""
    (out / "figures").mkdir(parents=True, exist_ok=True)
    with drawing.style():
        sections = {
            "learning": learning.section(content.history),
            "predictions": _SECTIONS[content.contract.problem](content.scored["test"]),
        }
        page = _page(content, sections)
        (out / "report.html").write_text(page, encoding="utf-8")
        for section in sections.values():
            for plot in section.plots:
                plot.png(out / "figures")


def _page(content: Content, sections: Mapping[str, Section]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shorten": formatting.shorten, "number": number, "percent": percent}
    return environment.get_template("report.html.j2").render(
        content=content,
        sections=sections,
        tiles=_tiles(content),
        metrics=_metrics(content),
        outputs=_outputs(content),
        weighted=content.scored["test"].weight is not None,
        training_rows=len(content.scored["train"].truth),
        diagnosis=diagnosis.diagnose(
            content.scored,
            content.metrics,
            metric=content.verdict.metric,
            history=content.history,
            parameters=content.train.parameters,
        ),
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
    single = {_of_output(metric, name) for metric in content.metrics["test"] for name in content.scored["test"].names}
    names = [metric for metric in content.metrics["test"] if metric not in single]
    champion = content.champion_metrics
    return Table(
        title="",
        header=("metric", *_SPLITS, *(["champion on test"] if champion is not None else [])),
        rows=tuple(
            (
                f"{name} {'↓' if metrics.lower_is_better(name) else '↑'}",
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
    test, names = content.metrics["test"], content.scored["test"].names
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
