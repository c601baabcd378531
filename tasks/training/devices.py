"""Where a network learns, and in what numbers."""

import contextlib
import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from schemas.errors import ResourceError
from schemas.training import Gpus, Training
from tasks.training import noise

_LOST = (tf.errors.InternalError, tf.errors.UnavailableError, tf.errors.AbortedError)
_LOST_UNDER_CUDNN = ("CUDNN_STATUS_EXECUTION_FAILED", "CUDNN_STATUS_INTERNAL_ERROR")
_UNKNOWN_GPU_BYTES = 4 << 30
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def lost(error: Exception) -> bool:
    """Say whether an error is what TensorFlow raises when a device fails under it.

    An UnknownError is what cuDNN says so by; others of that kind come from Python code in a graph.
    """
    under_cudnn = isinstance(error, tf.errors.UnknownError) and any(each in str(error) for each in _LOST_UNDER_CUDNN)
    return isinstance(error, _LOST) or under_cudnn


def find(wanted: str | Gpus) -> tuple[str, ...]:
    """Return the names of the devices to train on, such as ("GPU:0", "GPU:1") or ("CPU:0",).

    TensorFlow takes a GPU's memory as it needs it. Raises ResourceError for a GPU that is asked for and not there.
    """
    gpus = tf.config.list_physical_devices("GPU")
    count = wanted.gpus if isinstance(wanted, Gpus) else int(wanted == "gpu" or (wanted == "auto" and bool(gpus)))
    if count > len(gpus):
        raise ResourceError(
            f"training.device asks for {count} GPU{'s' * (count > 1)}, and TensorFlow sees {len(gpus) or 'none'}: see "
            "evermodel doctor for drivers and CUDA libraries, or set training.device to auto or cpu"
        )
    with contextlib.suppress(RuntimeError):  # a GPU in use already keeps the way it was opened
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    return tuple(f"GPU:{index}" for index in range(count)) or ("CPU:0",)


def scope(devices: tuple[str, ...]) -> contextlib.AbstractContextManager[Any]:
    """Return the scope in which a network is built and trained on these devices; several mirror it."""
    return tf.device(devices[0]) if len(devices) == 1 else _mirrored(devices).scope()


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """Return the one strategy of these devices: two in a process take each other's messages for their own."""
    return tf.distribute.MirroredStrategy(devices)


def precision(wanted: str, devices: tuple[str, ...]) -> str:
    """Return the Keras dtype policy: what is wanted, or for auto what the device is fast at."""
    if wanted != "auto":
        return wanted
    if not devices[0].startswith("GPU"):
        return "float32"
    gpu = tf.config.list_physical_devices("GPU")[0]
    capability = tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
    return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16" if capability >= (7, 0) else "float32"


@contextlib.contextmanager
def computing_in(policy: str, network: keras.Model) -> Iterator[None]:
    """Let a float32 network's inner layers compute by another dtype policy for a while; its outputs stay float32."""
    outputs = {id(tensor._keras_history.operation) for tensor in network.outputs}
    layers = [
        layer for layer in noise.sublayers(network) if id(layer) not in outputs and layer.dtype_policy.name == "float32"
    ]
    policies = [layer.dtype_policy for layer in layers]  # the objects: which of them are one, a network file says
    try:
        for layer in layers:
            layer.dtype_policy = policy
        yield
    finally:
        for layer, before in zip(layers, policies, strict=True):
            layer.dtype_policy = before


def memory_bytes(training: Training, devices: tuple[str, ...]) -> int:
    """Return how many bytes encoded rows may take.

    That is what the spec says, or a quarter of the host's memory, for rows are there twice on their way to a device; on
    a GPU no more than half of its own.
    """
    if training.memory_mb is not None:
        return training.memory_mb << 20
    host = _host_bytes() // 4
    return min(host, _gpu_bytes() // 2) if devices[0].startswith("GPU") else host


def shared(training: Training, devices: tuple[str, ...], *, by: int) -> Training:
    """Return the training as one of several at the same time, whose rows may take their share of the memory."""
    share = memory_bytes(training, devices) // by
    return training.model_copy(update={"memory_mb": max(1, share >> 20)})


def machine(device: str) -> list[str]:
    """Return what tells a device such as "CPU:0" from those of other machines: its name, and a CPU's threads."""
    if device.startswith("GPU"):
        gpu = tf.config.list_physical_devices("GPU")[int(device.partition(":")[2])]
        return [str(value) for _, value in sorted(tf.config.experimental.get_device_details(gpu).items())]
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    threads = tf.config.threading.get_intra_op_parallelism_threads() or len(os.sched_getaffinity(0))
    return [*sorted(models), str(threads)]


def _gpu_bytes() -> int:
    """Return the memory of the smallest GPU; TensorFlow does not tell it, the driver's own command does."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return min(int(line) for line in answer.stdout.split()) << 20
    except (OSError, subprocess.SubprocessError, ValueError):
        return _UNKNOWN_GPU_BYTES


def _host_bytes() -> int:
    """Return the memory of the machine or, where that is less, what a container may use of it."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for place in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such file, or no limit in it
            limits.append(int(Path(place).read_text()))
    return min(limits)
