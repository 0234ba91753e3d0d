from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ai_assets.listening.contracts import COUNTRY_DAYS, TRACK_DAYS
from spotify_ai_assets.listening.insight.contracts import FORECASTS
from spotify_ai_assets.listening.insight.forecasts import (
    back_test,
    broken_forecasts,
    forecast_series,
    forecast_streams,
    shares_inside,
)

FIRST = date(2024, 1, 1)  # a Monday
DAYS = 70
SUNDAY = FIRST + timedelta(days=DAYS - 1)
RHYTHM = np.array([0.8, 0.85, 0.9, 0.95, 1.15, 1.25, 1.1])


def poisson(seed: int, level: float | np.ndarray, n: int = DAYS) -> np.ndarray:
    return np.random.default_rng(seed).poisson(level * np.resize(RHYTHM, n)).astype(float)


def frame(schema: dict[str, pl.DataType], rows: list[dict[str, object]]) -> pl.DataFrame:
    zeros = dict.fromkeys(["plays", "skips", "completions", "played_ms", "listeners"], 0)
    return pl.DataFrame([zeros | row for row in rows], schema=schema)


def daily(counts: np.ndarray) -> list[dict[str, object]]:
    return [{"day": FIRST + timedelta(days=offset), "streams": int(count)} for offset, count in enumerate(counts) if count]


def country_days(counts: dict[str, np.ndarray]) -> pl.DataFrame:
    rows = [{"country": code, "platform": "web", "kind": "track"} | row for code, series in counts.items() for row in daily(series)]
    return frame(COUNTRY_DAYS.schema, rows)


def track_days(counts: dict[tuple[str, str], np.ndarray], kind: str = "track") -> pl.DataFrame:
    rows = [
        {
            "country": "SE",
            "kind": kind,
            "track_id": track,
            "artist_id": artist,
            "track_name": f"Song {track}",
            "artist_name": f"By {artist}",
        }
        | row
        for (track, artist), series in counts.items()
        for row in daily(series)
    ]
    return frame(TRACK_DAYS.schema, rows)


def forecasts(tracks: pl.DataFrame, countries: pl.DataFrame, fake: pl.DataFrame | None = None, day: date = SUNDAY) -> pl.DataFrame:
    suspicious = TRACK_DAYS.empty() if fake is None else fake
    return forecast_streams(tracks.lazy(), suspicious.lazy(), countries.lazy(), COUNTRY_DAYS.empty().lazy(), day)


@pytest.fixture(scope="module")
def world() -> tuple[pl.DataFrame, pl.DataFrame]:
    tracks = {(f"t{number:02d}", f"a{number % 7}"): poisson(number, 3 + number) for number in range(40)}
    return track_days(tracks), country_days({"SE": sum(tracks.values()), "NO": poisson(99, 50)})


@pytest.fixture(scope="module")
def made(world) -> pl.DataFrame:
    return forecasts(*world)


def test_the_rhythm_of_the_week_goes_on():
    counts = 1000 * np.resize(RHYTHM, DAYS)
    forecast = forecast_series(counts, counts)
    assert forecast.streams == pytest.approx(1000 * np.resize(RHYTHM, 14), rel=0.01)


def test_a_rhythm_goes_on_from_the_weekday_after_the_last():
    counts = 1000 * np.resize(RHYTHM, DAYS + 3)
    assert forecast_series(counts, counts).streams == pytest.approx(1000 * np.resize(np.roll(RHYTHM, -3), 14), rel=0.01)


@pytest.mark.parametrize("level", [2, 20, 400])
def test_intervals_hold_what_they_say_for_small_and_large_counts(level):
    inside = {80: [], 95: []}
    for seed in range(60):
        counts = poisson(seed, level, DAYS + 14)
        forecast = forecast_series(counts[:DAYS], poisson(1000 + seed, 5000))
        for share, found in inside.items():
            found.append((counts[DAYS:] >= forecast.bounds[f"lower_{share}"]) & (counts[DAYS:] <= forecast.bounds[f"upper_{share}"]))
    assert 0.74 <= np.mean(inside[80]) <= 0.88
    assert 0.91 <= np.mean(inside[95]) <= 0.985


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 500), min_size=42, max_size=112), st.sets(st.integers(1, 41), max_size=20))
def test_whatever_the_counts_the_bounds_are_in_order_and_not_negative(values, gaps):
    counts = np.array(values, dtype=float)
    counts[list(gaps)] = np.nan
    forecast = forecast_series(counts, counts)
    order = [*(forecast.bounds[name] for name in ("lower_95", "lower_80")), forecast.streams]
    order += [forecast.bounds[name] for name in ("upper_80", "upper_95")]
    assert all((low <= high).all() for low, high in pairwise(order))
    assert np.isfinite(order).all()
    assert (order[0] >= 0).all()
    assert all(error >= 0 for error in back_test(counts, counts))


def test_a_level_is_forecast_better_than_by_the_last_week():
    counts = poisson(5, 200)
    error, naive_error = back_test(counts, counts)
    assert error < 0.9 * naive_error


def test_the_back_test_knows_nothing_of_the_days_that_it_forecasts():
    counts = np.concatenate([np.full(DAYS - 14, 100.0), np.full(14, 300.0)])
    error, naive_error = back_test(counts, np.full(DAYS, 1000.0))
    assert error == pytest.approx(100, abs=1)  # right before, 200 off in the last two weeks
    assert naive_error == pytest.approx(100, abs=1e-9)


def test_days_without_data_are_left_out_of_the_back_test():
    counts = poisson(6, 100)
    counts[-5:] = np.nan
    assert all(np.isfinite(back_test(counts, counts)))
    counts[14:] = np.nan
    assert np.isnan(back_test(counts, counts)).all()


