"""Reading a spec from YAML: every mistake is named with its line and, for a misspelt key, the nearest right one."""

import difflib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from schemas.data import expand_environment
from schemas.document import Document
from schemas.errors import SpecError
from schemas.named import Named
from schemas.runners import Runners
from schemas.spec import Spec
from schemas.yaml_text import Location, parse

_PLAIN = {
    "dict_type": "must be a mapping of keys",
    "model_attributes_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "string_type": "must be text; write it in quotes",
    "tuple_type": "must be a list such as [a, b]",
}


def read_spec(path: str | Path, *, overrides: tuple[str, ...] = ()) -> Spec:
    """Return the spec in a YAML file, with overrides such as `training.epochs=5` applied.

    A relative `data.path` is made absolute, counted from the file's folder. Raises SpecError with the line of each
    mistake.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SpecError(f"there is no spec {path}; `evermodel init DATA --target COLUMN` writes one") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read spec {path}: {error}") from error
    tree, places = parse(text, lambda line: f"{path}:{line}")
    if not isinstance(tree, dict):
        raise SpecError(f"{path} must be a mapping of keys such as name, problem and data")
    for assignment in overrides:
        tree, overridden = _override(tree, assignment)
        places |= overridden
    return _validated(tree, places, path)


def resolve_path(location: str, *, folder: Path) -> str:
    """Return a data path as an absolute one, counted from `folder`; a URL stays as it is, and ${NAME} stands."""
    expanded = expand_environment(location)
    if "://" in expanded or Path(expanded).is_absolute():
        return location
    try:
        return str(folder.absolute() / Path(location).expanduser())
    except RuntimeError as error:
        raise SpecError(f"data.path {location!r} names a home directory that does not exist") from error


def beside(known: str, location: str) -> str:
    """Return a data path or URL as an absolute one, counted from the folder of another that is absolute."""
    expanded = expand_environment(location)
    if "://" in expanded or Path(expanded).is_absolute():
        return location
    folder, _, name = known.rpartition("/")
    if "${" in name:
        folder = expand_environment(known).rpartition("/")[0]
    return f"{folder}/{location}"


def absolute(spec: Spec, *, folder: Path) -> Spec:
    """Return the spec with a data path that is absolute, counted from `folder` if it is not."""
    location = resolve_path(spec.data.path, folder=folder)
    return spec.model_copy(update={"data": spec.data.model_copy(update={"path": location})})


def with_values(spec: Spec, values: Mapping[str, Any]) -> Spec:
    """Return the spec with values at dotted keys, such as `training.epochs`; raises SpecError for what does not fit."""
    tree = spec.model_dump(mode="json")
    for key, value in values.items():
        tree = _assigned(tree, (), key.split("."), value, "changes")
    return _validated(tree, {(): "changes"}, Path())


def _override(tree: dict[str, Any], assignment: str) -> tuple[dict[str, Any], dict[Location, str]]:
    """Return the tree with one `a.b=value` applied, the value read as YAML, and the places that it sets."""
    dotted, equals, text = assignment.partition("=")
    keys = dotted.split(".")
    if not equals or not all(keys):
        raise SpecError(f"--set wants key=value such as training.epochs=5, got {assignment!r}")
    place = f"--set {assignment}"
    value, places = parse(text, lambda _line: place)
    set_here = {(*keys, *inner): place for inner in (places or [()])}
    return _assigned(tree, (), keys, value, place), set_here


def _assigned(tree: Any, at: Location, keys: list[str], value: Any, place: str) -> dict[str, Any]:
    """Return what stands at a location with a value set below it; raises SpecError where no keys can be below."""
    key, *rest = keys
    tree = _opened(tree, at, key)
    if not isinstance(tree, dict):
        raise SpecError(f"{place}: {key!r} is below a value that has no keys")
    return {**tree, key: _assigned(tree.get(key), (*at, key), rest, value, place) if rest else value}


def _opened(tree: Any, at: Location, key: str) -> Any:
    """Return as a mapping what a text, or nothing, at a location is short for, so that a key can be set in it."""
    if at == ("runner",) and key in Runners.model_fields and (isinstance(tree, str) or "kind" in (tree or {})):
        return {"default": {"kind": tree} if isinstance(tree, str) else tree}
    if isinstance(tree, str):
        return {"name": tree}  # `optimizer: adam` is short for `optimizer: {name: adam}`
    return _named_by_default(at) if tree is None else tree


def _named_by_default(at: Location) -> dict[str, Any]:
    model: type[Document] = Spec
    default: Any = None
    for part in at:
        field = model.model_fields.get(str(part))
        default = field.get_default(call_default_factory=True) if field else None
        if not isinstance(default, Document):
            return {}
        model = type(default)
    return {"name": default.name} if isinstance(default, Named) else {}


def _validated(tree: dict[str, Any], places: Mapping[Location, str], path: Path) -> Spec:
    try:
        spec = Spec.model_validate(tree)
    except ValidationError as error:
        problems = error.errors()
        meant = [problem for problem in problems if _is_meant(problem)] or problems
        raise SpecError("\n".join(dict.fromkeys(_message(problem, tree, places) for problem in meant))) from error
    return absolute(spec, folder=path.parent)


def _is_meant(problem: Any) -> bool:
    """Whether the error is about the form that was written: who writes a mapping does not mean the word beside it."""
    return not (problem["type"] == "literal_error" and isinstance(problem["input"], dict))


def _message(problem: Any, tree: dict[str, Any], places: Mapping[Location, str]) -> str:
    """One line for one mistake: file, line, key, what is wrong, what would be right."""
    kind, context = problem["type"], problem.get("ctx", {})
    apart = getattr(context.get("error"), "at", ())
    at = (*problem["loc"], *apart)
    location = _in_file(at, tree, absent=kind == "missing")
    where = ".".join(map(str, location))
    if kind == "extra_forbidden":
        siblings = [name for model in _models(at[:-1]) for name in model.model_fields]
        return f"{_place(location, places)}: unknown key {where}{_suggestion(str(location[-1]), siblings)}"
    if kind == "missing":
        return f"{_place(location, places)}: {where} is missing"
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        key, tag = context["discriminator"].strip("'"), context.get("tag", "")
        said = f"has the unknown {key} {tag!r}" if tag else f"has no {key}"
        known = [name for model in _models(at) for name in _tags(model)]
        return f"{_place((*location, key), places)}: {where} {said}{_suggestion(tag, known)}"
    text = _PLAIN.get(kind, problem["msg"].removeprefix("Value error, "))
    got = "" if isinstance(problem["input"], dict | Document) else f", got {problem['input']!r}"
    return f"{_place(location, places)}: {'' if apart else where + ': '}{text}{got}"


def _place(location: Location, places: Mapping[Location, str]) -> str:
    """Where a key stands or, when it is not there, the nearest one around it."""
    return next(places[location[:end]] for end in range(len(location), -1, -1) if location[:end] in places)


def _in_file(location: Location, tree: Any, *, absent: bool) -> Location:
    """Drop from pydantic's location what is no key of the file: the tags of unions and the names of validators.

    If `absent`, the last part is kept although it is not there.
    """
    kept: Location = ()
    tag_may_come = True
    for index, part in enumerate(location):
        is_tag = tag_may_come and isinstance(tree, dict) and part in (tree.get("kind"), tree.get("by"))
        tag_may_come = False
        if is_tag:
            continue
        in_list = isinstance(tree, list) and isinstance(part, int)
        if in_list or (isinstance(tree, dict) and part in tree):
            kept, tree, tag_may_come = (*kept, part), tree[part], True
        elif absent and index == len(location) - 1:
            kept = (*kept, part)
    return kept


def _suggestion(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5) if name else []
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(names)}" if names else ""


def _models(location: Location) -> list[type[BaseModel]]:
    """The models that may stand at a pydantic location."""
    models: list[type[BaseModel]] = [Spec]
    for part in location:
        inner = [model for parent in models for model in _models_at(parent, part)]
        tagged = [model for model in models if part in _tags(model)]
        models = inner or tagged or models
    return models


def _models_at(model: type[BaseModel], part: str | int) -> list[type[BaseModel]]:
    field = model.model_fields.get(str(part))
    return list(_models_in(field.annotation)) if field else []


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _tags(model: type[BaseModel]) -> list[Any]:
    return [field.default for name, field in model.model_fields.items() if name in {"kind", "by"}]
