"""The report of the model by hand: intervals, slices, importance and figures on one page."""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn import metrics
from sklearn.calibration import CalibrationDisplay

SLICED = ("carrier", "origin", "dest")
RESAMPLES, REPEATS = 200, 3
DRAWN = 2_000
"""Rows of a resample, and rows that importance looks at."""


def write(
    out: Path,
    *,
    history: Mapping[str, list[float]],
    scored: Mapping[str, Mapping[str, float]],
    test: pd.DataFrame,
    labels: np.ndarray,
    predicted: np.ndarray,
    predict: Callable[[pd.DataFrame], np.ndarray],
) -> None:
    """Write report/report.html and its figures as PNG."""
    folder = out / "report"
    folder.mkdir()
    tables = {
        "Metrics": pd.DataFrame(scored),
        "Slices": slices(test, labels, predicted),
        "Importance": importance(test, labels, predict),
        "Worst predictions": test.iloc[np.argsort(-np.abs(labels - predicted))[:10]],
    }
    figures = drawn(history, labels, predicted, tables["Importance"])
    page = [f"<h2>{name}</h2>{table.to_html()}" for name, table in tables.items()]
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=144)
        data = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
        page.append(f'<h2>{name}</h2><img src="data:image/png;base64,{data}">')
    (folder / "report.html").write_text("\n".join(page))


def slices(test: pd.DataFrame, labels: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Return the ROC AUC of all rows and of the most frequent values of some columns, with intervals."""
    parts = {"all": np.ones(len(test), bool)} | {
        f"{column} {value}": (test[column] == value).to_numpy()
        for column in SLICED
        for value in test[column].value_counts().index[:8]
    }
    return pd.DataFrame({name: auc(labels[rows], predicted[rows]) for name, rows in parts.items()}).T


def auc(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return the ROC AUC with its 95 % interval, by bootstrap of at most 2,000 rows at a time."""
    random, count = np.random.default_rng(0), min(len(labels), DRAWN)
    draws = (random.integers(len(labels), size=count) for _ in range(RESAMPLES))
    whole = metrics.roc_auc_score(labels, predicted)
    values = np.array([metrics.roc_auc_score(labels[rows], predicted[rows]) for rows in draws])
    low, high = whole + np.sqrt(count / len(labels)) * (np.nanquantile(values, (0.025, 0.975)) - whole)
    return {"rows": len(labels), "roc_auc": whole, "low": low, "high": high}


def importance(test: pd.DataFrame, labels: np.ndarray, predict: Callable[[pd.DataFrame], np.ndarray]) -> pd.DataFrame:
    """Return how much the ROC AUC falls when a column is shuffled, on 2,000 rows, the most important column first."""
    random = np.random.default_rng(0)
    rows = random.choice(len(test), DRAWN, replace=False)
    sample, truth = test.iloc[rows], labels[rows]
    whole = metrics.roc_auc_score(truth, predict(sample))
    features = sample.columns.difference(["late", "departure", "arrival", "flight"])
    losses = {}
    for name in features:
        shuffled = [sample.assign(**{name: random.permutation(sample[name])}) for _ in range(REPEATS)]
        said = np.split(predict(pd.concat(shuffled)), REPEATS)
        losses[name] = whole - np.mean([metrics.roc_auc_score(truth, each) for each in said])
    return pd.DataFrame({"loss": losses}).sort_values("loss", ascending=False)


def drawn(
    history: Mapping[str, list[float]], labels: np.ndarray, predicted: np.ndarray, losses: pd.DataFrame
) -> dict[str, Figure]:
    """Return the usual figures of a binary problem."""
    figures = {
        name: Figure(layout="constrained")
        for name in ("learning", "roc", "precision_recall", "calibration", "confusion", "scores", "importance")
    }
    axes = {name: figure.subplots() for name, figure in figures.items()}
    axes["learning"].plot(history["loss"], label="train")
    axes["learning"].plot(history["val_loss"], label="validation")
    axes["learning"].legend()
    metrics.RocCurveDisplay.from_predictions(labels, predicted, ax=axes["roc"])
    metrics.PrecisionRecallDisplay.from_predictions(labels, predicted, ax=axes["precision_recall"])
    CalibrationDisplay.from_predictions(labels, predicted, n_bins=10, ax=axes["calibration"])
    metrics.ConfusionMatrixDisplay.from_predictions(labels, predicted >= 0.5, ax=axes["confusion"])
    axes["scores"].hist([predicted[labels == 0], predicted[labels == 1]], bins=40, label=["on time", "late"])
    axes["scores"].legend()
    axes["importance"].barh(losses.index[::-1], losses["loss"].to_numpy()[::-1])
    return figures
