"""R38: what a work pool of each type is asked for. Manifests are held against the API's models."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from flows.deploy import deploy, job_variables
from flows.runners import docker, mounts
from schemas.errors import SpecError
from schemas.evaluation import Evaluation
from schemas.runners import STAGES, Docker, Runners, WorkPool
from schemas.spec import Spec
from schemas.stages import EvaluateRequest, RegisterRequest

TEMPLATE = json.loads((Path(__file__).parents[2] / "docker" / "kubernetes.json").read_text())


async def manifest(variables: dict[str, Any]) -> dict[str, Any]:
    """The job that Prefect's worker would send to the cluster."""
    configuration = await KubernetesWorkerJobConfiguration.from_template_and_values(TEMPLATE, variables)
    configuration.prepare_for_flow_run(FlowRun.model_validate({"flow_id": "0" * 32, "name": "breast-cancer train"}))
    return dict(configuration.job_manifest)


def as_the_api_reads_it(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest through the API's own models: a key that they do not know is lost on the way."""
    client = ApiClient()
    return client.sanitize_for_serialization(client.deserialize(json.dumps(manifest), "V1Job", "application/json"))


def without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nothing(inner) for key, inner in value.items() if inner not in (None, [], {})}
    return [without_nothing(inner) for inner in value] if isinstance(value, list) else value


def variables(spec: Spec, kind: str, **runner: Any) -> dict[str, Any]:
    return job_variables("train", WorkPool(pool="gpu", **runner), spec, workspace="s3://bucket/ws", kind=kind)


pytestmark = pytest.mark.usefixtures("prefect_server")  # Prefect asks it for blocks and variables in templates


def test_a_kubernetes_job_gets_the_limits_gpus_volumes_and_nodes_of_the_spec(spec: Spec) -> None:
    claim = {"name": "ws", "persistentVolumeClaim": {"claimName": "evermodel"}}
    own = {"volumes": [claim], "volume_mounts": [{"name": "ws", "mountPath": "/ws"}], "node_selector": {"pool": "gpu"}}
    asked = variables(spec, "kubernetes", memory="8g", cpus=1.5, gpu=2, job_variables=own)
    job = asyncio.run(manifest(asked))
    assert without_nothing(as_the_api_reads_it(job)) == without_nothing(job)

    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "evermodel-pool-gpu:0.1.0"
    limits = {"cpu": "1500m", "memory": "8Gi", "nvidia.com/gpu": "2"}
    assert container["resources"] == {"limits": limits, "requests": limits}
    assert (pod["volumes"], container["volumeMounts"]) == (own["volumes"], own["volume_mounts"])
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["securityContext"]["runAsNonRoot"]


def test_a_kubernetes_job_without_a_gpu_asks_for_none(spec: Spec) -> None:
    job = asyncio.run(manifest(variables(spec, "kubernetes")))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "evermodel-pool:0.1.0"
    assert container["resources"] == {"limits": {}, "requests": {}}


def test_a_docker_pool_is_asked_for_limits_and_gpus(spec: Spec) -> None:
    asked = variables(spec, "docker", memory="4g", cpus=2, gpu="all")
    create = asked["container_create_kwargs"]
    assert (asked["image"], asked["mem_limit"], create["nano_cpus"]) == ("evermodel-pool-gpu:0.1.0", "4g", 2 * 10**9)
    assert create["device_requests"] == [
        {"Driver": "", "Count": -1, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}
    ]
    assert (create["init"], create["cap_drop"], create["security_opt"]) == (True, ["ALL"], ["no-new-privileges"])


def test_a_local_workspace_and_the_source_are_mounted_where_they_are(spec: Spec) -> None:
    runner = WorkPool(pool="cpu")
    asked = job_variables("ingest", runner, spec, workspace="/data/ws", kind="docker")
    assert asked["volumes"] == ["/data/ws:/data/ws", f"{spec.data.path}:{spec.data.path}:ro"]
    assert job_variables("train", runner, spec, workspace="/data/ws", kind="docker")["volumes"] == ["/data/ws:/data/ws"]


def test_further_variables_are_added_and_take_nothing_away(spec: Spec) -> None:
    further = {"env": {"X": "1"}, "volumes": ["/certs:/certs"], "network_mode": "host"}
    runner = WorkPool(pool="cpu", job_variables={**further, "container_create_kwargs": {"init": False}})
    asked = job_variables("train", runner, spec, workspace="/data/ws", kind="docker")
    assert asked["volumes"] == ["/data/ws:/data/ws", "/certs:/certs"]
    assert asked["container_create_kwargs"]["cap_drop"] == ["ALL"]
    assert asked["container_create_kwargs"]["init"] is False
    assert (asked["env"]["X"], asked["network_mode"]) == ("1", "host")


