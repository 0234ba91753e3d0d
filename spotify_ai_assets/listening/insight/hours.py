"""Hourly counts of plays by country and device, with their suspicious part. Days of them are counted in ``listening.days``."""

from datetime import date

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.insight.contracts import COUNTRY_HOURS, SUSPICIOUS_STREAMS
from spotify_ai_assets.listening.insight.parts import Frame, both, stack
from spotify_ai_assets.listening.insight.recounting import differing_sums

_LISTENERS = pl.col("listener_id")
_IS_FLAGGED = pl.col("is_flagged")
_FLAGGED = list(SUSPICIOUS_STREAMS.primary_key)


def count_hours(plays: Frame, suspicious: Frame, day: date) -> pl.DataFrame:
    """Count a day's plays by UTC hour, country and device.

    Args:
        plays: Rows of ``listening/plays`` of the day.
        suspicious: Rows of ``listening/suspicious_streams`` of the day.
        day: The UTC day.

    Returns:
        Rows of ``listening/country_hours``; an hour, country and device without a play has none.
    """
    flags = suspicious.lazy().filter(pl.col(DAY) == day).select(*_FLAGGED, is_flagged=True)
    return (
        plays.lazy()
        .filter(pl.col(DAY) == day)
        .join(flags, on=_FLAGGED, how="left")
        .with_columns(_IS_FLAGGED.fill_null(False), started_at=pl.col("started_at").dt.truncate("1h"))
        .group_by(COUNTRY_HOURS.primary_key)
        .agg(
            plays=pl.len(),
            streams=pl.col("is_stream").sum(),
            listeners=_LISTENERS.n_unique(),
            suspicious_plays=_IS_FLAGGED.sum(),
            suspicious_streams=(pl.col("is_stream") & _IS_FLAGGED).sum(),
            suspicious_listeners=_LISTENERS.n_unique() - _LISTENERS.filter(~_IS_FLAGGED).n_unique(),
        )
        .sort(COUNTRY_HOURS.primary_key)
        .with_columns(day=pl.lit(day))
        .select(pl.col(name).cast(dtype) for name, dtype in COUNTRY_HOURS.schema.items())
        .collect(engine="streaming")
    )


def differing_hours(country_hours: Frame, plays: Frame, suspicious: Frame) -> pl.DataFrame:
    """The days and countries of which the hours do not add up to the plays, or their suspicious part to the flagged ones.

    Args:
        country_hours: Rows of ``listening/country_hours``.
        plays: Rows of ``listening/plays`` of the same days.
        suspicious: Rows of ``listening/suspicious_streams`` of the same days.
    """
    key, measures = [DAY, "country"], ["plays", "streams"]
    counted = plays.lazy().select(*key, plays=pl.lit(1, pl.Int64), streams=pl.col("is_stream").cast(pl.Int64))
    return differing_sums(country_hours, stack(counted, suspicious, key, measures), key, both(measures))
