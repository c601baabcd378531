"""R42: monitoring as a stage: which rows count as labelled, and rows that change while they are read."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows import requests
from schemas.data import Source
from schemas.errors import DataError
from schemas.monitoring import MonitorRequest, MonitorResult
from schemas.spec import Spec
from schemas.stages import EncodeRequest, Input
from tasks import encode, ingest, monitor, train

ROWS = 200


def frame(seed: int) -> pd.DataFrame:
    x = np.random.default_rng(seed).normal(size=ROWS)
    return pd.DataFrame({"x": x, "y": 2 * x + 1, "w": np.ones(ROWS)})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Input:
    """The bundle of a regression."""
    folder = tmp_path_factory.mktemp("monitored")
    frame(0).to_csv(folder / "rows.csv", index=False)
    asked = Spec.model_validate(
        {
            "name": "line",
            "problem": "regression",
            "data": {"path": str(folder / "rows.csv"), "weight": "w"},
            "target": {"column": "y"},
            "columns": {"x": {"kind": "numeric"}},
            "network": {"hidden": [4]},
            "training": {"epochs": 2},
        }
    )
    place = str(folder / "ws")
    ingested = ingest.run(requests.ingest_request(asked, workspace=place))
    encoded = encode.run(EncodeRequest(workspace=place, ingest=ingested.as_input))
    trained = train.run(requests.train_request(asked, workspace=place, ingest=ingested, encode=encoded))
    return Input(path=str(Path(trained.path, "bundle")))


def watch(bundle: Input, folder: Path, source: Path) -> MonitorResult:
    asked = MonitorRequest(
        workspace=str(folder / "ws"), name="line", version="1", bundle=bundle, source=Source(path=str(source))
    )
    return monitor.run(asked)


@pytest.mark.parametrize("labelled", ["a.csv", "b.csv"])
def test_of_several_files_those_with_the_target_are_measured(bundle: Input, tmp_path: Path, labelled: str) -> None:
    (tmp_path / "new").mkdir()
    for seed, name in enumerate(("a.csv", "b.csv", "c.csv"), start=1):
        gone = {labelled: ["w"], "c.csv": []}.get(name, ["y", "w"])  # weights stand in one of the labelled ones alone
        frame(seed).drop(columns=gone).to_csv(tmp_path / "new" / name, index=False)
    result = watch(bundle, tmp_path, tmp_path / "new")
    assert (result.rows.accepted, result.labelled) == (3 * ROWS, 2 * ROWS)
    assert result.metrics["r2"] is not None


def test_19_rows_that_change_while_they_are_read_are_judged_by_no_run(bundle: Input, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    frame(1).to_csv(path, index=False)

    class Writer(logging.Handler):
        """Writes at the first sign of progress."""

        def emit(self, record: logging.LogRecord) -> None:
            frame(2).to_csv(path, index=False)

    logger, writer = logging.getLogger("evermodel.monitor"), Writer()
    logger.setLevel(logging.INFO)
    logger.addHandler(writer)
    try:
        with pytest.raises(DataError, match=r"new\.csv changed while it was read; run again"):
            watch(bundle, tmp_path, path)
    finally:
        logger.removeHandler(writer)
    assert watch(bundle, tmp_path, path).labelled == ROWS
