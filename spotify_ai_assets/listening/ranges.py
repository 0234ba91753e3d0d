"""Answers about any range of days, merged from the daily tables and exact: tops, funnel, shares, listeners.

Sums of days add up; distinct listeners do not, so they are counted from ``listening/listener_track_days``. Plays are never read
again. Ranges are inclusive at both ends. Fixed daily and weekly charts belong to ``charts``.
"""

from collections.abc import Sequence
from datetime import date

import polars as pl

from spotify_ai_assets.listening.charts import rank_tracks
from spotify_ai_assets.listening.contracts import DAY, GLOBAL


def top_tracks(
    track_days: pl.DataFrame | pl.LazyFrame,
    listener_track_days: pl.DataFrame | pl.LazyFrame,
    first: date,
    last: date,
    *,
    country: str | None = None,
    kind: str = "track",
    size: int = 50,
) -> pl.DataFrame:
    """The most streamed tracks of a range, ranked as in ``charts.rank_tracks``.

    Args:
        track_days: Rows of ``listening/track_days``.
        listener_track_days: Rows of ``listening/listener_track_days``.
        first: First day.
        last: Last day.
        country: Only plays in this country; all of them, those in unknown countries too, when ``None``.
        kind: ``track``, ``episode`` or ``audiobook``.
        size: Number of ranks.

    Returns:
        ``rank, track_id, artist_id, track_name, artist_name, streams, plays, listeners`` ordered by rank; ``listeners`` are
        distinct over the whole range and count everybody who played it, however short.

    Raises:
        ValueError: ``first`` is after ``last``.
    """
    counts = _between(track_days, first, last, country, kind).with_columns(country=pl.lit(country or GLOBAL))
    ranked = rank_tracks(counts, size).drop("country")
    return _add_listeners(ranked, _between(listener_track_days, first, last, country, kind), "track_id")


def top_artists(
    artist_days: pl.DataFrame | pl.LazyFrame,
    listener_track_days: pl.DataFrame | pl.LazyFrame,
    first: date,
    last: date,
    *,
    country: str | None = None,
    kind: str = "track",
    size: int = 50,
) -> pl.DataFrame:
    """The most streamed artists of a range, by streams, then plays, then id; none without a stream.

    Args:
        artist_days: Rows of ``listening/artist_days``.
        listener_track_days: Rows of ``listening/listener_track_days``.
        first: First day.
        last: Last day.
        country: Only plays in this country; all of them when ``None``.
        kind: ``track`` for artists, ``episode`` for shows, ``audiobook`` for authors.
        size: Number of ranks.

    Returns:
        ``rank, artist_id, artist_name, streams, plays, listeners`` ordered by rank; ``listeners`` as in ``top_tracks``.

    Raises:
        ValueError: ``first`` is after ``last``.
    """
    ranked = _sum_artists(_between(artist_days, first, last, country, kind)).head(size).collect().with_row_index("rank", 1)
    ranked = ranked.with_columns(pl.col("rank").cast(pl.Int64))
    return _add_listeners(ranked, _between(listener_track_days, first, last, country, kind), "artist_id")


def stream_share(
    artist_days: pl.DataFrame | pl.LazyFrame, first: date, last: date, *, country: str | None = None, kind: str = "track"
) -> pl.DataFrame:
    """Each artist's pro-rata share of all streams of a range.

    A stream belongs to one artist, the track's first. So ``streams`` add up, to the unit, to the number of plays of 30 s or
    more, and ``share`` to 1 up to floating point.

    Args:
        artist_days: Rows of ``listening/artist_days``.
        first: First day.
        last: Last day.
        country: Only plays in this country; all of them when ``None``.
        kind: ``track`` for artists, ``episode`` for shows, ``audiobook`` for authors.

    Returns:
        ``artist_id, artist_name, streams, share`` of every artist with a stream, most streamed first.

    Raises:
        ValueError: ``first`` is after ``last``.
    """
    artists = _sum_artists(_between(artist_days, first, last, country, kind))
    return artists.select("artist_id", "artist_name", "streams", share=pl.col("streams") / pl.col("streams").sum()).collect()


def funnel(
    country_days: pl.DataFrame | pl.LazyFrame, first: date, last: date, *, by: Sequence[str] = ("country", "platform")
) -> pl.DataFrame:
    """How many plays of a range became streams, reached the end, or were skipped.

    Args:
        country_days: Rows of ``listening/country_days``.
        first: First day.
        last: Last day.
        by: Any of ``country``, ``platform`` and ``kind``; one row for everything when empty.

    Returns:
        The columns ``by``, then ``plays, streams, completions, skips, stream_rate, completion_rate, skip_rate``, ordered by
        ``by``. Every rate is per play: a track of 20 s can be completed without being a stream.

    Raises:
        ValueError: ``first`` is after ``last``.
    """
    steps = ("plays", "streams", "completions", "skips")
    counts = _between(country_days, first, last)
    sums = (counts.group_by(*by).agg(pl.col(steps).sum()).sort(*by) if by else counts.select(pl.col(steps).sum())).filter(
        pl.col("plays") > 0
    )
    return sums.with_columns(
        stream_rate=pl.col("streams") / pl.col("plays"),
        completion_rate=pl.col("completions") / pl.col("plays"),
        skip_rate=pl.col("skips") / pl.col("plays"),
    ).collect()


def count_listeners(listener_track_days: pl.DataFrame | pl.LazyFrame, first: date, last: date) -> pl.DataFrame:
    """Distinct listeners of a range in each country, ``ZZ`` for unknown ones, and in all: ``global``.

    Args:
        listener_track_days: Rows of ``listening/listener_track_days``.
        first: First day.
        last: Last day.

    Returns:
        ``country, listeners`` ordered by country. One who listened in two countries counts in both, and once in ``global``.

    Raises:
        ValueError: ``first`` is after ``last``.
    """
    seen = _between(listener_track_days, first, last).select("country", "listener_id").unique()
    everywhere = seen.select(country=pl.lit(GLOBAL), listener_id="listener_id").unique()
    counted = pl.concat([seen, everywhere]).group_by("country").agg(listeners=pl.len().cast(pl.Int64))
    return counted.sort("country").collect(engine="streaming")


def _between(
    rows: pl.DataFrame | pl.LazyFrame, first: date, last: date, country: str | None = None, kind: str | None = None
) -> pl.LazyFrame:
    if first > last:
        raise ValueError("the first day is after the last")
    rows = rows.lazy().filter(pl.col(DAY).is_between(first, last))
    if kind is not None:
        rows = rows.filter(pl.col("kind") == kind)
    return rows if country is None else rows.filter(pl.col("country") == country)


def _sum_artists(artist_days: pl.LazyFrame) -> pl.LazyFrame:
    sums = artist_days.group_by("artist_id").agg(pl.col("artist_name").min(), pl.col("streams", "plays").sum())
    return sums.filter(pl.col("streams") > 0).sort("streams", "plays", "artist_id", descending=[True, True, False])


def _add_listeners(ranked: pl.DataFrame, listener_track_days: pl.LazyFrame, on: str) -> pl.DataFrame:
    listeners = (
        listener_track_days.join(ranked.lazy().select(on), on=on, how="semi")
        .select(on, "listener_id")
        .unique()
        .group_by(on)
        .agg(listeners=pl.len().cast(pl.Int64))
    )
    return ranked.join(listeners.collect(engine="streaming"), on=on, how="left", maintain_order="left")
