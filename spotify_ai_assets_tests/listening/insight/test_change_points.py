from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ai_assets.listening.contracts import COUNTRY_DAYS
from spotify_ai_assets.listening.insight.change_points import (
    broken_changes,
    changes_of_series,
    daily_series,
    find_change_points,
    remove_rhythm,
    weekday_factors,
)
from spotify_ai_assets.listening.insight.contracts import CHANGE_POINTS

FIRST = date(2024, 1, 1)  # a Monday
SUNDAY = FIRST + timedelta(days=12 * 7 - 1)
RHYTHM = np.array([0.8, 0.85, 0.9, 0.95, 1.15, 1.25, 1.1])


def places(values: np.ndarray, **options: int) -> list[int]:
    return [change.at for change in find_change_points(values, **options)]


def noise(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


def step(seed: int = 0, n: int = 120, at: int = 70, height: float = 4) -> np.ndarray:
    return noise(seed, n) + np.where(np.arange(n) >= at, height, 0.0)


def country_days(*series: tuple[str, str, np.ndarray], kind: str = "track", first: date = FIRST) -> pl.DataFrame:
    """Rows of ``listening/country_days`` from the daily streams of countries on platforms."""
    rows = [
        {"day": first + timedelta(days=offset), "country": country, "platform": platform, "kind": kind, "streams": int(count)}
        | dict.fromkeys(["plays", "skips", "completions", "played_ms", "listeners"], 0)
        for country, platform, counts in series
        for offset, count in enumerate(counts)
        if count
    ]
    return pl.DataFrame(rows, schema=COUNTRY_DAYS.schema)


def poisson(seed: int, level: float | np.ndarray, n: int = 84) -> np.ndarray:
    return np.random.default_rng(seed).poisson(level * np.resize(RHYTHM, n))


def changes(total: pl.DataFrame, suspicious: pl.DataFrame | None = None, day: date = SUNDAY) -> pl.DataFrame:
    return changes_of_series(total.lazy(), (COUNTRY_DAYS.empty() if suspicious is None else suspicious).lazy(), day)


@pytest.mark.parametrize("n", [24, 60, 200, 600])
def test_noise_has_no_change(n):
    assert [places(noise(seed, n)) for seed in range(10)] == [[]] * 10


def test_a_step_is_found_where_it_is():
    assert [places(step(seed)) for seed in range(5)] == [[70]] * 5


def test_a_trend_is_no_change_but_its_turn_is():
    rising = np.arange(100.0)
    turning = np.minimum(rising, 120 - rising)
    assert places(rising + noise(1, 100)) == []
    found = places(turning + noise(1, 100))
    assert len(found) == 1
    assert abs(found[0] - 60) <= 3


def test_several_steps_are_found_together():
    levels = np.repeat([0.0, 6.0, 2.0, 9.0], 50)
    assert places(levels + noise(3, 200)) == [50, 100, 150]


def test_single_outliers_are_no_changes():
    values = noise(4, 150)
    values[[30, 90, 91]] += 40
    assert places(values) == []


def test_a_larger_step_scores_more_and_every_score_is_at_least_one():
    scores = [find_change_points(step(height=height))[0].score for height in (3, 5, 8)]
    assert 1 <= scores[0] < scores[1] < scores[2]


def test_what_swings_all_the_time_does_not_change():
    assert places(np.tile(np.repeat([0.0, 5.0], 5), 40) + noise(5, 400)) == []


def test_missing_values_are_bridged():
    values = step()
    values[[0, 10, 11, 12, 69, 119]] = np.nan
    found = places(values)
    assert len(found) == 1
    assert abs(found[0] - 70) <= 1


def test_two_dimensions_change_together():
    values = np.column_stack([step(1, at=60), step(2, at=60, height=-4)])
    values[5, 0] = np.nan
    assert places(values) == [60]


def test_a_constant_dimension_changes_nothing():
    assert places(np.column_stack([step(), np.full(120, 7.0)])) == places(step())


@pytest.mark.parametrize("values", [[], [1.0], [1, 2, 1, 9, 8], [3.0] * 50, [np.nan] * 50, [0.1] * 3 + [0.1 + 1e-17] * 40])
def test_short_constant_and_empty_series_have_none(values):
    assert find_change_points(np.array(values, dtype=float)) == []


def test_no_two_changes_are_closer_than_asked():
    values = np.repeat([0.0, 8.0, 0.0], [40, 4, 40]) + noise(6, 84) / 4
    assert places(values) == [40, 44]
    assert places(values, shortest=7) != places(values)
    assert all(
        second - first >= 7 for first, second in zip([0, *places(values, shortest=7)], [*places(values, shortest=7), 84], strict=True)
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e6), st.floats(-1e3, 1e3))
def test_unit_and_origin_do_not_matter_and_time_may_run_backwards(seed, unit, origin):
    values = np.repeat(np.random.default_rng(seed).normal(scale=5, size=4), 30) + noise(seed, 120)
    found = places(values)
    assert places(values * unit + origin * unit) == found
    assert sorted(120 - place for place in places(values[::-1])) == found


