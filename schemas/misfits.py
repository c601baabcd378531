"""Parts of a spec that are right by themselves and do not fit together."""

from typing import TYPE_CHECKING

from schemas import fits, names
from schemas.data import REGRESSION
from schemas.named import Loss, Metric

if TYPE_CHECKING:
    from schemas.spec import Spec


class MisfitError(ValueError):
    """Two parts of a spec that do not fit together; `at` are the keys that lead to the one to change."""

    def __init__(self, message: str, *at: str) -> None:
        super().__init__(message)
        self.at = at


def refuse(spec: "Spec") -> None:
    """Raise MisfitError for parts of a spec that contradict each other or have no meaning for its problem."""
    _refuse_target_as_feature(spec)
    _refuse_wrong_target(spec)
    _refuse_wrong_weights(spec)
    _refuse_constrained_members(spec)
    refuse_names(spec)
    _refuse_wrong_evaluation(spec)
    _refuse_wrong_promotion(spec)
    _refuse_wrong_period(spec)
    _refuse_wrong_start(spec)


def _refuse_target_as_feature(spec: "Spec") -> None:
    for name in (*spec.target.names, spec.data.weight):
        if name in spec.columns:
            raise MisfitError(
                f"{name!r} is the target or the weight: take it out of columns, or it leaks", "columns", name
            )
    for name in (*spec.columns, *spec.target.names):
        if name.startswith(("_row", "_weight", "_split", "_key.", "_slice.")):
            raise MisfitError(
                f"column name {name!r} is reserved: rename the column",
                *(("columns", name) if name in spec.columns else ("target",)),
            )


def _refuse_wrong_target(spec: "Spec") -> None:
    target, several = spec.target, len(spec.target.columns)
    wanted = {
        "regression": ("column", not several),
        "binary": ("column", not several),
        "multioutput_regression": ("columns, two or more", several > 1),
        "multiclass": ("column, or columns for one-hot classes", several != 1),
        "multilabel": ("columns of 0 and 1, or column with lists of labels", several != 1),
    }
    form, fits = wanted[spec.problem]
    if not fits:
        raise MisfitError(f"problem {spec.problem} wants target.{form}", "target")
    if target.positive is not None and spec.problem != "binary":
        raise MisfitError(f"target.positive belongs to problem binary, not {spec.problem}", "target", "positive")
    if target.classes is not None and (spec.problem in REGRESSION or several):
        raise MisfitError("target.classes belongs to a target column of labels", "target", "classes")
    if target.classes is not None and spec.problem == "binary" and len(target.classes) != 2:
        raise MisfitError(f"problem binary wants two target.classes, got {len(target.classes)}", "target", "classes")
    if spec.network.output_activation is not None and spec.problem not in REGRESSION:
        raise MisfitError(
            f"network.output_activation is fixed by problem {spec.problem}: take it out", "network", "output_activation"
        )
    if spec.network.output_activation not in (None, "linear") and target.scale != "none":
        raise MisfitError(
            "network.output_activation bounds the target in its own units: set target.scale to none",
            "network",
            "output_activation",
        )


def _refuse_wrong_weights(spec: "Spec") -> None:
    training, target = spec.training, spec.target
    if training.class_weight is not None and spec.problem in REGRESSION:
        remedy = "training.output_weight" if spec.problem == "multioutput_regression" else "data.weight"
        raise MisfitError(
            f"training.class_weight has no meaning for problem {spec.problem}: use {remedy}", "training", "class_weight"
        )
    if isinstance(training.class_weight, dict):
        _refuse_unknown_names("class_weight", training.class_weight, target.columns or target.classes, "label")
    if training.output_weight is not None:
        if spec.problem != "multioutput_regression":
            raise MisfitError(
                f"training.output_weight belongs to problem multioutput_regression, not {spec.problem}",
                "training",
                "output_weight",
            )
        _refuse_unknown_names("output_weight", training.output_weight, target.columns, "target")
    by_output = training.output_weight or (training.class_weight if spec.problem == "multilabel" else None)
    if by_output and training.loss and _compares_whole_rows(training.loss):
        raise MisfitError(
            f"training.{'output' if training.output_weight else 'class'}_weight weighs each output by itself, but loss "
            f"{training.loss.name} is one of whole rows: take the weights out or another loss of Keras",
            *("training", "loss"),
        )


def _refuse_constrained_members(spec: "Spec") -> None:
    if spec.training.members > 1 and getattr(spec.network, "constraint", None) is not None:
        raise MisfitError(
            "training.members: weights with a constraint are trained alone; set members to 1, or take out "
            "network.constraint",
            *("training", "members"),
        )


def refuse_for_classes(spec: "Spec", classes: tuple[str, ...]) -> None:
    """Raise MisfitError for what does not fit the classes that the data has."""
    if isinstance(spec.training.class_weight, dict):
        _refuse_unknown_names("class_weight", spec.training.class_weight, classes, "label")
    refuse_names(spec, outputs=len(classes))


def _compares_whole_rows(loss: Loss) -> bool:
    return names.is_reference(loss.name) or fits.looks_at_all_outputs(names.find(loss.name, "loss").name)


