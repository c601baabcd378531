"""The command `evermodel`. Each command loads only what it needs: help and mistakes are answered at once."""

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from schemas.errors import EvermodelError, SpecError, StoppedError
from tasks import secret_files

if TYPE_CHECKING:
    from uuid import UUID

app = typer.Typer(
    name="evermodel",
    help="Retrains Keras models on tables, and promotes a version only when it is better.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="The spec, a YAML file.")]
Specs = Annotated[list[Path], typer.Argument(metavar="SPEC...", help="One spec or several.")]
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
Cron = Annotated[
    list[str] | None,
    typer.Option(help='When, such as "0 3 * * *"; may be repeated. Replaces those of the spec.'),
]
Interval = Annotated[float | None, typer.Option(help="Every so many seconds.")]
Rrule = Annotated[str | None, typer.Option(help="When, as an iCalendar rule.")]
Timezone = Annotated[str, typer.Option(help="Time zone of --cron and --rrule.")]
OnEvent = Annotated[
    list[str] | None,
    typer.Option(
        metavar="EVENT",
        help="Start a run on an event about the model or its data, such as dataset.updated; EVENT=RESOURCE for one "
        "about something else. May be repeated.",
    ),
]
Notify = Annotated[
    str | None,
    typer.Option(
        metavar="BLOCK", help="Tell by this block, such as slack-webhook/NAME, of what failed, drifted and the like."
    ),
]
WatchEvery = Annotated[
    float | None, typer.Option(help="Look at the data every so many seconds, and start a run when it has changed.")
]
StaleAfter = Annotated[float, typer.Option(help="Days without a run that ended well, after which --notify tells.")]
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
    as_of: Annotated[
        str | None, typer.Option(metavar="TIME", help="Take only rows before this date or time, as data.until does.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    allowed: Allowed = None,
) -> None:
    """Retrain: ingest, encode, tune if asked for, train, evaluate, register. What stands already is used again."""
    _allow(allowed)
    from schemas.spec_file import read_spec

    backfill = [f"data.until={as_of}"] if as_of else []
    parsed = read_spec(spec, overrides=_with_runner([*(overrides or ()), *backfill], runner))
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
    cron: Cron = None,
    interval: Interval = None,
    rrule: Rrule = None,
    timezone: Timezone = "UTC",
    on_event: OnEvent = None,
    notify: Notify = None,
    stale_after: StaleAfter = 7.0,
    watch_every: WatchEvery = None,
    work_pool: Annotated[str, typer.Option(help="The Prefect work pool of the flow itself.")] = "evermodel",
    runner: Runner = None,
) -> None:
    """Make the model's deployments on a Prefect server: its retraining, and the stages that run on work pools."""
    made = _deployed(
        [spec],
        pool=work_pool,
        workspace=workspace,
        overrides=_with_runner(overrides, runner),
        timing={"cron": cron or [], "interval_s": interval, "rrule": rrule, "timezone": timezone},
        watch_every_s=watch_every,
        reactions={"on_events": on_event or [], "notify": notify, "stale_after": timedelta(days=stale_after)},
    )
    typer.echo(f"Next: prefect worker start --pool {work_pool}; prefect deployment run {[*made][-1]}")


@app.command()
def serve(
    specs: Specs,
    overrides: Overrides = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    cron: Cron = None,
    interval: Interval = None,
    rrule: Rrule = None,
    timezone: Timezone = "UTC",
    on_event: OnEvent = None,
    notify: Notify = None,
    stale_after: StaleAfter = 7.0,
    watch_every: WatchEvery = None,
    runner: Runner = None,
    allowed: Allowed = None,
) -> None:
    """Retrain models when they are due or asked for in the Prefect UI: one process, no worker, until it is ended."""
    _allow(allowed)
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "INFO")  # nobody else tells of its runs
    made = _deployed(
        specs,
        pool=None,
        workspace=workspace,
        overrides=_with_runner(overrides, runner),
        timing={"cron": cron or [], "interval_s": interval, "rrule": rrule, "timezone": timezone},
        watch_every_s=watch_every,
        reactions={"on_events": on_event or [], "notify": notify, "stale_after": timedelta(days=stale_after)},
    )
    from flows import serve as serving

    serving.serve({name: each for name, each in made.items() if not name.startswith("stage/")})


@app.command()
def watch(
    specs: Specs,
    overrides: Overrides = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    interval: Annotated[float, typer.Option(help="Seconds from one look to the next.")] = 60.0,
    settle: Annotated[float, typer.Option(help="Seconds in which files that are finished stay the same.")] = 10.0,
) -> None:
    """Emit the event dataset.updated when the data of a model has changed: one process, until it is ended."""
    from schemas.spec_file import read_spec

    parsed = [read_spec(path, overrides=tuple(overrides or ())) for path in specs]
    _quiet_prefect()
    from flows import deploy as deployments
    from flows import display
    from flows import watch as watching

    deployments.need_server()
    with display.shown():
        watching.keep_looking(parsed, workspace=workspace, interval_s=interval, settle_s=settle)


def _deployed(
    specs: list[Path],
    *,
    pool: str | None,
    workspace: str,
    overrides: tuple[str, ...],
    timing: dict[str, Any],
    reactions: dict[str, Any],
    watch_every_s: float | None,
) -> dict[str, "UUID"]:
    """Make or renew the deployments of some specs, and say so; return their ids by their names."""
    from schemas.spec_file import read_spec

    parsed = {path: read_spec(path, overrides=overrides) for path in specs}
    _quiet_prefect()
    from flows import automations, schedules
    from flows import deploy as deployments

    deployments.need_server()
    own = schedules.asked_for(**timing)
    wanted = automations.Wanted(**reactions)
    made = {}
    for path, spec in parsed.items():
        timed = [*schedules.made(own or spec.schedules, path, overrides)]
        for each in deployments.deploy(
            spec, workspace=workspace, pool=pool, schedules=timed, automations=wanted, watch_every_s=watch_every_s
        ):
            typer.echo(f"{each.name:<40} {f'on work pool {each.pool}' if each.pool else 'served by this process'}")
            made[each.name] = each.id
    return made


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
    cron: Annotated[
        list[str] | None, typer.Option(help="Do not look now: make a deployment that does so then. Wants --spec.")
    ] = None,
    work_pool: Annotated[str, typer.Option(help="The Prefect work pool of that deployment.")] = "evermodel",
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
    if cron:
        if parsed is None or parsed.name != name:
            raise SpecError(f"--cron wants --spec, the spec of {name}")
        from flows import deploy as deployments
        from flows import schedules

        deployments.need_server()
        own = schedules.asked_for(cron=cron, interval_s=None, rrule=None, timezone="UTC")
        timed = [*schedules.made(own, spec)] if spec else []
        made = deployments.deploy_monitor(parsed, rows, workspace=workspace, pool=work_pool, schedules=timed)
        typer.echo(f"{made.name:<40} on work pool {made.pool}")
        return
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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object: versions by model.")] = False,
) -> None:
    """List registered models, or the versions of one: age, period of their data, quality, drift, who decided."""
    import json

    from flows import display
    from tasks import freshness
    from tasks.registry import Registry

    registry = Registry(workspace=workspace)
    if name is not None:
        registry.find(name, "1")
    found = {each: registry.versions(each) for each in ([name] if name else registry.names())}
    if as_json:
        told = {
            each: [freshness.of(one).model_dump(mode="json") for one in versions] for each, versions in found.items()
        }
        typer.echo(json.dumps(told, indent=2))
    elif name is None:
        display.models(found)
    else:
        display.versions([freshness.of(each) for each in found[name]])


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
