"""Forecasts: the genuine streams of the next two weeks, with intervals, and how well the same model would have done before.

Since when a series runs at its level belongs to ``change_points``, what rises right now to ``trends``.
"""

import math
from datetime import date, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.listening.insight.change_points import WEEK_DAYS, daily_series, fill, spread, weekday_factors
from spotify_ai_assets.listening.insight.contracts import FORECAST_DAYS, FORECASTS
from spotify_ai_assets.listening.insight.parts import genuine, stack

HORIZON_DAYS = 14
FEWEST_DAYS = 42
TOP = 30
TOP_DAYS = 28
ROUNDS = 2
"""Back-tests, each of a whole horizon, one before the other."""

MODEL = "ETS(A,N,N)"
_LEVELS = (80, 95)
_SHIFT = 3 / 8


class Forecast(NamedTuple):
    """A forecast of one series.

    Attributes:
        streams: Streams to be expected on each day of the horizon, shape ``(14,)``.
        bounds: ``lower_80, upper_80, lower_95, upper_95``, each of that shape.
    """

    streams: np.ndarray
    bounds: dict[str, np.ndarray]


def forecast_streams(
    track_days: pl.LazyFrame,
    suspicious_track_days: pl.LazyFrame,
    country_days: pl.LazyFrame,
    suspicious_country_days: pl.LazyFrame,
    day: date,
) -> pl.DataFrame:
    """Forecast the daily genuine streams of the world, each country, and the tracks and artists with most in the last four weeks.

    See ``forecast_series`` for the model. It is back-tested twice, on the last two weeks and on the two before them, each time
    with what was known before; repeating the last week is the baseline that it must beat to be shown.

    Args:
        track_days: Rows of ``listening/track_days`` of the window.
        suspicious_track_days: Rows of ``listening/suspicious_track_days``, the part that does not count.
        country_days: Rows of ``listening/country_days`` of the window.
        suspicious_country_days: Rows of ``listening/suspicious_country_days``, the part that does not count.
        day: The Sunday after which to forecast.

    Returns:
        Rows of ``listening/forecasts``: 14 for each series that began six weeks ago or earlier.
    """
    days, series = daily_series(country_days, suspicious_country_days, day, window=FORECAST_DAYS)
    if len(days) < FEWEST_DAYS:
        return FORECASTS.empty()
    world = series["country", GLOBAL]
    items = [("country", code, code, None, counts) for (subject, code), counts in series.items() if subject == "country"]
    items += _top_items(track_days, suspicious_track_days, days, world)
    frames = [
        _rows(day, subject, item, label, detail, began, world[len(world) - len(began) :])
        for subject, item, label, detail, counts in items
        if len(began := _since_first_stream(counts)) >= FEWEST_DAYS
    ]
    return pl.concat([FORECASTS.empty(), *frames]).sort(FORECASTS.primary_key)


def forecast_series(counts: np.ndarray, world: np.ndarray) -> Forecast:
    """Forecast a daily series by exponential smoothing of its level, with the rhythm of the week of all streams.

    Counts vary the more the larger they are; their square roots (Anscombe 1948) vary evenly at every size. So the model runs on
    the roots of the counts divided by their weekday's factor, and its forecasts and normal intervals are squared back: the
    intervals are narrower below than above and never end below zero. The rhythm is that of all streams together because a small
    series has too few to show its own. The level has no trend: trends of two weeks seldom last two more.

    Args:
        counts: One value a day, at least two weeks, NaN where missing but not all of them; shape ``(n,)``.
        world: All streams of the same days.
    """
    from statsforecast.models import AutoETS

    factors = weekday_factors(world)
    roots = np.sqrt(np.maximum(fill(counts) / np.resize(factors, len(counts)), 0) + _SHIFT)
    told = AutoETS(season_length=1, model="ANN").forecast(y=roots, h=HORIZON_DAYS, level=list(_LEVELS))
    ahead = np.resize(np.roll(factors, -(len(counts) % WEEK_DAYS)), HORIZON_DAYS)

    def squared(name: str) -> np.ndarray:
        return np.round(np.maximum(np.maximum(told[name], 0) ** 2 - _SHIFT, 0) * ahead, 3)

    bounds = {f"{side}_{level}": squared(f"{short}-{level}") for level in _LEVELS for side, short in (("lower", "lo"), ("upper", "hi"))}
    return Forecast(squared("mean"), bounds)


def back_test(counts: np.ndarray, world: np.ndarray) -> tuple[float, float]:
    """Mean absolute errors, in streams a day, of the model and of repeating the last week, over the rounds of the back-test.

    Args:
        counts: One value a day, NaN where missing and not counted; at least six weeks.
        world: All streams of the same days.

    Returns:
        The model's and the baseline's; NaN where no day of the rounds has a value.
    """
    errors = []
    for back in range(ROUNDS, 0, -1):
        origin = len(counts) - back * HORIZON_DAYS
        actual = counts[origin : origin + HORIZON_DAYS]
        model = forecast_series(counts[:origin], world[:origin]).streams
        naive = np.resize(fill(counts[:origin])[-WEEK_DAYS:], HORIZON_DAYS)
        errors.append(np.stack([np.abs(actual - model), np.abs(actual - naive)]))
    both = np.concatenate(errors, axis=1)
    known = both[:, ~np.isnan(both).any(axis=0)]
    return (float(known[0].mean()), float(known[1].mean())) if known.size else (math.nan, math.nan)


