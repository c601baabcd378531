"""R39: runs that go on from the champion, on a real Prefect server and a real registry."""

from pathlib import Path

import pandas as pd
import pytest

from flows import retrain
from schemas.errors import SpecError
from schemas.run import RunResult
from schemas.spec import Spec
from schemas.spec_file import read_spec
from schemas.stages import TrainResult
from tasks.examples import write_example
from tasks.registry import Registry

ASKED = (
    "training.epochs=3",
    "network.hidden=[8]",
    "promotion.smoke=0",
    "promotion.promote=auto",
    "retraining.start=champion",
)

pytestmark = pytest.mark.usefixtures("prefect_server")


def example(folder: Path, *changes: str) -> Spec:
    return read_spec(write_example("breast-cancer", folder), overrides=(*ASKED, *changes))


def more_rows(spec: Spec) -> None:
    """Let new rows land, of which the numbers are other."""
    path = Path(spec.data.path)
    rows = pd.read_csv(path)
    number = rows.select_dtypes("float").columns[0]
    news = rows.head(60).assign(**{number: rows[number].head(60) * 1.5})
    if spec.data.key:
        for key in spec.data.key if isinstance(spec.data.key, tuple | list) else [spec.data.key]:
            news[key] = range(10_000_000, 10_000_000 + len(news))
    pd.concat([rows, news]).to_csv(path, index=False)


def changed_network(spec: Spec) -> Spec:
    return spec.model_copy(update={"network": spec.network.model_copy(update={"hidden": (9,)})})


def cached(result: RunResult) -> bool:
    return all(stage.cached for stage in result.stages.values())


def trained(result: RunResult) -> TrainResult:
    return TrainResult.load(Path(result.stages["train"].path) / "result.json")


@pytest.mark.slow
def test_a_run_goes_on_from_the_champion_and_a_rerun_does_nothing(tmp_path: Path) -> None:
    spec, workspace = example(tmp_path / "example", "training.seed=1"), str(tmp_path / "ws")
    registry = Registry(workspace=workspace)
    first = retrain(spec, workspace=workspace)
    assert trained(first).started_from is None
    assert cached(retrain(spec, workspace=workspace)), "a champion that came of the same question is no start"

    more_rows(spec)
    second = retrain(spec, workspace=workspace)
    assert trained(second).started_from == registry.find("breast-cancer", "1").bundle_digest
    assert (Path(second.stages["encode"].path) / "encoder.json").read_bytes() == (
        Path(first.stages["encode"].path) / "encoder.json"
    ).read_bytes()
    if not second.model.promoted:
        registry.promote("breast-cancer", "2", reason="for this test", by="a test")
    assert registry.champion("breast-cancer").version == "2"
    assert cached(again := retrain(spec, workspace=workspace))
    assert again.model.version == "2"
    assert [each.version for each in registry.versions("breast-cancer")] == ["2", "1"]

    other = retrain(changed_network(spec), workspace=workspace)
    assert trained(other).started_from is None
    why = "retraining.start champion: training begins afresh, as network.hidden is [9] and was [8]"
    assert why in other.warnings


@pytest.mark.parametrize(
    ("change", "remedy"), [("tuning={}", "take tuning out"), ("training.members=2", "set members to 1")]
)
def test_a_start_that_has_no_meaning_is_refused_with_the_remedy(tmp_path: Path, change: str, remedy: str) -> None:
    with pytest.raises(SpecError, match=f"retraining.start champion: .*{remedy}, or set start to fresh"):
        example(tmp_path, change)