def test_a_gpu_of_the_runner_counts_as_one_of_the_device(spec: Spec) -> None:
    docker = spec.model_copy(update={"runner": Runners(default=Docker(gpu="all"))})
    assert [docker.uses_gpu(stage) for stage in ("encode", "train", "tune", "evaluate")] == [False, True, True, False]
    assert not spec.uses_gpu("train")


@pytest.mark.parametrize(("device", "gpus"), [("auto", None), ("gpu", 1), ({"gpus": 2}, 2)])
@pytest.mark.parametrize("refits", [0, 3])
def test_every_stage_that_trains_gets_the_gpus_of_the_device(
    spec: Spec, device: Any, gpus: int | None, refits: int
) -> None:
    changes = {"training": {"device": device}, "evaluation": {"refits": refits}, "runner": "docker"}
    spec = Spec.model_validate(spec.model_dump(mode="json") | changes)
    given = {stage: getattr(spec.runner_of(stage), "gpu", None) for stage in STAGES}
    on_gpu = {"tune", "train", *(["evaluate"] if refits else [])}
    assert given == {stage: gpus if stage in on_gpu else None for stage in STAGES}
    assert spec.gpus_of_flow is None
    inline = spec.model_copy(update={"runner": Runners(stages={"train": Docker()})})
    assert inline.gpus_of_flow == (gpus if refits else None)


def test_evaluate_on_a_gpu_runs_in_the_image_of_pools_and_measures_as_train_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERMODEL_CACHE", str(tmp_path / "cache"))
    asked = {"workspace": str(tmp_path), "name": "m", "ingest": {"path": "i"}, "train": {"path": "t"}}
    plain = EvaluateRequest.model_validate(asked)
    trains = plain.model_copy(update={"evaluation": Evaluation(refits=3)})
    holders = [docker.target("evaluate", each, Docker(gpu=gpu)) for each in (plain, trains) for gpu in (None, 1)]
    assert holders == ["evaluate", "evaluate", "evaluate", "pool-gpu"]
    options = docker.options("evaluate", trains, Docker(gpu=1), tmp_path, "m")
    assert options["entrypoint"] == ["python", "-m", "tasks.evaluate"]
    assert str(tmp_path / "cache" / "timings") in {mount["Target"] for mount in options["mounts"]}
    assert docker.options("evaluate", plain, Docker(), tmp_path, "m")["entrypoint"] is None


def test_a_stage_gets_no_password_that_it_does_not_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "http://there")
    asked: dict[str, Any] = {"name": "m", "ingest": {"path": "i"}, "train": {"path": "t"}, "evaluate": {"path": "e"}}
    for kind in (EvaluateRequest, RegisterRequest):
        fields = {name: value for name, value in asked.items() if name in kind.model_fields}
        given = mounts.environment(kind.model_validate({"workspace": "s3://bucket/ws", **fields}), Docker())
        assert "AWS_SECRET_ACCESS_KEY" in given
        assert ("MLFLOW_TRACKING_PASSWORD" in given) == (kind is RegisterRequest)


@pytest.mark.parametrize(("kind", "image", "asked"), [("docker", "evermodel-pool-gpu:0.1.0", 1), ("process", None, 0)])
def test_a_flow_that_trains_in_its_own_process_gets_the_gpu_and_a_pool_of_processes_is_asked_for_none(
    spec: Spec, kind: str, image: str | None, asked: int
) -> None:
    """The worker's machine of such a pool has the GPU, or training says that it has not."""
    changes = {"name": f"on-{kind}", "training": {"device": "gpu"}, "evaluation": {"refits": 2}}
    spec = Spec.model_validate(spec.model_dump(mode="json") | changes)
    spec = spec.model_copy(update={"runner": Runners(stages={"evaluate": WorkPool(pool=f"gpu-{kind}")})})
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=f"gpu-{kind}", type=kind))
        made = [*deploy(spec, workspace="s3://bucket/ws", pool=f"gpu-{kind}", watch_every_s=60)]
        jobs = {each.name: client.read_deployment(each.id).job_variables for each in made}
    for name in (f"retrain/on-{kind}", f"stage/on-{kind}-evaluate"):
        assert jobs[name].get("image") == image
        assert len(jobs[name].get("container_create_kwargs", {}).get("device_requests", [])) == asked
    assert jobs[f"watch/on-{kind}"].get("image") == (image and "evermodel-pool:0.1.0")


@pytest.mark.parametrize(("key", "value"), [("memory", "4g"), ("cpus", 2), ("gpu", "all"), ("image", "mine")])
def test_a_pool_of_processes_is_asked_for_nothing_that_it_cannot_give(spec: Spec, key: str, value: Any) -> None:
    with pytest.raises(SpecError, match=f"work pool 'gpu' is of type process, which knows no {key}: take it out"):
        variables(spec, "process", **{key: value})


def test_kubernetes_counts_gpus_and_has_no_names_for_them(spec: Spec) -> None:
    with pytest.raises(SpecError, match="wants gpu as a number, got 'all'"):
        variables(spec, "kubernetes", gpu="all")