def broken_forecasts(rows: pl.LazyFrame) -> pl.DataFrame:
    """Rows of ``listening/forecasts`` whose bounds are out of order, of days beyond the horizon, or shown without having won."""
    order = ["lower_95", "lower_80", "streams", "upper_80", "upper_95"]
    crossed = pl.any_horizontal(pl.col(low) > pl.col(high) for low, high in pairwise(order))
    ahead = (pl.col("target_on") - pl.col(DAY)).dt.total_days()
    won = pl.col("error") < pl.col("naive_error")
    return rows.filter(crossed | ~ahead.is_between(1, HORIZON_DAYS) | (pl.col("is_shown") != won)).collect()


def shares_inside(rows: pl.LazyFrame, country_days: pl.LazyFrame, suspicious_country_days: pl.LazyFrame) -> dict[int, float]:
    """What share of days with a forecast for a country, or all, came to lie inside the 80 % and the 95 % interval.

    Args:
        rows: Rows of ``listening/forecasts``.
        country_days: Rows of ``listening/country_days`` of the days that they are of.
        suspicious_country_days: Rows of ``listening/suspicious_country_days`` of these days.

    Returns:
        Shares by level; empty where no day that was forecast is over.
    """
    targets = rows.filter(pl.col("subject") == "country").collect()
    if targets.is_empty():
        return {}
    parts = stack(country_days, suspicious_country_days, [DAY, "country"], ["streams"]).with_columns(actual=genuine("streams"))
    counts = (
        pl.concat([parts, parts.with_columns(country=pl.lit(GLOBAL))]).group_by("country", target_on=DAY).agg(pl.sum("actual")).collect()
    )
    over = targets.filter(pl.col("target_on").is_in(counts["target_on"].unique().implode()))
    over = over.join(counts, left_on=["item_id", "target_on"], right_on=["country", "target_on"], how="left")
    actual = pl.col("actual").fill_null(0)
    inside = over.select(pl.concat_list(actual.is_between(f"lower_{level}", f"upper_{level}").mean() for level in _LEVELS))
    return dict(zip(_LEVELS, inside.item(), strict=True)) if over.height else {}


def _rows(day: date, subject: str, item: str, label: str, detail: str | None, counts: np.ndarray, world: np.ndarray) -> pl.DataFrame:
    error, naive_error = back_test(counts, world)
    if math.isnan(error):
        return FORECASTS.empty()
    forecast = forecast_series(counts, world)
    values = {
        DAY: day,
        "subject": subject,
        "item_id": item,
        "label": label,
        "detail": detail,
        "target_on": [day + timedelta(days=ahead) for ahead in range(1, HORIZON_DAYS + 1)],
        "streams": forecast.streams,
        **forecast.bounds,
        "model": MODEL,
        "error": error,
        "naive_error": naive_error,
        "is_shown": error < naive_error,
    }
    return pl.DataFrame({name: values[name] for name in FORECASTS.schema}, schema=FORECASTS.schema)


def _top_items(
    track_days: pl.LazyFrame, suspicious_track_days: pl.LazyFrame, days: list[date], world: np.ndarray
) -> list[tuple[str, str, str, str | None, np.ndarray]]:
    """The tracks and artists with most genuine streams of the last four weeks: subject, id, label, detail, daily counts."""
    names = ["track_id", "artist_id", "track_name", "artist_name"]
    is_track = pl.col("kind") == "track"
    parts = stack(track_days.lazy().filter(is_track), suspicious_track_days.lazy().filter(is_track), [DAY, *names], ["streams"])
    counts = parts.with_columns(streams=genuine("streams")).filter(pl.col(DAY).is_between(days[0], days[-1]))
    calendar = pl.Series(DAY, days)
    known = calendar.filter(pl.Series(~np.isnan(world)))
    found = []
    for subject, detail in (("track", pl.col("artist_name")), ("artist", pl.lit(None, pl.String))):
        item, label = pl.col(f"{subject}_id"), pl.col(f"{subject}_name")
        rows = counts.select(DAY, "streams", item_id=item, artist=pl.col("artist_id"), label=label, detail=detail)
        # A track under several artist ids is one track, named after the artist of most of its streams.
        named = (
            rows.filter(pl.col(DAY) > days[-1] - timedelta(days=TOP_DAYS))
            .group_by("item_id", "artist")
            .agg(pl.sum("streams"), pl.min("label", "detail"))
            .sort("streams", "artist", descending=[True, False])
        )
        top = (
            named.group_by("item_id", maintain_order=True)
            .agg(pl.sum("streams"), pl.first("label", "detail"))
            .filter(pl.col("streams") > 0)
            .sort("streams", "item_id", descending=[True, False])
            .head(TOP)
            .collect()
        )
        daily = rows.join(top.lazy(), on="item_id", how="semi").group_by("item_id", DAY).agg(pl.sum("streams")).collect(engine="streaming")
        by_item = daily.partition_by("item_id", as_dict=True)
        for key, name, extra in top.select("item_id", "label", "detail").iter_rows():
            found.append((subject, key, name, extra, spread(by_item[(key,)], calendar, known)))
    return found


def _since_first_stream(counts: np.ndarray) -> np.ndarray:
    begun = np.flatnonzero(counts > 0)
    return counts[begun[0] :] if len(begun) else counts[:0]
