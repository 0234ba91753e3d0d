"""What is genuine: every total has its suspicious part beside it, and is genuine without that, to the unit.

Which plays are suspicious is decided in ``suspicion``. Here they are counted as ``days`` counts all of them, and what remains
is ranked as ``charts`` ranks. A listener is in the suspicious part of a count where only suspicious plays brought them there:
so distinct listeners, too, are those of the genuine plays once the part is taken away.
"""

from collections.abc import Callable
from datetime import date

import polars as pl

from spotify_ai_assets.contracts import DAY, Table
from spotify_ai_assets.listening.charts import rank_charts
from spotify_ai_assets.listening.days import count_artists, count_countries, count_tracks
from spotify_ai_assets.listening.insight.contracts import (
    SUSPICIOUS_ARTIST_DAYS,
    SUSPICIOUS_COUNTRY_DAYS,
    SUSPICIOUS_STREAMS,
    SUSPICIOUS_TRACK_DAYS,
)
from spotify_ai_assets.listening.insight.parts import Frame

MEASURES = ("plays", "streams", "skips", "completions", "played_ms", "listeners")
_NAMES = ("track_name", "artist_name")
_FLAGGED = list(SUSPICIOUS_STREAMS.primary_key)


def count_suspicious_tracks(plays: Frame, suspicious: Frame, day: date) -> pl.DataFrame:
    """Count the flagged plays of a day by country and track: rows of ``listening/suspicious_track_days``."""
    return _count_part(count_tracks, SUSPICIOUS_TRACK_DAYS, plays, suspicious, day)


def count_suspicious_artists(plays: Frame, suspicious: Frame, day: date) -> pl.DataFrame:
    """Count the flagged plays of a day by country and artist: rows of ``listening/suspicious_artist_days``."""
    return _count_part(count_artists, SUSPICIOUS_ARTIST_DAYS, plays, suspicious, day)


def count_suspicious_countries(plays: Frame, suspicious: Frame, day: date) -> pl.DataFrame:
    """Count the flagged plays of a day by country, device and kind: rows of ``listening/suspicious_country_days``."""
    return _count_part(count_countries, SUSPICIOUS_COUNTRY_DAYS, plays, suspicious, day)


def _count_part(
    count: Callable[[pl.DataFrame, date], pl.DataFrame], table: Table, plays: Frame, suspicious: Frame, day: date
) -> pl.DataFrame:
    key = list(table.primary_key)
    flags = suspicious.lazy().filter(pl.col(DAY) == day).select(_FLAGGED)
    # Only the plays of who has a flagged one can differ: few.
    theirs = plays.lazy().filter(pl.col(DAY) == day).join(flags.select("listener_id").unique(), on="listener_id", how="semi")
    theirs, flags = pl.collect_all([theirs, flags], engine="streaming")
    flagged, rest = (theirs.join(flags, on=_FLAGGED, how=how) for how in ("semi", "anti"))
    people = flagged.select(*key, "listener_id").unique().join(rest, on=[*key, "listener_id"], how="anti")
    listeners = people.group_by(key).agg(listeners=pl.len().cast(pl.Int64))
    return (
        count(flagged, day)
        .drop("listeners")
        .join(listeners, on=key, how="left", maintain_order="left")
        .with_columns(pl.col("listeners").fill_null(0))
        .select(*table.schema)
    )


def without(total: Frame, part: Frame) -> pl.LazyFrame:
    """Take a part away from a total: what is genuine.

    Args:
        total: Rows of a table of counts, of any days and with any of its columns that keep rows apart.
        part: Rows of the table that holds its suspicious part, with those columns and more.

    Returns:
        The rows of ``total`` in their order, each measure less that of the part; where no play is left there is no row.
    """
    columns = total.lazy().collect_schema().names()
    key, measures = _roles(columns)
    taken = part.lazy().select(*key, *(pl.col(name).alias(f"suspicious_{name}") for name in measures))
    return (
        total.lazy()
        .join(taken, on=key, how="left", maintain_order="left")
        .with_columns(pl.col(name) - pl.col(f"suspicious_{name}").fill_null(0) for name in measures)
        .filter(pl.col("plays") > 0)
        .select(columns)
    )


def rank_genuine_charts(track_days: Frame, suspicious_track_days: Frame, history: Frame, day: date) -> pl.DataFrame:
    """Make the charts of a day as if no play had been suspicious: rows of ``listening/genuine_charts``.

    Args:
        track_days: Rows of ``listening/track_days`` of the week up to ``day``.
        suspicious_track_days: Their suspicious part.
        history: Rows of ``listening/genuine_charts`` before ``day``.
        day: The UTC day.
    """
    return rank_charts(without(track_days, suspicious_track_days), history, day)


def exceeding(total: Frame, part: Frame) -> pl.DataFrame:
    """The rows of a part that are no part, by ``day`` and measures: without a total, or with more than that or less than 0."""
    key, measures = _roles(total.lazy().collect_schema().names())
    whole = total.lazy().select(*key, *(pl.col(name).alias(f"{name}_in_all") for name in measures))
    is_part = pl.all_horizontal(pl.col(name).is_between(0, pl.col(f"{name}_in_all")) for name in measures)
    return part.lazy().join(whole, on=key, how="left").filter(~is_part.fill_null(False)).select(DAY, *measures).collect()


def _roles(columns: list[str]) -> tuple[list[str], list[str]]:
    """Those of a total's columns that keep its rows apart, and those that count."""
    return [name for name in columns if name not in (*MEASURES, *_NAMES)], [name for name in columns if name in MEASURES]
