"""Recounting: does what insight counts add up to the tables it was counted from, to the unit?

Each function gives the rows that do not; none when all is well.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from spotify_ai_assets.contracts import DAY, Table
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.listening.insight.contracts import COHORTS, FUNNELS, STREAM_SHARE, SUSPICIOUS_STREAMS
from spotify_ai_assets.listening.insight.parts import Frame, both, stack
from spotify_ai_assets.listening.insight.shares import MILLION

_SUNDAY = pl.col(DAY).dt.truncate("1w") + timedelta(days=6)
_FUNNEL = ("plays", "streams", "skips", "completions")
_VOLUME = ("plays", "streams", "played_ms")


def differing_sums(rows: Frame, expected: Frame, by: Sequence[str], measures: Sequence[str]) -> pl.DataFrame:
    """The groups of which two frames have different sums; a group that only one of them has differs unless it is all 0.

    Args:
        rows: What is looked at.
        expected: What it should add up to.
        by: The columns that tell groups apart.
        measures: The columns that are summed.
    """
    sums = [frame.lazy().group_by(by).agg(pl.col(measures).sum().cast(pl.Int64)) for frame in (rows, expected)]
    pairs = sums[0].join(sums[1], on=by, how="full", coalesce=True, suffix="_expected")
    differs = pl.any_horizontal(pl.col(name).fill_null(0) != pl.col(f"{name}_expected").fill_null(0) for name in measures)
    return pairs.filter(differs).sort(by).collect()


def differing_flags(suspicious: Frame, plays: Frame) -> pl.DataFrame:
    """The flagged accounts and tracks whose counts are not those of all their plays.

    Args:
        suspicious: Rows of ``listening/suspicious_streams``.
        plays: Rows of ``listening/plays`` of the same days.
    """
    key = [DAY, *SUSPICIOUS_STREAMS.primary_key]
    theirs = plays.lazy().join(suspicious.lazy().select(DAY, "listener_id").unique(), on=[DAY, "listener_id"], how="semi")
    counts = {"streams": pl.sum("is_stream"), "skips": pl.sum("is_skipped"), "completions": pl.sum("is_completed")}
    counted = theirs.group_by(key).agg(pl.sum("played_ms"), plays=pl.len(), **counts)
    flagged = counted.join(suspicious.lazy(), on=key, how="semi")
    return differing_sums(suspicious, flagged, key, [*_FUNNEL, "played_ms"])


def differing_parts(part: Frame, suspicious: Frame) -> pl.DataFrame:
    """The days on which the suspicious part of a total does not add up to all that is flagged.

    Args:
        part: Rows of ``listening/suspicious_track_days`` or the like.
        suspicious: Rows of ``listening/suspicious_streams`` of the same days.
    """
    return differing_sums(part, suspicious, [DAY], [*_FUNNEL, "played_ms"])


def misplaced_listeners(new_listeners: Frame, plays: Frame) -> pl.DataFrame:
    """How many listeners came more than once, and how many play without having come, by day.

    Args:
        new_listeners: All rows of ``listening/new_listeners``.
        plays: Plays of the days to look at.
    """
    came = new_listeners.lazy().group_by("listener_id").agg(pl.col(DAY).min().alias("came_on"), times=pl.len())
    seen = plays.lazy().select(DAY, "listener_id").unique().join(came, on="listener_id", how="left")
    is_wrong = pl.col("times").is_null() | (pl.col("times") > 1) | (pl.col("came_on") > pl.col(DAY))
    return seen.filter(is_wrong).group_by(DAY).agg(listeners=pl.len()).sort(DAY).collect()


def differing_cohorts(cohorts: Frame, listener_track_days: Frame, suspicious: Frame) -> pl.DataFrame:
    """The Sundays and dimensions whose active listeners and streams are not those of the week.

    Args:
        cohorts: Rows of ``listening/cohorts``.
        listener_track_days: Rows of ``listening/listener_track_days`` of the same weeks.
        suspicious: Rows of ``listening/suspicious_streams`` of the same weeks.
    """
    weeks = stack(listener_track_days, suspicious, [DAY, "listener_id"], _FUNNEL[:2]).with_columns(_SUNDAY)
    listeners = weeks.group_by(DAY, "listener_id").agg(pl.col(both(_FUNNEL[:2])).sum())
    is_suspicious = pl.col("plays") == pl.col("suspicious_plays")
    week = listeners.group_by(DAY).agg(
        pl.col(both(["streams"])).sum(), active=(pl.col("plays") > 0).sum(), suspicious_active=((pl.col("plays") > 0) & is_suspicious).sum()
    )
    measures = [*both(["streams"]), "active", "suspicious_active"]
    return differing_sums(cohorts, week.join(_each("dimension", COHORTS), how="cross"), [DAY, "dimension"], measures)


def differing_funnels(funnels: Frame, plays: Frame, suspicious: Frame) -> pl.DataFrame:
    """The days and dimensions whose counts are not those of the plays, or whose flagged part is not what is suspicious.

    Args:
        funnels: Rows of ``listening/funnels``.
        plays: Rows of ``listening/plays`` of the same days.
        suspicious: Rows of ``listening/suspicious_streams`` of the same days.
    """
    counted = plays.lazy().select(
        DAY, plays=pl.lit(1), streams=pl.col("is_stream"), skips=pl.col("is_skipped"), completions=pl.col("is_completed")
    )
    whole = counted.select(DAY, pl.col(_FUNNEL).cast(pl.Int64))
    day = stack(whole, suspicious, [DAY], _FUNNEL).group_by(DAY).agg(pl.col(both(_FUNNEL)).sum())
    return differing_sums(funnels, day.join(_each("dimension", FUNNELS), how="cross"), [DAY, "dimension"], both(_FUNNEL))


def differing_genres(genre_mix: Frame, artist_days: Frame, suspicious_artist_days: Frame) -> pl.DataFrame:
    """The days and countries whose genres do not add up to the artists' counts of tracks.

    Args:
        genre_mix: Rows of ``listening/genre_mix``.
        artist_days: Rows of ``listening/artist_days`` of the same days.
        suspicious_artist_days: Rows of ``listening/suspicious_artist_days`` of the same days.
    """
    total, suspicious = (frame.lazy().filter(pl.col("kind") == "track") for frame in (artist_days, suspicious_artist_days))
    national = stack(total, suspicious, [DAY, "country"], _VOLUME)
    everywhere = national.with_columns(country=pl.lit(GLOBAL))
    return differing_sums(genre_mix, pl.concat([national, everywhere]), [DAY, "country"], both(_VOLUME))


def differing_shares(stream_share: Frame, listener_track_days: Frame, suspicious: Frame) -> pl.DataFrame:
    """The Sundays, models and markets whose units are not a million for each listener, or whose streams are not the week's.

    Args:
        stream_share: Rows of ``listening/stream_share``.
        listener_track_days: Rows of ``listening/listener_track_days`` of the same weeks.
        suspicious: Rows of ``listening/suspicious_streams`` of the same weeks.
    """
    total, flagged = (frame.lazy().filter(pl.col("kind") == "track") for frame in (listener_track_days, suspicious))
    national = stack(total, flagged, [DAY, "country", "listener_id"], ["streams"]).with_columns(_SUNDAY)
    markets = pl.concat([national, national.with_columns(country=pl.lit(GLOBAL))])
    listeners = markets.group_by(DAY, "country", "listener_id").agg(pl.col(both(["streams"])).sum()).filter(pl.col("streams") > 0)
    pools = listeners.group_by(DAY, "country").agg(pl.col(both(["streams"])).sum(), units=pl.len().cast(pl.Int64) * MILLION)
    measures = [*both(["streams"]), "units"]
    return differing_sums(stream_share, pools.join(_each("model", STREAM_SHARE), how="cross"), [DAY, "model", "country"], measures)


def differing_years(year_in_review: Frame, country_days: Frame, suspicious_country_days: Frame, days: Sequence[date]) -> pl.DataFrame:
    """The days up to which a year's totals, everybody's or those of all listeners, are not those of its days.

    Args:
        year_in_review: Rows of ``listening/year_in_review``.
        country_days: Rows of ``listening/country_days`` from the first of January before the first of the days.
        suspicious_country_days: Rows of ``listening/suspicious_country_days``, likewise.
        days: The last days of months to look at.
    """
    measures = both(_VOLUME)
    counted = stack(country_days, suspicious_country_days, [DAY], _VOLUME).group_by(DAY).agg(pl.col(measures).sum())
    ends = pl.LazyFrame({"end": days}, schema={"end": pl.Date})
    year = counted.join_where(ends, pl.col(DAY) <= pl.col("end"), pl.col(DAY) >= pl.col("end").dt.truncate("1y"))
    expected = pl.concat([year.select(*measures, day="end", of=pl.lit(of)) for of in (GLOBAL, "listeners")])
    of = pl.when(pl.col("listener_id") == GLOBAL).then(pl.lit(GLOBAL)).otherwise(pl.lit("listeners"))
    totals = year_in_review.lazy().filter(pl.col("section") == "total", pl.col(DAY).is_in(list(days)))
    return differing_sums(totals.with_columns(of=of), expected, [DAY, "of"], measures)


def _each(column: str, table: Table) -> pl.LazyFrame:
    """All values that a column of a table may have."""
    return pl.LazyFrame({column: next(each.allowed for each in table.columns if each.name == column)})
