"""R34: when settings of an earlier version are used again."""

from typing import Any

import pytest

from schemas.stages import Tuned, TuneRequest
from tasks import tune
from tasks.registry import Version
from tasks.tags import TUNED
from tasks.tuning import reuse


def request(data: str, when: Any, **keys: Any) -> TuneRequest:
    known = {"ingest": {"path": "a", "digest": data}, "encode": {"path": "b", "digest": data}}
    tuning = {"when": when, "space": {"training.batch_size": [32, 64]}}
    return TuneRequest.model_validate(known | {"tuning": tuning} | keys)


class History:
    """What runs over changing data make of one another, as the registry remembers it."""

    def __init__(self, when: Any) -> None:
        self.when, self.versions = when, list[Version]()

    def tunes(self, data: str, **keys: Any) -> bool:
        """Whether a run tunes; it makes a version, unless one of the same data and spec is there."""
        asked = request(data, self.when, **keys)
        known = reuse.known(asked, self.versions, drifted=lambda version: version.source.isupper() != data.isupper())
        subject = reuse._subject(asked)
        question = tune.run_key(asked)
        tuned = known or Tuned(question=question, subject=subject, settings={"training.batch_size": 64}, age=0)
        assert tuned.question == question
        tags = {TUNED: tuned.model_dump_json()}
        number = str(len(self.versions) + 1)
        version = Version(name="m", version=number, aliases=(), created_ms=0, run_id="", source=data, tags=tags)
        if question not in (Tuned.model_validate_json(each.tags[TUNED]).question for each in self.versions):
            self.versions.insert(0, version)
        return known is None


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("always", [True, True, True, True, True]),
        ("never", [True, False, False, False, False]),
        (1, [True, True, True, True, True]),
        (2, [True, False, True, False, True]),
        (3, [True, False, False, True, False]),
    ],
)
def test_versions_are_tuned_as_often_as_asked_for(when, expected):
    history = History(when)
    assert [history.tunes(data) for data in "abcde"] == expected
    reruns = [history.tunes(data) for data in "abcde"]  # a rerun does what the run did
    assert reruns == expected


def test_drifted_data_is_tuned_on_and_settings_stay_until_it_drifts_again():
    history = History("drift")
    assert [history.tunes(data) for data in "abCDe"] == [True, False, True, False, True]
    assert [history.tunes(data) for data in "abCDe"] == [True, False, True, False, True]


def test_another_network_is_tuned_by_itself():
    history = History("never")
    assert history.tunes("a")
    assert history.tunes("b", network={"activation": "elu"})
    assert not history.tunes("c")
    assert not history.tunes("d", network={"activation": "elu"})


def test_more_trials_are_not_asked_of_a_version_that_is_tuned():
    history = History("never")
    assert history.tunes("a")
    assert not history.tunes("b", tuning={"when": "never", "trials": 90, "space": {"training.batch_size": [32, 64]}})


def test_another_metric_is_tuned_for_by_itself():
    history = History("never")
    space = {"space": {"training.batch_size": [32, 64]}}
    assert history.tunes("a")
    assert history.tunes("b", tuning={"when": "never", "metric": "roc_auc", **space})
    assert not history.tunes("c", tuning={"when": "never", "metric": "roc_auc", **space})
    assert not history.tunes("d")


def test_versions_that_were_not_tuned_say_nothing():
    plain = Version(name="m", version="1", aliases=(), created_ms=0, run_id="", source="", tags={})
    assert reuse.known(request("a", "never"), [plain], drifted=lambda _: False) is None
