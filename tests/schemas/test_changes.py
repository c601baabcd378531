"""R39: what one run does otherwise than its spec says."""

from pathlib import Path
from typing import Any

import pytest

from schemas.changes import Changes
from schemas.errors import SpecError
from schemas.spec import Spec
from schemas.spec_file import absolute, read_spec
from tasks.examples import EXAMPLES, write_example

ROWS: dict[str, Any] = {
    "name": "test",
    "problem": "binary",
    "data": {"path": "/data/rows.csv", "time": "day"},
    "target": {"column": "y"},
    "columns": {"x": {"kind": "numeric"}},
}


def test_what_is_left_empty_is_as_the_spec_says() -> None:
    spec = Spec.model_validate(ROWS)
    assert Changes().applied_to(spec) is spec


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ({"path": "s3://bucket/rows.parquet"}, "data.path", "s3://bucket/rows.parquet"),
        ({"path": "newer.csv"}, "data.path", "/data/newer.csv"),
        ({"since": "2024-06-01"}, "data.since", "2024-06-01T00:00:00Z"),
        ({"until": "2024-06-01T12:00+02:00"}, "data.until", "2024-06-01T10:00:00Z"),
        ({"epochs": 7}, "training.epochs", 7),
        ({"learning_rate": 0.5}, "training.optimizer.learning_rate", 0.5),
        ({"class_weight": "balanced"}, "training.class_weight", "balanced"),
        ({"class_weight": {"yes": 3}}, "training.class_weight.yes", 3),
        ({"class_weight": "none"}, "training.class_weight", None),
        ({"device": {"gpus": 2}}, "training.device.gpus", 2),
        ({"runner": "docker"}, "runner.default.kind", "docker"),
        ({"runner": {"kind": "work_pool", "pool": "gpus"}}, "runner.default.pool", "gpus"),
        ({"tuning": "on"}, "tuning.trials", 30),
        ({"tuning": {"trials": 5}}, "tuning.trials", 5),
        ({"tuning": {"trials": None, "minutes": 5}}, "tuning.trials", None),
        ({"tuning": "off"}, "tuning", None),
        ({"promote": "never"}, "promotion.promote", "never"),
    ],
)
def test_a_change_sets_one_key_and_leaves_the_rest(change: dict[str, Any], key: str, value: Any) -> None:
    spec = Spec.model_validate({**ROWS, "training": {"class_weight": "effective_number", "seed": 4}})
    changed = Changes.model_validate(change).applied_to(spec)
    found: Any = changed.model_dump(mode="json")
    for part in key.split("."):
        found = found[part]
    assert found == value
    top, *_ = key.split(".")
    assert changed.model_dump(exclude={top}) == spec.model_dump(exclude={top})
    assert changed.training.seed == 4


@pytest.mark.parametrize(
    ("known", "beside"),
    [
        ("rows.csv", "/here/new.csv"),
        ("data/rows.csv", "/here/data/new.csv"),
        ("${WHERE}/rows.csv", "${WHERE}/new.csv"),
        ("${WHICH}", "/elsewhere/new.csv"),
    ],
)
def test_new_data_lie_beside_the_specs_own_wherever_that_is(
    known: str, beside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERE", "/elsewhere")
    monkeypatch.setenv("WHICH", "/elsewhere/rows.csv")
    spec = absolute(Spec.model_validate({**ROWS, "data": {"path": known}}), folder=Path("/here"))
    assert Changes(path="new.csv").applied_to(spec).data.path == beside
    assert Changes(epochs=5).applied_to(spec).data.path == spec.data.path


def test_a_rate_keeps_the_optimiser_and_takes_the_place_of_a_schedule() -> None:
    schedule = {"name": "cosine_decay", "initial_learning_rate": 0.1, "decay_steps": 10}
    optimizer = {"name": "sgd", "momentum": 0.9, "learning_rate": schedule}
    spec = Spec.model_validate({**ROWS, "training": {"optimizer": optimizer}})
    changed = Changes(learning_rate=0.01).applied_to(spec)
    assert changed.training.optimizer.model_dump() == {"name": "sgd", "momentum": 0.9, "learning_rate": 0.01}


def test_what_does_not_fit_together_is_refused_with_the_words_of_the_spec() -> None:
    spec = Spec.model_validate({**ROWS, "problem": "regression"})
    with pytest.raises(SpecError, match=r"^changes: .*class_weight"):
        Changes(class_weight="balanced").applied_to(spec)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_keys_that_were_written_are_the_whole_spec(name: str, tmp_path: Path) -> None:
    spec = read_spec(write_example(name, tmp_path))
    assert Spec.model_validate(spec.model_dump(mode="json", exclude_unset=True)) == spec
