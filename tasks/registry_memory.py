"""What a registry on SQLite was last seen to hold, so that one that did not change is read without loading MLflow."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

_HEADER_BYTES = 100
_ROLLBACK_JOURNAL = b"\1\1"

Entries = list[dict[str, Any]]


class RegistryMemory:
    """Answers to questions about a database, believed as long as the database has not changed since."""

    def __init__(self, database: Path) -> None:
        """Name the database; what is remembered stands beside it."""
        self._database = database
        self._file = Path(f"{database}.seen.json")

    def state(self) -> list[int] | None:
        """Return what differs after any change of the database; None when that cannot be told.

        SQLite counts transactions in the header of the file (https://www.sqlite.org/fileformat.html, 1.3.7). It does
        not with a write-ahead log, and while there is a rollback journal, a transaction may be under way.
        """
        try:
            with self._database.open("rb") as file:
                header, about = file.read(_HEADER_BYTES), os.fstat(file.fileno())
        except OSError:
            return None
        if header[18:20] != _ROLLBACK_JOURNAL or Path(f"{self._database}-journal").exists():
            return None
        return [int.from_bytes(header[24:28]), about.st_ino, about.st_size, about.st_mtime_ns]

    def recall(self, question: str) -> Entries | None:
        """Return the answer to a question; None when it is not known, or may have changed."""
        seen = self._seen()
        known: Entries | None = seen["answers"].get(question)
        return known if known is not None and seen["state"] == self.state() else None

    def keep(self, question: str, answer: Entries, state: list[int] | None) -> None:
        """Remember an answer that was got after the database had been in a state."""
        if state is None:
            return
        seen = self._seen()
        answers = (seen["answers"] if seen["state"] == state else {}) | {question: answer}
        scratch = Path(f"{self._file}.{os.getpid()}")
        with contextlib.suppress(OSError):  # it only saves time
            scratch.write_text(json.dumps({"state": state, "answers": answers}))
            scratch.replace(self._file)

    def _seen(self) -> dict[str, Any]:
        try:
            seen = json.loads(self._file.read_bytes())
            return {"state": seen["state"], "answers": dict(seen["answers"])}
        except (OSError, ValueError, TypeError, KeyError):
            return {"state": None, "answers": {}}
