"""Commands about a spec: an example of one, a first draft, its check, its schema."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import DEFAULT_WORKSPACE, Allowed, Overrides, SpecPath, Workspace, allow
from schemas.errors import SpecError


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
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{output} cannot be written: {error.strerror}; choose another place") from error
    typer.echo(f"Wrote {output}. Look it over, then: evermodel run {output}")


def check(
    spec: SpecPath,
    overrides: Overrides = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    allowed: Allowed = None,
) -> None:
    """Validate a spec against its data and print what a run would do. Runs nothing."""
    allow(allowed)
    from flows.plan import plan
    from schemas.spec_file import read_spec

    for line in plan(read_spec(spec, overrides=tuple(overrides or ())), workspace):
        typer.echo(line)


def schema() -> None:
    """Print the spec's JSON Schema, for editors."""
    import json

    from schemas.spec_schema import editor_schema

    typer.echo(json.dumps(editor_schema(), indent=2))
