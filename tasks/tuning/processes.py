"""Trainers in processes of their own: `python -m tasks.tuning.processes`, which takes orders as lines of JSON.

The first line has the request, and the answer says that the rows are read. Each further line is a trial's settings; its
epochs are told one by one, and each is answered by whether the trial goes on; its outcome comes last. An error that no
setting can mend is told instead, and ends it, as does the end of its orders, when the process that gave them has ended.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from schemas.errors import BY_EXIT_CODE, EvermodelError, ResourceError
from schemas.stages import TuneRequest
from schemas.tuning import Settings
from tasks.tuning.record import Outcome
from tasks.tuning.trainer import GoesOn, LocalTrainer

_ROOT = Path(__file__).parent.parent.parent
_THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
_LAST_SIGNS = 300


class RemoteTrainer:
    """Trains in a process of its own, which is started when it is needed, and again after it has died."""

    def __init__(self, request: TuneRequest, *, threads: int, disk: Path) -> None:
        """Say what to train, by how many threads, and where rows are mapped that exceed memory."""
        self._request, self._threads, self._disk = request, threads, disk
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115

    def fit(self, settings: Settings, goes_on: GoesOn) -> Outcome:
        """Train with settings; whatever goes wrong is the trial's outcome, even the end of the process.

        Raises what no setting can mend, as `LocalTrainer` does.
        """
        if self._process is None:
            self._start()
        try:
            self._write({"settings": settings})
            while "epoch" in (said := self._read()):
                self._write({"goes_on": goes_on(said["epoch"], said["validation_loss"])})
        except (EOFError, OSError):
            return Outcome(state="failed", reason=self._death())
        return Outcome.model_validate(said)

    def kill(self) -> None:
        """End the process at once, whatever it is at."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the process, and let go of what belongs to it."""
        self.kill()
        if self._process is not None:
            self._process.communicate()
        self._errors.close()

    def _start(self) -> None:
        found = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **dict.fromkeys(_THREADS, str(self._threads)),
            **os.environ,
            "PYTHONPATH": os.pathsep.join(found),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tasks.tuning.processes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for this process, which ends it
        )
        try:
            self._write({"request": self._request.model_dump(mode="json"), "disk": str(self._disk)})
            self._read()
        except (EOFError, OSError) as error:
            raise ResourceError(f"a process to train in did not start: {self._death()}") from error

    def _write(self, said: Any) -> None:
        assert self._process is not None and self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        """Return an answer; raises the error that it tells of."""
        assert self._process is not None and self._process.stdout is not None  # noqa: S101
        if not (line := self._process.stdout.readline()):
            raise EOFError
        said = dict(json.loads(line))
        if "error" in said:
            raise BY_EXIT_CODE.get(said["exit_code"], ResourceError)(said["error"])
        return said

    def _death(self) -> str:
        """Bury the process, and return what it died of."""
        assert self._process is not None  # noqa: S101
        self._process.communicate()
        code, self._process = self._process.returncode, None
        if code == -9:
            return "its process was killed, as it is when memory ends: lower tuning.parallel, or what makes it large"
        self._errors.seek(0)
        return f"its process ended with {code}: {self._errors.read().strip()[-_LAST_SIGNS:]}"


def main() -> NoReturn:
    """Take orders until they end."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what other code prints is no answer

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    orders = _orders()
    first = next(orders)

    def goes_on(epoch: int, validation_loss: float) -> bool:
        say({"epoch": epoch, "validation_loss": validation_loss})
        return bool(next(orders, {"goes_on": False})["goes_on"])

    with tempfile.TemporaryDirectory(dir=first["disk"]) as disk, contextlib.suppress(BrokenPipeError):
        try:
            trainer = LocalTrainer(TuneRequest.model_validate(first["request"]), disk=Path(disk))
            say({})
            for order in orders:
                say(trainer.fit(order["settings"], goes_on).model_dump(mode="json"))
        except EvermodelError as error:  # which no setting can mend
            say({"error": str(error), "exit_code": error.exit_code})
            sys.exit(error.exit_code)
    sys.exit(0)


def _orders() -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in sys.stdin)


if __name__ == "__main__":
    main()
