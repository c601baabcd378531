"""What is read from the registry: which version has to be beaten."""

import pytest

from tasks import decisions
from tasks.registry import Registry
from tasks.tags import COMPARED_WITH, QUESTION


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
