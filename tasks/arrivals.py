"""What has arrived of a model's data since it was last looked at, by names, sizes, times and ETags."""

import json
from pathlib import Path

from schemas.data import Source
from schemas.document import digest
from schemas.errors import ResourceError
from tasks.sources.files import NoFilesError, list_files
from tasks.stores import open_url
from tasks.workspaces import Place

Listing = dict[str, list[str]]
"""Each file's stamp by its path."""


def listing(source: Source) -> Listing:
    """Return the files of a source with what tells cheaply that they are the same; none when no file is there yet.

    Raises DataError for what is no data file, and ResourceError when the store does not answer.
    """
    try:
        return {file.path: file.stamp for file in list_files(source)}
    except (NoFilesError, FileNotFoundError):  # none is there, or one was taken away meanwhile
        return {}
    except OSError as error:
        raise ResourceError(f"data.path {source.path} cannot be looked at: {error}") from error


def announced(workspace: Place, name: str) -> str | None:
    """Return the digest of the listing that was last told of; None before the first.

    Raises ResourceError when the workspace does not answer.
    """
    system, path = open_url(_address(workspace, name))
    try:
        found = json.loads(system.cat_file(path))
    except (FileNotFoundError, ValueError):  # what cannot be read is told of once more, which does no harm
        return None
    except OSError as error:
        raise ResourceError(f"cannot read {workspace}: {error}; choose another --workspace") from error
    return str(found.get("digest"))


def announce(workspace: Place, name: str, found: Listing) -> None:
    """Remember a listing as told of; whoever reads meanwhile gets the one before it or this one, whole."""
    text = json.dumps({"digest": digest(found), "files": len(found)})
    try:
        if workspace.is_local:
            path = Path(_address(workspace, name))
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch = path.with_suffix(".scratch")
            scratch.write_text(text)
            scratch.replace(path)
        else:
            system, path_there = open_url(_address(workspace, name))
            system.pipe_file(path_there, text.encode())
    except OSError as error:
        raise ResourceError(f"cannot write to {workspace}: {error}; choose another --workspace") from error


def _address(workspace: Place, name: str) -> str:
    return f"{workspace}/watch/{name}.json"
