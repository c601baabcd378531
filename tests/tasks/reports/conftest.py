from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import datasets
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from schemas.columns import NumericColumn
from schemas.contract import Contract
from schemas.data import REGRESSION, Target
from schemas.profile import Profile
from schemas.promotion import Verdict
from schemas.stages import IngestResult, Rows, TrainResult
from tasks import metrics
from tasks.metrics import DEFAULT_METRIC, Scored
from tasks.profiles import Profiler
from tasks.reports.content import Content

PROBLEMS = ("regression", "multioutput_regression", "binary", "multiclass", "multilabel")
TRAITS = ("even", "prime", "above four")


def _data(problem: str) -> tuple[Any, Any, tuple[str, ...]]:
    """Return features, the target as `Scored.truth` has it, and the names of outputs, classes or labels."""
    if problem == "regression":
        bunch = datasets.load_diabetes()
        return bunch.data, bunch.target[:, None], ("progression",)
    if problem == "multioutput_regression":
        bunch = datasets.load_linnerud()
        return bunch.data, bunch.target, tuple(bunch.target_names)
    if problem == "binary":
        bunch = datasets.load_breast_cancer()
        return bunch.data, bunch.target, tuple(bunch.target_names)
    bunch = datasets.load_digits()
    digits = bunch.target
    if problem == "multiclass":
        return bunch.data, digits, tuple(map(str, range(10)))
    traits = np.column_stack([digits % 2 == 0, np.isin(digits, (2, 3, 5, 7)), digits > 4]).astype(np.int8)
    return bunch.data, traits, TRAITS


def _predict(problem: str, features: Any, target: Any, train: Any) -> Any:
    if problem in REGRESSION:
        model = make_pipeline(StandardScaler(), Ridge())
        return model.fit(features[train], target[train]).predict(features).reshape(target.shape)
    logistic = LogisticRegression(max_iter=300, C=0.05)
    model = make_pipeline(StandardScaler(), OneVsRestClassifier(logistic) if problem == "multilabel" else logistic)
    return model.fit(features[train], target[train]).predict_proba(features)


def _contract_and_profile(
    problem: str, features: Any, target: Any, names: tuple[str, ...], columns: tuple[str, ...]
) -> tuple[Contract, Profile]:
    several = target.ndim == 2 and target.shape[1] > 1
    contract = Contract(
        problem=problem,
        columns={name: NumericColumn() for name in columns},
        target=Target(columns=names) if several else Target(column="target"),
    )
    table = {name: pa.array(features[:, at].astype(float)) for at, name in enumerate(columns)}
    if several:
        table |= {name: pa.array(target[:, at].astype(float)) for at, name in enumerate(names)}
    else:
        labels = target.ravel() if problem == "regression" else [names[code] for code in target]
        table["target"] = pa.array(labels)
    profiler = Profiler(contract)
    profiler.add(pa.table(table), np.arange(len(features), dtype=np.uint64))
    return contract, profiler.profile()


def _content(problem: str, *, names: tuple[str, ...] = (), weighted: bool = False, champion: bool = True) -> Content:
    features, target, real_names = _data(problem)
    names = names or real_names
    split = np.random.default_rng(0).permutation(np.arange(len(features)) % 5)
    rows = {"train": split > 1, "validation": split == 1, "test": split == 0}
    predicted = _predict(problem, features, target, rows["train"])
    weight = np.random.default_rng(1).uniform(0.2, 3, len(features)) if weighted else None
    scored = {
        each: Scored(problem, names, target[at], predicted[at], None if weight is None else weight[at])
        for each, at in rows.items()
    }
    figures = {each: metrics.compute(value) for each, value in scored.items()}
    columns = tuple(f"x{at}" for at in range(features.shape[1]))
    contract, profile = _contract_and_profile(problem, features, target, names, columns)
    counts = {each: int(at.sum()) for each, at in rows.items()}
    epochs = np.arange(1, 41)
    validation_loss = 0.85 * np.exp(-epochs / 9) + 0.14 + 0.003 * np.maximum(epochs - 24, 0)
    return Content(
        name=problem.replace("_", "-"),
        champion_version="3" if champion else None,
        scored=scored,
        metrics=figures,
        champion=scored["test"] if champion else None,
        champion_metrics=figures["test"] if champion else None,
        verdict=_verdict(problem, figures["test"], champion=champion),
        history={
            "loss": (0.9 * np.exp(-epochs / 9) + 0.1).tolist(),
            "validation_loss": validation_loss.tolist(),
            "best_epoch": int(validation_loss.argmin()) + 1,
        },
        profile=profile,
        contract=contract if not weighted else contract.model_copy(update={"weight": "trust"}),
        ingest=IngestResult(
            stage="ingest",
            run_key="0f" * 32,
            path="ingest",
            files={"rows/train.parquet": "ab" * 32},
            seconds=1.5,
            rows=Rows(read=len(features) + 2, accepted=len(features), rejected=2, **counts),
            warnings=["column 'x0' has one value only and says nothing"],
        ),
        train=TrainResult(
            stage="train",
            run_key="1e" * 32,
            path="train",
            files={"history.json": "cd" * 32},
            seconds=12.34,
            epochs=40,
            best_epoch=int(validation_loss.argmin()) + 1,
            parameters=4_321,
            validation_loss=0.18,
        ),
    )


def _verdict(problem: str, test: dict[str, float], *, champion: bool) -> Verdict:
    metric = DEFAULT_METRIC[problem]
    value = test[metric]
    if not champion:
        return Verdict(better=True, reason="promoted: there is no champion yet", metric=metric, challenger=value)
    reason = f"not promoted: {metric} {value:.4g} against the champion's {value:.4g} on the same test rows"
    return Verdict(better=False, reason=reason, metric=metric, challenger=value, champion=value)


@pytest.fixture(scope="session")
def content_of() -> Callable[..., Content]:
    """What evaluate passes, for a problem: scikit-learn's own data and a linear model's predictions."""
    return _content