def test_every_series_has_two_weeks_in_the_order_of_the_key(made):
    assert made.group_by("subject", "item_id").len()["len"].unique().to_list() == [14]
    assert made["target_on"].min() == SUNDAY + timedelta(days=1)
    assert made["target_on"].max() == SUNDAY + timedelta(days=14)
    assert made.equals(made.sort(FORECASTS.primary_key))
    assert made.schema == pl.Schema(FORECASTS.schema)
    assert broken_forecasts(made.lazy()).is_empty()


def test_the_world_every_country_and_the_top_tracks_and_artists_are_forecast(made):
    items = made.unique(["subject", "item_id"])
    assert items.filter(subject="country")["item_id"].sort().to_list() == ["NO", "SE", "global"]
    assert items.filter(subject="artist")["item_id"].sort().to_list() == [f"a{number}" for number in range(7)]
    tracks = items.filter(subject="track")
    assert tracks.height == 30
    assert {f"t{number}" for number in range(15, 40)} < set(tracks["item_id"])
    assert tracks.filter(item_id="t39").select("label", "detail").row(0) == ("Song t39", "By a4")
    assert items.filter(subject="artist", item_id="a4").select("label", "detail").row(0) == ("By a4", None)


def test_only_what_beats_the_last_week_is_shown(made):
    assert made["is_shown"].to_list() == (made["error"] < made["naive_error"]).to_list()
    assert made["is_shown"].mean() > 0.8


def test_a_series_that_only_repeats_itself_is_not_shown(world):
    odd = np.resize(np.array([50.0, 50, 50, 50, 50, 50, 500]), DAYS)
    found = forecasts(track_days({("odd", "a0"): odd}), world[1]).filter(item_id="odd")
    assert found.height == 14
    assert not found["is_shown"].any()


def test_one_track_under_two_artists_is_one_series(world):
    counts = poisson(1, 20)
    tracks = track_days({("t", "a1"): counts, ("t", "a2"): 2 * counts})
    found = forecasts(tracks, world[1]).filter(subject="track")
    assert found.height == 14
    assert found["detail"].unique().to_list() == ["By a2"]
    assert found["streams"].mean() == pytest.approx(3 * counts.mean(), rel=0.15)


def test_suspicious_streams_are_not_forecast(world):
    genuine, farm = poisson(1, 20), np.where(np.arange(DAYS) >= 50, 300, 0)
    tracks = track_days({("t", "a"): genuine + farm})
    clean = forecasts(tracks, world[1], track_days({("t", "a"): farm}))
    assert clean.equals(forecasts(track_days({("t", "a"): genuine}), world[1]))
    assert not clean.equals(forecasts(tracks, world[1]))


def test_podcasts_are_no_tracks(world):
    assert forecasts(track_days({("show", "host"): poisson(1, 20)}, kind="episode"), world[1]).filter(subject="track").is_empty()


def test_a_young_series_waits_until_it_is_six_weeks_old(world):
    counts = poisson(1, 20)
    counts[:29] = 0
    tracks = track_days({("new", "a1"): counts, ("old", "a2"): poisson(2, 20)})
    assert forecasts(tracks, world[1]).filter(subject="track")["item_id"].unique().to_list() == ["old"]
    assert forecasts(*world, day=FIRST + timedelta(days=40)).is_empty()
    assert not forecasts(*world, day=FIRST + timedelta(days=41)).is_empty()


def test_nothing_gives_an_empty_table():
    assert forecasts(TRACK_DAYS.empty(), COUNTRY_DAYS.empty()).equals(FORECASTS.empty())


def test_shuffled_rows_and_later_days_change_nothing(world, made):
    shuffled = [rows.sample(fraction=1, shuffle=True, seed=3) for rows in world]
    assert forecasts(*shuffled).equals(made)
    early = FIRST + timedelta(days=55)
    assert forecasts(*world, day=early).equals(forecasts(*(rows.filter(pl.col("day") <= early) for rows in world), day=early))


def test_crossed_bounds_far_days_and_shown_losers_are_broken(made):
    lazy = made.lazy()
    assert broken_forecasts(lazy.with_columns(lower_80=pl.col("upper_95"))).height == made.height
    assert broken_forecasts(lazy.with_columns(target_on=pl.col("target_on").dt.offset_by("1d"))).height == made.height // 14
    assert broken_forecasts(lazy.with_columns(is_shown=True, error=pl.col("naive_error"))).height == made.height


def test_what_came_true_is_counted(made):
    actual = made.filter(subject="country", item_id="SE").sort("target_on")
    rows = [
        {"day": day, "country": "SE", "platform": "web", "kind": "track", "streams": round(value)}
        for day, value in actual.select("target_on", "streams").head(7).iter_rows()
    ]
    week = frame(COUNTRY_DAYS.schema, rows)
    of_sweden = made.lazy().filter(pl.col("item_id") == "SE")
    assert shares_inside(of_sweden, week.lazy(), COUNTRY_DAYS.empty().lazy()) == {80: 1, 95: 1}
    doubled = week.lazy().with_columns(
        streams=pl.when(pl.col("day") == pl.col("day").min()).then(pl.col("streams") * 9).otherwise("streams")
    )
    assert shares_inside(of_sweden, doubled, COUNTRY_DAYS.empty().lazy())[95] == pytest.approx(6 / 7)
    assert shares_inside(of_sweden, COUNTRY_DAYS.empty().lazy(), COUNTRY_DAYS.empty().lazy()) == {}
    assert shares_inside(FORECASTS.empty().lazy(), week.lazy(), COUNTRY_DAYS.empty().lazy()) == {}
