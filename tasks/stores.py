"""File systems by their URL: local ones, S3 through Arrow's own client, and all others that fsspec finds installed."""

import functools
import os
from typing import Any

import fsspec
from fsspec.implementations.arrow import ArrowFSWrapper

_ATTEMPTS = 3


def open_url(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of a path or URL, and the path in it.

    S3 is set up by AWS's own variables: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL for a store elsewhere, AWS_REGION, and
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and so on. Raises ValueError or ImportError, which do not show the URL,
    when no installed library opens it.
    """
    scheme, _, path = url.partition("://")
    if scheme == "s3":
        bucket = path.partition("/")[0]
        if not bucket or "@" in bucket or ":" in bucket:
            raise ValueError("write s3://bucket/path; credentials go into AWS_ACCESS_KEY_ID and the like")
        return _s3(tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))), path.rstrip("/")
    system, path = fsspec.core.url_to_fs(url, **({"auto_mkdir": True} if scheme == "file" else {}))
    return system, str(path)


@functools.lru_cache(maxsize=4)
def _s3(settings: tuple[tuple[str, str], ...]) -> "S3":
    """Return one file system, with its connections, for one state of the environment's AWS_ variables."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    given = dict(settings)
    return S3(
        S3FileSystem(
            endpoint_override=given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL"),
            region=given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION"),
            allow_delayed_open=True,  # a small file is one request
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        )
    )


class S3(ArrowFSWrapper):  # type: ignore[misc]
    """Arrow's client of S3 behind fsspec's interface."""

    cachable = False

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Return name, size, type and time; for a file also its ETag, since the time is in whole seconds."""
        found: dict[str, Any] = super().info(path, **kwargs)
        if found["type"] == "file":
            with self.fs.open_input_file(found["name"]) as handle:
                found["ETag"] = (handle.metadata() or {}).get("ETag", b"").decode()
        return found

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **kwargs: Any
    ) -> Any:
        """Return all files below a path by one listing; fsspec would take a failing store for an empty one."""
        if maxdepth is not None or withdirs:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **kwargs)
        from pyarrow.fs import FileSelector

        listed = self.fs.get_file_info(FileSelector(path, allow_not_found=True, recursive=True))
        found = {info.path: self._make_entry(info) for info in listed if info.is_file}
        return found if detail else sorted(found)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Do nothing: a bucket has no directories."""
