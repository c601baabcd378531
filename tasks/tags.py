"""The tags and aliases by which the registry remembers what a version is and what became of it."""

from collections.abc import Iterable

CHAMPION, CHALLENGER = "champion", "challenger"
"""Aliases: of the version that predictions use, and of the newest."""

RUN_KEY = "evermodel.run_key"
TRAIN_KEY = "evermodel.train_key"
BUNDLE = "evermodel.bundle"
QUESTION = "evermodel.question"
COMPARED_WITH = "evermodel.compared_with"
TUNED = "evermodel.tuned"
"""How the version's settings were found: JSON of `schemas.stages.Tuned`."""
START = "evermodel.start"
"""From which champion its training was to begin: JSON of `schemas.stages.Start`."""
REASON = "evermodel.reason"
"""What the gate, or a person, said last, in one sentence."""

CHECK = "evermodel.check."
"""Begins the tag of each check: passed or failed, with its sentence."""

DECISION = "evermodel.decision."
"""Begins the tag of each decision, numbered from 001: JSON of `tasks.decisions.Decision`."""

CHAMPIONS = "evermodel.champions"
"""Tag of the model: the versions that were champion, one after the other, less those that were rolled back."""

LEASE = "evermodel.lease."
"""Begins the tag of the model with which a process queues for moving its aliases."""

OBSERVED = "evermodel.observed"
"""JSON of `tasks.observations.Observation`: what monitoring saw last of the version."""

ORIGIN = "evermodel.origin"
"""JSON of `tasks.freshness.Origin`: what is known of a version when it is made."""


def allowed(name: str) -> str:
    """Return a name with only the signs that MLflow allows; it takes slashes for folders, and refuses some of those."""
    return "".join(sign if sign.isalnum() or sign in "_-. :" else "_" for sign in name)[:200]


def named(values: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return values by names that MLflow allows; those whose names become one are put together."""
    found: dict[str, str] = {}
    for name, value in values:
        known = found.get(allowed(name))
        found[allowed(name)] = value if known is None else f"{known}; {value}"
    return found
