"""Networks trained anew: on resampled rows for bias² and variance, and on fewer rows for what more of them would bring.

For squared errors, noise + bias² and variance add up to the expected error of a network trained on other rows of the
same kind (Geman, Bienenstock and Doursat, 1992). Networks trained on bootstrap resamples stand in for such networks.
Noise, the part that no network could predict, cannot be told from bias² without knowing the truth.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schemas.data import REGRESSION
from schemas.errors import SpecError
from schemas.stages import EncodeResult, EvaluateRequest, IngestResult, TrainRequest
from tasks import evaluation, stage
from tasks.bundle import Bundle
from tasks.encoders.base import Array
from tasks.findings.selection import rows_at
from tasks.metrics import Scored

log = logging.getLogger("evermodel.evaluate")

_MOST_SCORED = 20_000
_VALIDATION = "rows/validation.parquet"


@dataclass(frozen=True)
class Refits:
    """What part of the squared error on the test rows is bias² with noise, and what part variance."""

    names: tuple[str, ...]
    """The outputs or labels; of classes one entry, for their probabilities together."""
    bias: Array
    """Bias² and noise of each, shape (names,)."""
    variance: Array
    """Variance of each, shape (names,)."""
    count: int
    """How many networks were trained."""


@dataclass(frozen=True)
class Size:
    """How good a network is that learned from so many rows."""

    rows: int
    train: float
    """The deciding metric on these rows, or 20,000 of them."""
    validation: float
    """The same on the validation rows."""


def spread(request: EvaluateRequest, bundle: Bundle, ingested: Path, test: Scored, *, disk: Path) -> Refits:
    """Return the parts of the error of `evaluation.refits` networks, each trained on a resample of the rows.

    Rows that exceed memory are in `disk` meanwhile.
    """
    count, mean, squares = request.evaluation.refits, np.zeros(test.predicted.shape), np.zeros(test.predicted.shape)
    for number, refit in enumerate(resampled(request, bundle, disk=disk), start=1):
        log.info("evaluate: refit %d/%d", number, count)
        said = evaluation.score(refit, ingested, "test").predicted
        step = said - mean  # Welford's update: one pass, no predictions kept
        mean += step / number
        squares += step * (said - mean)
    variance = squares / (count - 1)
    bias = (_answers(test) - mean) ** 2 - variance / count
    bias, variance = (np.average(part, axis=0, weights=test.weight) for part in (bias, variance))
    if test.problem in ("binary", "multiclass"):
        return Refits(("probabilities",), bias.sum(keepdims=True), variance.sum(keepdims=True), count)
    return Refits(test.names, bias, variance, count)


def _answers(test: Scored) -> Array:
    if test.problem in REGRESSION or test.problem == "multilabel":
        return test.truth
    return np.eye(len(test.names))[test.truth]


def sizes(
    request: EvaluateRequest,
    bundle: Bundle,
    ingested: Path,
    scored: Mapping[str, Scored],
    *,
    score: Callable[[Scored], float],
    disk: Path,
) -> tuple[Size, ...]:
    """Return how good networks are that learned from `evaluation.data_sizes` of the rows, and from all of them last.

    The last one is the bundle's, unless `scored` leaves out validation: a network that was refitted on these rows is no
    point of the curve, and another one is trained. Rows that exceed memory are in `disk` meanwhile.
    """
    found, refitted = [], "validation" not in scored
    trainer = _Trainer(request, bundle, disk)
    order = np.random.default_rng([request.evaluation.seed, 1]).permutation(trainer.rows)
    for share in [*sorted(request.evaluation.data_sizes), *([1.0] if refitted else [])]:
        rows = np.sort(order[: max(1, round(share * trainer.rows))])
        log.info("evaluate: trained on %s rows", f"{len(rows):,}")
        refit = trainer.bundle(rows, seed=request.training.seed if request.training else 0)
        seen = rows_at(ingested / "rows" / "train.parquet", rows[:: -(-len(rows) // _MOST_SCORED)])
        train, validation = evaluation.score_batches(refit, [seen]), evaluation.score(refit, ingested, "validation")
        found.append(Size(len(rows), *(score(each) for each in (train, validation))))
    if refitted:
        return tuple(found)
    whole = (score(scored[split]) for split in ("train", "validation"))
    return (*found, Size(trainer.rows, *whole))


def resampled(request: EvaluateRequest, bundle: Bundle, *, disk: Path) -> Iterator[Bundle]:
    """Yield the bundle with networks trained on resamples of the training rows; each is there until the next one."""
    trainer = _Trainer(request, bundle, disk)
    for number in range(request.evaluation.refits):
        random = np.random.default_rng([request.evaluation.seed, 2, number])
        yield trainer.bundle(
            np.sort(random.integers(trainer.rows, size=trainer.rows)), seed=int(random.integers(1 << 31))
        )


class _Trainer:
    """Trains the request's network anew on some of the training rows."""

    def __init__(self, request: EvaluateRequest, bundle: Bundle, disk: Path) -> None:
        """Read the encoded rows, those that exceed memory into `disk`.

        Raises SpecError where the request does not say what to train.
        """
        from tasks import train
        from tasks.training import judge

        if request.encode is None or request.network is None or request.training is None:
            raise SpecError("evaluation.refits and data_sizes want encode, network and training in the request")
        encoded, _ = stage.opened(EncodeResult, request.encode)
        ingested, _ = stage.opened(IngestResult, request.ingest, files=(_VALIDATION,))
        self._bundle = bundle
        self._asked = TrainRequest(
            ingest=request.ingest, encode=request.encode, network=request.network, training=request.training
        )
        self._fit, self._disk = train.fit, disk
        known = (encoded, bundle.encoder, bundle.contract, self._asked)
        self._train, self._validation = train.examples(*known, disk=disk)
        truth = bundle.contract, bundle.encoder, ingested / _VALIDATION
        self._judge = judge.of_epochs(request.training, *truth, shown=False)
        self._refit: Bundle | None = None
        self.rows = len(self._train)

    def bundle(self, rows: Array, *, seed: int) -> Bundle:
        """Return the bundle with a network that has learned from some rows, by their positions, until the next call."""
        from tasks.training import feed

        training = self._asked.training.model_copy(update={"seed": seed})
        asked = self._asked.model_copy(update={"training": training})
        known = (self._bundle.encoder, self._bundle.contract)
        resample = feed.taken(self._train, rows, disk=self._disk)
        network, _ = self._fit(asked, *known, resample, self._validation, judge=self._judge)
        if self._refit is None:
            self._refit = self._bundle.with_network(network)
        else:  # the graph of the first one serves all
            self._refit.network.set_weights(network.get_weights())
        return self._refit
