"""When settings that were tuned for an earlier version are used again.

A version carries in the registry how its settings were found (`schemas.stages.Tuned`): that can be read from any
machine, whatever became of the workspace. A run whose question an earlier run has asked gets the answer of then, so
that a rerun finds all its stages done.
"""

import logging
from collections.abc import Callable, Sequence

from pydantic import ValidationError

from schemas.document import digest
from schemas.drift import Drift
from schemas.stages import Input, Tuned, TuneRequest, TuneResult
from tasks import tags, tune
from tasks.registry import Registry, Version

log = logging.getLogger("evermodel.tune")


def known(request: TuneRequest, versions: Sequence[Version], *, drifted: Callable[[Version], bool]) -> Tuned | None:
    """Return the settings to use again, by the versions of the model, the newest first; None when they are to be tuned.

    `tuning.when` decides; `drifted` is asked whether the data is other than that of a version.
    """
    when, question, subject = request.tuning.when, tune.run_key(request), _subject(request)
    if when == "always":
        return None
    found = [(each, tuned) for each in versions if (tuned := _of(each)) is not None]
    if (asked := next((tuned for _, tuned in found if tuned.question == question), None)) is not None:
        return asked if asked.age else None  # its own tuning stands, or is to stand again
    alike = [(each, tuned) for each, tuned in found if tuned.subject == subject]
    origin = next((each for each, tuned in alike if tuned.age == 0), None)
    if origin is None:
        return None
    _, last = alike[0]
    if (when == "drift" and drifted(origin)) or (isinstance(when, int) and last.age + 1 >= when):
        return None
    return last.model_copy(update={"question": question, "age": last.age + 1, "version": origin.version})


def drifted(version: Version, *, registry: Registry, ingest: Input, drift: Drift) -> bool:
    """Say whether ingested rows have drifted from those that a version was made from, or nobody can tell."""
    from tasks.drift import references

    report = references.between(registry.bundle(version), ingest, drift)
    if report is not None:
        log.info("tune: since version %s, for which settings were tuned: %s", version.version, report.summary.reason)
    return report is None or report.summary.drifted


def made(request: TuneRequest, result: TuneResult) -> Tuned:
    """Return what a version carries whose settings were tuned for it."""
    return Tuned(
        question=result.run_key,
        subject=_subject(request),
        settings=result.settings,
        age=0,
        study=result.run_key,
        trial=result.trial,
    )


def _of(version: Version) -> Tuned | None:
    try:
        return Tuned.model_validate_json(version.tags.get(tags.TUNED, ""))
    except ValidationError:  # nothing was tuned, or another release wrote it
        return None


def _subject(request: TuneRequest) -> str:
    """Return the digest of what is tuned: the network, its training, what is varied of them, and for which metric."""
    space = {key: each.model_dump(mode="json") for key, each in request.space.items()}
    identity = request.identity()
    metric = {"metric": identity["tuning"]["metric"]} if request.tuning.metric else {}
    subject = {"space": space, "network": identity["network"], "training": identity["training"], **metric}
    return digest(subject)[:32]
