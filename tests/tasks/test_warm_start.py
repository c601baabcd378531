"""R39: encode and train that go on from a champion's bundle, each alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.contract import Contract
from schemas.data import ColumnSplit, Source
from schemas.stages import EncodeRequest, EncodeResult, IngestRequest, IngestResult, Input, TrainRequest, TrainResult
from tasks import encode, ingest, train
from tasks.bundle import Bundle
from tasks.encoders.table import TableEncoder
from tasks.tables import read_table

CONTRACT: dict[str, Any] = {
    "problem": "multiclass",
    "target": {"column": "kind"},
    "columns": {"size": {"kind": "numeric"}, "place": {"kind": "one_hot"}},
    "split": "split",
}
SCALED = {"size": {"kind": "numeric", "scale": "min_max"}, "place": {"kind": "one_hot"}}
NETWORK = {"hidden": [8], "normalization": "batch"}


def frame(*, seed: int, kinds: str = "ab", place: str = "south", shift: float = 0.0) -> pd.DataFrame:
    """Rows whose kind follows from their size."""
    size = np.random.default_rng(seed).normal(size=400)
    return pd.DataFrame(
        {
            "size": size + shift,
            "place": np.where(np.arange(400) % 3 == 0, "north", place),
            "kind": np.array(list(kinds))[np.digitize(size, np.linspace(-0.5, 0.5, len(kinds) - 1))],
            "split": np.array(["train", "train", "train", "validation", "test"])[np.arange(400) % 5],
        }
    )


class Workspace:
    """What stands of each stage, made when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ingested(self, rows: pd.DataFrame, name: str, **changes: Any) -> IngestResult:
        rows.to_csv(self.folder / f"{name}.csv", index=False)
        contract = Contract.model_validate(CONTRACT | changes)
        source = Source(path=str(self.folder / f"{name}.csv"))
        split = ColumnSplit(column="split")
        return ingest.run(IngestRequest(workspace=str(self.folder), source=source, contract=contract, split=split))

    def encoded(self, ingested: IngestResult, champion: Input | None = None) -> EncodeResult:
        return encode.run(EncodeRequest(workspace=str(self.folder), ingest=ingested.as_input, champion=champion))

    def request(self, ingested: IngestResult, champion: Input | None = None, **changes: Any) -> TrainRequest:
        asked: dict[str, Any] = {"network": NETWORK, "training": {"epochs": 4}} | changes
        encoded = self.encoded(ingested, champion).as_input
        return TrainRequest(
            workspace=str(self.folder), ingest=ingested.as_input, encode=encoded, champion=champion, **asked
        )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def champion(workspace: Workspace) -> Input:
    first = train.run(workspace.request(workspace.ingested(frame(seed=0), "first"), training={"epochs": 30}))
    return bundle_of(first)


def bundle_of(result: TrainResult) -> Input:
    path = f"{result.path}/bundle"
    return Input(path=path, digest=Bundle(Input(path=path)).digest)


def losses(result: TrainResult) -> list[float]:
    found: list[float] = json.loads((Path(result.path) / "history.json").read_text())["loss"]
    return found


def test_training_begins_from_the_champions_weights(workspace: Workspace, champion: Input) -> None:
    news = workspace.ingested(frame(seed=1), "news")
    warm = train.run(workspace.request(news, champion))
    fresh = train.run(workspace.request(news))
    assert (warm.started_from, fresh.started_from) == (champion.digest, None)
    assert losses(warm)[0] < 0.7 * losses(fresh)[0]
    assert warm.warnings == []


def test_columns_mean_what_they_meant_to_the_champion(workspace: Workspace, champion: Input) -> None:
    moved = workspace.ingested(frame(seed=1, place="west", shift=5.0), "moved")
    encoded = workspace.encoded(moved, champion)
    mine = TableEncoder.load(Path(encoded.path) / "encoder.json")
    assert mine == Bundle(champion).encoder
    features = read_table(Path(encoded.path) / "features" / "train.parquet")
    assert features["size"].to_pandas().mean() > 4, "in the champion's units"
    strange = "of the train rows have a category that is unknown or too rare in training of the champion"
    assert encoded.warnings[0].startswith("column 'place': 66")
    assert encoded.warnings[0].endswith(strange)


@pytest.mark.parametrize(
    ("rows", "contract", "why"),
    [
        ({"kinds": "abc"}, {}, "the training rows have the classes a, b, c, and the champion's a, b"),
        ({}, {"columns": SCALED}, "columns are other than the champion's: size"),
        ({}, {"columns": {"size": {"kind": "numeric"}}}, "columns are other than the champion's: place"),
        ({}, {"problem": "binary"}, "the champion answers problem multiclass, not binary"),
    ],
)
def test_both_stages_begin_afresh_where_columns_or_outputs_do_not_fit(
    workspace: Workspace, champion: Input, rows: dict[str, Any], contract: dict[str, Any], why: str
) -> None:
    changed = workspace.ingested(frame(seed=2, **rows), "changed", **contract)
    encoded = workspace.encoded(changed, champion)
    assert encoded.warnings[0] == f"retraining.start champion: training begins afresh, as {why}"
    assert encoded.files == workspace.encoded(changed).files
    result = train.run(workspace.request(changed, champion, training={"epochs": 1}))
    assert (result.started_from, result.warnings) == (None, [])


def test_weights_of_another_shape_are_told_and_left(workspace: Workspace, champion: Input) -> None:
    news = workspace.ingested(frame(seed=1), "news")
    result = train.run(workspace.request(news, champion, network=NETWORK | {"hidden": [5]}))
    assert result.started_from is None
    assert "the network has weights of shape (3, 5) where the champion's has (3, 8)" in result.warnings[0]


def test_the_champion_is_part_of_the_keys_and_its_place_is_not(workspace: Workspace, champion: Input) -> None:
    asked = workspace.request(workspace.ingested(frame(seed=1), "news"))
    encoding = EncodeRequest(workspace=asked.workspace, ingest=asked.ingest)
    for stage, request in ((encode, encoding), (train, asked)):
        with_champion = request.model_copy(update={"champion": champion})
        elsewhere = request.model_copy(update={"champion": champion.model_copy(update={"path": "/elsewhere"})})
        other = request.model_copy(update={"champion": champion.model_copy(update={"digest": "0" * 64})})
        keys = [stage.run_key(each) for each in (request, with_champion, elsewhere, other)]
        assert keys[1] == keys[2]
        assert len({*keys}) == 3
        assert "champion" not in request.identity(), "keys without a champion are those of earlier releases"
