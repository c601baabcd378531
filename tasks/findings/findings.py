"""All that is found out about a trained network beside its metrics."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.stages import EvaluateRequest
from tasks.bundle import Bundle
from tasks.findings import categories, importance, mistakes, refits, rejects, slices
from tasks.findings.categories import Categories
from tasks.findings.importance import Importance
from tasks.findings.mistakes import Mistakes
from tasks.findings.refits import Refits, Size
from tasks.findings.rejects import Rejects
from tasks.findings.resampling import measure
from tasks.findings.slices import Slice
from tasks.metrics import Scored

log = logging.getLogger("evermodel.evaluate")


@dataclass(frozen=True)
class Findings:
    """What was asked for, and could be found."""

    slices: tuple[Slice, ...] = ()
    """The test rows by the values of columns."""
    importance: Importance | None = None
    """How much the columns matter."""
    mistakes: Mistakes | None = None
    """The worst predicted test rows."""
    categories: tuple[Categories, ...] = ()
    """Rows with a category that training did not keep."""
    rejects: Rejects | None = None
    """What ingest rejected."""
    refits: Refits | None = None
    """Bias² and variance."""
    sizes: tuple[Size, ...] = ()
    """How good the network is with fewer training rows."""


def find(
    request: EvaluateRequest, bundle: Bundle, ingested: Path, scored: Mapping[str, Scored], *, metric: str, disk: Path
) -> Findings:
    """Return the findings that a request asks for; `scored` holds the predictions by split.

    Rows that are trained on and exceed memory are in `disk` meanwhile.
    """
    evaluation, rows, test = request.evaluation, ingested / "rows" / "test.parquet", scored["test"]
    seed, contract, score = evaluation.seed, bundle.contract, measure(metric, evaluation.wanted)
    log.info("evaluate: importance, slices and worst predictions")
    ranking = (
        importance.find(bundle, rows, test, metric=metric, score=score, repeats=evaluation.importance, seed=seed)
        if evaluation.importance
        else None
    )
    ranked = [column.name for column in ranking.columns] if ranking else list(contract.columns)
    columns = slices.columns(evaluation.slices, contract, ranked)
    return Findings(
        slices=slices.find(rows, test, contract, columns, score=score, resamples=evaluation.bootstrap, seed=seed),
        importance=ranking,
        mistakes=mistakes.find(rows, test, contract, ranked, most=evaluation.worst) if evaluation.worst else None,
        categories=categories.find(bundle.encoder, ingested),
        rejects=rejects.find(ingested / "rejected.parquet"),
        refits=refits.spread(request, bundle, ingested, test, disk=disk) if evaluation.refits else None,
        sizes=refits.sizes(request, bundle, ingested, scored, score=score, disk=disk) if evaluation.data_sizes else (),
    )
