"""Train: a network on encoded rows, with the best epoch's weights, packed into a bundle."""

import contextlib
import functools
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from schemas import fits
from schemas.contract import Contract
from schemas.document import digest
from schemas.errors import LostDeviceError, ResourceError, SpecError, UnloadableError
from schemas.named import Loss
from schemas.names import is_reference
from schemas.networks import Custom
from schemas.stages import EncodeResult, IngestResult, Input, TrainRequest, TrainResult, TuneRequest
from schemas.training import Training
from tasks import bundle, compatibility, features, plugins, stage, targets
from tasks.encoders.base import Array
from tasks.encoders.table import TableEncoder

if TYPE_CHECKING:
    import keras

    from tasks.training.checkpoints import Checkpoints
    from tasks.training.feed import Examples
    from tasks.training.judge import Judge
    from tasks.training.loop import AfterEpoch, History

VERSION = 7

log = logging.getLogger("evermodel")

R = TypeVar("R")

_DEFAULT_LOSS = {
    "regression": "mean_squared_error",
    "multioutput_regression": "mean_squared_error",
    "binary": "binary_crossentropy",
    "multilabel": "binary_crossentropy",
    "multiclass": "sparse_categorical_crossentropy",
}
_DEFAULT_LOSS_OF_ONE_HOT = "categorical_crossentropy"

_SPLITS = ("train", "validation")
_VALIDATION = "rows/validation.parquet"
_INGESTED = ("*.json", _VALIDATION, "rows/test.parquet")  # rows for what the bundle's reference says
_ENCODED = ("encoder.json", *(f"features/{split}.parquet" for split in _SPLITS))


def run_key(request: TrainRequest) -> str:
    """Return the run key: it changes with the request, any byte of the encoded rows, and the source of own code."""
    code = own_code(request)
    return stage.run_key("train", request, version=VERSION, **({"code": digest(code)} if code else {}))


def own_code(request: TrainRequest | TuneRequest) -> dict[str, str]:
    """Return the SHA-256 of the source of what is the user's own, by module:name."""
    tuned_by = request.tuning.metric if isinstance(request, TuneRequest) else None
    watched = (*request.training.watched, *([tuned_by] if tuned_by else []))
    own = (metric.name for metric in watched if is_reference(metric.name))
    return _code_within(request) | plugins.source_digests(own)


def _code_within(request: TrainRequest | TuneRequest) -> dict[str, str]:
    """Return the SHA-256 of the source of what stays in the network, by module:name."""
    loss, network = request.training.loss, request.network
    builder = [network.builder] if isinstance(network, Custom) else []
    return plugins.source_digests([*builder, *([loss.name] if loss is not None and is_reference(loss.name) else [])])


def run(request: TrainRequest) -> TrainResult:
    """Train, and publish the bundle and the history. The same request gives the same bytes on the same machine.

    Raises ResourceError, before any data is read, when a GPU that is asked for is absent, and when memory holds neither
    the batch nor half of it; TrainingError when the loss becomes no number; SpecError for what Keras does not know;
    DataError for a target that the network's output cannot reach.
    """
    key = run_key(request)
    with contextlib.ExitStack() as until_published:
        make = functools.partial(_make, key=key, until_published=until_published)
        return stage.publish(TrainResult, request, stage="train", key=key, make=make)


def refuse_absent_gpus(training: Training) -> None:
    """Raise ResourceError where a GPU that is asked for is absent."""
    bundle.load_tensorflow()
    from tasks.training import devices

    devices.find(training.device)


