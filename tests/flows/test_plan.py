"""What `evermodel check` finds in the first rows of the data, so that no run has to."""

from pathlib import Path

import pytest

from flows.plan import plan
from schemas.errors import DataError, SpecError
from schemas.spec_file import read_spec
from tasks.examples import write_example

TOP = "evaluation.metrics=[{name: top_k_categorical_accuracy, k: 11}]"


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    for name in ("digits", "diabetes", "breast-cancer"):
        write_example(name, folder)
    return folder


def planned(examples: Path, name: str, *overrides: str) -> list[str]:
    return list(plan(read_spec(examples / f"{name}.yaml", overrides=overrides), str(examples / "ws")))


@pytest.mark.parametrize(
    ("name", "override", "error", "message"),
    [
        ("digits", TOP, SpecError, "TopKCategoricalAccuracy: k 11 is above the 10 classes"),
        ("digits", "training.class_weight={12: 3}", SpecError, "no label '12'; there are 0, 1, 2"),
        (
            "digits",
            "network.regularizer={name: orthogonal_regularizer, mode: x}",
            SpecError,
            "OrthogonalRegularizer refuses",
        ),
        ("breast-cancer", "target.positive=bad", DataError, "target.positive 'bad' is no label; there are benign, mal"),
        ("diabetes", "problem=binary", DataError, "has 214 classes .* but problem binary wants two"),
        ("diabetes", "network.output_activation=tanh", DataError, "442 of the first rows lie outside -1 to 1"),
    ],
)
def test_what_the_data_forbids_is_refused(
    examples: Path, name: str, override: str, error: type[Exception], message: str
) -> None:
    unscaled = ["target.scale=none"] if name == "diabetes" and "network" in override else []
    with pytest.raises(error, match=message):
        planned(examples, name, override, *unscaled)


def test_k_below_the_number_of_classes_is_fine(examples: Path) -> None:
    assert planned(examples, "digits", TOP.replace("11", "9"))[-1] == "stages    all would run"


def test_classes_that_were_not_all_seen_are_not_judged(examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.plan._BATCHES", 1)
    assert planned(examples, "digits", TOP)[-1] == "stages    all would run"
