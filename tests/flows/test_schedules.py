"""R39: schedules on a real server: of specs and options, with parameters of their own, over changes of the clock."""

import importlib
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.flows import load_flow_from_entrypoint
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from flows import deploy as deployments
from flows import schedules
from schemas.errors import ResourceError, SpecError
from schemas.spec import Spec
from schemas.spec_file import read_spec
from tasks.examples import write_example

Evermodel = Callable[..., subprocess.CompletedProcess[str]]
BERLIN = ZoneInfo("Europe/Berlin")
EVERY_HOUR_IN_AUTUMN = ["25 00:00+02", "25 01:00+02", "25 02:00+02", "25 03:00+01"]
PLANNERS = {planner.__name__: planner for planner in (CronSchedule, IntervalSchedule, RRuleSchedule)}


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def deployed(client: SyncPrefectClient, tmp_path: Path) -> Callable[..., DeploymentResponse]:
    """Deploy the diabetes example with schedules in its spec, and those of options, and read what the server has."""

    def deploy(*in_spec: dict[str, Any], cron: tuple[str, ...] = ()) -> DeploymentResponse:
        path = write_example("diabetes", tmp_path)
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"schedules": list(in_spec)}))
        spec = read_spec(path)
        asked_for = schedules.asked_for(cron=cron, interval_s=None, rrule=None, timezone="UTC")
        made = [*schedules.made(asked_for or spec.schedules, path)]
        list(deployments.deploy(spec, workspace=str(tmp_path), pool="evermodel", schedules=made))
        return client.read_deployment_by_name("retrain/diabetes")

    return deploy


def test_schedules_of_a_spec_run_with_their_own_parameters(deployed: Callable[..., DeploymentResponse]) -> None:
    nightly = {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}
    weekly = {"rrule": "FREQ=WEEKLY;BYDAY=SU;BYHOUR=4;BYMINUTE=0;BYSECOND=0", "overrides": {"training.epochs": 200}}
    made = deployed(nightly, weekly, {"interval_s": 3600})
    by_kind = {type(each.schedule).__name__: each for each in made.schedules}
    assert by_kind.keys() == {"CronSchedule", "RRuleSchedule", "IntervalSchedule"}
    assert by_kind["CronSchedule"].schedule.timezone == "Europe/Berlin"
    assert by_kind["CronSchedule"].parameters == {}
    assert by_kind["RRuleSchedule"].parameters["spec"]["training"]["epochs"] == 200
    assert by_kind["RRuleSchedule"].parameters["spec"]["name"] == "diabetes"


def test_options_replace_the_schedules_of_the_spec(deployed: Callable[..., DeploymentResponse]) -> None:
    made = deployed({"interval_s": 60}, cron=("0 1 * * *", "0 13 * * *"))
    assert sorted(each.schedule.cron for each in made.schedules) == ["0 1 * * *", "0 13 * * *"]


AT_ONE, AT_HALF_PAST_TWO = "0 1 * * *", "30 2 * * *"
RULE = "FREQ={};BYMINUTE=0;BYSECOND=0"


@pytest.mark.parametrize(
    ("schedule", "spring", "autumn"),
    [
        ({"cron": AT_ONE}, ["29 01:00+01", "30 01:00+02"], ["25 01:00+02", "26 01:00+01"]),
        ({"rrule": RULE.format("DAILY;BYHOUR=1")}, ["29 01:00+01", "30 01:00+02"], ["25 01:00+02", "26 01:00+01"]),
        ({"cron": AT_HALF_PAST_TWO}, ["29 01:30+01", "30 02:30+02"], ["25 02:30+02", "26 02:30+01"]),
        (
            {"rrule": "FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0"},
            ["29 01:30+01", "30 02:30+02"],
            ["25 02:30+02", "26 02:30+01"],
        ),
        ({"cron": "0 * * * *"}, ["29 00:00+01", "29 01:00+01", "29 03:00+02"], EVERY_HOUR_IN_AUTUMN),
        ({"rrule": RULE.format("HOURLY")}, ["29 00:00+01", "29 01:00+01", "29 03:00+02"], EVERY_HOUR_IN_AUTUMN),
    ],
    ids=["cron", "rule", "cron in the hour", "rule in the hour", "cron every hour", "rule every hour"],
)
def test_when_the_clock_of_a_zone_changes_runs_come_as_the_docs_say(
    deployed: Callable[..., DeploymentResponse], schedule: dict[str, str], spring: list[str], autumn: list[str]
) -> None:
    """Of the last Sundays of March and October: the hour from two on is skipped, and comes twice."""
    made = deployed({**schedule, "timezone": "Europe/Berlin"})
    for midnight, expected in ((datetime(2026, 3, 29), spring), (datetime(2026, 10, 25), autumn)):
        dates = planned(made, midnight.replace(tzinfo=BERLIN), len(expected))
        assert [f"{date.astimezone(BERLIN):%d %H:%M%z}"[:-2] for date in dates] == expected


