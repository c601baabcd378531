"""The part of a spec about retraining: how the runs of one model get on with each other."""

from typing import Literal

from schemas.document import Document
from schemas.period import Window


class Retraining(Document):
    """How a run of the model behaves among its other runs."""

    window: Window | None = None
    """How many of the newest rows are taken: {days: 90} or {rows: 100000}, back from data.until or, without it, from
    the newest row; the clock has no part in it. By default all."""
    start: Literal["fresh", "champion"] = "fresh"
    """What training begins from: first weights that are drawn, or the champion's weights, on rows that the champion's
    encoder encodes. It is fresh as long as there is no champion, and where columns, outputs or network are other than
    its own."""
    refit: bool = False
    """Whether the published network is trained anew, on training and validation rows together, for as many epochs as
    the validation rows found best. What it says of validation rows is no estimate then; test rows remain apart."""
    overlap: Literal["wait", "skip"] = "wait"
    """What a run does when another one of the same model is going on: wait until that has ended, or skip and end at
    once. Rows that land after a run has read its data are seen by one that waits, and are missed by one that skips."""
