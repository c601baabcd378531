"""The registered model, as MLflow loads it: raw rows in, labels, probabilities or numbers out.

MLflow copies this file, `tasks` and `schemas` beside the bundle ("models from code"): nothing is pickled.
"""

from typing import Any

import pandas as pd
import pyarrow as pa
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from schemas.data import Source
from schemas.errors import DataError
from schemas.stages import Input
from tasks.bundle import Bundle
from tasks.predict import predictions
from tasks.rows import RowReader


class BundleModel(PythonModel):
    """A bundle behind MLflow's interface."""

    def load_context(self, context: Any) -> None:
        """Open the bundle that MLflow brought; its files are verified first."""
        self.bundle = Bundle(Input(path=context.artifacts["bundle"]))
        self.contract = self.bundle.contract.model_copy(update={"key": ()})  # the order of rows names them

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return predictions for raw rows, in their order; raises DataError when a row breaks the contract."""
        reader = RowReader([], Source(path="request"), self.contract, with_target=False)
        checked = reader.check(pa.Table.from_pandas(_plain(model_input), preserve_index=False), "request")
        if checked.rejected.num_rows:
            raise DataError(f"rows break the contract: {reader.rejections.summary()}")
        return predictions(self.bundle, checked.accepted).to_pandas()


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame in which columns of mixed values are text, as they would be in a file; NaN is a missing value."""
    scalars = [name for name in frame if frame[name].dtype == object and frame[name].map(pd.api.types.is_scalar).all()]
    plain = frame.copy(deep=False)
    for name in scalars:
        plain[name] = frame[name].map(lambda value: None if pd.isna(value) else str(value))
    return plain


set_model(BundleModel())
