"""Processes, and what they took by the operating system's account."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """What a process took, its start included, and what it printed."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    printed: str


def run(
    *arguments: str | Path, environment: Mapping[str, str] | None = None, python: str | Path = sys.executable
) -> Run:
    """Run Python with arguments to its end, and return what it took; ends the benchmark when it fails."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [str(python), *map(str, arguments)], stdout=printed, stderr=said, env=os.environ | (environment or {})
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        said.seek(0)
        if process.returncode:
            raise SystemExit(f"{arguments[:2]} ended with {process.returncode}: {said.read().decode()}")
        cpu_seconds = usage.ru_utime + usage.ru_stime
        return Run(seconds, cpu_seconds, usage.ru_maxrss / 1024, printed.read().decode())