@pytest.mark.parametrize("seconds", [3_600, 86_400])
def test_an_interval_counts_seconds_whatever_the_clock_says(
    deployed: Callable[..., DeploymentResponse], seconds: int
) -> None:
    made = deployed({"interval_s": seconds, "timezone": "Europe/Berlin"})
    for day_before in (datetime(2026, 3, 28, tzinfo=BERLIN), datetime(2026, 10, 24, tzinfo=BERLIN)):
        dates = planned(made, day_before, 50)
        assert {(later - earlier).total_seconds() for earlier, later in pairwise(dates)} == {seconds}


def planned(made: DeploymentResponse, start: datetime, count: int) -> list[datetime]:
    """Return when the server would start the next runs of the one schedule, in UTC."""
    schedule = made.schedules[0].schedule
    planner = PLANNERS[type(schedule).__name__].model_validate(schedule.model_dump())
    return [date.astimezone(UTC) for date in anyio.run(planner.get_dates, count, start)]


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"cron": "at noon"}, "schedules.0.cron: is no cron line"),
        ({"cron": "0 0 31 2 *"}, "schedules.0.cron: is no cron line"),
        ({"cron": "@daily"}, "schedules.0.cron: is no cron line"),
        ({"rrule": "FREQ=OFTEN"}, "schedules.0.rrule: is no iCalendar rule"),
        ({"cron": "0 3 * * *", "timezone": "Berlin"}, "schedules.0.timezone: is no time zone"),
        ({"interval_s": 0}, "schedules.0.interval_s"),
        ({"interval_s": float("inf")}, "schedules.0.interval_s"),
        ({"cron": "0 3 * * *", "interval_s": 60}, "give either cron, interval_s or rrule"),
        ({}, "give either cron, interval_s or rrule"),
        (
            {"interval_s": 60, "overrides": {"training": {"epochs": 200}}},
            "overrides: training would be replaced as a whole; write its keys as training.epochs",
        ),
    ],
)
def test_a_wrong_schedule_is_named_when_the_spec_is_read(
    tmp_path: Path, schedule: dict[str, Any], message: str
) -> None:
    tree = {"name": "a", "problem": "binary", "data": {"path": "rows.csv"}, "target": {"column": "y"}}
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump({**tree, "columns": {"x": {"kind": "numeric"}}, "schedules": [schedule]}))
    with pytest.raises(SpecError, match=message):
        read_spec(path)


def test_a_schedule_with_an_override_that_does_not_fit_is_refused(evermodel: Evermodel, tmp_path: Path) -> None:
    evermodel("example", "diabetes")
    path = tmp_path / "diabetes.yaml"
    path.write_text(path.read_text() + '\nschedules: [{cron: "0 3 * * *", overrides: {training.epoch: 5}}]\n')
    done = evermodel("serve", "diabetes.yaml", check=False)
    assert done.returncode == SpecError.exit_code
    assert "unknown key training.epoch; did you mean 'epochs'?" in done.stderr


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("", SpecError, "a deployment lives on a Prefect server: set PREFECT_API_URL"),
        ("http://127.0.0.1:9/api", ResourceError, "no Prefect server answers at http://127.0.0.1:9/api"),
    ],
)
def test_without_a_server_that_answers_nothing_is_served(
    evermodel: Evermodel, address: str, error: type[SpecError | ResourceError], message: str
) -> None:
    evermodel("example", "diabetes")
    done = evermodel("serve", "diabetes.yaml", check=False, PREFECT_API_URL=address, PREFECT_CLIENT_MAX_RETRIES="0")
    assert done.returncode == error.exit_code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_template_for_prefect_deploy_says_what_the_flow_understands() -> None:
    """Its spec is valid, and Prefect finds the flow and the pull step that it names."""
    template = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())
    (deployment,) = template["deployments"]
    assert Spec.model_validate(deployment["parameters"]["spec"]).name == deployment["name"]
    flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    assert flow.validate_parameters(deployment["parameters"])
    (step,) = template["pull"]
    module, _, function = next(iter(step)).rpartition(".")
    assert callable(getattr(importlib.import_module(module), function))
