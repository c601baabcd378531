"""R40: the gate on real bundles: champions that cannot be compared, leaking columns, slices, the smoke test."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows import requests
from schemas.errors import ResourceError
from schemas.promotion import Check
from schemas.spec import Spec
from schemas.stages import EncodeRequest, EvaluateResult, Input
from tasks import decisions, encode, evaluate, ingest, register, train, workspaces
from tasks.promotion import smoke
from tasks.workspaces import file_digest

ROWS = 600
CLASS_WEIGHTS = {"training.class_weight.>50K": 2.0, "training.class_weight.<=50K": 1.0, "training.class_weight.N/A/": 3}
Known = dict[str, Any]


def frame(*kinds: str) -> pd.DataFrame:
    """X and z decide which kind a row is, but for some noise; `size` is a number that follows from them."""
    random = np.random.default_rng(0)
    x, z = random.normal(size=ROWS), random.normal(size=ROWS)
    score = x + z + 0.5 * random.normal(size=ROWS)
    codes = np.searchsorted(np.quantile(score, np.arange(1, len(kinds)) / len(kinds)), score)
    group = np.where(np.arange(ROWS) % 3 == 0, "few", "many")
    return pd.DataFrame({"id": np.arange(ROWS), "x": x, "z": z, "group": group, "kind": np.array(kinds)[codes]})


def spec(path: Path, *columns: str, epochs: int = 6, problem: str = "binary", **keys: Any) -> Spec:
    return Spec.model_validate(
        {
            "name": "gate",
            "problem": problem,
            "data": {"path": str(path), "key": ["id"]},
            "target": {"column": "kind"},
            "columns": {name: {"kind": "numeric"} for name in columns},
            "network": {"hidden": [8]},
            "training": {"epochs": epochs, "optimizer": {"name": "adam", "learning_rate": 0.02}},
            "evaluation": {"importance": 0, "slices": [], "worst": 0, "bootstrap": 0},
        }
        | keys
    )


def chain(asked: Spec, workspace: Path, champion: Input | None = None) -> tuple[Known, EvaluateResult]:
    """Run the stages up to evaluate; return what register needs to know, and the evaluation."""
    place = str(workspace)
    ingested = ingest.run(requests.ingest_request(asked, workspace=place))
    encoded = encode.run(EncodeRequest(workspace=place, ingest=ingested.as_input))
    trained = train.run(requests.train_request(asked, workspace=place, ingest=ingested, encode=encoded))
    known: Known = {"workspace": place, "ingest": ingested, "train": trained}
    known["champion"] = ("1", champion) if champion else None
    return known, evaluate.run(requests.evaluate_request(asked, **known, encode=encoded))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Known, EvaluateResult]:
    """A folder with rows of two kinds, and a first model of x and z in its workspace."""
    folder = tmp_path_factory.mktemp("gate")
    frame("no", "yes").to_csv(folder / "rows.csv", index=False)
    return folder, *chain(spec(folder / "rows.csv", "x", "z"), folder / "ws")


@pytest.fixture(scope="module")
def bundle(made: tuple[Path, Known, EvaluateResult]) -> Input:
    """The bundle of the first model, as champion."""
    return Input(path=str(Path(made[1]["train"].path, "bundle")))


def check(result: EvaluateResult, name: str) -> Check:
    (found,) = [each for each in result.verdict.checks if each.name == name]
    return found


def test_first_version_is_promoted_with_its_checks_in_verdict_json(made: tuple[Path, Known, EvaluateResult]) -> None:
    result = made[2]
    written = json.loads(Path(result.path, "verdict.json").read_text())
    assert written["reason"] == result.verdict.reason == "promoted: there is no champion yet"
    assert [each["name"] for each in written["checks"]] == ["leakage column", "leakage model"]
    assert all(each["passed"] and each["value"] < each["wanted"] for each in written["checks"])


def test_a_challenger_that_hardly_learned_is_refused_with_the_numbers(
    made: tuple[Path, Known, EvaluateResult], bundle: Input
) -> None:
    _, result = chain(worse(made[0]), made[0] / "ws", bundle)
    verdict = result.verdict
    assert not verdict.better
    assert f"roc_auc {verdict.challenger:.4g} against the champion's {verdict.champion:.4g}" in verdict.reason
    assert {each.name for each in verdict.checks if not each.passed} == {"gain", "confidence"}


def worse(folder: Path, **promotion: Any) -> Spec:
    """A spec whose network learns nearly nothing: its steps are tiny."""
    steps = {"epochs": 1, "optimizer": {"name": "sgd", "learning_rate": 1e-7}}
    return spec(folder / "rows.csv", "x", "z", training=steps, promotion=promotion)


def test_a_slice_that_gets_worse_is_named(made: tuple[Path, Known, EvaluateResult], bundle: Input) -> None:
    slices = {"columns": ["group"], "minimum_rows": 30, "tolerance": 0.01}
    _, result = chain(worse(made[0], margin=0.99, slices=slices), made[0] / "ws", bundle)
    failed = {each.name: each for each in result.verdict.checks if not each.passed}
    assert "slice group=many" in failed
    assert (failed["slice group=many"].value or 0) > failed["slice group=many"].wanted == 0.01
    few = worse(made[0], margin=0.99, slices=slices | {"minimum_rows": 500})
    assert chain(few, made[0] / "ws", bundle)[1].verdict.better


@pytest.mark.parametrize(
    ("limits", "failed"),
    [
        ({"column": 0.99, "model": None}, ["leakage column"]),
        ({"column": None, "model": 0.8}, ["leakage model"]),
        (None, []),
    ],
    ids=["a column", "the network", "believed"],
)
def test_what_tells_the_answer_blocks_a_challenger_that_passes_all_else(
    made: tuple[Path, Known, EvaluateResult], bundle: Input, limits: dict[str, Any] | None, failed: list[str]
) -> None:
    """Bad input 40."""
    path = made[0] / "leak.csv"
    rows = frame("no", "yes")
    rows.assign(refund=np.where(rows.kind == "yes", 7.5, -2.0)).to_csv(path, index=False)
    _, result = chain(spec(path, "x", "z", "refund", promotion={"leakage": limits}), made[0] / "ws", bundle)
    assert [each.name for each in result.verdict.checks if not each.passed] == failed
    assert result.verdict.better is (not failed)
    told = {"leakage column": "column 'refund' alone explains 100\u00a0% of the target", "leakage model": "the network"}
    assert all(told[each] in result.verdict.reason for each in failed)


@pytest.mark.parametrize(("then", "better"), [("approve", True), ("refuse", False)])
def test_drift_blocks_a_challenger_that_passes_all_else_or_asks_a_person(
    made: tuple[Path, Known, EvaluateResult], bundle: Input, then: str, better: bool
) -> None:
    """Bad input 41: the numbers moved, and the champion takes the one kind for the other."""
    path, rows = made[0] / "drifted.csv", frame("no", "yes")
    rows.assign(x=5 - rows.x, z=5 - rows.z).to_csv(path, index=False)
    _, result = chain(spec(path, "x", "z", promotion={"drift": {"then": then}}), made[0] / "ws", bundle)
    assert [each.name for each in result.verdict.checks if not each.passed] == ["drift"]
    assert (result.verdict.better, check(result, "drift").asks) == (better, better)
    said = "100\u00a0% of the features (z, x) have drifted from the champion's data, at most 50.0\u00a0% are allowed"
    assert result.verdict.reason.startswith("a person decides: " if better else "not promoted: ")
    assert said in result.verdict.reason


def test_a_champion_whose_column_is_gone_is_scored_without_it_and_a_person_decides(
    made: tuple[Path, Known, EvaluateResult], bundle: Input
) -> None:
    path = made[0] / "gone.csv"
    frame("no", "yes").drop(columns="z").to_csv(path, index=False)
    _, result = chain(spec(path, "x", promotion={"confidence": None}), made[0] / "ws", bundle)
    found = check(result, "comparison")
    assert (found.passed, found.asks) == (False, True)
    assert "the champion was scored without columns that it knows (z)" in result.verdict.reason
    assert result.verdict.champion is not None
    assert 0.5 < result.verdict.champion < made[2].verdict.challenger


def test_a_champion_that_knows_fewer_classes_is_compared(made: tuple[Path, Known, EvaluateResult]) -> None:
    folder = made[0] / "classes"
    folder.mkdir()
    frame("a", "b", "c").query("kind != 'c'").to_csv(folder / "old.csv", index=False)
    frame("a", "b", "c").to_csv(folder / "new.csv", index=False)
    known, _ = chain(spec(folder / "old.csv", "x", "z", problem="multiclass"), made[0] / "ws")
    champion = Input(path=str(Path(known["train"].path, "bundle")))
    now, result = chain(spec(folder / "new.csv", "x", "z", problem="multiclass"), made[0] / "ws", champion)
    assert result.verdict.better
    assert result.verdict.champion is not None
    assert result.verdict.champion < 0.67  # of three classes it knows two
    newer = Input(path=str(Path(now["train"].path, "bundle")))
    _, back = chain(spec(folder / "old.csv", "x", problem="multiclass"), made[0] / "ws", newer)
    assert not back.verdict.better
    assert "cannot be compared on the present test rows: it predicts c too" in back.verdict.reason


def test_a_champion_of_another_problem_is_not_replaced_unasked(
    made: tuple[Path, Known, EvaluateResult], bundle: Input
) -> None:
    _, result = chain(spec(made[0] / "rows.csv", "x", "z", problem="multiclass"), made[0] / "ws", bundle)
    assert not result.verdict.better
    assert "it answers problem binary, not multiclass" in result.verdict.reason
    assert "run evermodel promote" in result.verdict.reason


def test_a_champion_that_was_tampered_with_ends_the_evaluation(
    made: tuple[Path, Known, EvaluateResult], bundle: Input, tmp_path: Path
) -> None:
    """Bad input 56."""
    copy = tmp_path / "bundle"
    shutil.copytree(bundle.path, copy)
    network = copy / "network.keras"
    network.write_bytes(network.read_bytes()[:-1] + b"!")
    with pytest.raises(ResourceError, match=r"network\.keras was changed: SHA-256"):
        chain(spec(made[0] / "rows.csv", "x", "z", epochs=7), made[0] / "ws", Input(path=str(copy)))


@pytest.fixture
def registered(made: tuple[Path, Known, EvaluateResult], tmp_path: Path) -> Callable[[EvaluateResult], Any]:
    """Register an evaluation of the first model in a registry of the test's own."""

    def run(evaluation: EvaluateResult) -> Any:
        known = made[1] | {"workspace": str(tmp_path / "ws"), "evaluate": evaluation}
        request = requests.register_request(spec(made[0] / "rows.csv", "x", "z"), **known)
        return register.run(request.model_copy(update={"parameters": request.parameters | CLASS_WEIGHTS}))

    return run


