"""The warm start: from which champion training is to begin.

What the champion is has to be the same in a rerun, or a version that was promoted would go on from itself, run after
run, on rows that it has seen. So the question is asked without a champion (the rows, the network and its training), a
version carries it in the registry with the champion that was the answer, and who asks it again gets that answer.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from schemas.stages import Input, Start, TrainRequest
from tasks import compatibility, tags, train
from tasks.registry import Registry, Version

log = logging.getLogger("evermodel.flow")


def find(request: TrainRequest, registry: Registry, name: str, parameters: Mapping[str, Any]) -> Start:
    """Return from which version of a model the training that is asked for begins.

    `parameters` are the spec's values by dotted key. What encode publishes plays no part: that depends on the
    champion.
    """
    versions = registry.versions(name)
    question = train.run_key(request.model_copy(update={"encode": Input(path="", digest=""), "champion": None}))
    answered = (start for version in versions if (start := _of(version)) and start.question == question)
    if (known := next(answered, None)) is not None:
        return known
    champion = next((each for each in versions if tags.CHAMPION in each.aliases), None)
    if champion is None:
        return Start(question=question)
    ours = tags.named((key, str(value)) for key, value in sorted(parameters.items()))
    why_not = compatibility.other_network(registry.parameters(champion), ours)
    return Start(question=question, champion=champion.version, objection=why_not)


def bundle(start: Start, registry: Registry, name: str) -> tuple[Input | None, Sequence[str]]:
    """Return the bundle to begin from, or None and, where there is a champion nevertheless, a warning."""
    if start.objection:
        log.warning("%s", said := compatibility.fresh(start.objection))
        return None, [said]
    found = (each for each in registry.versions(name) if each.version == start.champion)
    version = next(found, None)
    return (registry.bundle(version) if version else None), ()


def _of(version: Version) -> Start | None:
    try:
        return Start.model_validate_json(version.tags.get(tags.START, ""))
    except ValidationError:  # it began afresh, or another release wrote it
        return None
