"""docs/benchmarks.md and docs/scaling.md, of which each benchmark writes its own part."""

import os
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

_DOCS = Path(__file__).parents[1] / "docs"
PAGE, SCALING = _DOCS / "benchmarks.md", _DOCS / "scaling.md"


def write(part: str, text: str, *, on: Path = PAGE) -> None:
    """Put text between the marks `<!-- part: … -->` and `<!-- /part -->`."""
    marks = re.compile(rf"(<!-- {part}:[^\n]*-->\n).*?(\n<!-- /{part} -->)", re.DOTALL)
    page, count = marks.subn(lambda found: f"{found[1]}\n{text.strip()}\n{found[2]}", on.read_text())
    if count != 1:
        raise SystemExit(f"{on} has no part {part!r}")
    on.write_text(page)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def turns(count: int) -> str:
    """Return how often variants took turns, for a table of medians."""
    return "once by turns" if count == 1 else f"{count} times by turns, medians"


def machine() -> str:
    """Return the processor's name, the cores of this process and Python's version."""
    names = Path("/proc/cpuinfo").read_text().split("model name\t: ")
    processor = names[1].splitlines()[0] if len(names) > 1 else platform.machine()
    return f"{processor}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"
