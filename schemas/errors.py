"""Every error that Evermodel raises on purpose, with the exit code that a command ends with."""


class EvermodelError(Exception):
    """A failure that is explained in one message: what was wrong, the value, and the remedy."""

    exit_code = 1


class SpecError(EvermodelError):
    """The spec or the request is wrong: nothing was read."""

    exit_code = 2


class DataError(EvermodelError):
    """The data breaks the contract: nothing was published."""

    exit_code = 3


class ResourceError(EvermodelError):
    """Something around the run is missing or broken: a GPU, the registry, the disk, a published file."""

    exit_code = 4


class LostServerError(ResourceError):
    """The Prefect server of a run answers no more."""


class LostDeviceError(ResourceError):
    """A device failed under a training: any other one would fail on it as well."""


class TrainingError(EvermodelError):
    """Training itself failed, for example by a loss that is not a number."""

    exit_code = 5


class UnloadableError(ResourceError):
    """A network or encoder that does not load here though its file is as it was made: its own code or Keras differs."""


class StoppedError(BaseException):
    """The run was asked to stop (SIGTERM).

    No Exception, as KeyboardInterrupt is none: it is raised wherever the signal comes, and logging, for one, swallows
    every Exception that is raised while it writes.
    """

    exit_code = 143


BY_EXIT_CODE: dict[int, type[EvermodelError]] = {
    error.exit_code: error for error in (SpecError, DataError, ResourceError, TrainingError)
}
"""Which error a command meant that ended with one of these codes."""
