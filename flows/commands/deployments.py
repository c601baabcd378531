"""Commands that let models retrain by themselves."""

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.options import (
    DEFAULT_WORKSPACE,
    Allowed,
    Overrides,
    Runner,
    SpecPath,
    Specs,
    Workspace,
    allow,
    quiet_prefect,
    with_runner,
)

if TYPE_CHECKING:
    from uuid import UUID

_LONGEST_S = 365 * 86_400

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
    float | None,
    typer.Option(
        min=1, max=_LONGEST_S, help="Look at the data every so many seconds, and start a run when it has changed."
    ),
]
StaleAfter = Annotated[
    float, typer.Option(min=0.01, max=3650, help="Days without a run that ended well, after which --notify tells.")
]


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
        overrides=with_runner(overrides, runner),
        timing={"cron": cron or [], "interval_s": interval, "rrule": rrule, "timezone": timezone},
        watch_every_s=watch_every,
        reactions={"on_events": on_event or [], "notify": notify, "stale_after": timedelta(days=stale_after)},
    )
    typer.echo(f"Next: prefect worker start --pool {work_pool}; prefect deployment run {[*made][-1]}")


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
    allow(allowed)
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "INFO")  # nobody else tells of its runs
    made = _deployed(
        specs,
        pool=None,
        workspace=workspace,
        overrides=with_runner(overrides, runner),
        timing={"cron": cron or [], "interval_s": interval, "rrule": rrule, "timezone": timezone},
        watch_every_s=watch_every,
        reactions={"on_events": on_event or [], "notify": notify, "stale_after": timedelta(days=stale_after)},
    )
    from flows import serve as serving

    serving.serve({name: each for name, each in made.items() if not name.startswith("stage/")})


def watch(
    specs: Specs,
    overrides: Overrides = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    interval: Annotated[float, typer.Option(min=0.1, max=_LONGEST_S, help="Seconds from one look to the next.")] = 60.0,
    settle: Annotated[
        float, typer.Option(min=0, max=_LONGEST_S, help="Seconds in which files that are finished stay the same.")
    ] = 10.0,
) -> None:
    """Emit the event dataset.updated when the data of a model has changed: one process, until it is ended."""
    from schemas.spec_file import read_spec

    parsed = [read_spec(path, overrides=tuple(overrides or ())) for path in specs]
    quiet_prefect()
    from flows import display, server
    from flows import watch as watching

    server.need()
    with server.answering(), display.shown():
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
    quiet_prefect()
    from flows import automations, schedules, server
    from flows import deploy as deployments

    server.need()
    own = schedules.asked_for(**timing)
    wanted = automations.Wanted(**reactions)
    made = {}
    for path, spec in parsed.items():
        timed = [*schedules.made(own or spec.schedules, path, overrides)]
        with server.answering():
            for each in deployments.deploy(
                spec, workspace=workspace, pool=pool, schedules=timed, automations=wanted, watch_every_s=watch_every_s
            ):
                typer.echo(f"{each.name:<40} {f'on work pool {each.pool}' if each.pool else 'served by this process'}")
                made[each.name] = each.id
    return made
