"""Recounting: do the tables of a day agree with each other, with their past, and with a rebuild from the raw listens?"""

import hashlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.charts import rank_charts
from spotify_ai_assets.listening.contracts import (
    ARTIST_DAYS,
    CHARTS,
    COUNTRY_DAYS,
    EVENTS,
    LISTENER_TRACK_DAYS,
    PLAYS,
    SESSIONS,
    TRACK_DAYS,
)
from spotify_ai_assets.listening.days import count_artists, count_countries, count_listener_tracks, count_tracks
from spotify_ai_assets.listening.plays import clean_plays
from spotify_ai_assets.listening.sessions import settle_sessions
from spotify_ai_assets.resources.digests import digest
from spotify_ai_assets.resources.lake import Lake

_COUNTED = {"plays": pl.len(), "streams": pl.sum("is_stream"), "skips": pl.sum("is_skipped"), "completions": pl.sum("is_completed")}
_MEASURES = [*_COUNTED, "played_ms"]
_TRAILING_DAYS, _LEAST_DAYS, _DEVIATIONS = 28, 7, 5.0


def differing_sums(rows: pl.LazyFrame, plays: pl.LazyFrame) -> pl.DataFrame:
    """The days on which a daily table's sums are not those of the plays.

    Args:
        rows: A daily table with ``plays, streams, skips, completions, played_ms``.
        plays: The plays of the same days.
    """
    counted = plays.group_by(DAY).agg(pl.sum("played_ms"), **{name: count.cast(pl.Int64) for name, count in _COUNTED.items()})
    summed = rows.group_by(DAY).agg(pl.sum(*_MEASURES))
    both = summed.join(counted, on=DAY, how="full", coalesce=True, suffix="_counted")
    return both.filter(pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_counted")) for name in _MEASURES)).collect()


def lost_plays(sessions: pl.LazyFrame, plays: pl.LazyFrame, days: Sequence[date]) -> pl.DataFrame:
    """The days on which the sessions do not hold exactly the plays.

    Args:
        sessions: Sessions of the days and of the day before the first.
        plays: Plays of the days.
        days: The days to look at.
    """
    held = sessions.group_by(DAY).agg(pl.sum("plays"), carried=pl.col("plays").filter("is_open").sum())
    before = held.select(pl.col(DAY) + timedelta(days=1), "carried")
    counted = plays.group_by(DAY).agg(pl.len().cast(pl.Int64).alias("counted"))
    both = held.drop("carried").join(before, on=DAY, how="left").join(counted, on=DAY, how="full", coalesce=True)
    difference = pl.col("plays").fill_null(0) - pl.col("carried").fill_null(0) - pl.col("counted").fill_null(0)
    return both.filter(pl.col(DAY).is_in(list(days)), difference != 0).collect()


def sparse_ranks(entries: pl.LazyFrame, chart: list[str]) -> pl.DataFrame:
    """The charts that do not have each rank from 1 to their length exactly once."""
    ranks = entries.group_by(DAY, *chart).agg(pl.len(), pl.n_unique("rank").alias("distinct"), pl.max("rank").alias("last"))
    return ranks.filter((pl.col("len") != pl.col("last")) | (pl.col("distinct") != pl.col("last"))).collect()


def unusual_days(counts: Mapping[date, int], days: Iterable[date]) -> pl.DataFrame:
    """The days whose count is far from the four weeks before.

    Far is more than five median absolute deviations (scaled by 1.4826 to a standard deviation; Leys et al. 2013), but at least
    a fifth of the median. Days with less than a week of past are usual.
    """
    unusual = []
    for day in days:
        past = [counts[each] for offset in range(1, _TRAILING_DAYS + 1) if (each := day - timedelta(days=offset)) in counts]
        if len(past) < _LEAST_DAYS or day not in counts:
            continue
        median = statistics.median(past)
        spread = statistics.median(abs(count - median) for count in past)
        if abs(counts[day] - median) > max(_DEVIATIONS * 1.4826 * spread, 0.2 * median):
            unusual.append({DAY: day, "count": counts[day], "median": float(median)})
    return pl.DataFrame(unusual, schema={DAY: pl.Date, "count": pl.Int64, "median": pl.Float64})


def sample_days(all_days: Sequence[str], made: Sequence[date]) -> list[date]:
    """The newest made day, and one more of all days, chosen by the newest's name so that the choice wanders and is repeatable."""
    if not all_days:
        return []
    newest = max(made) if made else date.fromisoformat(all_days[-1])
    number = int(hashlib.sha256(newest.isoformat().encode()).hexdigest(), 16)
    return sorted({newest, date.fromisoformat(all_days[number % len(all_days)])} & {date.fromisoformat(name) for name in all_days})


def rebuild_day(lake: Lake, day: date) -> dict[str, pl.DataFrame]:
    """Every daily table of a day from the raw listens: of that day, of its week for the charts, of the day before for sessions.

    What carries over from further back, yesterday's open sessions and the charts before, is taken from the lake.
    """
    week = [day - timedelta(days=offset) for offset in range(7)]
    plays = {each: clean_plays(lake.scan(EVENTS.key, first=each, last=each), each) for each in (week if day.weekday() == 6 else week[:1])}
    tracks = pl.concat([count_tracks(rows, each) for each, rows in plays.items()])
    yesterday = day - timedelta(days=1)
    return {
        PLAYS.key: plays[day],
        SESSIONS.key: settle_sessions(plays[day], lake.scan(SESSIONS.key, first=yesterday, last=yesterday), day),
        LISTENER_TRACK_DAYS.key: count_listener_tracks(plays[day], day),
        TRACK_DAYS.key: tracks.filter(pl.col(DAY) == day),
        ARTIST_DAYS.key: count_artists(plays[day], day),
        COUNTRY_DAYS.key: count_countries(plays[day], day),
        CHARTS.key: rank_charts(tracks, lake.scan(CHARTS.key, last=yesterday), day),
    }


def differs_from_rebuild(lake: Lake, day: date) -> list[str]:
    """The tables whose rows of a day are not what a rebuild gives."""
    differing = []
    for key, rows in rebuild_day(lake, day).items():
        contract = lake.tables[key]
        state = lake.state(key, day)
        if state is None or digest(rows.select(*contract.schema).sort(contract.primary_key).drop(DAY)) != state.digest:
            differing.append(key)
    return differing
