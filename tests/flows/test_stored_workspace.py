"""The chain with a workspace in an object store: what runs on one machine stands for all (R37, R38)."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from flows import retrain
from flows.requests import ingest_request
from flows.runners import docker
from schemas.data import Source
from schemas.errors import SpecError
from schemas.prediction import PredictRequest
from schemas.runners import EVERY_RUN, Docker
from schemas.spec import Spec
from schemas.stages import EncodeRequest, EncodeResult, IngestResult
from tasks import encode, ingest, predict, stage
from tasks.registry import Registry
from tasks.stores import open_url
from tasks.workspaces import place

pytestmark = pytest.mark.usefixtures("prefect_server")


def published(workspace: str) -> dict[str, bytes]:
    """All that the stages published, but for what carries times, paths and the registry's numbers."""
    store, key = open_url(workspace)
    files = {name.removeprefix(f"{key}/"): name for name in store.find(key)}
    outside = ("result.json", "request.json")
    return {
        name: store.cat_file(path)
        for name, path in files.items()
        if name.startswith(EVERY_RUN[:-1]) and not name.endswith(outside)
    }


def test_a_run_publishes_to_the_store_what_it_would_publish_locally(
    spec: Spec, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    workspace = f"{bucket}/ws"
    first = retrain(spec, workspace=workspace)
    assert first.report == f"{first.stages['evaluate'].path}/report.html"
    store, key = open_url(first.report)
    assert b"<!doctype html>" in store.cat_file(key)

    shutil.rmtree(tmp_path / "mirror/s3" / bucket.removeprefix("s3://") / "ws/train")
    again = retrain(spec, workspace=workspace)
    assert all(stage.cached for stage in again.stages.values())
    assert again.model_copy(update={"stages": {}}) == first.model_copy(update={"stages": {}})

    registry = Registry(workspace=workspace)
    bundle = registry.bundle(registry.find(spec.name, "champion"))
    assert bundle.path == f"{first.stages['train'].path}/bundle"
    shutil.rmtree(tmp_path / "mirror")
    source = Source(path=spec.data.path)
    scored = predict.run(PredictRequest(bundle=bundle, source=source, output=str(tmp_path / "out.csv")))
    assert scored.rows.accepted == first.rows.accepted

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    local = retrain(spec, workspace=str(tmp_path / "local"))
    assert local.run_key == first.run_key
    assert published(str(tmp_path / "local")) == published(workspace)


def test_a_bundle_from_the_registry_alone_is_kept_in_the_store(
    spec: Spec, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = retrain(spec, workspace=str(tmp_path / "local"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/local/mlflow/mlflow.db")
    registry = Registry(workspace=bucket)
    version = registry.find(spec.name, local.model.version)
    for _ in range(2):
        bundle = registry.bundle(version)
        assert bundle.path == f"{bucket}/downloads/{version.bundle_digest}"
        store, key = open_url(bundle.path)
        assert store.exists(f"{key}/bundle.json")
        shutil.rmtree(tmp_path / "mirror")


@pytest.mark.docker
def test_containers_exchange_what_they_publish_through_the_store(
    spec: Spec, bucket: str, tmp_path: Path, engine: Any
) -> None:
    host = Docker(network="host")  # where the tests' store is
    asked = ingest_request(spec, workspace=bucket)
    docker.run("ingest", asked, host, model=spec.name)
    ingested = stage.published(IngestResult, place(bucket) / "ingest" / ingest.run_key(asked))
    assert ingested is not None
    shutil.rmtree(tmp_path / "mirror")
    encoding = EncodeRequest(workspace=bucket, ingest=ingested.as_input)
    docker.run("encode", encoding, host, model=spec.name)
    encoded = stage.published(EncodeResult, place(bucket) / "encode" / encode.run_key(encoding))
    here = EncodeRequest(workspace=str(tmp_path / "ws"), ingest=ingested.as_input)
    assert encoded is not None
    assert encode.run(here).files == encoded.files


def test_a_stored_workspace_without_a_registry_elsewhere_is_refused_before_anything_runs(
    spec: Spec, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(SpecError, match=r"cannot lie in the workspace s3://.*; set MLFLOW_TRACKING_URI"):
        retrain(spec, workspace=bucket)
    store, key = open_url(bucket)
    assert store.find(key) == []
