"""What a version's tags say of its age and data."""

import time

import pytest

from schemas.promotion import Verdict
from schemas.reference import Reference, Times
from schemas.stages import EvaluateResult
from tasks import freshness
from tasks.registry import Version
from tasks.tags import OBSERVED, ORIGIN


def version(**tags: str) -> Version:
    return Version(
        name="it", version="3", aliases=("champion",), created_ms=int((time.time() - 36 * 3600) * 1000),
        run_id="1", source="", tags=tags,
    )  # fmt: skip


def evaluation() -> EvaluateResult:
    verdict = Verdict(better=True, reason="promoted", metric="r2", challenger=0.5)
    return EvaluateResult(stage="evaluate", run_key="k", path="p", files={}, seconds=1, metrics={}, verdict=verdict)


@pytest.mark.parametrize(
    ("times", "period"),
    [
        ((0.0, 86_400.0), ("1970-01-01T00:00:00+00:00", "1970-01-02T00:00:00+00:00")),
        ((-62_000_000_000.0, 1e15), None),
        ((None, None), None),
    ],
)
def test_the_period_is_that_of_the_data(tmp_path, times, period):
    told = Times(rows=5, missing=0, earliest=times[0], latest=times[1])
    (tmp_path / "reference.json").write_text(Reference(rows=5, columns={}, targets={}, period=told).to_json())
    origin = freshness.origin_of(tmp_path, evaluation())
    found = freshness.of(version(**{ORIGIN: origin.model_dump_json()}))
    assert found.origin.period == period
    assert (found.origin.metric, found.origin.quality, found.origin.rows) == ("r2", 0.5, 5)
    assert found.age_days == pytest.approx(1.5, abs=0.01)


def test_a_version_of_an_older_evermodel_has_an_age_and_no_more(tmp_path):
    assert freshness.origin_of(tmp_path, evaluation()).rows is None
    found = freshness.of(version(**{ORIGIN: "{}", OBSERVED: "no JSON"}))
    assert (found.origin, found.observed, found.decisions) == (None, None, ())
