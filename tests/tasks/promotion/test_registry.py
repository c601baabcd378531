"""What is read from the registry: versions on many pages, which has to be beaten, and where its bundle is."""


import pytest

import tasks.registry
from tasks import decisions
from tasks.registry import Registry
from tasks.tags import CHAMPION, COMPARED_WITH, QUESTION


@pytest.mark.parametrize(
    ("what", "champion", "beaten"),
    [
        ("refused", "2", "2"),
        ("refused", "1", "1"),
        ("waits", "2", "1"),
        ("promoted", "3", "1"),
        ("promoted", "2", "2"),
    ],
    ids=["moved meanwhile", "still champion", "a person is asked", "champion itself", "champion no more"],
)
def test_a_rerun_finds_its_answer_while_that_is_champion_or_waits(
    registry: Registry, what: decisions.What, champion: str, beaten: str
) -> None:
    for name, value in ((QUESTION, "asked"), (COMPARED_WITH, "1")):
        registry.client.set_model_version_tag("it", "3", name, value)
    said = decisions.Decision(what=what, who="evermodel", when="2026-01-01", why="for a reason")
    decisions.record(registry, registry.find("it", "3"), said)
    registry.client.set_registered_model_alias("it", "champion", champion)
    found = registry.incumbent("it", "asked")
    assert found is not None
    assert found.version == beaten
    other = registry.incumbent("it", "something else")
    assert other is not None
    assert other.version == champion


def test_models_and_versions_are_read_to_the_last_page(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.registry, "_PAGE", 2)
    registry.client.set_registered_model_alias("it", CHAMPION, "1")
    for name in ("a", "b", "c", "d"):
        registry.client.create_registered_model(name)
    assert registry.names() == ["a", "b", "c", "d", "it"]
    assert [each.version for each in registry.versions("it")] == ["4", "3", "2", "1"]
    champion = registry.champion("it")
    assert champion is not None
    assert champion.version == "1"
