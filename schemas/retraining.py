"""The part of a spec about retraining: how the runs of one model get on with each other."""

from typing import Literal

from schemas.document import Document


class Retraining(Document):
    """How a run of the model behaves among its other runs."""

    overlap: Literal["wait", "skip"] = "wait"
    """What a run does when another one of the same model is going on: wait until that has ended, or skip and end at
    once. Rows that land after a run has read its data are seen by one that waits, and are missed by one that skips."""
