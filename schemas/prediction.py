"""Request and result of predict, which is no stage: it publishes nothing under a run key."""

from schemas.data import Source
from schemas.document import Document
from schemas.stages import Input, Rows


class PredictRequest(Document):
    """Score raw rows with a bundle."""

    bundle: Input
    """The bundle's directory. `digest` is that of its bundle.json."""
    source: Source
    """The raw rows, in any form that ingest reads; the target's columns need not be there."""
    output: str
    """The file to write: .parquet or .csv. Rejected rows go beside it, to <stem>.rejected.parquet."""


class PredictResult(Document):
    """What was written."""

    output: str
    """The file with the predictions."""
    rejected_output: str | None = None
    """The file with the rejected rows, if there are any."""
    rows: Rows
    """How many rows were read, scored and rejected."""
    seconds: float
    """How long it took."""
