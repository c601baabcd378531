"""The registry of models: MLflow, on a server or on SQLite and files in the workspace."""

import contextlib
import fcntl
import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import ResourceError, SpecError
from schemas.stages import Input, TrainResult
from tasks import registry_store, stage
from tasks.lease import Lease
from tasks.registry_memory import RegistryMemory
from tasks.scratch import scratch
from tasks.tags import BUNDLE, CHAMPION, COMPARED_WITH, QUESTION, TRAIN_KEY
from tasks.workspaces import MANIFEST, file_digest, place

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PAGE = 1000
"""How many models or versions MLflow is asked for at once: as many as its servers give."""


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    name: str
    version: str
    aliases: tuple[str, ...]
    created_ms: int
    run_id: str
    source: str
    tags: Mapping[str, str]

    @property
    def bundle_digest(self) -> str | None:
        """The digest of the version's bundle."""
        return self.tags.get(BUNDLE)


class Registry:
    """Versions of models and their aliases. Every call raises ResourceError when the registry does not answer."""

    def __init__(self, *, workspace: str, tracking_uri: str | None = None) -> None:
        """Name the store: `tracking_uri`, else MLFLOW_TRACKING_URI, else SQLite and files in the workspace.

        Raises SpecError when that would be a workspace in an object store, where SQLite cannot be.
        """
        self._workspace = place(workspace)
        self._home = self._workspace.directory / "mlflow"
        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None and not self._workspace.is_local:
            raise SpecError(
                f"a registry cannot lie in the workspace {workspace}; set MLFLOW_TRACKING_URI to an MLflow server"
            )
        self.uri = uri or f"sqlite:///{self._home / 'mlflow.db'}"
        self.is_local = self.uri.startswith("sqlite:")
        self._memory = RegistryMemory(self._database) if self.is_local else None

    @property
    def _database(self) -> Path:
        return Path(self.uri.removeprefix("sqlite:///"))

    @functools.cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client, loaded at first use; no global tracking state is touched."""
        for noisy in ("alembic", "mlflow"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        for files in ("UPLOAD", "DOWNLOAD"):  # by the server, not from its store, which may be out of reach from here
            os.environ.setdefault(f"MLFLOW_ENABLE_PROXY_MULTIPART_{files}", "false")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # by itself it goes on for four minutes a call
        from mlflow import MlflowClient

        if self.is_local:
            registry_store.make(self._database, str(self.artifacts))
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @property
    def artifacts(self) -> str | None:
        """Where a new experiment keeps its files; None leaves it to the server."""
        return (self._home / "artifacts").as_uri() if self.is_local else None

    @property
    def exists(self) -> bool:
        """Whether there is anything to ask: a local store is made by the first registration."""
        return not self.is_local or self._database.exists()

    def names(self) -> list[str]:
        """Return the names of all registered models, sorted."""
        if not self.exists:
            return []
        with answering(self.uri):
            return sorted(model.name for model in _all(self.client.search_registered_models))

    def versions(self, name: str) -> list[Version]:
        """Return all versions of a model, the newest first; none when there is no such model."""
        if not self.exists:
            return []
        if self._memory is None:
            return self._asked_versions(name)
        if (known := self._memory.recall(name)) is not None:
            return [Version(**{**each, "aliases": tuple(each["aliases"])}) for each in known]
        state = self._memory.state()
        versions = self._asked_versions(name)
        self._memory.keep(name, [asdict(each) for each in versions], state)
        return versions

    def _asked_versions(self, name: str) -> list[Version]:
        with answering(self.uri):
            found = _all(self.client.search_model_versions, filter_string=f"name='{name}'")
            aliases = self._aliases(name) if found else {}
        versions = [self._version(each, aliases) for each in found]
        return sorted(versions, key=lambda each: -int(each.version))

    def _aliases(self, name: str) -> dict[str, str]:
        return {alias: str(version) for alias, version in self.client.get_registered_model(name).aliases.items()}

    def _version(self, found: Any, aliases: Mapping[str, str]) -> Version:
        version = str(found.version)
        return Version(
            name=found.name,
            version=version,
            aliases=tuple(sorted(alias for alias, named in aliases.items() if named == version)),
            created_ms=int(found.creation_timestamp),
            run_id=str(found.run_id),
            source=str(found.source),
            tags=dict(found.tags),
        )

    def find(self, name: str, wanted: str) -> Version:
        """Return a version by its number or alias; raises ResourceError when there is none."""
        versions = self.standing(name)
        for version in versions:
            if version.version == wanted or wanted in version.aliases:
                return version
        raise ResourceError(
            f"model {name!r} has no version or alias {wanted!r}; versions are 1 to {versions[0].version}"
        )

    def standing(self, name: str) -> list[Version]:
        """Return all versions of a model, the newest first; raises ResourceError when there is none."""
        versions = self.versions(name)
        if not versions:
            known = ", ".join(self.names()) or "none"
            raise ResourceError(f"no model {name!r} is registered in {self.uri}; there are: {known}")
        return versions

    def incumbent(self, name: str, question: str) -> Version | None:
        """Return the version that must be beaten.

        That is the champion, but for a question (`tasks.evaluate.question`) whose answer is champion now or waits for a
        person: it was given when that version was compared with another one, so that a rerun finds it.
        """
        from tasks import decisions

        versions = self.versions(name)
        champion = next((each for each in versions if CHAMPION in each.aliases), None)
        asked = [each for each in versions if each.tags.get(QUESTION) == question]
        answer = champion if champion in asked else next(iter(asked), None)
        if answer is None or not (answer == champion or decisions.waits(answer)):
            return champion
        return next((each for each in versions if each.version == answer.tags.get(COMPARED_WITH)), None)

    def parameters(self, version: Version) -> dict[str, str]:
        """Return the spec of a version as its run has it: values as text, by dotted key."""
        with answering(self.uri):
            return dict(self.client.get_run(version.run_id).data.params)

    def bundle(self, version: Version) -> Input:
        """Return a version's bundle: the directory that train published, if it stands here, else a downloaded copy.

        Raises ResourceError for a version that Evermodel has not registered.
        """
        digest = version.bundle_digest
        if digest is None:
            raise ResourceError(
                f"model {version.name!r} version {version.version} has no tag {BUNDLE}, which evermodel run sets: "
                f"choose a version that was made so, see evermodel models {version.name}"
            )
        trained = self._workspace / "train" / version.tags.get(TRAIN_KEY, "-")
        if stage.published(TrainResult, trained) is not None:
            made = trained.directory / "bundle" / MANIFEST
            if file_digest(made) == digest:  # or it was made again, by another release of TensorFlow for one
                return Input(path=str(trained / "bundle"), digest=digest)
        copy = self._workspace / "downloads" / digest
        if not (copy.fetch() and (copy.directory / MANIFEST).is_file()):
            self._download(version, copy.directory)
            copy.commit()
        return Input(path=str(copy), digest=digest)

    def download(self, version: Version, folder: Path) -> Path:
        """Copy a version's MLflow model into a folder that is made; return where it is in it."""
        import mlflow.artifacts

        with answering(self.uri):
            folder.mkdir()
            found = mlflow.artifacts.download_artifacts(
                artifact_uri=version.source, dst_path=str(folder), tracking_uri=self.uri
            )
        return Path(found)

    def _download(self, version: Version, directory: Path) -> None:
        import mlflow.artifacts

        with answering(self.uri), scratch(directory) as folder:
            found = mlflow.artifacts.download_artifacts(
                artifact_uri=f"{version.source}/artifacts/bundle", dst_path=str(folder), tracking_uri=self.uri
            )
            with contextlib.suppress(OSError):  # another process was faster
                Path(found).rename(directory)

    def report(self, version: Version) -> Path:
        """Return the path of a version's report, downloaded where it is not a local file."""
        from mlflow.artifacts import download_artifacts

        with answering(self.uri):
            artifacts = self.client.get_run(version.run_id).info.artifact_uri
            uri = f"{artifacts}/evaluation/report.html"
            return Path(download_artifacts(artifact_uri=uri, tracking_uri=self.uri))

    def champion(self, name: str) -> Version | None:
        """Return the version that predictions use, if there is one."""
        return next((each for each in self.versions(name) if CHAMPION in each.aliases), None)

    def promote(self, name: str, wanted: str, *, reason: str, by: str | None = None) -> Version:
        """Make a version the champion because a person wants it, whatever the gate said; all of it is recorded."""
        from tasks import decisions

        return decisions.force(self, name, wanted, why=reason, who=by)

    def rollback(self, name: str, *, reason: str | None = None, by: str | None = None) -> Version:
        """Make the champion before the present one the champion again; raises ResourceError when there is none."""
        from tasks import decisions

        return decisions.rollback(self, name, why=reason, who=by)

    @contextlib.contextmanager
    def moving(self, name: str) -> Iterator[Lease]:
        """Hold the aliases of a model, which must be there, among all processes that use this registry."""
        with self._locked(f"{name}.lock"), answering(self.uri), Lease(self.client, name) as lease:
            yield lease

    @contextlib.contextmanager
    def making(self, name: str) -> Iterator[None]:
        """Let no other process that shares this workspace make a version of a model, such that none is made twice.

        Its aliases move meanwhile: a rollback does not wait for an upload.
        """
        with self._locked(f"{name}.making.lock"):
            yield

    @contextlib.contextmanager
    def _locked(self, file: str) -> Iterator[None]:
        self._home.mkdir(parents=True, exist_ok=True)
        with (self._home / file).open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _all(search: Callable[..., Any], **asked: str) -> list[Any]:
    """Return what MLflow finds, on all pages."""
    found, token = [], None
    while True:
        page = search(**asked, max_results=_PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


@contextlib.contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turn MLflow's and the store's errors into one message."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError) as error:
        raise ResourceError(f"the registry at {uri} refuses: {str(error).partition(chr(10))[0]}") from error
