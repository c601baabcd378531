"""What has arrived of a model's data since it was last looked at, by names, sizes, times and ETags."""

import json

from schemas.data import Source
from schemas.document import digest
from schemas.errors import ResourceError
from tasks import marks
from tasks.sources.files import NoFilesError, list_files
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
    mark = marks.read(workspace, _mark(name))
    try:
        return None if mark is None else str(json.loads(mark).get("digest"))
    except ValueError:  # what cannot be read is told of once more, which does no harm
        return None


def announce(workspace: Place, name: str, found: Listing) -> None:
    """Remember a listing as told of."""
    marks.write(workspace, _mark(name), json.dumps({"digest": digest(found), "files": len(found)}))


def _mark(name: str) -> str:
    return f"watch/{name}.json"
