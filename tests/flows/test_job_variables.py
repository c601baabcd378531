"""R38: what a work pool of each type is asked for. Manifests are held against the API's models."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiClient
from prefect.client.schemas.objects import FlowRun
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from flows.deploy import job_variables
from schemas.errors import SpecError
from schemas.runners import Docker, Runners, WorkPool
from schemas.spec import Spec

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
    assert [docker.uses_gpu(stage) for stage in ("encode", "train", "tune")] == [False, True, True]
    assert not spec.uses_gpu("train")


@pytest.mark.parametrize(("key", "value"), [("memory", "4g"), ("cpus", 2), ("gpu", "all"), ("image", "mine")])
def test_a_pool_of_processes_is_asked_for_nothing_that_it_cannot_give(spec: Spec, key: str, value: Any) -> None:
    with pytest.raises(SpecError, match=f"work pool 'gpu' is of type process, which knows no {key}: take it out"):
        variables(spec, "process", **{key: value})


def test_kubernetes_counts_gpus_and_has_no_names_for_them(spec: Spec) -> None:
    with pytest.raises(SpecError, match="wants gpu as a number, got 'all'"):
        variables(spec, "kubernetes", gpu="all")
