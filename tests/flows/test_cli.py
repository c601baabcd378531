"""The command line, each call in a process of its own."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal

from flows import cli, display
from schemas.run import ModelVersion, RunResult, RunRows

Evermodel = Callable[..., subprocess.CompletedProcess[str]]

QUICK = ("--set", "training.epochs=3", "--set", "network.hidden=[8]")
COMMANDS = ["example", "init", "check", "run", "predict", "models", "promote", "rollback", "report", "schema", "doctor"]


def loaded_by(*arguments: str) -> set[str]:
    """The top-level modules that a command loads."""
    code = (
        "import sys\nfrom flows.cli import app\n"
        "try:\n    app(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_no_heavy_library(command: str) -> None:
    heavy = {"numpy", "pandas", "pyarrow", "sklearn", "tensorflow", "keras", "prefect", "mlflow", "matplotlib"}
    assert not loaded_by(command, "--help") & heavy


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "missing.yaml"], 2, "there is no spec missing.yaml"),
        (["example", "penguin"], 2, "penguin"),
        (["predict", "nobody", "x.csv", "-o", "y.csv"], 4, "no model 'nobody' is registered"),
        (["promote", "nobody", "1"], 4, "no model 'nobody' is registered"),
        (["rollback", "nobody"], 4, "no model 'nobody' is registered"),
        (["models", "nobody"], 4, "no model 'nobody' is registered"),
        (["report"], 2, "name a model"),
        (["init", "missing.csv", "--target", "y"], 3, "missing.csv"),
        (["monitor", "nobody", "x.csv", "--delimiter", ";;"], 2, "--delimiter: "),
        (["monitor", "nobody", "${NOBODY_SET_THIS}"], 2, "INPUT: "),
    ],
)
def test_a_mistake_gets_one_message_and_no_traceback(
    evermodel: Evermodel, arguments: list[str], code: int, message: str
) -> None:
    done = evermodel(*arguments, check=False)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_failing_stage_gets_one_message_and_no_traceback(evermodel: Evermodel, tmp_path: Path) -> None:
    evermodel("example", "breast-cancer")
    (tmp_path / "breast-cancer.csv").write_text("a,b\n1,2\n")
    done = evermodel("run", "breast-cancer.yaml", check=False)
    assert done.returncode == 3
    assert re.search(r"error: .*breast-cancer.csv: column 'mean radius' and \d+ more is missing", done.stderr)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob(".evermodel/ingest/*"))


@pytest.mark.parametrize(("before", "code"), [(TerminationSignal(signal.SIGTERM), 143), (ValueError(), None)])
def test_a_server_that_does_not_hear_of_a_stop_changes_no_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], before: BaseException, code: int | None
) -> None:
    def app() -> None:
        try:
            raise before
        except BaseException:
            raise httpx.ConnectError("the server answers 503") from None

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit if code else httpx.ConnectError) as ended:
        cli.main()
    assert getattr(ended.value, "code", None) == code
    assert ("error: stopped; run the same command again" in capsys.readouterr().err) == bool(code)


def test_what_people_and_data_name_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"r2[waist]": 0.5, "r2[/waist]": 0.25}
    result = RunResult(
        run_key="k",
        stages={},
        rows=RunRows(read=1, accepted=1, rejected=0),
        metrics={"test": metrics},
        warnings=["[a] strange [/b] one"],
        model=ModelVersion(name="a", version="1", promoted=True, reason="promoted by ann: see [/wiki/x]"),
        report="/ws/[1]/report.html",
    )
    display.summary(result)
    said = capsys.readouterr().out
    assert all(each in said for each in (*metrics, "[a] strange [/b] one", "see [/wiki/x]", "/ws/[1]/report.html"))


def test_doctor_shows_no_password(evermodel: Evermodel) -> None:
    done = evermodel("doctor", MLFLOW_TRACKING_URI="http://ann:s3cret@127.0.0.1:9", check=False)
    assert "http://127.0.0.1:9: ConnectionError" in done.stdout
    assert "s3cret" not in done.stdout


def test_schema_is_json(evermodel: Evermodel) -> None:
    assert json.loads(evermodel("schema").stdout)["title"] == "Evermodel spec"


def test_doctor_finds_what_is_installed_and_says_what_to_do(evermodel: Evermodel) -> None:
    said = evermodel("doctor").stdout
    assert re.search(r"^ok\s+keras: \d", said, re.MULTILINE)
    assert re.search(r"^(ok|-)\s+GPU driver: ", said, re.MULTILINE)


def test_check_prints_the_plan_and_runs_nothing(evermodel: Evermodel, tmp_path: Path) -> None:
    evermodel("example", "breast-cancer")
    said = evermodel("check", "breast-cancer.yaml").stdout
    assert "30 columns: 30 numeric" in said
    assert "all would run" in said
    assert not list(tmp_path.glob(".evermodel/*/*"))


@pytest.mark.parametrize(
    ("command", "assignment", "message"),
    [
        ("check", "training.optimizer=adamm", "did you mean Adam"),
        ("check", "training.loss=poisson_loss", "Keras has no loss 'poisson_loss'; did you mean Poisson"),
        ("run", "training.loss=categorical_hinge", "does not fit problem binary: .* there fit BinaryCrossentropy, "),
        ("run", "training.loss=own:huber", "module own is not allowed; the operator sets EVERMODEL_ALLOW_MODULES=own"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_data_is_read(
    evermodel: Evermodel, tmp_path: Path, command: str, assignment: str, message: str
) -> None:
    """R14."""
    evermodel("example", "breast-cancer")
    (tmp_path / "breast-cancer.csv").unlink()
    done = evermodel(command, "breast-cancer.yaml", "--set", assignment, check=False)
    assert done.returncode == 2
    assert re.search(message, done.stderr)
    assert not list(tmp_path.glob(".evermodel/*"))


@pytest.mark.slow
def test_own_code_runs_where_the_operator_allows_it(evermodel: Evermodel, tmp_path: Path) -> None:
    """R22, R36: from the spec to predictions, with a loss, a metric, an encoder and a network of one's own."""
    evermodel("example", "breast-cancer")
    own = (
        "network={kind: custom, builder: 'examples.networks:autoencoder', epochs: 1}",
        "training.loss={name: 'examples.losses:focal', gamma: 1.5}",
        "columns.mean area={kind: custom, encoder: 'examples.encoders:PiecewiseLinear', of: numeric}",
        "evaluation.metrics=[{name: 'examples.losses:share_within', tolerance: 0.3}, matthews_corrcoef]",
    )
    keys = [part for each in (*own, "training.epochs=2") for part in ("--set", each)]
    said = evermodel("check", "breast-cancer.yaml", *keys, "--allow-module", "examples").stdout
    assert "network   custom, by examples.networks:autoencoder" in said
    done = evermodel("run", "breast-cancer.yaml", *keys, "--allow-module", "examples", "--json")
    test = json.loads(done.stdout)["metrics"]["test"]
    assert {"matthews_corrcoef", "share_within(tolerance=0.3)", "roc_auc"} <= test.keys()
    asked = ("predict", "breast-cancer", "breast-cancer.csv", "-o", "said.parquet")
    refused = evermodel(*asked, check=False)
    assert refused.returncode == 4
    assert "column 'mean area' needs examples.encoders:PiecewiseLinear, which does not load" in refused.stderr
    evermodel(*asked, "--allow-module", "examples")
    assert len(pd.read_parquet(tmp_path / "said.parquet")) == 569