def _make(request: TrainRequest, out: Path, *, key: str, until_published: contextlib.ExitStack) -> Mapping[str, Any]:
    bundle.load_tensorflow()
    from tasks.drift import references
    from tasks.training import checkpoints, devices, judge

    names = devices.find(request.training.device)
    ingested, _ = stage.opened(IngestResult, request.ingest, files=_INGESTED)
    encoded, _ = stage.opened(EncodeResult, request.encode, files=_ENCODED)
    contract, encoder = Contract.load(ingested / "contract.json"), TableEncoder.load(encoded / "encoder.json")
    kept = until_published.enter_context(checkpoints.kept(out.parent.parent / "checkpoints" / key))
    with tempfile.TemporaryDirectory(dir=out) as disk:
        judged = judge.of_epochs(request.training, contract, encoder, ingested / _VALIDATION, shown=True)
        read = functools.partial(examples, encoded, encoder, contract, request, disk=Path(disk))
        known = [read()]
        loss = _loss(request, contract, encoder)
        champion, objection = _champion(request, encoder, known[0][0])
        start = champion.network.get_weights() if champion else None
        every = functools.partial(_every, encoded, encoder, contract, request, disk=Path(disk))
        fitted = functools.partial(
            _fitted,
            *(request, encoder, loss, lambda: known.pop() if known else read()),  # it alone has them then
            names=names,
            judge=judged,
            kept=kept,
            start=start,
            every=every if request.refit else None,
        )
        network, history = _with_less_memory(fitted, request.training.batch_size, names[0])
    (out / "history.json").write_text(history.to_json())
    bundle.write(
        out / "bundle",
        network,
        contract=ingested / "contract.json",
        encoder=encoded / "encoder.json",
        save_format=request.training.save_format,
        code=_code_within(request) | encoder.code,
    )
    written = bundle.Bundle(Input(path=str(out / "bundle")))
    bundle.add_reference(out / "bundle", references.of_bundle(written, ingested, refitted=request.refit))
    return {
        "epochs": history.epochs,
        "best_epoch": history.best_epoch,
        "parameters": network.count_params(),
        "validation_loss": history.kept_loss,
        "started_from": champion and champion.digest,
        "refitted": request.refit,
        "warnings": [*objection, *history.warnings],
    }


def _champion(
    request: TrainRequest, encoder: TableEncoder, train: "Examples"
) -> tuple[bundle.Bundle | None, Sequence[str]]:
    """Return the champion from whose weights training begins; None, and why, where it is asked for and does not fit.

    Where encode did not take the champion's encoder, it has said why: the weights would mean something else.
    """
    from tasks.networks import architecture

    champion = bundle.Bundle(request.champion) if request.champion else None
    if champion is None or champion.encoder != encoder:
        return None, ()
    ours = architecture.build(request.network, encoder.slots, encoder.target, train.inputs)
    try:
        why_not = compatibility.other_weights(champion.network, ours)
    except UnloadableError as error:
        why_not = f"the champion's network does not load ({error})"
    if why_not:
        log.warning("train: %s", said := compatibility.fresh(why_not))
        return None, [said]
    log.info("train: begins from the champion's weights")
    return champion, ()


