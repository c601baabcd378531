"""The drafted spec as YAML with comments."""

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from schemas.columns import DatetimeColumn
from schemas.errors import SpecError
from schemas.yaml_text import parse
from tasks.inference.guesses import Guess
from tasks.inference.sample import Sample
from tasks.inference.target import TargetGuess

_LONGEST_COMMENT = 160
_LONGEST_NAME = 63


@dataclass(frozen=True)
class Draft:
    """What a spec is made from."""

    name: str
    sample: Sample
    target: TargetGuess
    columns: dict[str, Guess]
    """The features, and what is left out."""
    folder: Path
    """Where the spec will stand."""
    borne: float | None = None
    """The share of rejected rows that is to be borne, if that is more than by default."""
    rejected: str = ""
    """Why these rows are rejected."""


def spec_text(draft: Draft) -> str:
    """Return the spec as YAML."""
    source = draft.sample.source
    return "\n".join(
        [
            _comment(
                f"A first spec for {Path(source.path).name}, from {draft.sample.rows_said}. Read it before you use it."
            ),
            _line("name", _slug(draft.name)),
            _line("problem", draft.target.problem),
            *_data(draft),
            *_section("target", _lines(draft.target.options, draft.target.notes, first=draft.target.said)),
            *_section("columns", _features(draft)),
            *_left_out(draft),
            *_split(draft),
            *_section("network", _lines(_network(draft))),
            *_section("training", _lines(_training(draft))),
            "",
        ]
    )


def _slug(name: str) -> str:
    """Return a name as the registry takes it."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", ascii_name).strip("-_")[:_LONGEST_NAME] or "model"


def _data(draft: Draft) -> Iterator[str]:
    source = draft.sample.source
    options: dict[str, Any] = {"path": _path(source.path, draft.folder)}
    options |= {key: getattr(source, key) for key in ("delimiter", "encoding") if key in source.model_fields_set}
    notes = {"encoding": "guessed, for it is not UTF-8: look whether accents come out right"}
    keys = [name for name, guess in draft.columns.items() if guess.key]
    if keys and draft.sample.whole:
        options["key"] = keys[:1]
        notes["key"] = "it decides a row's split in every run, and a second row of the same key is rejected"
    if draft.target.nulls:
        options["nulls"] = ["", *draft.target.nulls]
        notes["nulls"] = "what means a missing value; a row without a target is rejected"
    if draft.sample.rows < 10:
        options["minimum_rows"] = 3
    if draft.borne:
        options["maximum_rejected"] = draft.borne
        notes["maximum_rejected"] = draft.rejected
    lines = list(_lines(options, notes))
    if keys and not draft.sample.whole:
        lines.append(
            f"  # key: {_flow(keys[:1])} # different in {draft.sample.rows_said}; if it is in all, take this in"
        )
    return _section("data", lines)


def _path(path: str, folder: Path) -> str:
    """Return the data's path as seen from the spec's folder."""
    if "://" in path:
        return path
    if "${" in path:
        raise SpecError(f"{path}: a path with ${{ in it cannot be written into a spec, where that names a variable")
    relative = Path(os.path.relpath(Path(path).expanduser(), folder))
    return str(relative) if relative.parts[:3] != ("..", "..", "..") else str(Path(path).absolute())


def _features(draft: Draft) -> Iterator[str]:
    for name, guess in draft.columns.items():
        if guess.column is not None:
            options = guess.column.model_dump(mode="json", exclude_defaults=True)
            yield _noted(f"  {_flow(name)}: {_flow({'kind': guess.column.kind} | options)}", guess.said)


def _left_out(draft: Draft) -> Iterator[str]:
    left_out = [(name, guess.said) for name, guess in draft.columns.items() if guess.column is None]
    if left_out:
        yield "  # Left out:"
    for name, said in left_out:
        yield "  " + _comment(f"{_flow(name[:_LONGEST_NAME])}: {said}")


def _split(draft: Draft) -> Iterator[str]:
    times = [name for name, guess in draft.columns.items() if isinstance(guess.column, DatetimeColumn)]
    varying = [name for name in times if "day" in getattr(draft.columns[name].column, "parts", ())]
    if varying:
        yield ""
        yield "# Rows go to training, validation and test at random. To train on the past and test on what came later:"
        yield f"# split: {_flow({'by': 'time', 'column': varying[0]})}"


def _network(draft: Draft) -> dict[str, Any]:
    """A network that grows with the rows; the fewer they are, the more it is held back."""
    rows = draft.sample.rows
    if rows < 1_000:
        return {"hidden": [32], "activation": "tanh", "l2": 0.01}
    if rows < 10_000:
        return {"hidden": [64, 32], "dropout": 0.1}
    return {"hidden": [128, 64] if draft.sample.whole else [256, 128], "dropout": 0.1}


def _training(draft: Draft) -> dict[str, Any]:
    rows = draft.sample.rows
    if not draft.sample.whole:
        return {"batch_size": 1024, "epochs": 50, "early_stopping": {"patience": 4}}
    if rows < 10_000:
        return {"batch_size": 32 if rows < 1_000 else 64, "epochs": 200, "early_stopping": {"patience": 20}}
    return {"batch_size": 256, "epochs": 100, "early_stopping": {"patience": 6}}


def _section(name: str, lines: Iterator[str] | list[str]) -> Iterator[str]:
    yield ""
    yield f"{name}:"
    yield from lines


def _lines(options: dict[str, Any], notes: dict[str, str] | None = None, *, first: str = "") -> Iterator[str]:
    for number, (key, value) in enumerate(options.items()):
        yield _noted(f"  {_line(key, value)}", (notes or {}).get(key, "" if number else first))


def _line(key: str, value: Any) -> str:
    return f"{key}: {_flow(value)}"


def _noted(line: str, said: str) -> str:
    return f"{line} {_comment(said)}" if said else line


def _comment(said: str) -> str:
    plain = "".join(sign if sign.isprintable() else " " for sign in said)
    return f"# {plain if len(plain) <= _LONGEST_COMMENT else plain[: _LONGEST_COMMENT - 1] + '…'}"


def _flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_flow(key)}: {_flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if not isinstance(value, str):
        return str(yaml.safe_dump(value)).removesuffix("...\n").strip()
    return value if _plain(value) else _quoted(value)


def _plain(text: str) -> bool:
    """Say whether a text can stand in YAML without quotes."""
    if not re.fullmatch(r"(\.\./)*[^\W\d][\w ./-]*(?<! )", text):
        return False
    value, _ = parse(f"[{text}]", str)
    return value == [text] and text.lower() not in ("yes", "no", "on", "off", "y", "n")


def _quoted(text: str) -> str:
    return str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf"))).strip()
