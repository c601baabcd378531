"""A champion, and chains of stages up to evaluate on rows that are as those it was made from, or not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows import requests
from schemas.spec import Spec
from schemas.stages import EncodeRequest, EvaluateResult, IngestResult, Input, TrainResult
from tasks import bundle_contents, encode, evaluate, ingest, train

Chain = Callable[..., tuple[IngestResult, TrainResult, EvaluateResult]]


@pytest.fixture(scope="session")
def made() -> Callable[..., pd.DataFrame]:
    """Make rows."""
    return _rows


def _rows(seed: int, *, shift: float = 0.0) -> pd.DataFrame:
    """Return rows in which x, shifted, and a colour decide y."""
    random = np.random.default_rng(seed)
    x, colour = random.normal(shift, size=1000).round(4), random.choice(["red", "green"], 1000)
    yes = random.random(1000) < 1 / (1 + np.exp(-3 * x - (colour == "red")))
    at = pd.date_range("2024-01-01", periods=1000, freq="h")
    return pd.DataFrame({"x": x, "colour": colour, "at": at, "y": np.where(yes, "yes", "no")})


def _spec(path: Path, **keys) -> Spec:
    return Spec.model_validate(
        {
            "name": "drifting",
            "problem": "binary",
            "data": {"path": str(path)},
            "target": {"column": "y"},
            "columns": {"x": {"kind": "numeric"}, "colour": {"kind": "one_hot"}, "at": {"kind": "datetime"}},
            "network": {"hidden": [4]},
            "training": {"epochs": 3, "optimizer": {"name": "adam", "learning_rate": 0.02}},
            "evaluation": {"bootstrap": 0, "importance": 0, "worst": 0, "slices": []},
        }
        | keys
    )


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Run the stages up to evaluate on a frame, beside a champion if there is one."""
    folder = tmp_path_factory.mktemp("drift")
    place = str(folder / "workspace")

    def run(frame: pd.DataFrame, name: str, champion: Input | None = None, **keys) -> tuple:
        frame.to_csv(folder / f"{name}.csv", index=False)
        asked = _spec(folder / f"{name}.csv", **keys)
        ingested = ingest.run(requests.ingest_request(asked, workspace=place))
        encoded = encode.run(EncodeRequest(workspace=place, ingest=ingested.as_input))
        known = {"workspace": place, "ingest": ingested, "encode": encoded}
        known["train"] = train.run(requests.train_request(asked, **known))
        beaten = ("1", champion) if champion else None
        evaluated = evaluate.run(requests.evaluate_request(asked, **known, champion=beaten))
        return ingested, known["train"], evaluated

    return run


@pytest.fixture(scope="session")
def champion(chain: Chain) -> Input:
    """The bundle of a champion."""
    _, trained, _ = chain(_rows(1), "champion")
    directory = Path(trained.path, "bundle")
    return Input(path=str(directory), digest=bundle_contents.digest(directory))
