"""Commands about registered models: what there is, and which version predicts."""

from typing import Annotated

import typer

from flows.commands.options import DEFAULT_WORKSPACE, Name, Workspace
from schemas.errors import SpecError

By = Annotated[str | None, typer.Option(help="Who decides; by default the user of the operating system.")]


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
    found = {name: registry.standing(name)} if name else {each: registry.versions(each) for each in registry.names()}
    if as_json:
        told = {
            each: [freshness.of(one).model_dump(mode="json") for one in versions] for each, versions in found.items()
        }
        typer.echo(json.dumps(told, indent=2))
    elif name is None:
        display.models(found)
    else:
        display.versions([freshness.of(each) for each in found[name]])


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
