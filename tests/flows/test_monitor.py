"""R42: monitoring of new rows beside a champion, on a real Prefect server and a real registry."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.flows import load_flow_from_entrypoint
from typer.testing import CliRunner

from flows import events, retrain
from flows.cli import app
from flows.events import DRIFTED
from flows.monitor import monitor
from schemas.data import Source
from schemas.errors import DataError
from schemas.monitoring import MonitorRequest, MonitorResult
from schemas.spec_file import read_spec
from tasks import monitor as monitoring
from tasks import observations
from tasks.examples import write_example
from tasks.registry import Registry

NAME = "watched_model"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> tuple[Path, pd.DataFrame]:
    """A folder with the workspace of a champion, and the rows that it was made from."""
    folder = tmp_path_factory.mktemp("monitored")
    overrides = (f"name={NAME}", "training.epochs=5", "network.hidden=[8]", "evaluation.importance=0")
    spec = read_spec(write_example("breast-cancer", folder), overrides=overrides)
    retrain(spec, workspace=str(folder / "ws"))
    return folder, pd.read_csv(spec.data.path)


@pytest.fixture
def watch(trained: tuple[Path, pd.DataFrame]) -> Callable[..., MonitorResult]:
    """Monitor a frame, from a file of this name."""
    folder, _ = trained

    def run(frame: pd.DataFrame, name: str) -> MonitorResult:
        frame.to_csv(folder / name, index=False)
        return monitor(NAME, Source(path=str(folder / name)), workspace=str(folder / "ws"))

    return run


@pytest.fixture
def batch(trained: tuple[Path, pd.DataFrame]) -> pd.DataFrame:
    """Half of the rows, without their target."""
    frame = trained[1].sample(frac=0.5, random_state=0)
    return frame.drop(columns="diagnosis")


def sent(rows: int) -> list[dict[str, Any]]:
    """Return the events of drift of the model in so many rows, as soon as there is one."""
    resource = {"id": [f"evermodel.model.{NAME}"]}
    with get_client(sync_client=True) as client:
        for _ in range(1000):
            asked = {"filter": {"event": {"name": [DRIFTED]}, "resource": resource}}
            found = client.request("POST", "/events/filter", json=asked).json()["events"]
            if found := [each for each in found if each["payload"]["rows"] == rows]:
                break
            time.sleep(0.2)
    return found


def artifacts(what: str) -> list[str]:
    named = ArtifactFilter(key=ArtifactFilterKey(any_=[f"{NAME}-{what}".replace("_", "-")]))
    with get_client(sync_client=True) as client:
        return [str(each.data) for each in client.read_artifacts(artifact_filter=named)]


def test_rows_as_before_are_recorded_as_such(watch, batch, trained):
    result = watch(batch, "same.csv")
    assert result.drift is not None
    assert not result.drift.drifted
    assert (result.labelled, result.metrics) == (0, {})
    seen = observations.of(Registry(workspace=str(trained[0] / "ws")).find(NAME, "champion"))
    assert (seen.rows, seen.drifted, seen.reason) == (len(batch), False, result.drift.reason)


def test_rows_that_drifted_and_no_others_send_an_event_once(watch, batch):
    watch(batch, "same.csv")
    column = batch.columns[1]
    drifted = batch.assign(**{column: batch[column] * 1.5})
    result = watch(drifted, "other.csv")
    assert result.drift.features[0] == column
    again = watch(drifted, "other.csv")
    assert again.checked == result.checked
    (event,) = sent(len(batch))
    assert event["payload"]["features"][0] == column
    assert event["payload"]["version"] == "1"
    assert "drift in" in "".join(artifacts("monitor"))


def test_what_could_not_be_recorded_or_sent_is_made_up_for_and_comes_once(trained, watch, batch, monkeypatch):
    folder, _ = trained
    registry = Registry(workspace=str(folder / "ws"))
    version, path = registry.find(NAME, "champion"), folder / "late.csv"
    late = batch.head(200).assign(**{batch.columns[2]: batch[batch.columns[2]] * 1.5})
    late.to_csv(path, index=False)
    known = {"name": NAME, "version": version.version, "bundle": registry.bundle(version)}
    asked = MonitorRequest(workspace=str(folder / "ws"), source=Source(path=str(path)), **known)
    judged = monitoring.run(asked)  # as when the registry goes away then

    said, emit = list[bool](), events.emit

    def emitted(*event: Any) -> bool:
        said.append(bool(said) and emit(*event))  # the server does not take the first one
        return said[-1]

    monkeypatch.setattr(events, "emit", emitted)
    assert watch(late, path.name).checked == judged.checked
    watch(batch, "same.csv")
    for _ in range(2):
        assert watch(late, path.name).checked == judged.checked
    assert said == [False, True]
    assert len(sent(200)) == 1
    history = registry.client.get_metric_history(version.run_id, observations.ROWS)
    assert [each.timestamp for each in history].count(round(judged.checked * 1000)) == 1


def test_the_quality_on_labelled_rows_is_kept_over_time(watch, trained):
    folder, frame = trained
    labelled = frame.sample(frac=0.4, random_state=1)
    first = watch(labelled, "labels.csv")
    assert first.labelled == len(labelled)
    assert first.metrics["roc_auc"] > 0.9
    wrong = labelled.assign(diagnosis=labelled.diagnosis.sample(frac=1, random_state=2).to_numpy())
    wrong.loc[wrong.index[:20], "diagnosis"] = None
    second = watch(wrong, "late_labels.csv")
    assert (second.rows.accepted, second.labelled) == (len(labelled), len(labelled) - 20)
    registry = Registry(workspace=str(folder / "ws"))
    version = registry.find(NAME, "champion")
    history = registry.client.get_metric_history(version.run_id, "live_roc_auc")
    by_step = [each.value for each in sorted(history, key=lambda each: each.step)]
    assert by_step == pytest.approx([first.metrics["roc_auc"], second.metrics["roc_auc"]])
    assert observations.of(version).metrics["roc_auc"] == pytest.approx(second.metrics["roc_auc"])


def test_bad_rows_are_quarantined_and_rows_of_nothing_else_refused(watch, batch):
    column = batch.columns[1]
    spoilt = batch.astype({column: object})
    spoilt.iloc[:3, 1] = "three"
    result = watch(spoilt, "spoilt.csv")
    assert (result.rows.read, result.rows.rejected) == (len(batch), 3)
    assert pq.read_table(Path(result.path, "rejected.parquet")).num_rows == 3
    with pytest.raises(DataError, match=f"no row that keeps the contract of {NAME}: {column} is no number"):
        watch(spoilt.iloc[:3], "spoilt_all.csv")


def test_the_next_run_compares_with_the_champion(trained):
    folder, frame = trained
    spec = read_spec(folder / "breast-cancer.yaml", overrides=(f"name={NAME}", "training.epochs=5"))
    column = frame.columns[1]
    frame.assign(**{column: frame[column] * 2}).to_csv(spec.data.path, index=False)
    result = retrain(spec, workspace=str(folder / "ws"))
    frame.to_csv(spec.data.path, index=False)
    assert result.drift is not None
    assert result.drift.features == (column,)
    (shown,) = artifacts("drift")
    assert "drift in 1 of" in shown


def test_models_tells_age_quality_drift_and_who_decided(trained, watch, batch):
    """The first version was watched, the last one is told by its own run."""
    folder, _ = trained
    watch(batch, "same.csv")
    done = CliRunner().invoke(app, ["models", NAME, "--json", "--workspace", str(folder / "ws")])
    first = json.loads(done.stdout)[NAME][-1]
    assert (first["version"], first["age_days"] < 1) == ("1", True)
    assert first["origin"]["metric"] == "roc_auc"
    assert first["origin"]["quality"] > 0.9
    assert first["origin"]["rows"] == 569
    assert first["origin"]["period"] is None
    assert first["observed"]["rows"] > 0
    assert first["decisions"][0]["who"] == "evermodel"
    shown = CliRunner().invoke(app, ["models", NAME, "--workspace", str(folder / "ws")]).stdout
    assert "roc_auc 0.9" in shown
    assert "│ now" in shown or " min " in shown


@pytest.mark.slow
def test_the_command_says_what_it_saw_and_makes_a_deployment_that_looks_again(
    trained: tuple[Path, pd.DataFrame], batch, evermodel: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    folder, _ = trained
    spec = folder / "watched.yaml"
    lines = (folder / "breast-cancer.yaml").read_text().replace("name: breast-cancer", f"name: {NAME}")
    spec.write_text(f"{lines}\ndrift: {{tolerated: 0.5}}\n")
    batch.iloc[:100].to_csv(folder / "command.csv", index=False)
    asked = ("monitor", NAME, str(folder / "command.csv"), "--workspace", str(folder / "ws"), "--spec", str(spec))
    result = MonitorResult.model_validate_json(evermodel(*asked, "--json").stdout)
    assert (result.rows.accepted, result.labelled) == (100, 0)

    assert f"monitor/{NAME}" in evermodel(*asked, "--cron", "0 * * * *").stdout
    with get_client(sync_client=True) as client:
        made = client.read_deployment_by_name(f"monitor/{NAME}")
    assert [each.schedule.cron for each in made.schedules] == ["0 * * * *"]
    again = load_flow_from_entrypoint(made.entrypoint)(**made.parameters)
    assert again.run_key == result.run_key

    refused = evermodel(*asked[:-2], "--cron", "0 * * * *", check=False)
    assert refused.returncode == 2
    assert f"--cron wants --spec, the spec of {NAME}" in refused.stderr
