"""The spec: what fits together, what does not, and that every key is described."""

import ast
import inspect
import itertools
import textwrap
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from schemas.columns import BooleanColumn, NumericColumn
from schemas.data import Problem
from schemas.document import Document
from schemas.spec import Spec


def spec(**keys) -> Spec:
    """A spec of one numeric column, with the keys given in place of its own."""
    base = {
        "name": "wine",
        "problem": "binary",
        "data": {"path": "wine.csv"},
        "target": {"column": "good"},
        "columns": {"acidity": {"kind": "numeric"}},
    }
    return Spec.model_validate(base | keys)


def documents(parent: type[BaseModel] = Document) -> list[type[BaseModel]]:
    """Every model of the spec and of the stages' requests and results."""
    return [model for child in parent.__subclasses__() for model in (child, *documents(child))]


def docstrings(model: type[BaseModel]) -> set[str]:
    """The fields of a model that have a docstring in its source, or in that of one that it is made from."""
    described = set()
    for each in model.__mro__[: model.__mro__.index(BaseModel)]:
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0].body
        for field, below in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                described.add(field.target.id)
    return described


@pytest.mark.parametrize("model", documents(), ids=lambda model: model.__name__)
def test_every_field_is_described(model):
    undescribed = {name for name, field in model.model_fields.items() if not field.description}
    assert undescribed - docstrings(model) <= {"kind", "by"}


@pytest.mark.parametrize("model", documents(), ids=lambda model: model.__name__)
def test_every_document_is_frozen_and_says_what_it_is(model):
    assert model.model_config["frozen"]
    assert model.__doc__ or model.__name__.startswith("_")


ONE, SEVERAL = {"column": "a"}, {"columns": ["a", "b"]}


@pytest.mark.parametrize(
    ("problem", "target"),
    [
        ("regression", ONE),
        ("multioutput_regression", SEVERAL),
        ("binary", ONE),
        ("multiclass", ONE),
        ("multiclass", SEVERAL),
        ("multilabel", ONE),
        ("multilabel", SEVERAL),
    ],
)
def test_target_that_fits_its_problem_is_taken(problem, target):
    assert spec(problem=problem, target=target).problem == problem


@pytest.mark.parametrize(
    ("problem", "target", "said"),
    [
        ("regression", SEVERAL, "problem regression wants target.column"),
        ("binary", SEVERAL, "problem binary wants target.column"),
        ("multioutput_regression", ONE, "wants target.columns, two or more"),
        ("multioutput_regression", {"columns": ["a"]}, "wants target.columns, two or more"),
        ("multiclass", {"columns": ["a"]}, "wants target.column, or columns for one-hot classes"),
        ("multilabel", {"columns": ["a"]}, "wants target.columns of 0 and 1"),
        ("binary", ONE | SEVERAL, "give either column or columns"),
        ("binary", {}, "give either column or columns"),
        ("multiclass", {"columns": ["a", "a"]}, "columns must be distinct"),
        ("multiclass", ONE | {"positive": "x"}, "target.positive belongs to problem binary, not multiclass"),
        ("regression", ONE | {"classes": ["x", "y"]}, "target.classes belongs to a target column of labels"),
        ("multilabel", SEVERAL | {"classes": ["x", "y"]}, "target.classes belongs to a target column of labels"),
        ("binary", ONE | {"classes": ["x", "y", "z"]}, "problem binary wants two target.classes, got 3"),
        ("multiclass", ONE | {"classes": ["x"]}, "classes must be two or more, and distinct"),
        ("multiclass", ONE | {"classes": ["x", "x"]}, "classes must be two or more, and distinct"),
    ],
)
def test_target_that_does_not_fit_its_problem_is_refused(problem, target, said):
    with pytest.raises(ValidationError, match=said):
        spec(problem=problem, target=target)


def test_every_problem_is_known():
    assert set(get_args(Problem)) == {"regression", "multioutput_regression", "binary", "multilabel", "multiclass"}
    with pytest.raises(ValidationError, match="'regression', 'multioutput_regression'"):
        spec(problem="classification")


@pytest.mark.parametrize(
    ("problem", "target", "remedy"),
    [("regression", ONE, "data.weight"), ("multioutput_regression", SEVERAL, "training.output_weight")],
)
@pytest.mark.parametrize("weight", ["balanced", "effective_number", {"a": 2.0}])
def test_class_weight_has_no_place_in_regression(problem, target, remedy, weight):
    with pytest.raises(ValidationError, match=f"class_weight has no meaning for problem {problem}: use {remedy}"):
        spec(problem=problem, target=target, training={"class_weight": weight})


LISTED = {"column": "a", "classes": ["x", "y"]}


