"""R10-R13: losses, optimisers, activations and initialisers by the names that Keras gives them."""

import keras
import pytest

from schemas.errors import SpecError
from schemas.named import Named
from tasks.training import catalogue

LOSSES = {
    "mean_squared_error": "MeanSquaredError",
    "mean_absolute_error": "MeanAbsoluteError",
    "mean_absolute_percentage_error": "MeanAbsolutePercentageError",
    "mean_squared_logarithmic_error": "MeanSquaredLogarithmicError",
    "cosine_similarity": "CosineSimilarity",
    "huber": "Huber",
    "log_cosh": "LogCosh",
    "binary_crossentropy": "BinaryCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "poisson": "Poisson",
    "kl_divergence": "KLDivergence",
    "binary_focal_crossentropy": "BinaryFocalCrossentropy",
    "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
    "hinge": "Hinge",
    "squared_hinge": "SquaredHinge",
    "categorical_hinge": "CategoricalHinge",
}


@pytest.mark.parametrize("snake", LOSSES)
def test_loss_is_known_by_class_name_and_in_snake_case(snake):
    named = [catalogue.loss(Named(name=name)) for name in (snake, LOSSES[snake])]
    assert [type(loss) for loss in named] == [getattr(keras.losses, LOSSES[snake])] * 2


@pytest.mark.parametrize(
    ("short", "name"),
    [("mse", "MeanSquaredError"), ("MAE", "MeanAbsoluteError"), ("bce", "BinaryCrossentropy"), ("kld", "KLDivergence")],
)
def test_loss_is_known_by_its_short_name(short, name):
    assert type(catalogue.loss(Named(name=short))).__name__ == name


@pytest.mark.parametrize(
    "name",
    ["SGD", "sgd", "Adagrad", "rmsprop", "RMSprop", "adam", "Nadam", "adam_w", "AdamW", "lion", "Adafactor", "Ftrl"],
)
def test_optimizer_is_known_by_name(name):
    assert type(catalogue.optimizer(Named(name=name))).__name__.lower() == name.replace("_", "").lower()


def test_arguments_stand_beside_the_name():
    sgd = catalogue.optimizer(Named(name="sgd", learning_rate=0.25, momentum=0.9, nesterov=True))
    assert (float(sgd.learning_rate), sgd.momentum, sgd.nesterov) == (0.25, 0.9, True)
    assert float(catalogue.loss(Named(name="huber", delta=3.0))([[10.0]], [[0.0]])) == 3 * 10 - 3 * 3 / 2


@pytest.mark.parametrize(
    ("build", "named", "message"),
    [
        (catalogue.loss, {"name": "meen_squared_error"}, r"training\.loss: .*did you mean MeanSquaredError\?"),
        (catalogue.loss, {"name": "xyz"}, r"training\.loss: Keras has no loss 'xyz'; there are BinaryCrossentropy, "),
        (catalogue.loss, {"name": "get"}, r"Keras has no loss 'get'"),
        (catalogue.loss, {"name": "huber", "dleta": 1}, r"training\.loss: Huber refuses \{'dleta': 1\}"),
        (catalogue.optimizer, {"name": "adm"}, r"training\.optimizer: .*did you mean Adam\?"),
        (catalogue.optimizer, {"name": "adam", "lr": 1}, r"training\.optimizer: Adam refuses \{'lr': 1\}"),
        (catalogue.optimizer, {"name": "adam", "learning_rate": "fast"}, r"Adam refuses \{'learning_rate': 'fast'\}"),
    ],
)
def test_what_keras_does_not_know_is_refused_with_the_nearest_name(build, named, message):
    with pytest.raises(SpecError, match=message):
        build(Named(**named))


@pytest.mark.parametrize("name", ["glorot_uniform", "he_normal", "HeNormal", "lecun_uniform", "orthogonal"])
def test_initializer_is_known_by_name(name):
    made = catalogue.initializer(Named(name=name), key="network.initializer")
    assert type(made).__name__.removesuffix("Initializer").lower() == name.replace("_", "").lower()


def test_schedule_stands_in_place_of_the_learning_rate():
    schedule = {"name": "exponential_decay", "initial_learning_rate": 0.5, "decay_steps": 10, "decay_rate": 0.5}
    sgd = catalogue.optimizer(Named(name="sgd", learning_rate=schedule))
    assert [float(sgd._learning_rate(step)) for step in (0, 10, 20)] == [0.5, 0.25, 0.125]


def test_whole_number_stands_for_a_float():
    """R10: 1 is Keras's own rate for Adadelta, which it wants as 1.0."""
    assert float(catalogue.optimizer(Named(name="adadelta", learning_rate=1)).learning_rate) == 1.0