def test_the_weekday_rhythm_is_measured_and_removed():
    counts = 1000 * np.resize(RHYTHM, 84)
    counts[40] *= 5
    assert weekday_factors(counts) == pytest.approx(RHYTHM / RHYTHM.mean(), rel=1e-6)
    assert np.delete(remove_rhythm(counts), 40) == pytest.approx(np.full(83, 1000 * RHYTHM.mean()), rel=1e-6)


def test_a_series_that_is_mostly_zero_has_no_rhythm():
    counts = np.zeros(84)
    counts[::9] = 3
    assert weekday_factors(counts).tolist() == [1] * 7
    assert weekday_factors(np.ones(13)).tolist() == [1] * 7


def test_a_planted_change_of_a_country_is_told_with_its_levels():
    level = np.where(np.arange(84) >= 50, 800, 500)
    total = country_days(("SE", "web", poisson(1, level)), ("DE", "ios", poisson(2, 3000)))
    found = changes(total)  # of the world too: it has a tenth more
    assert found.select("subject", "item_id").rows() == [("country", "SE"), ("country", "global"), ("platform", "web")]
    row = found.row(0, named=True)
    assert abs((row["changed_on"] - FIRST).days - 50) <= 1
    assert row["before"] == pytest.approx(500, rel=0.03)
    assert row["after"] == pytest.approx(800, rel=0.03)
    assert row["change"] == pytest.approx(0.6, abs=0.05)
    assert row["score"] >= 1
    assert found.schema == pl.Schema(CHANGE_POINTS.schema)
    assert broken_changes(found.lazy()).is_empty()


def test_an_outage_of_a_day_is_no_change_of_level():
    counts = poisson(3, 900)
    counts[60] = 0
    assert changes(country_days(("SE", "web", counts), ("DE", "web", poisson(4, 900)))).is_empty()


def test_the_suspicious_part_does_not_count():
    farm = np.where(np.arange(84) >= 60, 700, 0)
    genuine = poisson(5, 600)
    total, fake = country_days(("JP", "android", genuine + farm)), country_days(("JP", "android", farm))
    assert not changes(total).is_empty()
    assert changes(total, fake).is_empty()


def test_unknown_countries_count_for_the_world_only():
    total = country_days(("ZZ", "web", poisson(6, 300)), ("SE", "web", poisson(7, 300)))
    days, series = daily_series(total.lazy(), COUNTRY_DAYS.empty().lazy(), SUNDAY)
    assert sorted(series) == [("country", "SE"), ("country", "global"), ("platform", "web")]
    assert series["country", "global"].sum() == total["streams"].sum()
    assert (days[0], days[-1]) == (FIRST, SUNDAY)


def test_days_without_any_play_are_missing_and_not_zero():
    counts = poisson(8, 500)
    counts[30:40] = 0
    _, series = daily_series(country_days(("SE", "web", counts)).lazy(), COUNTRY_DAYS.empty().lazy(), SUNDAY)
    assert np.isnan(series["country", "SE"]).nonzero()[0].tolist() == list(range(30, 40))
    assert changes(country_days(("SE", "web", counts))).is_empty()
    _, series = daily_series(country_days(("SE", "web", counts), ("DE", "tv", poisson(9, 9))).lazy(), COUNTRY_DAYS.empty().lazy(), SUNDAY)
    assert (series["country", "SE"][30:40] == 0).all()


def test_the_order_of_rows_does_not_matter_and_later_days_are_not_looked_at():
    level = np.where(np.arange(100) >= 50, 800, 500)
    total = country_days(("SE", "web", poisson(1, level, 100)), ("DE", "ios", poisson(2, 3000, 100)))
    early = total.filter(pl.col("day") <= SUNDAY)
    assert changes(total.sample(fraction=1, shuffle=True, seed=1)).equals(changes(early))


def test_less_than_six_weeks_and_nothing_at_all_give_no_rows():
    total = country_days(("SE", "web", np.repeat([100, 900], 20)))
    assert changes(total, day=FIRST + timedelta(days=40)).is_empty()
    assert changes(COUNTRY_DAYS.empty()).equals(CHANGE_POINTS.empty())


def test_changes_that_do_not_follow_each_other_are_broken():
    level = np.repeat([500, 900, 300], 28)
    found = changes(country_days(("SE", "web", poisson(1, level))))
    assert found.filter(subject="country", item_id="SE").height == 2
    later = pl.col("changed_on") == pl.col("changed_on").max()
    assert broken_changes(found.lazy()).is_empty()
    assert broken_changes(found.lazy().with_columns(before=pl.when(later).then(1.0).otherwise("before"))).height == 3
    assert broken_changes(found.lazy().with_columns(changed_on=pl.col("changed_on").max())).height > 0
