"""The command `evermodel`. Each command loads only what it needs: help and mistakes are answered at once."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from schemas.errors import EvermodelError, SpecError, StoppedError
from tasks import secret_files

app = typer.Typer(
    name="evermodel",
    help="Retrains Keras models on tables, and promotes a version only when it is better.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="The spec, a YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as training.epochs=5.")
]
Workspace = Annotated[
    str,
    typer.Option(
        envvar="EVERMODEL_WORKSPACE",
        help="Where stages publish: a directory, or a URL such as s3://bucket/folder.",
        show_default=True,
    ),
]
images = typer.Typer(help="The images that stages run in.", no_args_is_help=True)
app.add_typer(images, name="images")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
By = Annotated[str | None, typer.Option(help="Who decides; by default the user of the operating system.")]
Runner = Annotated[str | None, typer.Option(help="Where every stage runs, whatever the spec says: inline or docker.")]
Allowed = Annotated[
    list[str] | None,
    typer.Option("--allow-module", metavar="MODULE", help="Let the spec name functions of this module of your own."),
]
DEFAULT_WORKSPACE = ".evermodel"


def main() -> None:
    """Run the command; end with the documented exit code, and one message instead of a traceback."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        secret_files.load()
        app()
    except (EvermodelError, StoppedError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise StoppedError("stopped; run the same command again to go on where it was")


@app.command()
def example(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The example; without it, all are listed.")] = None,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write its two files.")] = Path(),
) -> None:
    """Write a small real data set and its spec."""
    from tasks.examples import EXAMPLES, write_example

    if name is None:
        for each, description in EXAMPLES.items():
            typer.echo(f"{each:<14} {description}")
        return
    spec = write_example(name, folder)
    typer.echo(f"Wrote {spec} and its data. Next: evermodel run {spec}")


@app.command()
def init(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A data file: CSV, Parquet, JSON lines or Arrow.")],
    target: Annotated[list[str], typer.Option(help="The target's column; several times for several.")],
    name: Annotated[str | None, typer.Option(help="The model's name; by default the file's.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The spec to write; else it is printed.")
    ] = None,
) -> None:
    """Infer a commented spec from a data file."""
    from tasks.inference import infer_spec

    text = infer_spec(data, target, name=name, folder=output.parent if output else Path())
    if output is None:
        typer.echo(text, nl=False)
        return
    if output.exists():
        raise SpecError(f"{output} exists already; remove it or choose another name")
    output.write_text(text, encoding="utf-8")
    typer.echo(f"Wrote {output}. Look it over, then: evermodel run {output}")


@app.command()
def check(
    spec: SpecPath,
    overrides: Overrides = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    allowed: Allowed = None,
) -> None:
    """Validate a spec against its data and print what a run would do. Runs nothing."""
    _allow(allowed)
    from flows.plan import plan
    from schemas.spec_file import read_spec

    for line in plan(read_spec(spec, overrides=tuple(overrides or ())), workspace):
        typer.echo(line)