@pytest.mark.parametrize(
    ("problem", "target", "weights", "said"),
    [
        ("binary", LISTED, {"class_weight": {"z": 2}}, "training.class_weight: no label 'z'; there are x, y"),
        ("multiclass", SEVERAL, {"class_weight": {"c": 2}}, "training.class_weight: no label 'c'; there are a, b"),
        ("multilabel", SEVERAL, {"class_weight": {"c": 2}}, "training.class_weight: no label 'c'; there are a, b"),
        ("multilabel", LISTED, {"class_weight": {"X": 2}}, "training.class_weight: no label 'X'; there are x, y"),
        ("binary", LISTED, {"class_weight": {"x": 0, "y": 0}}, "training.class_weight is 0 for every label"),
        ("binary", ONE, {"class_weight": {"x": -1}}, "greater than or equal to 0"),
        ("binary", ONE, {"class_weight": {"x": float("inf")}}, "finite number"),
        ("binary", ONE, {"class_weight": {"x": float("nan")}}, "finite number"),
        ("binary", ONE, {"class_weight": {"name": "effective_number", "beta": 1}}, "less than 1"),
        ("multioutput_regression", SEVERAL, {"output_weight": {"c": 2}}, "no target 'c'; there are a, b"),
        ("multioutput_regression", SEVERAL, {"output_weight": {"a": 0, "b": 0}}, "output_weight is 0 for every target"),
        ("multioutput_regression", SEVERAL, {"output_weight": {"a": float("nan")}}, "finite number"),
        ("regression", ONE, {"output_weight": {"a": 2}}, "output_weight belongs to problem multioutput_regression"),
        (
            "multioutput_regression",
            SEVERAL,
            {"output_weight": {"a": 2}, "loss": "cosine_similarity"},
            "loss cosine_similarity is one of whole rows",
        ),
        ("multilabel", SEVERAL, {"class_weight": "balanced", "loss": "own:focal"}, "own:focal is one of whole rows"),
    ],
)
def test_weights_for_what_does_not_exist_or_that_are_no_weights_are_refused(problem, target, weights, said):
    """R30, R31: before any data is read, as far as the spec says what exists."""
    with pytest.raises(ValidationError, match=said):
        spec(problem=problem, target=target, training=weights)


def test_effective_number_is_a_word_or_a_word_with_its_beta():
    assert spec(training={"class_weight": "effective_number"}).training.class_weight.beta == 0.999
    assert spec(training={"class_weight": {"name": "effective_number", "beta": 0.9}}).training.class_weight.beta == 0.9
    assert spec(training={"class_weight": {"name": 2}}).training.class_weight == {"name": 2}  # a label of that name


def test_bounded_output_belongs_to_regression_in_the_units_of_the_target():
    network = {"output_activation": "softplus"}
    with pytest.raises(ValidationError, match="output_activation is fixed by problem binary"):
        spec(network=network)
    with pytest.raises(ValidationError, match=r"set target.scale to none"):
        spec(problem="regression", network=network)
    bounded = spec(problem="regression", target=ONE | {"scale": "none"}, network=network)
    assert bounded.network.output_activation == "softplus"


@pytest.mark.parametrize(
    "keys",
    [
        {"target": {"column": "acidity"}},
        {"problem": "multilabel", "target": {"columns": ["a", "acidity"]}},
        {"data": {"path": "wine.csv", "weight": "acidity"}},
    ],
)
def test_target_or_weight_among_the_features_is_refused(keys):
    with pytest.raises(ValidationError, match="'acidity' is the target or the weight: take it out of columns"):
        spec(**keys)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"validation": 0.6, "test": 0.4}, "validation [+] test must be below 1, got 1"),
        ({"by": "time", "column": "day", "test": 0}, "validation and test must be above 0"),
        ({"by": "hash", "test": 1.5}, "less than 1"),
        ({"by": "column", "column": "part", "train": ["a"], "test": ["a"]}, "'a' means two splits"),
        ({"by": "column", "column": "part", "test": []}, "want one value or more each"),
    ],
)
def test_split_that_leaves_a_part_empty_or_unclear_is_refused(split, said):
    with pytest.raises(ValidationError, match=said):
        spec(split=split)


def test_split_goes_by_hash_unless_told():
    assert spec(split={"test": 0.1}) == spec(split={"by": "hash", "test": 0.1})
    assert spec().split.by == "hash"


@pytest.mark.parametrize("name", ["Wine", "my wine", "../wine", "", "a" * 64])
def test_name_that_no_registry_and_no_folder_would_take_is_refused(name):
    with pytest.raises(ValidationError, match="name"):
        spec(name=name)


@pytest.mark.parametrize("limits", [{"minimum": 2, "maximum": 1}, {"minimum": float("nan")}, {"maximum": float("inf")}])
def test_limits_that_no_value_or_every_value_keeps_are_refused(limits):
    with pytest.raises(ValidationError, match=r"no value would fit|finite number"):
        NumericColumn(**limits)


def test_word_that_is_both_true_and_false_is_refused():
    with pytest.raises(ValidationError, match="'n' means both true and false"):
        BooleanColumn(true=("J", "N"))


def test_optimizer_is_a_name_or_a_name_with_arguments():
    short = spec(training={"optimizer": "sgd"}).training.optimizer
    long = spec(training={"optimizer": {"name": "sgd", "momentum": 0.9}}).training.optimizer
    assert (short.name, short.arguments) == ("sgd", {})
    assert (long.name, long.arguments) == ("sgd", {"momentum": 0.9})