def test_from_data_file_to_predictions(evermodel: Evermodel, tmp_path: Path) -> None:
    """The whole way on the command line: init, run, run again, models, report, predict, promote, rollback."""
    evermodel("example", "breast-cancer")
    spec = tmp_path / "breast-cancer.yaml"
    spec.unlink()
    evermodel("init", "breast-cancer.csv", "--target", "diagnosis", "-o", "breast-cancer.yaml")

    first = evermodel("run", "breast-cancer.yaml", *QUICK, "--json")
    result = RunResult.model_validate_json(first.stdout)
    assert result.rows.read == result.rows.accepted + result.rows.rejected == 569
    assert list(json.loads(first.stdout)) >= ["run_key", "status", "stages", "rows", "metrics"]
    assert "register: done" in first.stderr

    again = evermodel("run", "breast-cancer.yaml", *QUICK)
    assert again.stderr.count("stands already") == 5
    assert "promoted: there is no champion yet" in again.stdout
    assert "roc_auc" in again.stdout

    assert "challenger, champion" in evermodel("models", "breast-cancer").stdout
    assert Path(evermodel("report", "breast-cancer").stdout.strip()).is_file()

    evermodel("predict", "breast-cancer", "breast-cancer.csv", "-o", "out.parquet")
    predictions = pd.read_parquet(tmp_path / "out.parquet")
    assert len(predictions) == 569
    assert set(predictions.prediction) == {"benign", "malignant"}

    evermodel("run", "breast-cancer.yaml", *QUICK, "--set", "training.seed=1")
    assert "version 1 is the champion" in evermodel("promote", "breast-cancer", "1").stdout
    assert "version 2 is the champion" in evermodel("promote", "breast-cancer", "2", "--reason", "try it").stdout
    assert "version 1 is the champion again" in evermodel("rollback", "breast-cancer").stdout


def test_an_unchanged_rerun_loads_no_tensorflow(
    evermodel: Evermodel, tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    evermodel("example", "breast-cancer")
    evermodel("run", "breast-cancer.yaml", *QUICK)
    code = (
        "import sys\nfrom flows.cli import app\n"
        "try:\n    app(['run', 'breast-cancer.yaml', *sys.argv[1:]])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'tensorflow', 'keras', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *QUICK], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("[]")
    assert done.stderr.count("stands already") == 5


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_stopped_publishes_nothing_half_and_shows_as_cancelled(
    evermodel: Evermodel,
    tmp_path: Path,
    prefect_server: str,
    monkeypatch: pytest.MonkeyPatch,
    stop: signal.Signals,
    code: int,
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    evermodel("example", "digits")
    command = [sys.executable, "-m", "flows.cli", "run", "digits.yaml", "--set", "training.epochs=100000"]
    command += ["--set", "training.early_stopping=null"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("train: epoch"):
                process.send_signal(stop)
                break
        rest = process.stderr.read()
    assert process.returncode == code
    assert "Traceback" not in rest
    assert not list(tmp_path.glob(".evermodel/train/*"))
    with get_client(sync_client=True) as client:
        newest = max(client.read_flow_runs(), key=lambda run: run.created)
    assert (newest.name, newest.state_name) == ("digits", "Cancelled")