@app.command()
def run(
    spec: SpecPath,
    overrides: Overrides = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    runner: Runner = None,
    force: Annotated[bool, typer.Option("--force", help="Run every stage anew.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read the data even if its files look unchanged.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    allowed: Allowed = None,
) -> None:
    """Retrain: ingest, encode, tune if asked for, train, evaluate, register. What stands already is used again."""
    _allow(allowed)
    from schemas.spec_file import read_spec

    parsed = read_spec(spec, overrides=_with_runner(overrides, runner))
    _quiet_prefect()
    from flows import display, retrain

    with display.shown():
        result = retrain(parsed, workspace=workspace, force=force, verify=verify)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    elif result.status == "skipped":
        typer.echo(result.model.reason)
    else:
        display.summary(result)


@app.command()
def deploy(
    spec: SpecPath,
    overrides: Overrides = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    cron: Annotated[list[str] | None, typer.Option(help='When, such as "0 3 * * *"; may be repeated.')] = None,
    interval: Annotated[float | None, typer.Option(help="Every so many seconds.")] = None,
    rrule: Annotated[str | None, typer.Option(help="When, as an iCalendar rule.")] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of --cron and --rrule.")] = "UTC",
    work_pool: Annotated[str, typer.Option(help="The Prefect work pool of the flow itself.")] = "evermodel",
    runner: Runner = None,
) -> None:
    """Make the model's deployments on a Prefect server: its retraining, and the stages that run on work pools."""
    from schemas.spec_file import read_spec

    parsed = read_spec(spec, overrides=_with_runner(overrides, runner))
    _quiet_prefect()
    if not os.environ.get("PREFECT_API_URL"):
        raise SpecError(
            "a deployment lives on a Prefect server: set PREFECT_API_URL, such as http://127.0.0.1:4200/api"
        )
    from flows import deploy as deployments

    schedules = deployments.schedules(cron=cron or [], interval_s=interval, rrule=rrule, timezone=timezone)
    for name, pool in deployments.deploy(parsed, workspace=workspace, pool=work_pool, schedules=schedules):
        typer.echo(f"{name:<40} on work pool {pool}")
    typer.echo(f"Next: prefect worker start --pool {work_pool}; prefect deployment run retrain/{parsed.name}")


@app.command()
def predict(
    name: Name,
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Raw rows: a file, a folder, a glob or a URL.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write: .parquet or .csv.")],
    alias: Annotated[str, typer.Option(help="The version by its alias.")] = "champion",
    version: Annotated[str | None, typer.Option(help="The version by its number.")] = None,
    delimiter: Annotated[str, typer.Option(help="What stands between two CSV fields.")] = ",",
    encoding: Annotated[str, typer.Option(help="Encoding of CSV and JSON files.")] = "utf-8",
    workspace: Workspace = DEFAULT_WORKSPACE,
    allowed: Allowed = None,
) -> None:
    """Score raw rows with a registered version, by default the champion."""
    _allow(allowed)
    from flows import display
    from schemas.data import Source
    from schemas.stages import PredictRequest
    from tasks import predict as stage
    from tasks.registry import Registry

    registry = Registry(workspace=workspace)
    found = registry.find(name, version or alias)
    request = PredictRequest(
        bundle=registry.bundle(found),
        source=Source(path=source, delimiter=delimiter, encoding=encoding),
        output=str(output),
    )
    with display.shown():
        result = stage.run(request)
    typer.echo(f"{result.rows.accepted:,} rows scored by {name} version {found.version}: {result.output}")
    if result.rejected_output:
        typer.echo(f"{result.rows.rejected:,} rows break the contract: {result.rejected_output}")


@app.command()
def monitor(
    name: Name,
    source: Annotated[str, typer.Argument(metavar="INPUT", help="New rows: a file, a folder, a glob or a URL.")],
    spec: Annotated[
        Path | None, typer.Option(metavar="SPEC", help="Take drift and evaluation.metrics from this spec.")
    ] = None,
    delimiter: Annotated[str, typer.Option(help="What stands between two CSV fields.")] = ",",
    encoding: Annotated[str, typer.Option(help="Encoding of CSV and JSON files.")] = "utf-8",
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    allowed: Allowed = None,
) -> None:
    """Compare new rows with what the champion was made from; with a target, measure its quality, too."""
    _allow(allowed)
    from schemas.data import Source
    from schemas.drift import Drift
    from schemas.spec_file import read_spec

    parsed = read_spec(spec) if spec else None
    drift, metrics = (parsed.drift, parsed.evaluation.wanted) if parsed else (Drift(), ())
    rows = Source(path=source, delimiter=delimiter, encoding=encoding)
    _quiet_prefect()
    from flows import display
    from flows.monitor import monitor as flow

    with display.shown():
        result = flow(name, rows, workspace=workspace, drift=drift, metrics=metrics)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        display.monitored(result)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A model; without it, all are listed.")] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
) -> None:
    """List registered models, or the versions of one."""
    from flows import display
    from tasks.registry import Registry

    registry = Registry(workspace=workspace)
    if name is None:
        display.models({each: registry.versions(each) for each in registry.names()})
    else:
        registry.find(name, "1")
        display.versions(registry.versions(name))


@app.command()
def promote(
    name: Name,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version's number.")],
    reason: Annotated[str, typer.Option(help="Why; it is recorded with the version.")] = "promoted by hand",
    by: By = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
) -> None:
    """Make a version the champion, whatever the gate said; who, when and why is recorded."""
    from tasks.registry import Registry

    promoted = Registry(workspace=workspace).promote(name, version, reason=reason, by=by)
    typer.echo(f"{name} version {promoted.version} is the champion")


@app.command()
def rollback(
    name: Name,
    reason: Annotated[str | None, typer.Option(help="Why; it is recorded with both versions.")] = None,
    by: By = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
) -> None:
    """Make the champion before the present one the champion again; once more goes back one step further."""
    from tasks.registry import Registry

    previous = Registry(workspace=workspace).rollback(name, reason=reason, by=by)
    typer.echo(f"{name} version {previous.version} is the champion again")


@app.command()
def report(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The model; needed if there are several.")] = None,
    version: Annotated[str, typer.Option(help="A version's number or alias.")] = "challenger",
    workspace: Workspace = DEFAULT_WORKSPACE,
) -> None:
    """Print where the report of a version is, by default that of the newest."""
    from tasks.registry import Registry

    registry = Registry(workspace=workspace)
    names = [name] if name else registry.names()
    if len(names) != 1:
        raise SpecError(f"name a model; there are: {', '.join(names) or 'none, run a spec first'}")
    typer.echo(str(registry.report(registry.find(names[0], version))))


@app.command()
def schema() -> None:
    """Print the spec's JSON Schema, for editors."""
    import json

    from schemas.spec_schema import editor_schema

    typer.echo(json.dumps(editor_schema(), indent=2))


@app.command()
def doctor(workspace: Workspace = DEFAULT_WORKSPACE) -> None:
    """Look at the machine and say what is missing, and what to do."""
    from flows.doctor import findings

    missing = False
    for finding in findings(workspace):
        missing |= finding.needed and not finding.good
        mark = "ok" if finding.good else "MISSING" if finding.needed else "-"
        typer.echo(f"{mark:<8} {finding.what}: {finding.seen}" + (f"; {finding.remedy}" if not finding.good else ""))
    raise typer.Exit(4 if missing else 0)


@images.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def build(
    context: typer.Context,
    gpu: Annotated[bool, typer.Option("--gpu", help="Build the images for GPUs, too.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Build this one; several times for several.")] = None,
    registry: Annotated[str | None, typer.Option("--push", metavar="REGISTRY", help="Push them there.")] = None,
    inventories: Annotated[Path, typer.Option(help="Where to list what is installed in each.")] = Path("build/sbom"),
) -> None:
    """Build the images of the stages. Options that are not named here go to `docker build`."""
    from flows import images as stage_images

    known = (*stage_images.TARGETS, *stage_images.GPU_TARGETS)
    if strange := [each for each in only or () if each not in known]:
        raise SpecError(f"no image {strange[0]!r}; there are {', '.join(known)}")
    targets = only or (known if gpu else stage_images.TARGETS)
    for image, size_bytes in stage_images.build(targets, options=context.args, inventories=inventories):
        typer.echo(f"{size_bytes / 1e6:>8,.0f} MB  {image}")
        if registry:
            typer.echo(f"             pushed as {stage_images.push(image, registry)}")


def _with_runner(overrides: list[str] | None, runner: str | None) -> tuple[str, ...]:
    return (*(overrides or ()), *([f"runner={runner}"] if runner else []))


def _allow(modules: list[str] | None) -> None:
    """Let specs name what is in modules, beside those that EVERMODEL_ALLOW_MODULES names."""
    if modules:
        from tasks import plugins

        plugins.allow(modules)


def _quiet_prefect() -> None:
    """Keep Prefect's own lines off the terminal, and give its temporary server time to start."""
    defaults = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


if __name__ == "__main__":
    main()
