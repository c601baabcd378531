"""Commands that work: retraining, predicting, monitoring."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import (
    DEFAULT_WORKSPACE,
    Allowed,
    AsJson,
    Delimiter,
    Encoding,
    Name,
    Overrides,
    Runner,
    SpecPath,
    Workspace,
    allow,
    quiet_prefect,
    rows_at,
    with_runner,
)
from schemas.errors import SpecError


def run(
    spec: SpecPath,
    overrides: Overrides = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    runner: Runner = None,
    force: Annotated[bool, typer.Option("--force", help="Run every stage anew.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read the data even if its files look unchanged.")] = False,
    as_of: Annotated[
        str | None, typer.Option(metavar="TIME", help="Take only rows before this date or time, as data.until does.")
    ] = None,
    as_json: AsJson = False,
    allowed: Allowed = None,
) -> None:
    """Retrain: ingest, encode, tune if asked for, train, evaluate, register. What stands already is used again."""
    allow(allowed)
    from schemas.spec_file import read_spec

    backfill = [f"data.until={as_of}"] if as_of else []
    parsed = read_spec(spec, overrides=with_runner([*(overrides or ()), *backfill], runner))
    quiet_prefect()
    from flows import display, retrain, server

    with server.answering(), display.shown():
        result = retrain(parsed, workspace=workspace, force=force, verify=verify)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    elif result.status == "skipped":
        typer.echo(result.model.reason)
    else:
        display.summary(result)


def predict(
    name: Name,
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Raw rows: a file, a folder, a glob or a URL.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write: .parquet or .csv.")],
    alias: Annotated[str, typer.Option(help="The version by its alias.")] = "champion",
    version: Annotated[str | None, typer.Option(help="The version by its number.")] = None,
    delimiter: Delimiter = ",",
    encoding: Encoding = "utf-8",
    workspace: Workspace = DEFAULT_WORKSPACE,
    allowed: Allowed = None,
) -> None:
    """Score raw rows with a registered version, by default the champion."""
    allow(allowed)
    from flows import display
    from schemas.prediction import PredictRequest
    from tasks import predict as stage
    from tasks.registry import Registry

    registry = Registry(workspace=workspace)
    found = registry.find(name, version or alias)
    request = PredictRequest(
        bundle=registry.bundle(found),
        source=rows_at(source, delimiter=delimiter, encoding=encoding),
        output=str(output),
    )
    with display.shown():
        result = stage.run(request)
    typer.echo(f"{result.rows.accepted:,} rows scored by {name} version {found.version}: {result.output}")
    if result.rejected_output:
        typer.echo(f"{result.rows.rejected:,} rows break the contract: {result.rejected_output}")


def monitor(
    name: Name,
    source: Annotated[str, typer.Argument(metavar="INPUT", help="New rows: a file, a folder, a glob or a URL.")],
    spec: Annotated[
        Path | None, typer.Option(metavar="SPEC", help="Take drift and evaluation.metrics from this spec.")
    ] = None,
    delimiter: Delimiter = ",",
    encoding: Encoding = "utf-8",
    workspace: Workspace = DEFAULT_WORKSPACE,
    cron: Annotated[
        list[str] | None, typer.Option(help="Do not look now: make a deployment that does so then. Wants --spec.")
    ] = None,
    work_pool: Annotated[str, typer.Option(help="The Prefect work pool of that deployment.")] = "evermodel",
    as_json: AsJson = False,
    allowed: Allowed = None,
) -> None:
    """Compare new rows with what the champion was made from; with a target, measure its quality, too."""
    allow(allowed)
    from schemas.drift import Drift
    from schemas.spec_file import read_spec

    parsed = read_spec(spec) if spec else None
    drift, metrics = (parsed.drift, parsed.evaluation.wanted) if parsed else (Drift(), ())
    rows = rows_at(source, delimiter=delimiter, encoding=encoding)
    quiet_prefect()
    if cron:
        if parsed is None or parsed.name != name:
            raise SpecError(f"--cron wants --spec, the spec of {name}")
        from flows import deploy as deployments
        from flows import schedules, server

        server.need()
        own = schedules.asked_for(cron=cron, interval_s=None, rrule=None, timezone="UTC")
        timed = [*schedules.made(own, spec)] if spec else []
        with server.answering():
            made = deployments.deploy_monitor(parsed, rows, workspace=workspace, pool=work_pool, schedules=timed)
        typer.echo(f"{made.name:<40} on work pool {made.pool}")
        return
    from flows import display, server
    from flows.monitor import monitor as flow

    with server.answering(), display.shown():
        result = flow(name, rows, workspace=workspace, drift=drift, metrics=metrics)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        display.monitored(result)
