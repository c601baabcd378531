"""Settings whose value lies in a file, as Docker and Kubernetes mount secrets: NAME_FILE names the file of NAME.

`python -m tasks.secret_files COMMAND…` runs a command with them, such as Prefect's own, which reads no such files.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

from schemas.errors import ResourceError, SpecError

NAMES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_KEY",
)


def load() -> None:
    """Set each variable that a file is named for, and forget the file's name: child processes get the value alone.

    Raises SpecError when a variable is given both ways, ResourceError when a file cannot be read.
    """
    for name in NAMES:
        path = os.environ.get(f"{name}_FILE")
        if not path:
            continue
        if os.environ.get(name):
            raise SpecError(f"{name} and {name}_FILE are both set; unset one of them")
        try:
            os.environ[name] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeError) as error:
            raise ResourceError(f"{name}_FILE: {path} cannot be read: {getattr(error, 'strerror', error)}") from error
        del os.environ[f"{name}_FILE"]


def main() -> NoReturn:
    """Become the command that the arguments name, with the settings loaded."""
    try:
        load()
    except (ResourceError, SpecError) as error:
        sys.exit(f"error: {error}")
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606


if __name__ == "__main__":
    main()