def _with_less_memory(fitted: Callable[..., R], size: int, device: str) -> R:
    """Return what `fitted` gives for a `batch_size` and `warnings`: for half the size if memory ends."""
    import tensorflow as tf

    fitted = functools.partial(on_device, fitted, device)
    try:
        return fitted(batch_size=size, warnings=())
    except tf.errors.ResourceExhaustedError:
        half = max(1, size // 2)
        warning = f"{device}: no memory for training.batch_size {size}; trained with {half}"
    log.warning("train: %s", warning)  # outside of `except`, whose traceback holds what the first try has taken
    try:
        return fitted(batch_size=half, warnings=(warning,))
    except tf.errors.ResourceExhaustedError as error:
        raise ResourceError(
            f"{device}: no memory for training.batch_size {size}, nor for {half}; lower it, network.hidden or "
            "training.memory_mb, which is what the rows may take of it, or set training.device to another one"
        ) from error


def on_device(work: Callable[..., R], device: str, **keys: Any) -> R:
    """Return what `work` gives; raises LostDeviceError, which leaves the checkpoint, when the device fails."""
    import tensorflow as tf

    from tasks.training import devices

    try:
        return work(**keys)
    except tf.errors.OpError as error:
        if not devices.lost(error):
            raise
        said = str(error.message).strip().partition("\n")[0]
        raise LostDeviceError(
            f"{device} failed in training ({said}); look at it by evermodel doctor and in the system's log, then run "
            "again: it goes on from its last checkpoint, a tuning after its last finished trial"
        ) from error


def _fitted(
    request: TrainRequest,
    encoder: TableEncoder,
    loss: "keras.losses.Loss",
    examples: Callable[[], tuple["Examples", "Examples"]],
    *,
    names: tuple[str, ...],
    judge: "Judge | None",
    kept: "Checkpoints",
    batch_size: int,
    warnings: Sequence[str],
    start: Sequence[Array] | None = None,
    every: Callable[[], "Examples"] | None = None,
    after_epoch: "AfterEpoch | None" = None,
) -> tuple["keras.Model", "History"]:
    """Return the network trained in batches of a size, compiled, and its history, which holds the warnings.

    It begins from weights `start`, if there are any. With `every`, which gives the examples of training and validation
    as one, the network is trained anew on these.
    """
    from tasks.training import assembly, catalogue, devices, loop

    training, (train, validation) = request.training, examples()
    assembled = functools.partial(assembly.engine, request, encoder, loss)
    build = functools.partial(assembled, names=names, batch_size=batch_size, start=start)
    with devices.scope(names):
        engine, optimizer = build(train, xla=kept.xla(batch_size))
        told: dict[str, Any] = {"judge": judge, "warnings": warnings, "after_epoch": after_epoch}
        history = loop.fit(engine, validation, training, checkpoints=kept, **told)
        if every is not None:
            del engine, train, validation  # with the rows that it has on the device
            engine, optimizer = build(every(), xla=history.xla)
            loop.refit(engine, history.best_epochs, checkpoints=kept.of("refit"))
        network = engine.published()
        if training.members > 1:  # members come from different epochs: no state of the optimiser belongs to all
            optimizer = catalogue.optimizer(training.optimizer)
            optimizer.build(network.trainable_variables)
    network.compile(optimizer=optimizer, loss=loss)
    return network, history


def _loss(request: TrainRequest, contract: Contract, encoder: TableEncoder) -> "keras.losses.Loss":
    bundle.load_tensorflow()
    from tasks.training import catalogue

    loss = catalogue.loss(request.training.loss or Loss(name=_default_loss(contract)))
    said = fits.said_by(
        contract.problem,
        outputs=encoder.target.units,
        output_activation=request.network.output_activation,
        own_units=contract.target.scale == "none",
    )
    catalogue.refuse_misfit(loss, said)
    return loss


def _default_loss(contract: Contract) -> str:
    """Return the loss of a problem; that of several classes takes the labels in the form in which the data has them."""
    one_hot = contract.problem == "multiclass" and contract.target.columns
    return _DEFAULT_LOSS_OF_ONE_HOT if one_hot else _DEFAULT_LOSS[contract.problem]


def fit(
    request: TrainRequest,
    encoder: TableEncoder,
    contract: Contract,
    train: "Examples",
    validation: "Examples",
    *,
    judge: "Judge | None" = None,
    after_epoch: "AfterEpoch | None" = None,
) -> tuple["keras.Model", "History"]:
    """Return the request's network, trained on examples at hand, with the best epoch's weights, and its history.

    A `judge` may decide which epoch is the best. After each epoch `after_epoch` is called instead of logging it;
    training ends by what it raises.
    """
    from tasks.training import checkpoints, devices

    names, loss = devices.find(request.training.device), _loss(request, contract, encoder)
    kept = checkpoints.Checkpoints(None)  # whoever is stopped trains this anew
    told: dict[str, Any] = {"names": names, "judge": judge, "kept": kept, "after_epoch": after_epoch}
    fitted = functools.partial(_fitted, request, encoder, loss, lambda: (train, validation), **told)
    return _with_less_memory(fitted, request.training.batch_size, names[0])


def examples(
    encoded: Path, encoder: TableEncoder, contract: Contract, request: TrainRequest, *, disk: Path | None = None
) -> tuple["Examples", "Examples"]:
    """Return training and validation examples in memory; larger ones than it may hold are mapped from `disk`, if given.

    Raises as `run` does for what does not fit together.
    """
    from tasks.training import devices

    _refuse_other_columns(contract, encoder)
    loss = _loss(request, contract, encoder)
    budget = devices.memory_bytes(request.training, devices.find(request.training.device))
    one_hot = _wants_one_hot(contract, loss)
    place = disk if _size_bytes(encoded, encoder, one_hot=one_hot) > budget else None
    found = _examples(encoded, encoder, request, one_hot=one_hot, disk=place)
    _refuse_unweighable(found[0], loss)
    return found


def _every(
    encoded: Path, encoder: TableEncoder, contract: Contract, request: TrainRequest, *, disk: Path
) -> "Examples":
    """Return training and validation examples as one, all weighed as those of training are."""
    from tasks.training import feed

    if stopping := request.training.early_stopping:
        weighted = stopping.model_copy(update={"weighted": True})
        training = request.training.model_copy(update={"early_stopping": weighted})
        request = request.model_copy(update={"training": training})
    return feed.joined(*examples(encoded, encoder, contract, request, disk=disk), disk=disk)


def _wants_one_hot(contract: Contract, loss: "keras.losses.Loss") -> bool:
    from tasks.training import catalogue

    return contract.problem == "multiclass" and not catalogue.wants_codes(loss)


def _refuse_unweighable(train: "Examples", loss: "keras.losses.Loss") -> None:
    from tasks.training import catalogue

    if train.weight.ndim > 1 and catalogue.looks_at_all_outputs(loss):
        raise SpecError(
            f"training.class_weight weighs each label by itself, but training.loss {loss.name} is one of the whole "
            "row: take out one of them"
        )


def _refuse_other_columns(contract: Contract, encoder: TableEncoder) -> None:
    names = {*(each.name for each in encoder.columns), *encoder.dropped}
    if names != contract.columns.keys() or encoder.target.names != contract.target.names:
        raise SpecError("ingest and encode do not belong together: columns differ; name the ingest that encode read")


def _size_bytes(encoded: Path, encoder: TableEncoder, *, one_hot: bool) -> int:
    files = (encoded / "features" / f"{split}.parquet" for split in _SPLITS)
    return sum(features.size_bytes(file, encoder, one_hot=one_hot) for file in files)


def _examples(
    encoded: Path, encoder: TableEncoder, request: TrainRequest, *, one_hot: bool, disk: Path | None
) -> tuple["Examples", "Examples"]:
    """Return training and validation examples, inputs and one-hot targets mapped from `disk` if there is one.

    Class weights are those of the training split for both.
    """
    from tasks.training import weights
    from tasks.training.feed import Examples

    examples, classes, scale = [], None, 1.0
    for split in _SPLITS:
        path = encoded / "features" / f"{split}.parquet"
        inputs, target, sample_weight = features.read(path, encoder, disk=disk)
        if split == "train":
            classes = weights.class_weights(request.training, encoder.target, target)
        targets.refuse_unreachable(target, encoder.target.names, request.network.output_activation, split)
        targets.refuse_zeros(target, encoder.target.names, request.training.loss, split)
        weight = weights.row_weights(classes, target, sample_weight)
        if split == "validation" and not weights.weighs_validation(request.training):
            weight = np.full(len(target), scale, np.float32)
        mean = float(weight.mean(dtype=np.float64))
        if not 0 < mean < np.inf:
            raise SpecError(f"class_weight and data.weight leave no {split} row a finite weight above 0")
        if split == "train":
            scale = mean
        if one_hot:
            target = features.one_hot(target, encoder.target.units, file=disk and disk / f"{split}.target")
        examples.append(Examples(inputs, target, weight / np.float32(scale)))
    return examples[0], examples[1]


if __name__ == "__main__":
    stage.main(TrainRequest, run)
