"""What the Prefect UI shows of a run beside its log: artifacts by key, each with a history of the model's runs.

A server that is away costs a run its artifacts and nothing else.
"""

import base64
import contextlib
import contextvars
import functools
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import PrefectException

from flows.logs import heard_by
from schemas.drift import DriftReport
from schemas.monitoring import MonitorResult
from schemas.promotion import Check, Verdict
from schemas.run import RunResult
from schemas.stages import EvaluateResult, IngestResult, RegisterResult
from tasks.registry import Registry
from tasks.reports.formatting import number, shorten
from tasks.workspaces import place

log = logging.getLogger("evermodel.flow")

_TIMEOUT_S = 10.0
_SECONDS_BETWEEN_UPDATES = 2.0
_MOST_PLOTS_BYTES = 600_000
_MOST_SIGNS = 300
_MOST_METRICS = 50
_MOST_CHECKS = 50
_FIRST_PLOTS = ("learning_curves", "confusion", "roc", "precision_recall")


def key(model: str, what: str) -> str:
    """Return an artifact's key; Prefect's keys know no underscore."""
    return f"{model}-{what}".replace("_", "-")


def publish(result: RunResult, ingest: IngestResult, evaluated: EvaluateResult, registry: Registry) -> None:
    """Show a finished run: a summary and, if it made anything, the plots, the rejected rows' reasons, the verdict."""
    version = f"version {result.model.version}"
    became = f"{version} {result.model.reason}"
    nothing_new = "nothing new: " * result.nothing_new
    made: dict[str, tuple[str, Callable[[], str]]] = {
        "summary": (f"{nothing_new}{became}", lambda: summary(result, registry))
    }
    if not result.nothing_new:
        made |= {
            "plots": (version, lambda: plots(evaluated)),
            "rejects": (_rejected(ingest), lambda: rejects(ingest)),
            "verdict": (became, lambda: verdict(evaluated.verdict)),
        }
        if evaluated.drift is not None:
            report = place(evaluated.path).directory / "drift.json"
            made["drift"] = (evaluated.drift.reason, lambda: drift(report))
    with _tolerant(), _client() as client:
        for what, (told, markdown) in made.items():
            name = key(result.model.name, what)
            _create(client, name, "markdown", markdown(), description=_text(told))


def summary(result: RunResult, registry: Registry) -> str:
    """Return Markdown with what became of the version, its first 50 metrics, and where to read more."""
    model = result.model
    champion = result.champion_metrics
    rows = [
        [_text(name), *(number(result.metrics[split].get(name)) for split in result.metrics), *_beside(champion, name)]
        for name in list(result.metrics["test"])[:_MOST_METRICS]
    ]
    header = ["metric", *result.metrics, *(["champion on test"] if champion is not None else [])]
    nothing_new = "Nothing new: spec and data are those of an earlier run, and nothing was done.\n" * result.nothing_new
    rejection = f"{result.rows.rejected:,} rows rejected: "  # that note quotes rows; `rejects` tells it without
    told = [warning for warning in result.warnings if not warning.startswith(rejection)]
    notes = "\n".join(f"- {_text(warning)}" for warning in told[:20])
    counts = f"{result.rows.read:,} rows read, {result.rows.rejected:,} rejected."
    version = _version(model.name, model.version, registry)
    report = f"Report: `{result.report.replace('`', '')}`"
    head = f"# {_text(model.name)} version {_text(model.version)}\n\n{nothing_new}\n{_text(model.reason)}"
    return "\n\n".join(part for part in (head, _table(header, rows), counts, notes, version, report) if part)


def _beside(champion: Mapping[str, float | None] | None, name: str) -> list[str]:
    return [] if champion is None else [number(champion.get(name))]