def _refuse_unknown_names(key: str, weights: dict[str, float], known: tuple[str, ...] | None, what: str) -> None:
    """Refuse weights for what does not exist, as far as the spec says what does, and weights that leave nothing."""
    for name in weights if known else ():
        if name not in (known or ()):
            raise MisfitError(
                f"training.{key}: no {what} {name!r}; there are {', '.join(known or ())}", "training", key, name
            )
    if known and not any(weights.get(name, 1.0) for name in known):
        raise MisfitError(f"training.{key} is 0 for every {what}: nothing would count", "training", key)


def refuse_names(spec: "Spec", *, outputs: int | None = None) -> None:
    """Raise MisfitError for a loss or metric that has no meaning for the problem.

    `outputs` are its numbers, labels or classes, where more is known of them than the spec says.
    """
    target, loss = spec.target, spec.training.loss
    said = fits.said_by(
        spec.problem,
        outputs=outputs or len(target.columns) or len(target.classes or ()) or None,
        output_activation=spec.network.output_activation,
        own_units=target.scale == "none",
    )
    if loss is not None and not names.is_reference(loss.name):
        try:
            fits.refuse_loss(loss.name, said)
        except ValueError as error:
            raise MisfitError(f"training.loss: {error}", "training", "loss") from error
    for part in ("evaluation", "training"):
        for metric in getattr(spec, part).metrics:
            _refuse_metric(metric, said, part, "metrics")
    if (deciding := spec.training.deciding_metric) is not None:
        _refuse_metric(deciding, said, "training", "early_stopping", "metric")
    if spec.evaluation.metric is not None:
        _refuse_metric(spec.evaluation.metric, said, "evaluation", "metric")
    if spec.tuning is not None and spec.tuning.metric is not None:
        _refuse_metric(spec.tuning.metric, said, "tuning", "metric")


def _refuse_metric(metric: Metric, said: fits.Said, *at: str) -> None:
    if names.is_reference(metric.name):
        return
    try:
        _, entry = fits.metric(metric.name.partition("[")[0], metric.arguments, said)
        if at[-1] == "metric" and entry.lower_is_better is None:
            raise ValueError(f"{entry.name} is neither better lower nor higher: it decides nothing")
    except ValueError as error:
        raise MisfitError(f"{'.'.join(at)}: {error}", *at) from error


def _refuse_wrong_evaluation(spec: "Spec") -> None:
    _refuse_tensors("evaluation", spec.evaluation.slices or (), spec)
    if spec.evaluation.costs is not None and spec.problem not in {"binary", "multilabel"}:
        raise MisfitError(
            f"evaluation.costs belongs to problems binary and multilabel, not {spec.problem}", "evaluation", "costs"
        )


def _refuse_tensors(part: str, slices: tuple[str, ...], spec: "Spec") -> None:
    for name in slices:
        if name in spec.columns and spec.columns[name].kind == "tensor":
            raise MisfitError(f"column {name!r} holds tensors: rows cannot be told apart by it", part, "slices")


def _refuse_wrong_promotion(spec: "Spec") -> None:
    """Refuse guards and requirements by metrics that are not computed, before a training is spent on them."""
    if spec.promotion.slices:
        _refuse_tensors("promotion", spec.promotion.slices.columns, spec)
    said = fits.said_by(spec.problem, outputs=len(spec.target.columns) or len(spec.target.classes or ()) or None)
    wanted = {metric.name for metric in spec.evaluation.wanted}
    named = [("guards", each) for each in spec.promotion.guards] + [
        ("required", each) for each in spec.promotion.required
    ]
    for key, name in named:
        plain = name.partition("[")[0].partition("(")[0]
        if plain in wanted or any(each.partition(":")[2] == plain for each in wanted):
            continue
        try:
            library, entry = fits.metric(plain, {}, said)
        except ValueError as error:
            raise MisfitError(f"promotion.{key}: {error}", "promotion", key, name) from error
        if library != "figure" and not {entry.name, entry.snake} & wanted:
            raise MisfitError(
                f"promotion.{key}: {name} is not computed of every run: name it in evaluation.metrics too",
                *("promotion", key, name),
            )


def _refuse_wrong_period(spec: "Spec") -> None:
    data, window = spec.data, spec.retraining.window
    asked = {"data.since": data.since, "data.until": data.until, "retraining.window": window}
    for key, value in asked.items():
        if value is not None and spec.time is None:
            raise MisfitError(f"{key} wants the column with the rows' time: name it as data.time", *key.split("."))
    if data.since and data.until and data.since >= data.until:
        since, until = (f"{each:%Y-%m-%d %H:%M}" for each in (data.since, data.until))
        raise MisfitError(f"data.since {since} must be before data.until {until}", "data", "since")
    if data.time is not None and data.time in (*spec.target.names, data.weight):
        raise MisfitError(f"data.time {data.time!r} is the target or the weight, not a time", "data", "time")


def _refuse_wrong_start(spec: "Spec") -> None:
    if spec.retraining.start == "fresh":
        return
    why = ""
    if spec.tuning is not None:
        why = "tuning would look for another network than the one whose weights it has: take tuning out"
    if spec.training.members > 1:
        why = "training.members from the same weights would be one network several times: set members to 1"
    if why:
        raise MisfitError(f"retraining.start champion: {why}, or set start to fresh", "retraining", "start")
