"""R40: who made which version champion, and the way back."""

import json

import pytest

from schemas.errors import ResourceError
from tasks import decisions
from tasks.registry import Registry
from tasks.tags import CHAMPION, CHAMPIONS, REASON


def promote(registry: Registry, version: str, champion: str | None) -> None:
    decisions.replace(registry, registry.find("it", version), champion=champion, what="promoted", why=f"gain {version}")


def champion(registry: Registry) -> str:
    return registry.find("it", CHAMPION).version


def told(registry: Registry, version: str) -> list[str]:
    return [each.what for each in decisions.of(registry.find("it", version))]


def test_rollback_goes_back_step_by_step_though_versions_come_twice(registry: Registry) -> None:
    promote(registry, "1", None)
    promote(registry, "2", "1")
    registry.promote("it", "1", reason="2 is slow")
    promote(registry, "3", "1")
    assert [registry.rollback("it").version for _ in range(3)] == ["1", "2", "1"]
    with pytest.raises(ResourceError, match="version 1 has no champion before it"):
        registry.rollback("it")


def test_an_older_run_that_ends_last_replaces_nothing(registry: Registry) -> None:
    promote(registry, "1", None)
    promote(registry, "3", "1")
    with pytest.raises(decisions.MovedError, match="version 3 became champion meanwhile"):
        promote(registry, "2", "1")
    assert champion(registry) == "3"
    assert told(registry, "2") == []


def test_a_forced_promotion_tells_who_when_why_and_what_the_gate_had_said(registry: Registry) -> None:
    version = registry.find("it", "2")
    refusal = decisions.Decision(what="refused", who="evermodel", when="2026-01-01", why="not promoted: worse")
    decisions.record(registry, version, refusal)
    found = registry.promote("it", "2", reason="the law wants it", by="Ada")
    last = decisions.of(found)[-1]
    assert (last.what, last.who, last.why, last.overruled) == ("forced", "Ada", "the law wants it", refusal.why)
    assert last.when[:2] == "20"
    assert found.tags[REASON] == f"forced by Ada at {last.when}: the law wants it"


def test_by_default_the_user_of_the_system_decides(registry: Registry) -> None:
    assert decisions.of(registry.promote("it", "1", reason="try"))[-1].who == decisions.user() != ""


def test_a_rollback_is_recorded_with_both_versions(registry: Registry) -> None:
    promote(registry, "1", None)
    promote(registry, "2", "1")
    registry.rollback("it", by="Ada", reason="complaints")
    away, back = (decisions.of(registry.find("it", version))[-1] for version in ("2", "1"))
    assert (away.what, away.who, away.why) == ("rolled back", "Ada", "to version 1: complaints")
    assert (back.what, back.who, back.why, back.before) == ("restored", "Ada", "after version 2: complaints", "2")


def test_a_move_that_a_killed_process_began_is_finished_or_forgotten(registry: Registry) -> None:
    promote(registry, "1", None)
    registry.client.set_registered_model_tag("it", CHAMPIONS, "1 2")  # noted, and killed before the alias moved
    promote(registry, "3", "1")
    assert registry.rollback("it").version == "1"
    registry.client.set_registered_model_alias("it", CHAMPION, "4")  # moved, and killed before it was told
    promote(registry, "4", "1")
    assert told(registry, "4") == ["promoted"]
    assert registry.rollback("it").version == "1"


def test_a_version_that_was_deleted_is_stepped_over(registry: Registry) -> None:
    for version, before in (("1", None), ("2", "1"), ("3", "2")):
        promote(registry, version, before)
    registry.client.delete_model_version("it", "2")
    assert registry.rollback("it").version == "1"


def test_the_same_decision_is_told_once(registry: Registry) -> None:
    promote(registry, "1", None)
    promote(registry, "1", None)
    tags = registry.find("it", "1").tags
    assert [name for name in tags if name.startswith("evermodel.decision.")] == ["evermodel.decision.001"]
    assert json.loads(tags["evermodel.decision.001"])["why"] == "gain 1"


def test_who_saw_a_version_before_a_person_decided_overwrites_nothing(registry: Registry) -> None:
    """Between what register reads and what it notes lies a smoke test."""
    promote(registry, "1", None)
    seen = registry.find("it", "2")
    registry.promote("it", "2", reason="at once", by="Ada")
    refusal = decisions.Decision(what="refused", who="evermodel", when="2026-01-01", why="not promoted: worse")
    decisions.record(registry, seen, refusal)
    decisions.record(registry, seen, refusal)
    registry.rollback("it", by="Ada")
    decisions.replace(registry, seen, champion="1", what="approved", why="after all", who="Grace")
    assert told(registry, "2") == ["forced", "refused", "rolled back", "approved"]
