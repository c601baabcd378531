"""What trains the network of a request: which engine, from which weights, on which rows."""

import contextlib
import logging
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from schemas.errors import EvermodelError
from schemas.networks import Custom
from schemas.stages import TrainRequest
from tasks.encoders.base import Array
from tasks.encoders.table import TableEncoder
from tasks.networks import architecture, seeds
from tasks.training import catalogue, devices, keras_fit
from tasks.training.engine import Engine
from tasks.training.feed import Examples
from tasks.training.keras_fit import KerasFit
from tasks.training.members import Members

log = logging.getLogger("evermodel.train")


def engine(
    request: TrainRequest,
    encoder: TableEncoder,
    loss: keras.losses.Loss,
    train: Examples,
    *,
    names: tuple[str, ...],
    batch_size: int,
    start: Sequence[Array] | None,
    xla: bool | None,
) -> tuple[Engine, keras.optimizers.Optimizer]:
    """Return what trains the request's network on examples, from its beginning, and the optimiser to compile it with.

    It is to be called in the scope of the devices. `xla` is what an earlier part of this training chose, where the spec
    says auto. Raises SpecError for a network that cannot be trained as asked.
    """
    training = request.training
    networks = _networks(request, encoder, train)
    if start is not None:
        networks[0].set_weights(start)
    optimizer = catalogue.optimizer(training.optimizer)
    how: dict[str, Any] = {
        "batch_size": batch_size,
        "seed": training.seed,
        "policy": devices.precision(training.precision, names),
        "xla": xla if training.xla == "auto" and xla is not None else training.xla,
        "lazy_embeddings": training.lazy_embeddings,
        "epochs": training.epochs,
        "budget_bytes": devices.memory_bytes(training, names),
    }
    if not isinstance(request.network, Custom):
        return _graph_engine(networks, loss, optimizer, train, how), optimizer
    eagerly, why = networks[0].run_eagerly, keras_fit.reason(networks[0])
    if why is None:
        found = _graph_engine(networks, loss, optimizer, train, how)
        if (why := _untraceable(found)) is None:
            return found, optimizer
        eagerly = True
        del found  # with the rows that it has on the device
    keras_fit.refuse_misfit(why, training)
    log.info("train: trains by Keras's fit: %s", why)
    how["policy"] = "float32"
    return KerasFit(networks[0], loss, optimizer, train, eagerly=eagerly, **how), optimizer


def _networks(request: TrainRequest, encoder: TableEncoder, train: Examples) -> list[keras.Model]:
    """Return the network of each member, the same for the same seed whatever was built before."""
    training, networks = request.training, []
    tf.config.experimental.enable_op_determinism()
    keras.utils.clear_session()
    keras.utils.set_random_seed(training.seed % 2**32)
    for seed in range(training.seed, training.seed + training.members):
        named = keras.name_scope(f"seed_{seed}") if training.members > 1 else contextlib.nullcontext()
        with seeds.drawn_from(seed), named:  # HDF5 wants a name of its own for each variable of the optimiser
            networks.append(architecture.build(request.network, encoder.slots, encoder.target, train.inputs))
    return networks


def _graph_engine(
    networks: Sequence[keras.Model],
    loss: keras.losses.Loss,
    optimizer: keras.optimizers.Optimizer,
    train: Examples,
    how: dict[str, Any],
) -> Engine:
    if len(networks) > 1:
        return Members(networks, loss, optimizer, train, **how)
    return Engine(networks[0], loss, optimizer, train, **how)


def _untraceable(found: Engine) -> str | None:
    """Say why the steps of a network of the user's own cannot be in a graph; None if they can."""
    try:
        found.trace()
    except (EvermodelError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:  # whatever the user's code does
        if devices.lost(error):
            raise
        return f"a step of it cannot be a graph: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    return None
