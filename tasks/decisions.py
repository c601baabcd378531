"""Who or what made which version the champion: every decision is recorded with the version, and alias moves are safe.

A move names the champion that it replaces, and happens only if that one is champion still. See `tasks.lease` for what
that rests on with several machines.
"""

import datetime
import getpass
import os
from collections.abc import Sequence
from typing import Literal

from schemas.document import Document
from schemas.errors import ResourceError
from tasks.lease import Lease
from tasks.registry import Registry, Version
from tasks.tags import CHAMPION, CHAMPIONS, DECISION, REASON

What = Literal["promoted", "refused", "waits", "approved", "declined", "expired", "forced", "rolled back", "restored"]

EVERMODEL = "evermodel"
"""Who decides where no person does."""

_MOST_CHAMPIONS = 1_000


class Decision(Document):
    """What was decided on a version, when, by whom and why."""

    what: What
    """promoted or refused by the gate; waits for a person, who approved, declined, or let the time expire; forced by a
    person; rolled back, or restored by a rollback."""
    who: str
    """The person, or evermodel."""
    when: str
    """The moment, ISO 8601 in UTC."""
    why: str
    """The reason, in words."""
    before: str | None = None
    """The champion before, where the alias moved."""
    overruled: str | None = None
    """What the gate had said, where a person decided."""
    until: str | None = None
    """When a wait ends, ISO 8601 in UTC."""
    asks: str | None = None
    """The flow run that asks, while a version waits."""

    @property
    def sentence(self) -> str:
        """The reason and, if a person decided, who did and when."""
        return self.why if self.who == EVERMODEL else f"{self.what} by {self.who} at {self.when}: {self.why}"


class MovedError(ResourceError):
    """Another version is champion than the one that was to be replaced."""


def user() -> str:
    """Return the name of the operating system's user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user need not have a name
        return f"uid {os.getuid()}"


def now() -> datetime.datetime:
    """Return the present moment in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def of(version: Version) -> tuple[Decision, ...]:
    """Return all decisions on a version, the first one first."""
    tags = sorted(name for name in version.tags if name.startswith(DECISION))
    return tuple(Decision.model_validate_json(version.tags[name]) for name in tags)


def waits(version: Version) -> bool:
    """Say whether a version waits for a person."""
    return any(each.what == "waits" for each in of(version)[-1:])


def record(registry: Registry, version: Version, decision: Decision) -> None:
    """Note a decision with a version, and its reason as the version's own; the same one is not noted twice in a row."""
    with registry.moving(version.name):
        _note(registry, version, decision)


def replace(
    registry: Registry, version: Version, *, champion: str | None, what: What, why: str, who: str = EVERMODEL
) -> None:
    """Make a version the champion in place of another one, or of none.

    Raises MovedError, and moves nothing, when that is not the champion any more. A move that a killed process had made
    already is finished.
    """
    with registry.moving(version.name) as lease:
        present = registry.champion(version.name)
        there = present.version if present else None
        if there not in (champion, version.version):
            raise MovedError(f"version {there or 'none'} became champion meanwhile; run again to compare with it")
        _move(registry, lease, version, present)
        before = there if there != version.version else None
        _note(registry, version, Decision(what=what, who=who, when=now().isoformat(), why=why, before=before))


def force(registry: Registry, name: str, wanted: str, *, why: str, who: str | None = None) -> Version:
    """Make a version the champion because a person wants it, and record what the gate had said."""
    wanted = registry.find(name, wanted).version  # an alias means what it names now
    with registry.moving(name) as lease:
        version, present = registry.find(name, wanted), registry.champion(name)
        _move(registry, lease, version, present)
        decision = Decision(
            what="forced",
            who=who or user(),
            when=now().isoformat(),
            why=why,
            before=present.version if present else None,
            overruled=_said_by_gate(version),
        )
        _note(registry, version, decision)
    return registry.find(name, version.version)


def rollback(registry: Registry, name: str, *, why: str | None = None, who: str | None = None) -> Version:
    """Make the champion before the present one the champion again, and record both.

    Raises ResourceError when there is none, and MovedError when another process moved the alias meanwhile.
    """
    seen = registry.find(name, CHAMPION)
    with registry.moving(name) as lease:
        present = registry.find(name, CHAMPION)
        if present.version != seen.version:
            raise MovedError(f"model {name!r}: version {present.version} became champion meanwhile; nothing was done")
        there = {each.version: each for each in registry.versions(name)}
        line = [each for each in lineage(registry, name, present) if each in there]
        if len(line) < 2:
            raise ResourceError(f"model {name!r}: version {present.version} has no champion before it")
        previous = there[line[-2]]
        lease.confirm()
        registry.client.set_registered_model_alias(name, CHAMPION, previous.version)
        lease.confirm()
        _set_lineage(registry, name, line[:-1])
        known = {"who": who or user(), "when": now().isoformat(), "before": present.version}
        reason = f"to version {previous.version}" + (f": {why}" if why else "")
        _note(registry, present, Decision(what="rolled back", why=reason, **known))
        restored = f"after version {present.version}" + (f": {why}" if why else "")
        _note(registry, previous, Decision(what="restored", why=restored, **known))
    return registry.find(name, previous.version)


def lineage(registry: Registry, name: str, champion: Version | None) -> list[str]:
    """Return the versions that were champion, the present one last, less those that were rolled back.

    The alias is the truth: what a killed process noted and did not do is left out, what was done elsewhere is added.
    """
    if champion is None:
        return []
    noted = str(registry.client.get_registered_model(name).tags.get(CHAMPIONS, "")).split()
    if champion.version not in noted:
        return [*noted, champion.version]
    last = len(noted) - 1 - noted[::-1].index(champion.version)
    return noted[: last + 1]


def _note(registry: Registry, version: Version, decision: Decision) -> None:
    """Note a decision after all that others have noted by now, under the lease."""
    client, past = registry.client, of(registry.find(version.name, version.version))
    if past and past[-1].model_copy(update={"when": ""}) == decision.model_copy(update={"when": ""}):
        return
    client.set_model_version_tag(
        version.name, version.version, f"{DECISION}{len(past) + 1:03}", decision.model_dump_json(exclude_none=True)
    )
    client.set_model_version_tag(version.name, version.version, REASON, decision.sentence)


def _move(registry: Registry, lease: Lease, version: Version, present: Version | None) -> None:
    name = version.name
    line = lineage(registry, name, present)
    if present is not None and present.version == version.version:
        _set_lineage(registry, name, line)
        return
    _set_lineage(registry, name, [*line, version.version])
    lease.confirm()
    registry.client.set_registered_model_alias(name, CHAMPION, version.version)
    lease.confirm()


def _set_lineage(registry: Registry, name: str, versions: Sequence[str]) -> None:
    registry.client.set_registered_model_tag(name, CHAMPIONS, " ".join(versions[-_MOST_CHAMPIONS:]))


def _said_by_gate(version: Version) -> str | None:
    """Return what was last said of a version that no person said."""
    said = [each.why for each in of(version) if each.who == EVERMODEL]
    return said[-1] if said else None
