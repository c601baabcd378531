"""When settings that were tuned for an earlier version are used again.

A version carries in the registry how its settings were found (`schemas.stages.Tuned`): that can be read from any
machine, whatever became of the workspace. A run whose question an earlier run has asked gets the answer of then, so
that a rerun finds all its stages done.
"""

from collections.abc import Sequence

from pydantic import ValidationError

from schemas.document import digest
from schemas.stages import Tuned, TuneRequest, TuneResult
from tasks import tags, tune
from tasks.registry import Version


def known(request: TuneRequest, versions: Sequence[Version]) -> Tuned | None:
    """Return the settings to use again, by the versions of the model, the newest first; None when they are to be tuned.

    `tuning.when` decides.
    """
    when, question = request.tuning.when, tune.run_key(request)
    if when == "always":
        return None
    found = [tuned for each in versions if (tuned := _of(each)) is not None]
    if (asked := next((each for each in found if each.question == question), None)) is not None:
        return asked if asked.age else None  # its own tuning stands, or is to stand again
    last = next((each for each in found if each.subject == _subject(request)), None)
    if last is None or (when != "never" and last.age + 1 >= when):
        return None
    return last.model_copy(update={"question": question, "age": last.age + 1})


def made(request: TuneRequest, result: TuneResult) -> Tuned:
    """Return what a version carries whose settings were tuned for it."""
    return Tuned(question=result.run_key, subject=_subject(request), settings=result.settings, age=0)


def _of(version: Version) -> Tuned | None:
    try:
        return Tuned.model_validate_json(version.tags.get(tags.TUNED, ""))
    except ValidationError:  # nothing was tuned, or another release wrote it
        return None


def _subject(request: TuneRequest) -> str:
    """Return the digest of what is tuned: the network, its training and what is varied of them."""
    space = {key: each.model_dump(mode="json") for key, each in request.space.items()}
    identity = request.identity()
    return digest({"space": space, "network": identity["network"], "training": identity["training"]})[:32]
