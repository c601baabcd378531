"""A first spec for a data file: kinds of columns, problem and network, judged by a sample of the rows."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from schemas.contract import Contract
from schemas.errors import DataError, SpecError
from schemas.spec import Spec
from schemas.yaml_text import parse
from tasks.inference.draft import Draft, spec_text
from tasks.inference.features import guess_feature
from tasks.inference.sample import Sample, read_sample
from tasks.inference.target import guess_target
from tasks.repeated_keys import OnePass
from tasks.rows import RowReader
from tasks.sources.files import list_files

_BORNE = 0.005
"""Half of what data.maximum_rejected bears by default: rows beyond the sample may be worse."""


def infer_spec(
    data_path: str | Path, target: str | Sequence[str], *, name: str | None = None, folder: str | Path = "."
) -> str:
    """Return a commented spec, as YAML, for a file, folder, glob or URL and its target column or columns.

    The spec's name is made from `name`, or from the file's. `folder` is where the spec will stand: the path to the data
    is written as seen from there. Raises SpecError for a target that is no column, and DataError for data that no
    spec would run on.
    """
    sample = read_sample(str(data_path))
    targets = _targets(sample, [target] if isinstance(target, str) else list(target))
    guess = guess_target(sample, targets)
    label = sample.observed(targets[0]) if guess.problem in ("binary", "multiclass") and len(targets) == 1 else None
    features = [column for column in sample.names if column not in targets]
    draft = Draft(
        name=name or Path(str(data_path).rstrip("/")).name.split(".")[0],
        sample=sample,
        target=guess,
        columns={column: guess_feature(sample.observed(column), label) for column in features},
        folder=Path(folder),
    )
    _refuse_no_features(draft)
    return spec_text(_bearing_rejects(draft))


def _refuse_no_features(draft: Draft) -> None:
    if not any(guess.column for guess in draft.columns.values()):
        said = "; ".join(f"{column!r}: {guess.said}" for column, guess in list(draft.columns.items())[:5])
        raise DataError(f"{draft.sample.source.path} has no column to predict from ({said or 'there is no other'})")


def _targets(sample: Sample, targets: list[str]) -> list[str]:
    for number, target in enumerate(targets):
        if target in targets[:number]:
            raise SpecError(f"target {target!r} is named twice")
        if target not in sample.names:
            folded = {name.casefold(): name for name in sample.names}
            near = difflib.get_close_matches(target.casefold(), folded, n=1)
            known = ", ".join(map(repr, sample.names[:20]))
            hint = f"did you mean {folded[near[0]]!r}?" if near else f"there are {known}"
            raise SpecError(f"{sample.source.path} has no column {target!r}; {hint}")
    return targets


def _bearing_rejects(draft: Draft) -> Draft:
    """Read the sample by the drafted spec, and have the spec bear as many rejected rows as there are."""
    tree, _ = parse(spec_text(draft), str)
    spec = Spec.model_validate(tree)
    source = draft.sample.source
    contract = Contract.of(spec)
    reader = RowReader(list_files(source), source, contract, with_target=True, repeated=OnePass())
    read = rejected = 0
    for batch in reader:
        if read >= draft.sample.rows:
            break
        read += batch.accepted.num_rows + batch.rejected.num_rows
        rejected += batch.rejected.num_rows
    if rejected == read:
        raise DataError(f"{source.path}: no row can be used: {reader.rejections.summary(most=3)}")
    if rejected <= _BORNE * read:
        return draft
    share = rejected / read
    return replace(draft, borne=min(0.99, math.ceil(150 * share) / 100), rejected=reader.rejections.summary(most=3))
