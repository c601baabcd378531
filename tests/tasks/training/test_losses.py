"""R12-R14: each loss on each problem for which it has a meaning, really trained, and refused where it has none."""

import keras
import numpy as np
import pytest

from schemas import fits, names
from schemas.errors import SpecError
from schemas.named import Named
from schemas.networks import Mlp
from tasks.encoders.table import Slot
from tasks.encoders.target import LabelsTarget, LabelTarget, NumberTarget
from tasks.networks import mlp
from tasks.training import catalogue

RNG = np.random.default_rng(1)
ROWS = RNG.normal(size=(48, 4))
SUMS = ROWS @ np.array([[1.0, -0.5], [0.5, 1.0], [-1.0, 0.5], [0.2, 0.8]])
CODES = (SUMS > 0) @ np.array([1, 1])

ONE = NumberTarget(names=("y",), centers=(0.0,), scales=(1.0,))
TWO = NumberTarget(names=("y", "z"), centers=(0.0, 0.0), scales=(1.0, 1.0))
BINARY = LabelTarget(names=("y",), classes=("no", "yes"), binary=True)
MULTICLASS = LabelTarget(names=("y",), classes=("a", "b", "c"), binary=False)
MULTILABEL = LabelsTarget(names=("y",), classes=("a", "b"))

# What is said, the target, the output's activation and the truth.
CASES = {
    "regression": ("regression", ONE, None, SUMS[:, :1]),
    "regression, softplus": ("regression", ONE, "softplus", np.abs(SUMS[:, :1])),
    "regression, sigmoid": ("regression", ONE, "sigmoid", 1 / (1 + np.exp(-SUMS[:, :1]))),
    "multioutput_regression": ("multioutput_regression", TWO, None, SUMS),
    "multioutput_regression, softplus": ("multioutput_regression", TWO, "softplus", np.abs(SUMS)),
    "multioutput_regression, sigmoid": ("multioutput_regression", TWO, "sigmoid", 1 / (1 + np.exp(-SUMS))),
    "binary": ("binary", BINARY, None, (SUMS[:, :1] > 0) * 1.0),
    "multilabel": ("multilabel", MULTILABEL, None, (SUMS > 0) * 1.0),
    "multiclass": ("multiclass", MULTICLASS, None, CODES),
}
COUNTS = {
    "regression": 5,
    "regression, softplus": 7,
    "regression, sigmoid": 9,
    "multioutput_regression": 6,
    "multioutput_regression, softplus": 8,
    "multioutput_regression, sigmoid": 10,
    "binary": 10,
    "multilabel": 13,
    "multiclass": 15,
}
LOSSES = [entry.name for entry in names.entries("loss")]


def said(case: str) -> fits.Said:
    problem, target, activation, _ = CASES[case]
    return fits.said_by(problem, outputs=target.units, output_activation=activation)


def fitting(case: str) -> list[str]:
    """The losses that fit, as the refusal of one that fits nothing tells them."""
    with pytest.raises(ValueError, match="CTC does not fit") as refusal:
        fits.refuse_loss("CTC", said(case))
    return str(refusal.value).partition("there fit ")[2].split(", ")


@pytest.mark.parametrize("case", CASES)
def test_every_loss_that_fits_trains(case):
    """R12, R13."""
    _, target, activation, truth = CASES[case]
    slots = [Slot(name="numbers", shape=(4,), columns=tuple("abcd"))]
    weight = RNG.uniform(0.5, 2, len(ROWS))
    for name in fitting(case):
        loss = catalogue.loss(Named(name=name))
        learned = np.eye(3)[truth] if case == "multiclass" and not catalogue.wants_codes(loss) else truth
        keras.utils.set_random_seed(3)
        network = mlp.build(Mlp(hidden=(), output_activation=activation), slots, target)
        assert loss.call(learned.astype(np.float32), network({"numbers": ROWS})).shape == (len(ROWS),), "one loss a row"
        network.compile(optimizer=keras.optimizers.Adam(0.05), loss=loss, run_eagerly=True)
        history = network.fit(
            {"numbers": ROWS}, learned, sample_weight=weight, epochs=3, batch_size=48, verbose=0
        ).history["loss"]
        assert np.isfinite(history).all(), name
        assert history[-1] < history[0], name


def test_losses_that_fit_each_problem():
    """R12, R13: the table, as its counts; what a loss takes decides it, and no cell is written by hand."""
    assert {case: len(fitting(case)) for case in CASES} == COUNTS
    assert set(LOSSES) - {name for case in CASES for name in fitting(case)} == {"CTC", "Circle"}


@pytest.mark.parametrize(
    ("name", "case", "message"),
    [
        ("binary_crossentropy", "multiclass", "wants a chance of 0 to 1 from each output by itself"),
        ("sparse_categorical_crossentropy", "binary", "compares all outputs of a row at once, and there is only one"),
        ("categorical_crossentropy", "multilabel", "wants one right class out of several, as a softmax says"),
        ("poisson", "regression", "set network.output_activation to softplus"),
        ("hinge", "regression", "compares zeros and ones, not measured numbers"),
        ("mape", "binary", "compares measured numbers, not zeros and ones"),
        ("cosine_similarity", "regression", "there is only one"),
        ("circle", "multiclass", "compares embeddings of rows with each other"),
    ],
)
def test_loss_that_does_not_fit_is_refused_with_those_that_fit(name, case, message):
    """R14."""
    with pytest.raises(SpecError, match=message) as refusal:
        catalogue.refuse_misfit(catalogue.loss(Named(name=name)), said(case))
    fitting_ones = str(refusal.value).partition("there fit ")[2].split(", ")
    assert fitting_ones == fitting(case)


def test_loss_in_own_units_is_refused_for_a_scaled_target():
    scaled = fits.said_by("regression", output_activation="softplus", own_units=False)
    with pytest.raises(ValueError, match=r"set target\.scale to none; there fit "):
        fits.refuse_loss("msle", scaled)


@pytest.mark.filterwarnings("ignore:In loss categorical")  # of what is asked here: a single output
@pytest.mark.parametrize("name", [name for name in LOSSES if name not in {"CTC", "Circle"}])
def test_loss_is_said_to_look_at_all_outputs_where_it_does(name):
    """A loss of single outputs is, over a row, the mean of theirs."""
    loss = catalogue.loss(Named(name=name))
    if catalogue.wants_codes(loss):
        assert catalogue.looks_at_all_outputs(loss)
        return
    truth, predicted = np.array([[2.0, 1.0, 1.0]], np.float32), np.array([[0.2, 0.7, 0.1]], np.float32)
    whole = float(loss.call(truth, predicted)[0])
    single = np.mean([float(loss.call(truth[:, [at]], predicted[:, [at]])[0]) for at in range(3)])
    assert catalogue.looks_at_all_outputs(loss) == (abs(whole - single) > 1e-5)
