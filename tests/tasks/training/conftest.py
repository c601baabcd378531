"""Small networks and data of real arrays."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest

from schemas.named import Named
from schemas.networks import Mlp
from tasks.encoders.table import NUMBERS, Slot
from tasks.encoders.target import LabelsTarget, LabelTarget, NumberTarget
from tasks.networks import mlp, seeds
from tasks.training import catalogue
from tasks.training.engine import Engine
from tasks.training.feed import Examples

SGD = Named(name="sgd", learning_rate=0.1)
NUMBER = NumberTarget(names=("y",), centers=(0.0,), scales=(1.0,))


def _examples(numbers: Any, target: Any, weight: Any = None, **inputs: Any) -> Examples:
    target = np.asarray(target)
    weight = np.ones(len(target)) if weight is None else np.asarray(weight)
    columns = {NUMBERS: np.asarray(numbers, np.float32), **inputs}
    return Examples(
        columns, target.astype(np.float32 if target.dtype.kind == "f" else np.int32), weight.astype(np.float32)
    )


def _slots(inputs: Mapping[str, np.ndarray]) -> list[Slot]:
    slots = []
    for name, values in inputs.items():
        codes = int(values.max()) + 1 if values.dtype.kind == "i" else None
        size = 2 if codes else None
        slots.append(Slot(name=name, shape=values.shape[1:], columns=(name,), cardinality=codes, size=size))
    return slots


@pytest.fixture(scope="session")
def examples():
    """Examples of one input with numbers, and of any others by name."""
    return _examples


@pytest.fixture(scope="session")
def engine():
    """An engine with a network that fits the examples: `engine(examples, target=..., loss=..., hidden=...)`."""

    def make(
        given: Examples,
        *,
        target: NumberTarget | LabelTarget | LabelsTarget = NUMBER,
        loss: str = "mean_squared_error",
        optimizer: Named = SGD,
        batch_size: int = 4,
        seed: int = 0,
        policy: str = "float32",
        xla: bool | str = False,
        lazy_embeddings: bool | str = "auto",
        epochs: int = 1,
        budget_bytes: int = 1 << 30,
        **network: Any,
    ) -> Engine:
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed % 2**32)
        with seeds.drawn_from(seed):
            built = mlp.build(Mlp(**{"hidden": ()} | network), _slots(given.inputs), target)
        losses, optimizers = catalogue.loss(Named(name=loss)), catalogue.optimizer(optimizer)
        how = {"policy": policy, "xla": xla, "lazy_embeddings": lazy_embeddings, "epochs": epochs}
        return Engine(
            built, losses, optimizers, given, batch_size=batch_size, seed=seed, budget_bytes=budget_bytes, **how
        )

    return make
