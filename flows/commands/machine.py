"""Commands about the machine: what it lacks, and the images of the stages."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import DEFAULT_WORKSPACE, Workspace
from schemas.errors import SpecError


def doctor(workspace: Workspace = DEFAULT_WORKSPACE) -> None:
    """Look at the machine and say what is missing, and what to do."""
    from flows.doctor import findings

    missing = False
    for finding in findings(workspace):
        missing |= finding.needed and not finding.good
        mark = "ok" if finding.good else "MISSING" if finding.needed else "-"
        typer.echo(f"{mark:<8} {finding.what}: {finding.seen}" + (f"; {finding.remedy}" if not finding.good else ""))
    raise typer.Exit(4 if missing else 0)


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
