"""Scoring bundles on published rows."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.bundle import Bundle
from tasks.encoders.table import weights
from tasks.metrics import Scored
from tasks.tables import read_batches

log = logging.getLogger("evermodel.evaluate")

_TRAIN_ROWS = 200_000  # more do not make the training figures more telling


def score(bundle: Bundle, ingested: Path, split: str) -> Scored:
    """Return a split's predictions beside the truth; of the training rows at most the first 200,000."""
    return score_batches(bundle, _batches(ingested, split))


def _batches(ingested: Path, split: str) -> Iterator[pa.Table]:
    rows = 0
    for batch in read_batches(ingested / "rows" / f"{split}.parquet"):
        yield batch
        rows += batch.num_rows
        log.info("evaluate: %s %s rows", split, f"{rows:,}", extra={"event": {"stage": "evaluate", "rows": rows}})
        if split == "train" and rows >= _TRAIN_ROWS:
            return


def score_batches(bundle: Bundle, batches: Iterable[pa.Table]) -> Scored:
    """Return the predictions of accepted rows, batch by batch, beside the truth."""
    truths, predictions, row_weights = [], [], []
    for batch in batches:
        truths.append(bundle.encoder.target.truth(batch))
        predictions.append(bundle.predict(batch))
        row_weights.append(weights(batch))
    known = [weight for weight in row_weights if weight is not None]
    weight = np.concatenate(known) if any(each.any() for each in known) else None
    return Scored(bundle.contract.problem, bundle.outputs, np.concatenate(truths), np.concatenate(predictions), weight)
