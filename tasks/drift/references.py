"""References: what ingest and bundles say their data looked like, and the comparison of two without reading a row."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from schemas.drift import Drift, DriftReport
from schemas.errors import ResourceError
from schemas.reference import Reference
from schemas.stages import IngestResult, Input
from tasks import stage
from tasks.drift import marginals
from tasks.drift.comparison import compare
from tasks.tables import outline, read_batches
from tasks.workspaces import place

if TYPE_CHECKING:
    from tasks.bundle import Bundle
    from tasks.encoders.base import Array

FILE = "reference.json"
_ROWS = 20_000


@dataclass(frozen=True)
class Comparison:
    """A report on drift with the two references that it rests on."""

    report: DriftReport
    reference: Reference
    new: Reference


def between(champion: Input, ingest: Input, drift: Drift) -> DriftReport | None:
    """Compare what ingest published with the data that a champion's bundle was made from; no row is read.

    `ingest.digest` may be left out. None where either has no reference, as those of older versions. Raises
    ResourceError for what is missing or changed.
    """
    from tasks.bundle import Bundle

    reference, new = Bundle(champion).reference, of_ingest(ingest)
    return None if reference is None or new is None else compare(reference, new, drift)


def of_ingest(ingest: Input) -> Reference | None:
    """Return the reference that ingest published; None if there is none, as from older versions."""
    origin = place(ingest.path)
    result = stage.published(IngestResult, origin)
    if result is None:
        raise ResourceError(f"{origin} holds no finished ingest; run that stage first")
    if ingest.digest is not None and result.digest != ingest.digest:
        raise ResourceError(f"{origin} is not what was asked for: digest {result.digest}, wanted {ingest.digest}")
    if FILE not in result.files:
        return None
    stage.verify(origin.directory, {FILE: result.files[FILE]})
    return Reference.load(origin.directory / FILE)


def of_evaluation(ingested: Path, champion: "Bundle", predicted: "Array | None", drift: Drift) -> Comparison | None:
    """Compare ingested rows, and a champion's predictions of their test split, with the champion's own reference.

    `predicted` is what the champion says, as `Bundle.predict` returns it, or None where it cannot. None without both
    references.
    """
    if champion.reference is None or not (ingested / FILE).is_file():
        return None
    new = Reference.load(ingested / FILE)
    if predicted is not None:
        said = marginals.predictions(champion.encoder.target.columns(predicted))
        new = new.model_copy(update={"predictions": said})
    return Comparison(compare(champion.reference, new, drift), champion.reference, new)


def of_bundle(bundle: "Bundle", ingested: Path, *, refitted: bool) -> Reference:
    """Return the reference that a freshly trained bundle carries: that of its rows, with the network's predictions.

    Those are of up to 20,000 rows, evenly spread over the validation split or, of a network that was refitted on that,
    over the test split, whose targets are not looked at: on rows that it has learned, a network says other things.
    """
    path = ingested / "rows" / f"{'test' if refitted else 'validation'}.parquet"
    said = [bundle.encoder.target.columns(bundle.predict(rows)) for rows in _spread(path)]
    columns = {name: pa.concat_arrays([each[name] for each in said]) for name in said[0]} if said else {}
    return Reference.load(ingested / FILE).model_copy(update={"predictions": marginals.predictions(columns)})


def _spread(path: Path) -> Iterator[pa.Table]:
    """Yield every so many-th row of a file."""
    rows, _ = outline(path)
    step, first = max(1, -(-rows // _ROWS)), 0
    for batch in read_batches(path):
        yield batch.take(pa.array(np.arange(-first % step, batch.num_rows, step)))
        first += batch.num_rows
