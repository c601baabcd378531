"""R26: parts of dates and times, against Python's own datetime."""

import math
from datetime import UTC, datetime, timedelta
from typing import get_args

import numpy as np
import pytest

from schemas.columns import DatetimePart

PYTHON = {
    "year": lambda time: time.year,
    "quarter": lambda time: (time.month + 2) // 3,
    "month": lambda time: time.month,
    "day": lambda time: time.day,
    "day_of_week": lambda time: time.weekday(),
    "day_of_year": lambda time: time.timetuple().tm_yday,
    "week_of_year": lambda time: time.isocalendar().week,
    "time": lambda time: time.hour * 3600 + time.minute * 60 + time.second,
    "hour": lambda time: time.hour,
    "minute": lambda time: time.minute,
    "second": lambda time: time.second,
    "day_part": lambda time: time.hour // 6,
}
AWKWARD = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2021, 1, 3, tzinfo=UTC),  # in week 53 of 2020
    datetime(2018, 12, 31, 12, tzinfo=UTC),  # in week 1 of 2019
    datetime(2020, 2, 29, 6, 0, 0, 1, tzinfo=UTC),
    datetime(2020, 12, 31, 17, 59, 59, 999_999, tzinfo=UTC),  # day 366
    datetime(1900, 3, 1, tzinfo=UTC),  # after no leap day
    datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC),
    datetime(1582, 10, 10, 18, tzinfo=UTC),
]


@pytest.mark.parametrize("part", get_args(DatetimePart))
def test_part_is_pythons(column, part):
    times = column("datetime", parts=(part,), scale="none")
    encoded = times.fitted(AWKWARD).transform(times.array(AWKWARD))
    assert encoded[:, 0].tolist() == [PYTHON[part](time) for time in AWKWARD]


def test_year_month_and_day_are_the_numbers_of_the_date(column):
    dates = column("datetime", parts=("year", "month", "day"), scale="none")
    days = [(2013, 6, 11), (2014, 5, 8), (2013, 10, 26), (2015, 8, 20), (2014, 7, 22)]
    values = [datetime(*day, tzinfo=UTC) for day in days]
    encoder = dates.fitted(values)
    assert encoder.outputs == ("x.year", "x.month", "x.day")
    assert encoder.transform(dates.array(values)).tolist() == [list(day) for day in days]


@pytest.mark.parametrize("part", [part for part in get_args(DatetimePart) if part != "year"])
def test_cyclical_part_lies_on_a_circle_and_starts_at_its_first_value(column, part):
    times = column("datetime", parts=(part,), cyclical=True)
    hours = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=each) for each in range(0, 24 * 367, 5)]
    encoder = times.fitted(hours)
    assert encoder.outputs == (f"x.{part}.sin", f"x.{part}.cos")
    encoded = encoder.transform(times.array(hours))
    np.testing.assert_allclose((encoded**2).sum(axis=1), 1, rtol=1e-5)
    assert encoded[0].tolist() == [0, 1]  # 1 January 2024, midnight, a Monday


def test_cyclical_month_is_a_twelfth_of_the_circle(column):
    times = column("datetime", parts=("year", "month"), cyclical=True, scale="none")
    april = datetime(2020, 4, 30, tzinfo=UTC)
    encoder = times.fitted([april])
    assert encoder.outputs == ("x.year", "x.month.sin", "x.month.cos")
    expected = [2020, math.sin(math.pi / 2), math.cos(math.pi / 2)]
    assert encoder.transform(times.array([april]))[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_parts_are_standardised_each_for_itself(column):
    times = column("datetime", parts=("year", "hour"))
    values = [datetime(year, 1, 1, hour, tzinfo=UTC) for year, hour in [(2000, 1), (2010, 5), (2020, 18), (2021, 3)]]
    encoded = times.fitted(values).transform(times.array(values))
    np.testing.assert_allclose(encoded.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(encoded.std(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize(("cyclical", "filled"), [(False, [2015, 2]), (True, [2015, 0, 0])])
def test_missing_time_is_the_mean_and_marked(column, cyclical, filled):
    times = column("datetime", parts=("year", "day_of_week"), scale="none", cyclical=cyclical)
    encoder = times.fitted([datetime(2010, 1, 4, tzinfo=UTC), None, datetime(2020, 1, 3, tzinfo=UTC)])
    assert encoder.outputs[-1] == "x=missing"
    assert encoder.transform(times.array([None])).tolist() == [[*filled, 1]]


def test_batches_fit_as_one_batch_does(column):
    times = column("datetime")
    pieces, whole = times.fitted(AWKWARD[:1], [None], [], AWKWARD[1:]), times.fitted([None, *AWKWARD])
    assert pieces.centers == pytest.approx(whole.centers)
    assert pieces.scales == pytest.approx(whole.scales)
