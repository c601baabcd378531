"""The command `evermodel`. Each command loads only what it needs: help and mistakes are answered at once."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from flows.commands import deployments, machine, models, runs, specs
from schemas.errors import EvermodelError, LostServerError, StoppedError
from tasks import secret_files

COMMANDS = (
    specs.example,
    specs.init,
    specs.check,
    runs.run,
    deployments.deploy,
    deployments.serve,
    deployments.watch,
    runs.predict,
    runs.monitor,
    models.models,
    models.promote,
    models.rollback,
    models.report,
    specs.schema,
    machine.doctor,
)
"""In the order in which help lists them."""

app = typer.Typer(
    name="evermodel",
    help="Retrains Keras models on tables, and promotes a version only when it is better.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in COMMANDS:
    app.command()(command)

images = typer.Typer(help="The images that stages run in.", no_args_is_help=True)
images.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(machine.build)
app.add_typer(images, name="images")


_STOPPED = "stopped; run the same command again to go on where it was"


def main() -> None:
    """Run the command; end with the documented exit code, and one message instead of a traceback."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        secret_files.load()
        app()
    except (EvermodelError, StoppedError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        if isinstance(error, LostServerError):
            os._exit(error.exit_code)  # or Prefect tries for a minute to send what it has not sent yet
        sys.exit(error.exit_code)
    except Exception as error:
        if not _came_of_stopping(error):
            raise
        print(f"error: {_STOPPED}", file=sys.stderr, flush=True)
        sys.exit(StoppedError.exit_code)


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise StoppedError(_STOPPED)


def _came_of_stopping(error: BaseException | None) -> bool:
    """Say whether an error is that of telling a server, which does not answer, that the run was stopped."""
    from prefect.exceptions import TerminationSignal

    while error is not None and not isinstance(error, StoppedError | TerminationSignal):
        error = error.__cause__ or error.__context__
    return error is not None


if __name__ == "__main__":
    main()
