"""The data path by hand, on whole frames: `python -m benchmarks.by_hand encode|predict IN OUT`."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler

NUMBERS = [f"number_{index}" for index in range(10)]


def encode(source: str, folder: str) -> None:
    """Read, check, split, fit on the training rows, transform all, write a file a split."""
    frame = pd.read_parquet(source)
    checked = schema().validate(frame, lazy=True)
    checked = with_parts(checked)
    train, rest = train_test_split(checked, test_size=0.4, random_state=0)
    validation, test = train_test_split(rest, test_size=0.5, random_state=0)
    encoder = transformer().fit(train)
    Path(folder).mkdir()
    for name, rows in (("train", train), ("validation", validation), ("test", test)):
        encoded = pd.DataFrame(encoder.transform(rows), columns=encoder.get_feature_names_out())
        encoded["target"] = (rows["returned"] == "yes").to_numpy(np.float32)
        encoded.to_parquet(Path(folder, f"{name}.parquet"))


def predict(source: str, output: str) -> None:
    """Read, encode, predict, write; the encoder has seen few rows and the network none, which costs little."""
    import keras

    frame = with_parts(pd.read_parquet(source))
    encoder = transformer().fit(frame[:20_000])
    encoded = encoder.transform(frame).astype(np.float32)
    layers = [keras.layers.Dense(64, "relu"), keras.layers.Dense(32, "relu"), keras.layers.Dense(1, "sigmoid")]
    network = keras.Sequential([keras.Input((encoded.shape[1],)), *layers])
    probability = network.predict(encoded, verbose=0)[:, 0]
    frame[["id"]].assign(prediction=probability >= 0.5, probability=probability).to_parquet(output)


def schema() -> pa.DataFrameSchema:
    """Return the same checks that the spec makes."""
    columns = {name: pa.Column(float, pa.Check(np.isfinite), nullable=True) for name in NUMBERS}
    columns |= {"colour": pa.Column(str), "shop": pa.Column(str), "grade": pa.Column(str, pa.Check.isin(list("abcde")))}
    columns |= {"id": pa.Column(int, unique=True), "returned": pa.Column(str, pa.Check.isin(["yes", "no"]))}
    return pa.DataFrameSchema(columns)


def with_parts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the parts of its time as columns."""
    times = frame["sold_at"].dt
    parts = {"year": times.year, "month": times.month, "day": times.day, "day_of_week": times.day_of_week}
    return frame.assign(**parts, time=times.hour * 3600 + times.minute * 60 + times.second)


def transformer() -> ColumnTransformer:
    """Return the same encodings that the spec asks for, in float32."""
    impute = SimpleImputer(strategy="median", add_indicator=True)
    logarithm = FunctionTransformer(signed_log, feature_names_out="one-to-one")
    parts = ["year", "month", "day", "day_of_week", "time"]
    unknown = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
    return ColumnTransformer(
        [
            ("standard", make_pipeline(impute, StandardScaler()), NUMBERS[:8]),
            ("robust", make_pipeline(impute, RobustScaler()), NUMBERS[8:9]),
            ("log", make_pipeline(impute, logarithm, StandardScaler()), NUMBERS[9:]),
            ("one_hot", OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32), ["colour"]),
            ("ordinal", OrdinalEncoder(dtype=np.float32, **unknown), ["grade", "shop"]),
            ("time", StandardScaler(), parts),
        ],
        verbose_feature_names_out=False,
    )


def signed_log(values: np.ndarray) -> np.ndarray:
    """Return sign(x) log(1 + |x|)."""
    return np.sign(values) * np.log1p(np.abs(values))


if __name__ == "__main__":
    {"encode": encode, "predict": predict}[sys.argv[1]](*sys.argv[2:])
