"""Sessions: plays of one listener without a silence of more than half an hour, across midnight.

What a play is belongs to ``plays``; counts by track, artist and country belong to ``days``.
"""

from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from spotify_ai_assets.contracts import TIME
from spotify_ai_assets.listening.contracts import SESSIONS

SESSION_GAP = timedelta(minutes=30)
"""A longer silence between the end of all plays so far and the start of the next ends a session."""

_FIRSTS = ("listener_id", "started_at", "country", "platform")
_SUMS = ("plays", "streams", "skips", "completions", "played_ms")


def settle_sessions(plays: pl.DataFrame | pl.LazyFrame, carried_sessions: pl.DataFrame | pl.LazyFrame, day: date) -> pl.DataFrame:
    """Join a day's plays, and what yesterday left open, into sessions.

    A session that may still go on after midnight is open: it appears in its day as open and again in the next day, longer or
    closed. So each play is in exactly one of the closed sessions of all days and the open ones of the last.

    Args:
        plays: Rows of ``listening/plays``; those of other days are left out.
        carried_sessions: Rows of ``listening/sessions``; only the open ones of the day before are taken.
        day: The UTC day.

    Returns:
        Rows of ``listening/sessions`` in the order of their key.
    """
    midnight = datetime.combine(day + timedelta(days=1), time(), UTC)
    played = (
        plays.lazy()
        .filter(pl.col("day") == day)
        .select(
            "listener_id",
            "started_at",
            "track_id",
            "country",
            "platform",
            "played_ms",
            ended_at=pl.col("started_at") + pl.duration(milliseconds="played_ms"),
            plays=pl.lit(1, pl.Int64),
            streams=pl.col("is_stream").cast(pl.Int64),
            skips=pl.col("is_skipped").cast(pl.Int64),
            completions=pl.col("is_completed").cast(pl.Int64),
        )
    )
    carried = carried_sessions.lazy().filter(pl.col("is_open") & (pl.col("day") == day - timedelta(days=1)))
    today = _join(played.collect(), by=["listener_id", "started_at", "track_id"])
    # Joining is associative: the day's sessions, not all its plays, meet the carried ones.
    both = carried.select(today.columns).sort("listener_id").collect().merge_sorted(today, key="listener_id")
    return (
        _join(both, by=["listener_id", "started_at"])
        .with_columns(day=pl.lit(day), is_open=pl.col("ended_at") >= midnight - SESSION_GAP)
        .select(*SESSIONS.schema)
    )


def _join(spans: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Join spans of time of one listener that overlap or follow one another within the gap.

    Everything is one pass of running values over the ordered rows: no row is grouped or hashed.
    """
    if not spans.is_sorted(by):
        spans = spans.sort(by)
    listener = pl.col("listener_id").rle_id().cast(pl.Int64)
    # A play may end after later ones: what counts is the latest end so far. Setting each listener's ends above all those of
    # the listeners before makes one running maximum of them all.
    end = pl.col("ended_at").to_physical()
    base = listener * (end.max() - end.min() + 1)
    latest_end = ((base + end).cum_max() - base).cast(TIME)
    is_first = ((listener != listener.shift()) | (pl.col("started_at") > latest_end.shift() + SESSION_GAP)).fill_null(True)
    spans = spans.with_columns(ended_at=latest_end, is_first=is_first)
    totals = spans.select("ended_at", pl.col(_SUMS).cum_sum()).filter(spans["is_first"].shift(-1, fill_value=True))
    ends = totals.with_columns(pl.col(_SUMS) - pl.col(_SUMS).shift(fill_value=0))
    return spans.filter("is_first").select(_FIRSTS).hstack(ends)
