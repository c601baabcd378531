"""Examples: real data sets, each with a spec that runs. The specs are the files in examples/; the data is made here."""

import difflib
import json
from pathlib import Path

from schemas.errors import ResourceError, SpecError
from schemas.spec_schema import editor_schema

EXAMPLES = {
    "diabetes": "regression: progress of diabetes within a year, 442 patients",
    "linnerud": "multioutput_regression: weight, waist and pulse by fitness, 20 people",
    "breast-cancer": "binary: malignant or benign, 569 tumours",
    "digits": "multiclass: handwritten digits, 1,797 images of 8 × 8 pixels",
    "digit-traits": "multilabel: whether a handwritten digit is even, prime, greater than four",
    "flights": "binary: arrival more than 30 minutes late, 60,000 flights with weather, aircraft and gaps",
}
"""The examples' names, each with a line that describes it."""

SPECS = Path(__file__).parents[2] / "examples"
"""The folder of the checkout that holds the specs."""

EDITOR_SCHEMA = "evermodel.schema.json"
"""The file beside a spec that editors complete and check it by."""


def write_example(name: str, folder: str | Path) -> Path:
    """Write an example's data, its spec and the editors' schema into a folder, and return the spec's path.

    The files have the same bytes every time. Raises SpecError for an unknown name, and ResourceError when the package
    that the data comes from is missing or the folder holds a spec of that name that says something else.
    """
    if name not in EXAMPLES:
        near = difflib.get_close_matches(name, EXAMPLES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(EXAMPLES)}"
        raise SpecError(f"there is no example {name!r}; {hint}")
    folder = Path(folder)
    spec = folder / f"{name}.yaml"
    text = (SPECS / spec.name).read_bytes()
    if spec.exists() and spec.read_bytes() != text:
        raise ResourceError(f"{spec} says something else than the example; take another folder, or remove that file")
    from tasks.examples import tables  # imports pandas, which the list of names does not need

    folder.mkdir(parents=True, exist_ok=True)
    tables.write(name, folder)
    (folder / EDITOR_SCHEMA).write_text(json.dumps(editor_schema(), indent=2) + "\n", encoding="utf-8")
    spec.write_bytes(text)
    return spec
