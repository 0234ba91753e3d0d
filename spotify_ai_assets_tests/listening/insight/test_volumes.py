import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.listening.insight.volumes import Expected, band, deviate, expect_days, expect_hours

DAYS = 56
WEEKDAYS = np.arange(DAYS + 1) % 7
WEEK = np.array([0.9, 0.9, 0.95, 1.0, 1.2, 1.1, 0.95])
CLOCK = 1 + 0.8 * np.sin(2 * np.pi * np.arange(24) / 24)


def sittings(mean: np.ndarray, seed: int = 0) -> np.ndarray:
    """Sums of sittings of three plays on average."""
    rng = np.random.default_rng(seed)
    number = rng.poisson(mean / 3)
    return np.round(rng.gamma(np.maximum(number, 1e-9), 3.0))


def days_of(level: float, series: int = 8) -> np.ndarray:
    mean = np.tile(level * WEEK[WEEKDAYS], (series, 1))
    counts = sittings(mean)
    return np.concatenate([counts.sum(axis=0)[None], counts])


def test_a_day_is_expected_at_its_level_and_weekday():
    expected = expect_days(days_of(2_000), WEEKDAYS)
    assert expected.mean[0] == pytest.approx(8 * 2_000 * WEEK[WEEKDAYS], rel=0.04)
    assert expected.mean[3] == pytest.approx(2_000 * WEEK[WEEKDAYS], rel=0.1)


def test_two_weeks_are_believed_less_than_eight():
    counts = days_of(300)
    short, long = (expect_days(counts[:, -rows:], WEEKDAYS[-rows:]) for rows in (15, DAYS + 1))
    assert (short.variance[1:, -1] / short.mean[1:, -1]).mean() > (long.variance[1:, -1] / long.mean[1:, -1]).mean()


@pytest.mark.parametrize("past", [14, 28, DAYS])
def test_the_newest_day_is_off_by_no_more_than_it_is_thought_to_be(past):
    weekdays = WEEKDAYS[-past - 1 :]
    off = []
    for seed in range(120):
        counts = sittings(np.tile(300 * WEEK[weekdays], (8, 1)), seed)
        counts = np.concatenate([counts.sum(axis=0)[None], counts])
        off.append(deviate(counts, expect_days(counts, weekdays))[1:, -1])
    assert 0.85 < np.std(off) < 1.05
    # A normal variable is beyond 3 once in 370 times.
    assert np.mean(np.abs(off) > 3) < 0.006


@pytest.mark.parametrize("past", [14, DAYS])
def test_the_newest_hours_are_off_by_no_more_than_they_are_thought_to_be(past):
    weekdays, off = WEEKDAYS[-past - 1 :], []
    for seed in range(20):
        counts = sittings(np.tile(2_400 * CLOCK / 24, (4, past + 1, 1)), seed)
        day_counts = counts.sum(axis=2)
        off.append(deviate(counts, expect_hours(counts, expect_days(day_counts, weekdays), day_counts, weekdays))[:, -1])
    assert 0.85 < np.std(off) < 1.05
    assert np.mean(np.abs(off) > 3) < 0.008


def test_outages_do_not_swell_the_scatter_of_the_other_days():
    counts = days_of(2_000)
    broken = counts.copy()
    broken[:, [12, 20, 31]] *= 0.05
    usual, found = (expect_days(rows, WEEKDAYS).variance[:, -1] for rows in (counts, broken))
    assert (found / usual).max() < 2


def test_one_outage_changes_the_expectation_of_no_other_day():
    counts = days_of(2_000)
    broken = counts.copy()
    broken[:, 40] *= 0.05
    assert expect_days(broken, WEEKDAYS).mean[:, -1] == pytest.approx(expect_days(counts, WEEKDAYS).mean[:, -1], rel=0.02)


def test_the_newest_day_is_not_looked_at():
    counts = days_of(500)
    other = counts.copy()
    other[:, -1] *= 9
    for one, two in zip(expect_days(counts, WEEKDAYS), expect_days(other, WEEKDAYS), strict=True):
        assert (one == two).all()


def test_usual_counts_are_off_by_one_on_average():
    counts = days_of(400, 60)
    off = deviate(counts, expect_days(counts, WEEKDAYS))
    assert off.std() == pytest.approx(1, abs=0.1)
    assert abs(off.mean()) < 0.1


def test_an_hour_is_expected_by_the_clock_of_its_weekday():
    clock = np.where((WEEKDAYS >= 5)[:, None], np.roll(CLOCK, 2), CLOCK) / 24
    counts = sittings(np.tile(2_400 * clock, (4, 1, 1)))
    counts = np.concatenate([counts.sum(axis=0)[None], counts])
    day_counts = counts.sum(axis=2)
    expected = expect_hours(counts, expect_days(day_counts, WEEKDAYS), day_counts, WEEKDAYS)
    for newest in (-1, -2, -3):
        assert expected.mean[0, newest] == pytest.approx(4 * 2_400 * clock[newest], rel=0.15, abs=20)
    off = deviate(counts, expected)[:, :-1]
    assert off.std() == pytest.approx(1, abs=0.1)


def test_nothing_at_all_is_as_expected():
    nothing = np.zeros((2, 20))
    days = expect_days(nothing, WEEKDAYS[:20])
    hours = expect_hours(np.zeros((2, 20, 24)), days, nothing, WEEKDAYS[:20])
    assert (days.mean == 0).all()
    assert (deviate(np.zeros((2, 20, 24)), hours) == 0).all()


@given(st.floats(5, 1e6), st.floats(1, 30), st.floats(0.5, 5))
def test_the_ends_of_the_band_are_as_far_off_as_it_is_wide(mean, factor, width):
    expected = Expected(np.array([mean]), np.array([mean * factor]))
    lower, upper = band(expected, width)
    assert deviate(upper, expected)[0] == pytest.approx(width)
    assert deviate(lower, expected)[0] == pytest.approx(-width) or lower[0] == 0
    assert 0 <= lower[0] <= mean <= upper[0]
