"""What several commands share: options, and what is set before Prefect is loaded."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import SpecError

if TYPE_CHECKING:
    from schemas.data import Source

DEFAULT_WORKSPACE = ".evermodel"

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
Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
Runner = Annotated[str | None, typer.Option(help="Where every stage runs, whatever the spec says: inline or docker.")]
Allowed = Annotated[
    list[str] | None,
    typer.Option("--allow-module", metavar="MODULE", help="Let the spec name functions of this module of your own."),
]
Delimiter = Annotated[str, typer.Option(help="What stands between two CSV fields.")]
Encoding = Annotated[str, typer.Option(help="Encoding of CSV and JSON files.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def with_runner(overrides: list[str] | None, runner: str | None) -> tuple[str, ...]:
    """Return overrides, with that of the runner if one is named."""
    return (*(overrides or ()), *([f"runner={runner}"] if runner else []))


def allow(modules: list[str] | None) -> None:
    """Let specs name what is in modules, beside those that EVERMODEL_ALLOW_MODULES names."""
    if modules:
        from tasks import plugins

        plugins.allow(modules)


def rows_at(path: str, *, delimiter: str, encoding: str) -> "Source":
    """Return the source that arguments name; raises SpecError for what is none."""
    from pydantic import ValidationError

    from schemas.data import Source

    try:
        return Source(path=path, delimiter=delimiter, encoding=encoding)
    except ValidationError as error:
        first = error.errors()[0]
        where, said = first["loc"][0] if first["loc"] else "path", first["msg"].removeprefix("Value error, ")
        raise SpecError(f"{'INPUT' if where == 'path' else f'--{where}'}: {said}, got {first['input']!r}") from error


def quiet_prefect() -> None:
    """Keep Prefect's own lines off the terminal, and give its temporary server time to start."""
    defaults = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