def test_spec_comes_back_from_its_json():
    full = spec(
        target={"column": "good", "positive": "yes"},
        columns={"acidity": {"kind": "numeric"}, "region": {"kind": "embedding", "size": 4}},
        split={"by": "time", "column": "day"},
        training={"optimizer": {"name": "adam", "beta_1": 0.8}, "class_weight": {"yes": 2}},
    )
    assert Spec.model_validate_json(full.to_json()) == full


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"training": {"loss": "categorical_crossentropy"}}, "training.loss: CategoricalCrossentropy does not fit"),
        ({"training": {"loss": "hubr"}}, "Keras has no loss 'hubr'; did you mean Huber?"),
        ({"training": {"loss": {"name": "huber", "dleta": 2}}}, "Huber refuses dleta: did you mean delta?"),
        ({"training": {"loss": {"name": "huber", "reduction": "sum"}}}, "Huber refuses reduction: it takes delta"),
        ({"training": {"loss": {"name": "huber", "delta": "much"}}}, "Huber wants a number for delta, got 'much'"),
        ({"training": {"optimizer": "adamm"}}, "Keras has no optimizer 'adamm'; did you mean Adam?"),
        ({"training": {"optimizer": {"name": "sgd", "nesterov": 1}}}, "SGD wants true or false for nesterov, got 1"),
        (
            {"training": {"optimizer": {"name": "sgd", "learning_rate": {"name": "exponential_decay"}}}},
            "ExponentialDecay wants initial_learning_rate; write {name: exponential_decay, initial_learning_rate: ...}",
        ),
        ({"network": {"activation": "rellu"}}, "Keras has no activation 'rellu'; did you mean relu?"),
        ({"network": {"initializer": "he_norm"}}, "Keras has no initializer 'he_norm'; did you mean HeNormal?"),
        (
            {"network": {"regularizer": "l3"}},
            "Keras has no regularizer 'l3'; there are L1, L1L2, L2, ",
        ),
        ({"network": {"regularizer": {"name": "l1_l2", "l3": 1}}}, "L1L2 refuses l3: it takes l1, l2"),
        ({"network": {"regularizer": {"name": "l2", "l2": -1}}}, "l2 wants a number of 0 or more for l2, got -1"),
        ({"network": {"regularizer": "l2", "l1": 0.1}}, "regularizer stands in place of l1 and l2"),
        ({"network": {"constraint": "maxnom"}}, "Keras has no constraint 'maxnom'; did you mean MaxNorm?"),
        ({"network": {"constraint": {"name": "max_norm", "norm": 2}}}, "MaxNorm refuses norm: it takes max_value"),
        (
            {"network": {"constraint": "non_neg"}, "training": {"members": 2}},
            "training.members: weights with a constraint are trained alone; set members to 1",
        ),
        ({"network": {"kind": "custom", "builder": "module.function"}}, "String should match pattern"),
        (
            {"evaluation": {"metric": "accurcy"}},
            "evaluation.metric: there is no metric 'accurcy'; did you mean accuracy",
        ),
        ({"evaluation": {"metrics": ["r2"]}}, "evaluation.metrics: r2 does not fit problem binary; there fit accuracy"),
    ],
)
def test_name_argument_or_combination_that_cannot_be_is_refused(keys, said):
    """R14, and the same for what R6, R10 and R15 to R19 name."""
    with pytest.raises(ValidationError) as refusal:
        spec(**keys)
    assert said in str(refusal.value)


def test_top_k_above_the_classes_is_refused_where_the_spec_names_them():
    target = {"column": "good", "classes": ["a", "b", "c"]}
    metric = {"name": "top_k_categorical_accuracy", "k": 4}
    with pytest.raises(ValidationError, match="TopKCategoricalAccuracy: k 4 is above the 3 classes; give a smaller k"):
        spec(problem="multiclass", target=target, evaluation={"metrics": [metric]})


def test_own_code_that_a_spec_names_is_listed():
    named = spec(
        network={"kind": "custom", "builder": "own:network"},
        training={"loss": {"name": "own:loss", "threshold": 2}},
        evaluation={"metrics": ["own:metric", "accuracy"], "metric": "roc_auc"},
        columns={name: {"kind": "custom", "encoder": "own:encoder"} for name in ("a", "b")},
    )
    assert sorted(named.own_code) == ["own:encoder", "own:loss", "own:metric", "own:network"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"evaluation": {"refits": 1}}, "refits must be 0, or 2 and more"),
        ({"evaluation": {"slices": ["a", "a"]}}, "slices must be distinct"),
        ({"evaluation": {"data_sizes": [1.0]}}, "less than 1"),
        ({"evaluation": {"costs": {"false_negative": 0}}}, "greater than 0"),
        ({"evaluation": {"costs": {}}, "problem": "regression"}, "costs belongs to problems binary and multilabel"),
        (
            {"evaluation": {"slices": ["x"]}, "columns": {"x": {"kind": "tensor", "shape": [2]}}},
            "column 'x' holds tensors",
        ),
    ],
)
def test_evaluation_that_cannot_be_done_is_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        spec(**keys)