def _version(name: str, version: str, registry: Registry) -> str:
    """Return a link to the version where MLflow is a server; its address without user and password."""
    address = urlsplit(registry.uri)
    if address.scheme not in ("http", "https"):
        return f"MLflow: version {_text(version)} in the workspace's own registry"
    base = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}"
    return f"[MLflow: version {_text(version)}]({base}/#/models/{quote(name)}/versions/{quote(version)})"


def plots(evaluated: EvaluateResult) -> str:
    """Return Markdown with the main plots as PNG, so many as 600 kB hold; the report has all of them."""
    folder = place(evaluated.path).directory
    files = [Path(name) for name in evaluated.files if name.startswith("figures/") and name.endswith(".png")]
    shown, left = [], _MOST_PLOTS_BYTES
    for file in sorted(files, key=_importance):
        content = (folder / file).read_bytes()
        if len(content) <= left:
            left -= len(content)
            image = base64.b64encode(content).decode()
            shown.append(f"![{_text(file.stem)}](data:image/png;base64,{image})")
    more = [f"{len(files) - len(shown)} more in the report."] if len(shown) < len(files) else []
    return "\n\n".join([*shown, *more]) or "There are no plots."


def _importance(file: Path) -> tuple[int, str]:
    first = _FIRST_PLOTS.index(file.stem) if file.stem in _FIRST_PLOTS else len(_FIRST_PLOTS)
    return first, file.stem


def rejects(ingest: IngestResult) -> str:
    """Return Markdown with the reasons of rejected rows and their counts, without the rows' own values."""
    from tasks.findings import rejects as rejections  # loads pandas, which a run with nothing new does without

    said = _rejected(ingest)
    found = rejections.find(place(ingest.path).directory / "rejected.parquet")
    if found is None:
        return said
    table = _table(["reason", "rows"], [[_text(reason), f"{count:,}"] for reason, count in found.reasons])
    return f"{said}\n\n{table}\n\nThe rows are in `rejected.parquet` of ingest's directory."


def _rejected(ingest: IngestResult) -> str:
    return f"{ingest.rows.rejected:,} of {ingest.rows.read:,} rows rejected."


def verdict(found: Verdict) -> str:
    """Return Markdown with the verdict, its numbers, and what had to be proven."""
    rows = [["challenger", number(found.challenger)], ["champion", number(found.champion)]]
    said = f"{_text(found.reason)}\n\n{_table(['', found.metric], rows)}"
    checks = [_check(each) for each in found.checks[:_MOST_CHECKS]]
    return f"{said}\n\n{_table(['check', 'passed', 'found', 'limit', ''], checks)}" if checks else said


def question(asked: RegisterResult, found: Verdict) -> str:
    """Return Markdown for a person who decides about a version: what waits, its numbers, and what each check found.

    It stands in a narrow dialog, so that sentences are a list.
    """
    head = f"**{_text(asked.name)} version {_text(asked.version)}** {_text(asked.reason)}"
    rows = [[found.metric, number(found.challenger), number(found.champion)]]
    checks = "\n".join(
        f"- {'passed' if each.passed else '**not passed**'}: {_text(each.sentence)}"
        for each in found.checks[:_MOST_CHECKS]
    )
    table = _table(["metric on test", "challenger", "champion"], rows)
    return "\n\n".join(part for part in (head, table, checks) if part)


def _check(found: Check) -> list[str]:
    passed = "yes" if found.passed else "**no**"
    return [_text(found.name), passed, number(found.value), number(found.wanted), _text(found.sentence)]


def drift(path: Path) -> str:
    """Return Markdown with what a drift.json says: the outcome, and the first 50 columns, the worst first."""
    report = DriftReport.load(path)
    rows = [
        [_text(column.name), column.role, _text(change.said), "**drifted**" * change.drifted]
        for column in report.ordered[:_MOST_METRICS]
        for change in column.changes
    ]
    counts = f"{report.rows:,} rows beside {report.reference_rows:,} of the champion's training data."
    table = _table(["column", "is a", "difference", "outcome"], rows)
    return "\n\n".join(
        [_text(report.summary.reason), counts, table, *(f"- {_text(note)}" for note in report.notes[:20])]
    )


