"""R39: what a person sees and does in the Prefect UI, in a real browser."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from schemas.changes import Changes
from schemas.spec import Spec
from schemas.spec_file import read_spec
from tasks import decisions
from tasks.registry import Registry

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Evermodel = Callable[..., subprocess.CompletedProcess[str]]

_TOAST = "//*[contains(@class, 'p-toast-container__toast')]"
_SENT_IN_VAIN = """
return performance.getEntriesByType('resource')
    .filter(each => each.name.endsWith('/create_flow_run') && each.responseStatus >= 500).length
"""


@pytest.fixture
def client(prefect_ui: str) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: f"{prefect_ui}/api"}), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def deployed(evermodel: Evermodel, prefect_ui: str, tmp_path: Path) -> Callable[..., Spec]:
    """Deploy the breast-cancer example with overrides; return its spec."""

    def deploy(*overrides: str) -> Spec:
        evermodel("example", "breast-cancer")
        options = [part for setting in overrides for part in ("--set", setting)]
        evermodel("deploy", "breast-cancer.yaml", *options, PREFECT_API_URL=f"{prefect_ui}/api")
        return read_spec(tmp_path / "breast-cancer.yaml", overrides=overrides)

    return deploy


@pytest.fixture
def worker(prefect_ui: str, deployed: Callable[..., Spec], tmp_path: Path) -> Iterator[None]:
    """A worker for the pool that a deployment is on if nothing else is said."""
    environment = {**os.environ, "PREFECT_API_URL": f"{prefect_ui}/api", "PREFECT_WORKER_QUERY_SECONDS": "1"}
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "evermodel", "--type", "process"]
    with (tmp_path / "worker.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    yield
    process.send_signal(signal.SIGINT)
    process.wait(300)


@pytest.fixture
def retraining(prefect_ui: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start to retrain the breast-cancer example with overrides; what still runs in the end is killed."""
    processes = []

    def start(*overrides: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flows.cli", "run", "breast-cancer.yaml"]
        command += [part for setting in overrides for part in ("--set", setting)]
        environment = {**os.environ, "PREFECT_API_URL": f"{prefect_ui}/api"}
        with (tmp_path / "run.log").open("ab") as log:
            processes.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


class Page:
    """A page of the UI with fields to fill in; they are known by the start of their label."""

    def __init__(self, browser: Any, client: SyncPrefectClient) -> None:
        self._browser, self._client = browser, client

    def field(self, label: str) -> WebElement:
        """Return the first field of the label, with all that is in it."""
        spans = f"(//span[contains(@class, 'property__label')][starts-with(., '{label}')])[1]"
        holder = "ancestor::div[contains(concat(' ', @class, ' '), ' schema-form-property ')][1]"
        return self._browser.find_element(By.XPATH, f"{spans}/{holder}")

    def write(self, label: str, text: str) -> None:
        self.field(label).find_element(By.CSS_SELECTOR, "input, textarea").send_keys(text)

    def choose(self, label: str, option: str) -> None:
        Select(self.field(label).find_element(By.TAG_NAME, "select")).select_by_visible_text(option)

    def press(self, button: str) -> None:
        """Press the button of this text that can be seen."""
        found = self._browser.find_elements(By.XPATH, f"//button[normalize-space(.)='{button}']")
        next(each for each in found if each.is_displayed()).click()

    def wait_for(self, look: Callable[[], Any], what: str, *, seconds: float = 120) -> Any:
        """Return what is found once it is there; if it does not come, say what the page shows instead."""
        waiting = WebDriverWait(self._browser, seconds, ignored_exceptions=[WebDriverException, StopIteration])
        try:
            return waiting.until(lambda _: look())
        except TimeoutException as error:
            toasts = {each.text for each in self._browser.find_elements(By.XPATH, _TOAST)}
            page = self._browser.find_element(By.TAG_NAME, "body").text
            raise AssertionError(f"no {what} came; toasts: {toasts}; the page: {page[:2000]}") from error


class Form(Page):
    """The form for a run of the deployment, as the UI shows it."""

    def __init__(self, browser: Any, client: SyncPrefectClient, address: str) -> None:
        super().__init__(browser, client)
        deployment = client.read_deployment_by_name("retrain/breast-cancer")
        browser.get(f"{address}/deployments/deployment/{deployment.id}/run")
        self._runs_before = {run.id for run in client.read_flow_runs()}
        self._size = self._sent = 0
        self.wait_for(self._is_drawn, "form")

    def submit(self) -> None:
        self.press("Submit")
        self._sent += 1

    def new_run(self) -> Any:
        """Return the run that the submitted form has made.

        On a busy machine the server's SQLite may be locked: it answers 503 at once, and the page says that something
        went wrong and keeps the form. Then the form is sent again, as a person would.
        """

        def look() -> Any:
            if made := self._new_runs():
                return made[0]
            if self._browser.execute_script(_SENT_IN_VAIN) == self._sent:
                self.submit()
            return None

        return self.wait_for(look, "run")

    def refused(self) -> str:
        """Return what the form says of a mistake, once it has refused to start a run."""
        toast = f"{_TOAST}[contains(., 'Error')]"
        said = self.wait_for(lambda: self._browser.find_element(By.XPATH, toast).text, "refusal")
        assert not self._new_runs()
        return str(said)

    def _is_drawn(self) -> bool:
        """Say whether the form has its last field and has not grown since the last look: it is drawn piece by piece."""
        before = self._size
        self._size = len(self._browser.find_elements(By.CLASS_NAME, "schema-form-property"))
        return bool(self.field("Spec")) and self._size == before

    def _new_runs(self) -> list[Any]:
        return [run for run in self._client.read_flow_runs() if run.id not in self._runs_before]


class Question(Page):
    """The page of a run that waits for a person, and the dialog behind its Resume."""

    def __init__(self, browser: Any, client: SyncPrefectClient, address: str) -> None:
        super().__init__(browser, client)
        self._run = self.wait_for(self._waiting, "run that waits", seconds=400)
        browser.get(f"{address}/runs/flow-run/{self._run.id}")
        self.wait_for(lambda: self.press("Resume") or True, "button to resume by")
        self.wait_for(lambda: self.field("Why"), "dialog")

    @property
    def text(self) -> str:
        """What the dialog says."""
        return str(self._browser.find_element(By.CSS_SELECTOR, "[role=dialog]").text)

    def answer(self, decision: str, *, who: str, why: str) -> None:
        """Fill the dialog in and send it; again if the server was too busy, as a person would."""
        self.choose("Decision", decision)
        self.write("Who", who)
        self.write("Why", why)
        self.press("Submit")
        self.wait_for(self._is_answered, "end of the wait")

    def _is_answered(self) -> bool:
        if self._client.read_flow_run(self._run.id).state_name != "Paused":
            return True
        if self._browser.find_elements(By.XPATH, f"{_TOAST}[contains(., 'Failed')]"):
            self.press("Submit")
        return False

    def _waiting(self) -> Any:
        return next(run for run in self._client.read_flow_runs() if run.state_name == "Paused")


def test_the_server_has_its_ui_with_it(browser: Any, prefect_ui: str) -> None:
    browser.get(f"{prefect_ui}/deployments")
    WebDriverWait(browser, 300).until(lambda page: "Deployments" in page.find_element(By.TAG_NAME, "body").text)
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
    assert [each for each in loaded if not each.startswith(prefect_ui)] == []


def test_a_form_sent_as_it_comes_runs_the_spec_as_deployed(
    browser: Any, prefect_ui: str, client: SyncPrefectClient, deployed: Callable[..., Spec]
) -> None:
    spec = deployed(
        "training.optimizer={name: adamw, learning_rate: {name: cosine_decay, initial_learning_rate: 0.01}}",
        "training.optimizer.learning_rate.decay_steps=100",
        "training.loss={name: binary_focal_crossentropy, gamma: 3}",
        "training.early_stopping=null",
        "training.class_weight={malignant: 2}",
        "network={kind: wide_and_deep, hidden: [8]}",
        "evaluation.metrics=[f1, roc_auc]",
        "split={by: column, column: mean area}",
        "runner={stages: {train: {kind: docker, memory: 2g}}}",
    )
    form = Form(browser, client, prefect_ui)
    form.submit()
    parameters = form.new_run().parameters
    assert Spec.model_validate(parameters["spec"]).model_dump() == spec.model_dump()
    assert Changes.model_validate(parameters["changes"]) == Changes()


def test_what_is_filled_in_is_what_the_run_does(
    browser: Any,
    prefect_ui: str,
    client: SyncPrefectClient,
    deployed: Callable[..., Spec],
    worker: None,
    tmp_path: Path,
) -> None:
    deployed("training.epochs=50")
    form = Form(browser, client, prefect_ui)
    form.write("Epochs", "2")
    form.write("Learning rate", "0.02")
    form.choose("Class weights", "none")
    form.choose("Device", "cpu")
    form.submit()
    run = form.new_run()
    assert run.parameters["changes"] == {"epochs": 2, "learning_rate": 0.02, "class_weight": "none", "device": "cpu"}
    WebDriverWait(browser, 400).until(lambda _: client.read_flow_run(run.id).state.is_final())
    ended = client.read_flow_run(run.id)
    assert ended.state.is_completed(), ended.state.message
    registry = Registry(workspace=str(tmp_path / ".evermodel"))
    logged = registry.client.get_run(registry.find("breast-cancer", "1").run_id).data.params
    assert logged["training.epochs"] == "2"
    assert logged["training.optimizer.learning_rate"] == "0.02"
    assert "training.class_weight" not in logged


@pytest.mark.parametrize(
    ("label", "written", "said"),
    [
        ("Epochs", "-1", "'changes.epochs'. Failure reason: -1 is less than the minimum of 1"),
        ("Learning rate", "0", "'changes.learning_rate'. Failure reason: 0 is less than or equal to the minimum of 0"),
    ],
)
def test_a_mistake_is_refused_in_the_form(
    browser: Any,
    prefect_ui: str,
    client: SyncPrefectClient,
    deployed: Callable[..., Spec],
    label: str,
    written: str,
    said: str,
) -> None:
    deployed()
    form = Form(browser, client, prefect_ui)
    form.write(label, written)
    form.submit()
    assert said in form.refused()


def test_a_person_declines_one_version_and_approves_the_next(
    browser: Any,
    prefect_ui: str,
    client: SyncPrefectClient,
    evermodel: Evermodel,
    retraining: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
) -> None:
    """R40: in the dialog of the run's page, which says what it is about."""
    evermodel("example", "breast-cancer")
    registry = Registry(workspace=str(tmp_path / ".evermodel"))
    for version, decision, aliases in (
        ("1", "decline", {"challenger"}),
        ("2", "approve", {"challenger", "champion"}),
    ):
        process = retraining(
            f"training.epochs={version}", "network.hidden=[8]", "promotion={promote: approve, smoke: 0}"
        )
        question = Question(browser, client, prefect_ui)
        assert f"breast-cancer version {version} waits for approval" in question.text
        assert "approve: the version becomes champion. decline: the champion stays." in question.text
        question.answer(decision, who="Ada", why="seen in the UI")
        assert process.wait(120) == 0
        found = registry.find("breast-cancer", version)
        assert set(found.aliases) == aliases
        last = decisions.of(found)[-1]
        assert (last.who, last.why) == ("Ada", "seen in the UI")
