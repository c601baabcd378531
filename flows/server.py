"""The Prefect server that a command speaks to."""

import contextlib
from collections.abc import Iterator

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

from schemas.errors import LostServerError, ResourceError, SpecError


def need() -> None:
    """Raise SpecError when no Prefect server is named."""
    if not PREFECT_API_URL.value():
        raise SpecError(
            "a deployment lives on a Prefect server: set PREFECT_API_URL, such as http://127.0.0.1:4200/api"
        )


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Raise ResourceError in place of Prefect's errors when the server that is named, if any, does not answer.

    Of one that answered before it is a LostServerError.
    """
    if not (address := PREFECT_API_URL.value()):
        yield
        return
    with get_client(sync_client=True) as client:
        if client.api_healthcheck() is not None:
            raise ResourceError(f"no Prefect server answers at {address}; start one, or set PREFECT_API_URL")
    try:
        yield
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise ResourceError(
                f"the Prefect server at {address} lets nobody in without its password (HTTP {status}); set "
                "PREFECT_API_AUTH_STRING to user:password, or PREFECT_API_AUTH_STRING_FILE to a file that holds it"
            ) from error
        raise ResourceError(f"the Prefect server at {address} answers with HTTP {status}: {error}") from error
    except httpx.TransportError as error:
        raise LostServerError(
            f"the Prefect server at {address} answers no more ({type(error).__name__}); what stages have published "
            "stands: run again when it is back"
        ) from error
