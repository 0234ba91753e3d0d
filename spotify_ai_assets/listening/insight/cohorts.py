"""Who came when, and who of them still listens: new listeners by day, cohorts by week.

A cohort is everybody whose first play of all was in one week, Monday to Sunday. The rows of one Sunday tell of every cohort how
many of it played something in the week that ends; the triangle of retention is the rows of all Sundays together.
"""

from datetime import date, timedelta

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.insight.contracts import ALL, COHORTS, NEW_LISTENERS
from spotify_ai_assets.listening.insight.parts import Frame, both, genuine, stack

WEEK_DAYS = 7
_MEASURES = ("plays", "streams")


def find_new_listeners(plays: Frame, known: Frame, day: date) -> pl.DataFrame:
    """Find the listeners of a day who never played anything on an earlier day.

    Args:
        plays: Rows of ``listening/plays``; those of other days are left out.
        known: Rows of ``listening/new_listeners``; those of earlier days are taken.
        day: The UTC day.

    Returns:
        Rows of ``listening/new_listeners`` in the order of their key, with country and device of the first play; of plays
        that start at the same time the one with the smallest track id counts.
    """
    today = plays.lazy().filter(pl.col(DAY) == day)
    earlier = known.lazy().filter(pl.col(DAY) < day).select("listener_id")
    newcomers = today.select(pl.col("listener_id").unique()).join(earlier, on="listener_id", how="anti").collect()
    return (
        today.join(newcomers.lazy(), on="listener_id", how="semi")
        .select("listener_id", "started_at", "track_id", "country", "platform", day=pl.lit(day))
        .sort("listener_id", "started_at", "track_id")
        .unique("listener_id", keep="first", maintain_order=True)
        .select(*NEW_LISTENERS.schema)
        .collect()
    )


def count_cohorts(listener_track_days: Frame, suspicious: Frame, new_listeners: Frame, day: date) -> pl.DataFrame:
    """Count of every cohort who played something in a week.

    Retention is active listeners, without those who made suspicious plays only, over all who came.

    Args:
        listener_track_days: Rows of ``listening/listener_track_days``; those of the week up to ``day`` are taken.
        suspicious: Rows of ``listening/suspicious_streams``, likewise.
        new_listeners: Rows of ``listening/new_listeners`` of all time; those up to ``day`` are taken.
        day: The Sunday that ends the week.

    Returns:
        Rows of ``listening/cohorts`` in the order of their key.
    """
    monday = day - timedelta(days=WEEK_DAYS - 1)
    in_week = pl.col(DAY).is_between(monday, day)
    measures = both(_MEASURES)
    played = stack(listener_track_days.lazy().filter(in_week), suspicious.lazy().filter(in_week), ["listener_id"], _MEASURES)
    played = played.group_by("listener_id").agg(pl.col(measures).sum())
    came = new_listeners.lazy().filter(pl.col(DAY) <= day).with_columns(cohort_on=pl.col(DAY).dt.truncate("1w"))
    members = came.drop(DAY).join(played, on="listener_id", how="left").with_columns(pl.col(measures).fill_null(0)).collect()
    is_active = pl.col("plays") > 0
    groups = {ALL: pl.lit(ALL), "country": pl.col("country"), "platform": pl.col("platform")}
    counted = [
        members.lazy()
        .group_by("cohort_on", item=item, dimension=pl.lit(dimension))
        .agg(
            pl.col(measures).sum(),
            size=pl.len().cast(pl.Int64),
            active=is_active.sum().cast(pl.Int64),
            suspicious_active=(is_active & (genuine("plays") == 0)).sum().cast(pl.Int64),
        )
        for dimension, item in groups.items()
    ]
    return (
        pl.concat(counted)
        .with_columns(
            day=pl.lit(day),
            weeks_since=(pl.lit(monday) - pl.col("cohort_on")).dt.total_days() // WEEK_DAYS,
            retention=genuine("active") / pl.col("size"),
        )
        .sort(COHORTS.primary_key)
        .select(pl.col(name).cast(dtype) for name, dtype in COHORTS.schema.items())
        .collect()
    )
