"""What a column, a class or a metric is called is no reason for MLflow to refuse a version."""

import time

from mlflow.entities import Metric, Param

from schemas.promotion import Check
from tasks import register, tags
from tasks.registry import Registry

NAMES = (">50K", "price (EUR)", "roc_auc[a]", "url=http://x", "plan=N/A/", "a/./b", "/", "..", "größe", "x" * 300)


def test_names_from_data_are_taken_by_mlflow(registry: Registry) -> None:
    client = registry.client
    run = client.create_run(client.create_experiment("names", artifact_location=registry.artifacts)).info.run_id
    known = tags.named((f"training.{name}", "1") for name in NAMES)
    metrics = [Metric(tags.allowed(f"test_{name}"), 1.0, int(time.time()), 0) for name in NAMES]
    client.log_batch(run, metrics=metrics, params=[Param(*each) for each in known.items()])
    for name in NAMES:
        check = Check(name=f"slice {name}", passed=False, sentence=f"worse on {name}")
        client.set_model_version_tag("it", "1", *register._tag(check))
    told = [name for name in registry.find("it", "1").tags if name.startswith(tags.CHECK)]
    assert len(told) == len(known) == len(NAMES)


def test_what_gets_one_name_is_told_together() -> None:
    assert tags.named([("a>1", "passed: 2"), ("a<1", "failed: 3")]) == {"a_1": "passed: 2; failed: 3"}
