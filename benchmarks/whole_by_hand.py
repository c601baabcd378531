"""A model of late flights by hand, from CSV to the registry: `python -m benchmarks.whole_by_hand IN OUT EPOCHS`.

What examples/flights.yaml asks for, as one would write it with pandas, scikit-learn, Keras, matplotlib and MLflow.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import joblib
import keras
import mlflow
import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from benchmarks import whole_by_hand_report

WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
NUMBERS = ["distance", *WEATHER, "built", "seats"]
PARTS = ["month", "day", "day_of_year", "day_of_week", "time"]
ONE_HOT = ["carrier", "origin", "manufacturer", "engine"]
EMBEDDED = {"dest": 20, "model": 50}


def main(source: str, folder: str, epochs: int) -> None:
    """Read, check, split, fit the encoder, train, score, explain, draw, register, and try what was registered."""
    out = Path(folder)
    out.mkdir()
    frame = checked(with_parts(pd.read_csv(source)))
    train, rest = train_test_split(frame, test_size=0.4, random_state=0, stratify=frame["late"])
    validation, test = train_test_split(rest, test_size=0.5, random_state=0, stratify=rest["late"])
    splits = {"train": train, "validation": validation, "test": test}
    encoder = transformer().fit(train)
    labels = {name: (rows["late"] == "yes").to_numpy(np.float32) for name, rows in splits.items()}
    inputs = {name: to_inputs(encoder.transform(rows)) for name, rows in splits.items()}
    network, history = trained(inputs, labels, encoder, epochs)
    predicted = {name: predictions(network, inputs[name]) for name in splits}
    scored = {name: scores(labels[name], predicted[name]) for name in splits}
    for name, rows in splits.items():
        rows.to_parquet(out / f"{name}.parquet")
    network.save(out / "network.keras")
    joblib.dump(encoder, out / "encoder.joblib")
    (out / "history.json").write_text(json.dumps(history))
    (out / "metrics.json").write_text(json.dumps(scored))
    whole_by_hand_report.write(
        out,
        history=history,
        scored=scored,
        test=test,
        labels=labels["test"],
        predicted=predicted["test"],
        predict=lambda rows: predictions(network, to_inputs(encoder.transform(rows))),
    )
    loaded = registered(out, network, scored, epochs)
    if not np.array_equal(predictions(loaded, inputs["test"]), predicted["test"]):
        raise SystemExit("the registered network predicts otherwise")
    print(json.dumps(scored["test"]))


def trained(
    inputs: Mapping[str, dict[str, np.ndarray]],
    labels: Mapping[str, np.ndarray],
    encoder: ColumnTransformer,
    epochs: int,
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Return the network with the weights of its best epoch, and the losses."""
    categories = encoder.named_transformers_["embedded"].categories_
    network = built(inputs["train"]["numbers"].shape[1], [len(each) + 2 for each in categories])
    network.compile(optimizer="adam", loss="binary_crossentropy")
    best = keras.callbacks.EarlyStopping(patience=epochs, restore_best_weights=True)
    history = network.fit(
        inputs["train"],
        labels["train"],
        validation_data=(inputs["validation"], labels["validation"]),
        batch_size=256,
        validation_batch_size=4096,
        epochs=epochs,
        callbacks=[best],
        verbose=0,
    )
    return network, history.history


def predictions(network: keras.Model, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return the probability that each flight is late, shape (n,)."""
    return network.predict(inputs, batch_size=4096, verbose=0)[:, 0]


def registered(out: Path, network: keras.Model, scored: Mapping[str, Mapping[str, float]], epochs: int) -> keras.Model:
    """Log the run with MLflow, register the network as champion, and return it as it comes from the registry."""
    mlflow.set_tracking_uri(f"sqlite:///{out / 'mlflow.db'}")
    mlflow.create_experiment("flights", artifact_location=(out / "artifacts").as_uri())
    mlflow.set_experiment("flights")
    with mlflow.start_run():
        mlflow.log_params({"epochs": epochs, "batch_size": 256, "hidden": "128, 64", "dropout": 0.2})
        for split, values in scored.items():
            mlflow.log_metrics({f"{split}_{name}": value for name, value in values.items()})
        mlflow.log_artifacts(str(out / "report"), "report")
        mlflow.log_artifact(str(out / "encoder.joblib"))
        mlflow.keras.log_model(network, name="model", registered_model_name="flights")
    mlflow.MlflowClient().set_registered_model_alias("flights", "champion", "1")
    return mlflow.keras.load_model("models:/flights@champion")


def with_parts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the parts of its two times as columns."""
    departure = pd.to_datetime(frame["departure"], format="%Y-%m-%d %H:%M").dt
    arrival = pd.to_datetime(frame["arrival"], format="%H:%M").dt
    angle = 2 * np.pi * (arrival.hour * 60 + arrival.minute) / 1440
    return frame.assign(
        month=departure.month,
        day=departure.day,
        day_of_year=departure.day_of_year,
        day_of_week=departure.day_of_week,
        time=departure.hour * 3600 + departure.minute * 60,
        arrival_sin=np.sin(angle),
        arrival_cos=np.cos(angle),
    )


def checked(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame without rows that repeat a key or have no label."""
    frame = frame.drop_duplicates(["departure", "carrier", "flight"])
    return frame[frame["late"].isin(["yes", "no"])]


def transformer() -> ColumnTransformer:
    """Return the encodings that the spec asks for."""
    impute = SimpleImputer(strategy="median", add_indicator=True)
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=50, sparse_output=False)
    codes = {"handle_unknown": "use_encoded_value", "unknown_value": -1, "encoded_missing_value": -1}
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(impute, StandardScaler()), NUMBERS),
            ("parts", StandardScaler(), PARTS),
            ("cyclical", "passthrough", ["arrival_sin", "arrival_cos"]),
            ("one_hot", one_hot, ONE_HOT),
            ("embedded", OrdinalEncoder(min_frequency=20, **codes), [*EMBEDDED]),
        ]
    )


def to_inputs(encoded: np.ndarray) -> dict[str, np.ndarray]:
    """Return the network's inputs: all numbers, and a code for each embedding."""
    count = len(EMBEDDED)
    codes = {name: encoded[:, index - count].astype(np.int32) + 1 for index, name in enumerate(EMBEDDED)}
    return {"numbers": encoded[:, :-count].astype(np.float32), **codes}


def built(width: int, sizes: list[int]) -> keras.Model:
    """Return the network of the spec."""
    numbers = keras.Input((width,), name="numbers")
    codes = [keras.Input((), name=name, dtype="int32") for name in EMBEDDED]
    embedded = [keras.layers.Embedding(size, 8)(code) for size, code in zip(sizes, codes, strict=True)]
    values = keras.layers.Concatenate()([numbers, *embedded])
    for units in (128, 64):
        values = keras.layers.Dropout(0.2)(keras.layers.Dense(units, "relu")(values))
    return keras.Model([numbers, *codes], keras.layers.Dense(1, "sigmoid")(values))


def scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return the metrics of a binary problem."""
    said = probabilities >= 0.5
    return {
        "roc_auc": metrics.roc_auc_score(labels, probabilities),
        "pr_auc": metrics.average_precision_score(labels, probabilities),
        "log_loss": metrics.log_loss(labels, probabilities),
        "brier_score": metrics.brier_score_loss(labels, probabilities),
        "accuracy": metrics.accuracy_score(labels, said),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, said),
        "precision": metrics.precision_score(labels, said, zero_division=0),
        "recall": metrics.recall_score(labels, said),
        "f1": metrics.f1_score(labels, said),
    }


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
