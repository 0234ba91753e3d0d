"""Charts: the most streamed tracks of a day and of a week, by country and worldwide, and how they moved.

What a day counts belongs to ``days``, tops over any range to ``ranges``, charts that others publish to ``formats``.
"""

from datetime import date, timedelta

import polars as pl

from spotify_ai_assets.listening.contracts import CHARTS, DAY, GLOBAL, UNKNOWN_COUNTRY

CHART_SIZE = 200
SUNDAY = 6
PERIOD_DAYS = {"daily": 1, "weekly": 7}
"""The days that a chart covers, which is also how long ago the chart before it was."""

_CHART_TRACK = ["period", "country", "track_id"]


def rank_charts(
    track_days: pl.DataFrame | pl.LazyFrame, history: pl.DataFrame | pl.LazyFrame, day: date, size: int = CHART_SIZE
) -> pl.DataFrame:
    """Make the charts of a day: the daily ones, and on a Sunday those of the week from Monday on.

    There is one for each known country and one of all plays, ``global``. See ``rank_tracks`` for who is on it and
    ``add_movement`` for its history.

    Args:
        track_days: Rows of ``listening/track_days``; those of the week up to ``day`` are taken.
        history: Rows of ``listening/charts``; those before ``day`` are taken.
        day: The UTC day.
        size: Tracks per chart.

    Returns:
        Rows of ``listening/charts`` in the order of their key.
    """
    periods = PERIOD_DAYS if day.weekday() == SUNDAY else {"daily": 1}
    tracks = track_days.lazy().filter(pl.col("kind") == "track")
    ranked = []
    for period, days in periods.items():
        counted = tracks.filter(pl.col(DAY).is_between(day - timedelta(days=days - 1), day))
        national = counted.filter(pl.col("country") != UNKNOWN_COUNTRY)
        everywhere = counted.with_columns(country=pl.lit(GLOBAL))
        ranked.append(rank_tracks(pl.concat([national, everywhere]), size).with_columns(period=pl.lit(period)))
    charts = pl.concat(ranked).with_columns(day=pl.lit(day))
    return add_movement(charts, history.lazy().filter(pl.col(DAY) < day)).select(*CHARTS.schema)


def rank_tracks(counts: pl.LazyFrame, size: int) -> pl.DataFrame:
    """Rank tracks within each value of ``country`` by streams, then plays, then id.

    A track without a stream has no rank. One that goes by several artist ids is one track: its counts add up, and the artist
    with most of its streams, then plays, then the smallest id, is named.

    Args:
        counts: Rows with ``country, track_id, artist_id, track_name, artist_name, streams, plays``.
        size: How many ranks to give in each country.

    Returns:
        ``country, rank, track_id, artist_id, track_name, artist_name, streams, plays`` ordered by country and rank.
    """
    best_first = {"by": ["country", "streams", "plays", "track_id"], "descending": [False, True, True, False]}
    totals = (
        counts.group_by("country", "track_id")
        .agg(pl.col("streams", "plays").sum())
        .filter(pl.col("streams") > 0)
        .sort(**best_first)
        .with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("country"))
        .filter(pl.col("rank") <= size)
        .collect(engine="streaming")
    )
    named = (
        counts.join(totals.lazy(), on=["country", "track_id"], how="semi")
        .group_by("country", "track_id", "artist_id")
        .agg(pl.col("streams", "plays").sum(), pl.col("track_name", "artist_name").min())
        .sort("streams", "plays", "artist_id", descending=[True, True, False])
        .unique(["country", "track_id"], keep="first", maintain_order=True)
        .drop("streams", "plays")
        .collect(engine="streaming")
    )
    return totals.join(named, on=["country", "track_id"], maintain_order="left").select(
        "country", "rank", "track_id", "artist_id", "track_name", "artist_name", "streams", "plays"
    )


def add_movement(ranked: pl.DataFrame, history: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Add to ranked tracks how they moved since earlier charts of the same period and country.

    The best rank and the number of charts so far are taken from the earlier rows' own, not counted again: they may go back
    to before the first row that is kept.

    Args:
        ranked: Rows with ``day, period, country, rank, track_id``, each track once a chart.
        history: Earlier rows with these columns and ``peak_rank, periods_on_chart``.

    Returns:
        ``ranked`` in its order with ``previous_rank`` (in the chart one period before), ``movement`` (ranks gained since),
        ``is_new`` (never seen on this chart), ``peak_rank`` and ``periods_on_chart`` (this one included).
    """
    earlier = history.lazy().join(ranked.lazy(), on=_CHART_TRACK, how="semi")
    days_later = pl.duration(days=pl.col("period").replace_strict(PERIOD_DAYS, return_dtype=pl.Int64))
    before = earlier.select(*_CHART_TRACK, day=pl.col(DAY) + days_later, previous_rank="rank")
    so_far = earlier.group_by(_CHART_TRACK).agg(best=pl.col("peak_rank").min(), times=pl.col("periods_on_chart").max())
    return (
        ranked.lazy()
        .join(before, on=[DAY, *_CHART_TRACK], how="left", maintain_order="left")
        .join(so_far, on=_CHART_TRACK, how="left", maintain_order="left")
        .with_columns(
            movement=pl.col("previous_rank") - pl.col("rank"),
            is_new=pl.col("times").is_null(),
            peak_rank=pl.min_horizontal("rank", "best"),
            periods_on_chart=pl.col("times").fill_null(0) + 1,
        )
        .drop("best", "times")
        .collect()
    )
