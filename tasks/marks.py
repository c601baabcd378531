"""Marks in a workspace: small files that say what was done, written after it was."""

from pathlib import Path

from schemas.errors import ResourceError
from tasks.stores import open_url
from tasks.workspaces import Place


def read(workspace: Place, name: str) -> bytes | None:
    """Return what a mark holds; None when there is none. Raises ResourceError when the workspace does not answer."""
    system, path = open_url(f"{workspace}/{name}")
    try:
        return bytes(system.cat_file(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ResourceError(f"cannot read {workspace}: {error}; choose another --workspace") from error


def write(workspace: Place, name: str, text: str) -> None:
    """Write a mark; whoever reads meanwhile gets the one before it or this one, whole.

    Raises ResourceError when the workspace does not take it.
    """
    try:
        if workspace.is_local:
            path = Path(f"{workspace}/{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch = path.with_suffix(".scratch")
            scratch.write_text(text)
            scratch.replace(path)
        else:
            system, path_there = open_url(f"{workspace}/{name}")
            system.pipe_file(path_there, text.encode())
    except OSError as error:
        raise ResourceError(f"cannot write to {workspace}: {error}; choose another --workspace") from error
