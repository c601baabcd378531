"""What one run does otherwise than its spec says: the short form in the Prefect UI, and the same from Python."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from schemas.data import Expandable
from schemas.document import Document
from schemas.period import Moment
from schemas.runners import Docker, WorkPool
from schemas.spec import Spec
from schemas.spec_file import beside, with_values
from schemas.training import Device, Weight
from schemas.tuning import Tuning


def _without_null(schema: dict[str, Any]) -> None:
    """Let a form show a field that may stay empty, not a choice between a value and nothing."""
    for field in schema["properties"].values():
        choices = [each for each in field.pop("anyOf") if each != {"type": "null"}]
        del field["default"]
        field.update({"anyOf": choices} if len(choices) > 1 else choices[0])


class Changes(Document):
    """What this run does otherwise. What is left empty is as the spec says."""

    model_config = ConfigDict(json_schema_extra=_without_null)

    spec_keys: ClassVar[dict[str, str]] = {
        "path": "data.path",
        "since": "data.since",
        "until": "data.until",
        "epochs": "training.epochs",
        "learning_rate": "training.optimizer.learning_rate",
        "class_weight": "training.class_weight",
        "tuning": "tuning",
        "device": "training.device",
        "runner": "runner",
        "promote": "promotion.promote",
    }
    """The key of the spec that each field sets."""

    path: Expandable | None = Field(default=None, title="Data")
    """Where the rows come from: a file, a folder, a glob or an fsspec URL. A relative path counts from the folder
    of the spec's own data."""
    since: Moment | None = None
    """Rows from this date or time on are taken. The spec's data.time says which column that is."""
    until: Moment | None = None
    """Rows before this date or time are taken: for a backfill, the day as of which to train."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """How often the training rows are gone through, at most."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, title="Learning rate"
    )
    """The optimiser's learning rate, in place of a schedule if there is one."""
    class_weight: Literal["balanced", "effective_number", "none"] | dict[str, Weight] | None = Field(
        default=None, title="Class weights"
    )
    """balanced: a class counts as much as any other. effective_number: less so. none: as many rows as it has. Or a
    weight by label, such as {"yes": 3}; 1 for those not named."""
    tuning: Literal["on", "off"] | Tuning | None = None
    """Whether other settings are tried before training: on as the spec says or, where it says nothing, by default; off;
    or with settings of its own."""
    device: Device | None = None
    """Where it learns: auto is a GPU if there is one, else the CPU. gpu, or several, insists on it: the run fails
    without."""
    runner: Literal["inline", "docker"] | Docker | WorkPool | None = None
    """Where every stage runs. On a work pool only stages can run that the deployment put there."""
    promote: Literal["auto", "approve", "never"] | None = None
    """What becomes of a version that passes every check. auto: it becomes champion. approve: a person has the last
    word. never: people promote it later."""

    def applied_to(self, spec: Spec) -> Spec:
        """Return the spec as this run takes it; raises SpecError where that does not fit together."""
        filled_in = self.model_dump(mode="json").items()  # below, a null of its own may say something
        said = {self.spec_keys[name]: value for name, value in filled_in if value is not None}
        if not said:
            return spec
        if self.path is not None:
            said["data.path"] = beside(spec.data.path, self.path)
        if self.tuning == "on":
            said["tuning"] = spec.tuning.model_dump(mode="json") if spec.tuning else {}
        return with_values(spec, {key: None if value in ("none", "off") else value for key, value in said.items()})


NO_CHANGES = Changes()
"""The spec as it is."""
