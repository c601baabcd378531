"""What a person sees of a run: stages and a bar of epochs on a terminal, plain lines elsewhere, a table in the end.

All of it goes to standard error, but for what a command was asked to print.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from flows.logs import heard_by
from schemas.run import RunResult

if TYPE_CHECKING:
    from schemas.monitoring import MonitorResult
    from tasks.freshness import Freshness
    from tasks.registry import Version

_SECONDS_BETWEEN_LINES = 1.0
_WIDTH = 160


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Show the log of Evermodel's stages while the body runs."""
    console = Console(stderr=True)
    with heard_by(_LiveStages(console) if console.is_terminal else _PlainLines()):
        yield


def _is_progress(event: Mapping[str, Any]) -> bool:
    return "epoch" in event or "rows" in event


class _PlainLines(logging.StreamHandler[Any]):
    """One line an event; of progress at most one a second."""

    def __init__(self) -> None:
        super().__init__()
        self._last = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if _is_progress(getattr(record, "event", {})):
            if time.monotonic() - self._last < _SECONDS_BETWEEN_LINES:
                return
            self._last = time.monotonic()
        super().emit(record)


class _LiveStages(logging.Handler):
    """A line a stage, the one at work with a spinner, training with a bar of epochs."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.fields[stage]:<9}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._progress.start()

    def emit(self, record: logging.LogRecord) -> None:
        event: Mapping[str, Any] = getattr(record, "event", {})
        stage = str(event.get("stage", ""))
        if not stage:
            self._progress.console.print(record.getMessage(), highlight=False, markup=False)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task("", total=None, stage=stage)
        task, said = self._tasks[stage], record.getMessage().partition(": ")[2]
        if "status" in event:
            self._progress.update(task, total=1, completed=1, description=said)
        elif "epoch" in event:
            self._progress.update(task, total=event["epochs"], completed=event["epoch"], description=said)
        elif "trial" in event:
            self._progress.update(task, total=1, completed=event["share"], description=said)
        else:
            self._progress.update(task, description=said)

    def close(self) -> None:
        self._progress.stop()
        super().close()


def summary(result: RunResult) -> None:
    """Print the test metrics, the champion's beside them, what became of the version, and where the report is."""
    console = Console()
    table = Table(title=f"{result.model.name} version {result.model.version}, test rows", title_justify="left")
    table.add_column("metric")
    table.add_column("this version", justify="right")
    if result.champion_metrics:
        table.add_column("champion", justify="right")
    champion = result.champion_metrics or {}
    for name in result.metrics["test"]:
        values = [_number(each[name]) for each in (result.metrics["test"], champion) if name in each]
        table.add_row(escape(name), *values)
    console.print(table)
    rows = result.rows
    console.print(f"{rows.read:,} rows read, {rows.rejected:,} rejected", highlight=False)
    for warning in result.warnings:
        console.print(f"[yellow]note[/] {escape(warning)}", highlight=False, soft_wrap=True)
    if result.drift:
        console.print(
            escape(f"{result.drift.reason[0].upper()}{result.drift.reason[1:]}"), highlight=False, soft_wrap=True
        )
    console.print(f"Version {result.model.version} {escape(result.model.reason)}", highlight=False, soft_wrap=True)
    console.print(f"Report: {escape(result.report)}", highlight=False, soft_wrap=True)


def monitored(result: "MonitorResult") -> None:
    """Print what monitoring has found of new rows."""
    console, rows = Console(), result.rows
    said = f"{rows.read:,} rows read, {rows.rejected:,} rejected, {result.labelled:,} with a target"
    console.print(f"{result.name} version {result.version}: {said}", highlight=False, soft_wrap=True)
    for name, value in result.metrics.items():
        console.print(f"  {escape(name)} {_number(value)}", highlight=False)
    reason = result.drift.reason if result.drift else "the bundle carries no reference to compare with"
    console.print(escape(f"{reason[0].upper()}{reason[1:]}"), highlight=False, soft_wrap=True)
    console.print(f"In {escape(result.path)}", highlight=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def models(found: Mapping[str, Sequence["Version"]]) -> None:
    """Print all models, each with its number of versions and its champion."""
    if not found:
        Console().print("No model is registered yet: evermodel run SPEC registers one.")
        return
    table = Table("model", "versions", "champion")
    for name, all_versions in found.items():
        champion = next((each.version for each in all_versions if "champion" in each.aliases), "")
        table.add_row(name, str(len(all_versions)), champion)
    Console().print(table)


def versions(found: Sequence["Freshness"]) -> None:
    """Print the versions of a model, the newest first: how old they are, how good, what came since, who decided."""
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    table = Table("version", "alias", "age", "data", "quality on test", "drift", "decided")
    table.columns[1].no_wrap = True
    for each in found:
        origin, observed = each.origin, each.observed
        data = " to ".join(moment[:10] for moment in origin.period) if origin and origin.period else ""
        quality = f"{origin.metric} {_number(origin.quality)}" if origin else ""
        drift = observed.reason if observed else origin.drift if origin else None
        why = each.decisions[-1].sentence if each.decisions else ""
        cells = (each.version, ", ".join(each.aliases), _age(each.age_days), data, quality, drift or "", why)
        table.add_row(*map(escape, cells))
    console.print(table)


def _age(days: float) -> str:
    """Return an age in the largest unit that leaves a whole number."""
    for name, size in (("d", 1.0), ("h", 1 / 24), ("min", 1 / 1440)):
        if days >= size:
            return f"{int(days / size)} {name}"
    return "now"