def test_the_registered_model_predicts_in_a_new_process_as_it_was_evaluated(
    made: tuple[Path, Known, EvaluateResult],
    registered: Callable[[EvaluateResult], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is read for it is verified once, and no other rows are."""
    read = list[Path]()

    def noted(path: Path) -> str:
        read.append(path)
        return file_digest(path)

    monkeypatch.setattr(workspaces, "file_digest", noted)
    result = registered(made[2])
    assert result.promoted
    assert len(read) == len(set(read))
    assert {path.name for path in read if path.parent.name == "rows"} == {"test.parquet"}
    registry = register.Registry(workspace=str(tmp_path / "ws"))
    known = registry.parameters(registry.find("gate", "champion"))
    weights = {name.rpartition(".")[2]: value for name, value in known.items() if "class_weight" in name}
    assert weights == {"_50K": "2.0", "__50K": "1.0", "N_A_": "3"}
    (found,) = result.checks
    assert (found.name, found.passed, found.value) == ("smoke", True, 0)
    assert "to the last bit" in found.sentence


def test_a_registered_model_that_predicts_otherwise_is_not_promoted(
    made: tuple[Path, Known, EvaluateResult], registered: Callable[[EvaluateResult], Any], tmp_path: Path
) -> None:
    """The evaluation of another network: the files are whole, and the predictions are not those."""
    known, other = chain(spec(made[0] / "rows.csv", "x", "z", epochs=1), made[0] / "ws")
    assert known["train"].run_key != made[1]["train"].run_key
    result = registered(other)
    assert (result.promoted, result.checks[0].passed) == (False, False)
    assert "differ by up to" in result.reason
    version = register.Registry(workspace=str(tmp_path / "ws")).find("gate", "challenger")
    assert version.aliases == ("challenger",)
    assert version.tags["evermodel.check.smoke"].startswith("failed: ")
    assert decisions.of(version)[-1].what == "refused"


def test_a_registered_model_that_does_not_load_fails_the_test(
    made: tuple[Path, Known, EvaluateResult], tmp_path: Path
) -> None:
    """The files of a model that lost one on the way."""
    copy = tmp_path / "model" / "artifacts" / "bundle"
    shutil.copytree(Path(made[1]["train"].path, "bundle"), copy)
    (copy / "encoder.json").unlink()
    rows = Path(made[1]["ingest"].path, "rows", "test.parquet")
    with smoke.Tester() as tester:
        found = tester.check(tmp_path / "model", rows=rows, evaluated=Path(made[2].path), count=5)
    assert not found.passed
    assert "it does not load: " in found.sentence
    assert "encoder.json" in found.sentence
