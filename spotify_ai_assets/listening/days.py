"""Daily counts of plays: by listener and track, by track, by artist, by country and device.

Each table is the plays of a day grouped by the table's own key and in its order, which keeps files small. Ranks belong to
``charts``, longer ranges to ``ranges``.
"""

from datetime import date

import polars as pl

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.listening.contracts import ARTIST_DAYS, COUNTRY_DAYS, LISTENER_TRACK_DAYS, TRACK_DAYS

_MEASURES = {
    "plays": pl.len(),
    "streams": pl.col("is_stream").sum(),
    "skips": pl.col("is_skipped").sum(),
    "completions": pl.col("is_completed").sum(),
    "played_ms": pl.col("played_ms").sum(),
    "listeners": pl.col("listener_id").n_unique(),
    # Spellings of one id differ between sources; the smallest does not hang on the order of rows.
    "track_name": pl.col("track_name").min(),
    "artist_name": pl.col("artist_name").min(),
}


def count_listener_tracks(plays: pl.DataFrame | pl.LazyFrame, day: date) -> pl.DataFrame:
    """Count a day's plays by listener and track: rows of ``listening/listener_track_days``."""
    return _count(plays, day, LISTENER_TRACK_DAYS)


def count_tracks(plays: pl.DataFrame | pl.LazyFrame, day: date) -> pl.DataFrame:
    """Count a day's plays and distinct listeners by country and track: rows of ``listening/track_days``."""
    return _count(plays, day, TRACK_DAYS)


def count_artists(plays: pl.DataFrame | pl.LazyFrame, day: date) -> pl.DataFrame:
    """Count a day's plays and distinct listeners by country and artist: rows of ``listening/artist_days``."""
    return _count(plays, day, ARTIST_DAYS)


def count_countries(plays: pl.DataFrame | pl.LazyFrame, day: date) -> pl.DataFrame:
    """Count a day's plays and distinct listeners by country, device and kind: rows of ``listening/country_days``."""
    return _count(plays, day, COUNTRY_DAYS)


def _count(plays: pl.DataFrame | pl.LazyFrame, day: date, table: Table) -> pl.DataFrame:
    measures = {name: _MEASURES[name] for name in table.schema if name in _MEASURES}
    return (
        plays.lazy()
        .filter(pl.col("day") == day)
        # Ranks stand for the 32 digits of a listener: distinct integers are counted several times as fast.
        .with_columns(pl.col("listener_id").rank("dense") if "listeners" in measures else pl.col("listener_id"))
        .group_by(table.primary_key)
        .agg(**measures)
        .sort(table.primary_key)
        .with_columns(day=pl.lit(day))
        .select(pl.col(name).cast(dtype) for name, dtype in table.schema.items())
        .collect(engine="streaming")
    )