def monitored(result: MonitorResult) -> None:
    """Show what monitoring has found."""
    with _tolerant(), _client() as client:
        _create(client, key(result.name, "monitor"), "markdown", monitoring(result))


def monitoring(result: MonitorResult) -> str:
    """Return Markdown with what monitoring has found: rows, drift, and the quality on labelled ones."""
    rows = result.rows
    head = f"# {_text(result.name)} version {_text(result.version)}"
    counts = f"{rows.read:,} rows read, {rows.rejected:,} rejected, {result.labelled:,} with a target."
    values = [[_text(name), number(value)] for name, value in list(result.metrics.items())[:_MOST_METRICS]]
    path = place(result.path).directory / "drift.json"
    told = drift(path) if result.drift else "The bundle carries no reference to compare with."
    return "\n\n".join([head, counts, *([_table(["metric", "now"], values)] if values else []), told])


def _table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; cells are Markdown already."""
    lines = [[_text(each) for each in header], ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Return text of any origin as Markdown that shows it and does nothing else, on one line."""
    return re.sub(r"([!-+/:-@\[-`{-~.])", r"\\\1", shorten(text, _MOST_SIGNS)) if text else ""


@contextlib.contextmanager
def progress(model: str) -> Iterator[None]:
    """Show epochs, or trials of a tuning, as they pass in the body, by the events that stages log."""
    with heard_by(_Progress(key(model, "progress"))):
        yield


class _Progress(logging.Handler):
    """Sends the newest epoch or trial now and then, from another thread: a slow server does not slow training."""

    def __init__(self, artifact_key: str) -> None:
        super().__init__()
        self._key = artifact_key
        self._newest: logging.LogRecord | None = None
        self._sent: logging.LogRecord | None = None
        self._over = threading.Event()
        look = functools.partial(contextvars.copy_context().run, self._look)  # with the run of the flow's own thread
        self._thread = threading.Thread(target=look, name="progress", daemon=True)
        self._made: UUID | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if {"epoch", "trial"} & getattr(record, "event", {}).keys():
            self._newest = record
            if self._thread.ident is None:
                self._thread.start()

    def close(self) -> None:
        """Send the last one, and wait for that no longer than a server may take to answer."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(_TIMEOUT_S)
        super().close()

    def _look(self) -> None:
        with _tolerant(), _client() as client:
            while not self._over.wait(_SECONDS_BETWEEN_UPDATES):
                self._send(client)
            self._send(client)

    def _send(self, client: SyncPrefectClient) -> None:
        record = self._newest
        if record is None or record is self._sent:
            return
        event: Mapping[str, Any] = record.__dict__["event"]
        share = event["share"] if "trial" in event else event["epoch"] / event["epochs"]
        percent, said = round(100 * share, 1), _text(record.getMessage())
        if self._made is None:
            self._made = _create(client, self._key, "progress", percent, description=said)
        else:
            client.update_artifact(self._made, ArtifactUpdate(data=percent, description=said))
        self._sent = record


def _create(client: SyncPrefectClient, name: str, kind: str, data: Any, *, description: str | None = None) -> UUID:
    """Make an artifact of the run, and of its task, around this thread."""
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    made = client.create_artifact(
        ArtifactCreate(
            key=name,
            type=kind,
            data=data,
            description=description,
            flow_run_id=flow.flow_run.id if flow and flow.flow_run else None,
            task_run_id=task.task_run.id if task else None,
        )
    )
    return made.id


def _client() -> SyncPrefectClient:
    return get_client(sync_client=True, httpx_settings={"timeout": _TIMEOUT_S})


@contextlib.contextmanager
def _tolerant() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, PrefectException) as error:
        log.warning("the Prefect server takes no artifacts, and the run goes on: %s", type(error).__name__)
