"""Which losses and metrics have a meaning for which predictions.

A loss or metric of Keras is described by what it takes (`Want`), a problem by what its network says (`Said`), and
whether they fit follows from the two. Keras itself checks shapes alone, and trains on nonsense without a word.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from schemas import names
from schemas.names import Entry, Library

Predicted = Literal["any", "positive", "chance", "distribution"]
"""What outputs are: any numbers; 0 or more; chances of 0...1, each by itself; chances that add up to 1."""

Forms = Literal["pairs", "one_hot", "codes", "decided"]
"""How truth and prediction stand side by side: both of shape (n, outputs); the truth one-hot, or as codes, beside the
chances of all classes; or the codes decided on beside the true ones."""


@dataclass(frozen=True)
class Said:
    """What a network says."""

    problem: str
    predicted: Predicted
    target: Literal["numbers", "labels"]
    """What it is compared with: measured numbers, or zeros and ones."""
    outputs: int | None = None
    """How many outputs there are, where that is known before the data is read."""
    own_units: bool = True
    """Whether the network learns the target as it is, not scaled."""


@dataclass(frozen=True)
class Want:
    """What a loss or metric takes."""

    predicted: Predicted = "any"
    target: Literal["any", "numbers", "labels"] = "any"
    together: bool = False
    """Whether it looks at all outputs of a row at once: there must be two or more."""
    own_units: bool = False
    """Whether a scaled target would take its meaning away."""
    codes: bool = False
    """Whether it compares with the codes of classes, not with one-hot rows."""
    never: str | None = None
    """Why no problem here has what it takes."""


_NUMBERS = Want()
_CHANCES = Want("chance")
_TWO_VALUES = Want("chance", "labels")
_ONE_OF_SEVERAL = Want("distribution", "labels", together=True)
_CODE_OF_SEVERAL = Want("distribution", "labels", together=True, codes=True)
_SETS = Want(target="labels", together=True)
_POSITIVE = Want("positive", own_units=True)

_LOSSES: Mapping[str, Want] = {
    **dict.fromkeys(("MeanSquaredError", "MeanAbsoluteError", "Huber", "LogCosh"), _NUMBERS),
    **dict.fromkeys(("BinaryCrossentropy", "BinaryFocalCrossentropy"), _CHANCES),
    **dict.fromkeys(("Hinge", "SquaredHinge"), _TWO_VALUES),
    **dict.fromkeys(("CategoricalCrossentropy", "CategoricalFocalCrossentropy"), _ONE_OF_SEVERAL),
    **dict.fromkeys(("SparseCategoricalCrossentropy", "CategoricalGeneralizedCrossEntropy"), _CODE_OF_SEVERAL),
    **dict.fromkeys(("CategoricalHinge", "KLDivergence"), _ONE_OF_SEVERAL),
    **dict.fromkeys(("Dice", "Tversky"), _SETS),
    **dict.fromkeys(("MeanSquaredLogarithmicError", "Poisson"), _POSITIVE),
    "MeanAbsolutePercentageError": Want(target="numbers", own_units=True),
    "CosineSimilarity": Want(together=True),
    "CTC": Want(never="it compares sequences of labels"),
    "Circle": Want(never="it compares embeddings of rows with each other"),
}

_COUNTS = ("TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives")
_CURVES = ("AUC", "PrecisionAtRecall", "RecallAtPrecision", "SensitivityAtSpecificity", "SpecificityAtSensitivity")
_ANY_LABELS = Want(target="labels")

_METRICS: Mapping[str, tuple[Want, Forms]] = {
    **dict.fromkeys(("MeanSquaredError", "RootMeanSquaredError", "MeanAbsoluteError"), (_NUMBERS, "pairs")),
    **dict.fromkeys(("LogCoshError", "MeanSquaredLogarithmicError", "Poisson", "R2Score"), (_NUMBERS, "pairs")),
    **dict.fromkeys(("PearsonCorrelation", "ConcordanceCorrelation"), (Want(target="numbers", together=True), "pairs")),
    **dict.fromkeys(("BinaryAccuracy", "BinaryIoU", "Hinge", "SquaredHinge"), (_TWO_VALUES, "pairs")),
    **dict.fromkeys((*_COUNTS, *_CURVES, "Precision", "Recall", "F1Score", "FBetaScore"), (_ANY_LABELS, "pairs")),
    **dict.fromkeys(("Accuracy", "MeanIoU", "IoU"), (_ANY_LABELS, "decided")),
    **dict.fromkeys(("CategoricalAccuracy", "TopKCategoricalAccuracy"), (_ONE_OF_SEVERAL, "one_hot")),
    **dict.fromkeys(("CategoricalCrossentropy", "CategoricalHinge"), (_ONE_OF_SEVERAL, "one_hot")),
    **dict.fromkeys(("KLDivergence", "OneHotIoU", "OneHotMeanIoU"), (_ONE_OF_SEVERAL, "one_hot")),
    **dict.fromkeys(("SparseCategoricalAccuracy", "SparseTopKCategoricalAccuracy"), (_ONE_OF_SEVERAL, "codes")),
    "SparseCategoricalCrossentropy": (_ONE_OF_SEVERAL, "codes"),
    "BinaryCrossentropy": (_TWO_VALUES, "pairs"),
    "MeanAbsolutePercentageError": (Want(target="numbers"), "pairs"),
    "CosineSimilarity": (Want(together=True), "pairs"),
}


def said_by(
    problem: str, *, outputs: int | None = None, output_activation: str | None = None, own_units: bool = True
) -> Said:
    """Return what a network says for a problem; `outputs` are its numbers, labels or classes, as far as known."""
    match problem:
        case "binary":
            return Said(problem, "chance", "labels", outputs=1)
        case "multilabel":
            return Said(problem, "chance", "labels", outputs=outputs)
        case "multiclass":
            return Said(problem, "distribution", "labels", outputs=outputs)
    reach: Mapping[str | None, Predicted] = {"relu": "positive", "softplus": "positive", "sigmoid": "chance"}
    numbers = 1 if problem == "regression" else outputs
    return Said(problem, reach.get(output_activation, "any"), "numbers", outputs=numbers, own_units=own_units)


def refuse_loss(loss: str, said: Said) -> None:
    """Raise ValueError, with the losses that fit, when a loss of Keras has no meaning for what a network says."""
    entry = names.find(loss, "loss")
    if (why := _misfit(_LOSSES[entry.name], said)) is not None:
        fitting = ", ".join(name for name in sorted(_LOSSES) if _misfit(_LOSSES[name], said) is None)
        raise ValueError(f"{entry.name} does not fit problem {said.problem}: {why}; there fit {fitting}")


def metric(name: str, arguments: Mapping[str, Any], said: Said) -> tuple[Library, Entry]:
    """Return the metric that a name and its arguments mean for what a network says, and where it comes from.

    A name that several have is looked up first among the figures that are computed of every run, then in Keras, then
    in scikit-learn. Raises ValueError for an unknown name, a wrong argument, or one that has no meaning here.
    """
    objections = []
    for library in names.LIBRARIES:
        if (entry := names.known(name, library)) is None:
            continue
        try:
            _refuse_metric(library, entry, arguments, said)
        except ValueError as error:
            objections.append(error)
            continue
        return library, entry
    if not objections:
        raise ValueError(f"there is no metric {name!r}; {names.nearest(name, *names.LIBRARIES)}")
    raise objections[0] if len(objections) == 1 or not arguments else objections[-1]


def _refuse_metric(library: Library, entry: Entry, arguments: Mapping[str, Any], said: Said) -> None:
    why = _misfit(_METRICS[entry.name][0], said) if library == "metric" else None
    if why is not None or said.problem not in (entry.problems or (said.problem,)):
        fitting = ", ".join(dict.fromkeys(_fitting_metrics(said)))
        said_why = f": {why}" if why else ""
        raise ValueError(f"{entry.name} does not fit problem {said.problem}{said_why}; there fit {fitting}")
    names.refuse_arguments(entry, arguments)
    k = arguments.get("k", entry.arguments.get("k"))
    if k is not None and said.problem == "multiclass" and said.outputs is not None and k > said.outputs:
        raise ValueError(f"{entry.name}: k {k} is above the {said.outputs} classes; give a smaller k")


def _fitting_metrics(said: Said) -> Iterator[str]:
    for library in names.LIBRARIES:
        for entry in names.entries(library):
            if library == "metric":
                fits = _misfit(_METRICS[entry.name][0], said) is None
            else:
                fits = said.problem in (entry.problems or ())
            if fits:
                yield entry.snake


def compares_codes(loss: str) -> bool:
    """Say whether a Keras loss of several classes compares with their codes, not with one-hot rows."""
    return _LOSSES[loss].codes


def divides_by_target(loss: str) -> bool:
    """Say whether a Keras loss divides by the target, which cannot be 0 then."""
    return names.find(loss, "loss").name == "MeanAbsolutePercentageError"


def looks_at_all_outputs(loss: str) -> bool:
    """Say whether a Keras loss is one of all outputs of a row, so that single outputs can have no weight in it."""
    return _LOSSES[loss].together


def form(metric: str) -> Forms:
    """Return how a Keras metric, by its class name, wants truth and prediction."""
    return _METRICS[metric][1]


def described() -> tuple[frozenset[str], frozenset[str]]:
    """Return the losses and the metrics that are described here."""
    return frozenset(_LOSSES), frozenset(_METRICS)


def _misfit(want: Want, said: Said) -> str | None:
    if want.never:
        return want.never
    if want.target not in {"any", said.target}:
        return {
            "numbers": "it compares measured numbers, not zeros and ones",
            "labels": "it compares zeros and ones, not measured numbers",
        }[want.target]
    if want.together and said.outputs == 1:
        return "it compares all outputs of a row at once, and there is only one"
    if not _reaches(said.predicted, want.predicted):
        return {
            "positive": "it wants predictions of 0 or more: set network.output_activation to softplus",
            "chance": "it wants a chance of 0 to 1 from each output by itself, as a sigmoid gives",
            "distribution": "it wants one right class out of several, as a softmax says",
        }[want.predicted]
    if want.own_units and not said.own_units:
        return "it compares the target in its own units: set target.scale to none"
    return None


def _reaches(predicted: Predicted, wanted: Predicted) -> bool:
    if wanted == "positive":
        return predicted != "any"
    return wanted in {"any", predicted}
