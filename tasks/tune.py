"""Tune: trials of other settings; those that do best on the validation rows are what train is to use."""

import contextlib
import functools
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.document import digest
from schemas.stages import TuneRequest, TuneResult
from tasks import scratch, stage, train

if TYPE_CHECKING:
    from tasks.tuning.record import Study as Record
    from tasks.tuning.study import Study
    from tasks.tuning.trainer import Trainer

VERSION = 1

_SECONDS_BETWEEN_LOOKS = 0.2


def run_key(request: TuneRequest) -> str:
    """Return the run key: it changes with the request, any byte of the encoded rows, and the source of own code."""
    code = train.own_code(request)
    return stage.run_key("tune", request, version=VERSION, **({"code": digest(code)} if code else {}))


def run(request: TuneRequest) -> TuneResult:
    """Train trials, and publish the best settings and the study. Test rows are not read.

    A trial that fails is one of the study. What is killed or stopped goes on after its last finished trial. The same
    request gives the same settings on the same machine, unless trials run side by side or time ends them.

    Raises TrainingError when no trial comes to its end, and as train does for what no setting can mend.
    """
    key = run_key(request)
    with contextlib.ExitStack() as until_published:
        make = functools.partial(_make, key=key, until_published=until_published)
        return stage.publish(TuneResult, request, stage="tune", key=key, make=make)


def _make(request: TuneRequest, out: Path, *, key: str, until_published: contextlib.ExitStack) -> Mapping[str, Any]:
    from tasks.tuning.study import Study

    folder = until_published.enter_context(scratch.kept(out.parent.parent / "checkpoints" / key))
    with tempfile.TemporaryDirectory(dir=out) as disk, _trainers(request, Path(disk)) as trainers:
        study = Study(request, folder)
        _train(study, trainers)
        record = study.record()
    (out / "best.json").write_text(json.dumps(record.chosen.settings, indent=2) + "\n")
    (out / "study.json").write_text(record.to_json())
    record.write_table(out / "trials.csv")
    return {
        "settings": record.chosen.settings,
        "trial": record.best,
        "validation_loss": record.chosen.validation_loss,
        "metric": record.chosen.metric,
        "trials": len(record.trials),
        "warnings": _warnings(record),
    }


@contextlib.contextmanager
def _trainers(request: TuneRequest, disk: Path) -> Iterator[Sequence["Trainer"]]:
    """Give as many trainers as train side by side: this process, or processes with a share of its processors each."""
    from tasks.tuning.processes import RemoteTrainer
    from tasks.tuning.trainer import LocalTrainer

    if request.tuning.parallel == 1:
        yield [LocalTrainer(request, disk=disk)]
        return
    threads = max(1, len(os.sched_getaffinity(0)) // request.tuning.parallel)
    trainers = [RemoteTrainer(request, threads=threads, disk=disk) for _ in range(request.tuning.parallel)]
    try:
        yield trainers
    finally:
        for trainer in trainers:
            trainer.close()


def _train(study: "Study", trainers: Sequence["Trainer"]) -> None:
    """Let each trainer train trials until the study gives no more."""
    if len(trainers) == 1:
        _work(study, trainers[0])
        return
    with ThreadPoolExecutor(len(trainers), thread_name_prefix="trial") as threads:
        working = {threads.submit(_work, study, trainer) for trainer in trainers}
        try:
            while working:  # not all at once: whoever stops this thread is heard between looks
                done, working = wait(working, timeout=_SECONDS_BETWEEN_LOOKS)
                for each in done:
                    each.result()
        except BaseException:
            study.stop()
            for trainer in trainers:
                trainer.kill()
            raise


def _work(study: "Study", trainer: "Trainer") -> None:
    while (asked := study.ask()) is not None:
        outcome = trainer.fit(asked.settings, functools.partial(study.goes_on, asked))
        study.tell(asked, outcome)


def _warnings(record: "Record") -> list[str]:
    failed = [trial for trial in record.trials if trial.state == "failed"]
    if not failed:
        return []
    return [
        f"tuning: {len(failed)} of {len(record.trials)} trials failed; trial {failed[0].number}: {failed[0].reason}"
    ]


if __name__ == "__main__":
    stage.main(TuneRequest, run)
