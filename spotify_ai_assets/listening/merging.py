"""Which listens of a file are new: the rules by which the same play is recognised when it comes again.

The same key is the same listen. Besides, Spotify's account data knows the end of a play to the minute and no ids, while the
extended history of the same account knows the second: such a pair is matched by listener, names, played time and the minute
in which the play ended, as many times as it occurs on both sides.

Reading and writing days is the business of ``intake.py``.
"""

from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from spotify_ai_assets.listening.contracts import EVENTS

_MINUTE = timedelta(minutes=1)
_GRAIN = "is_minute_grain"
_SAME = [_GRAIN, "listener_id", "artist_id", "track_name", "played_ms", "_ended_minute"]


def keep_new(incoming: pl.DataFrame, present: pl.DataFrame) -> pl.DataFrame:
    """The rows of ``incoming`` that are not in ``present``, each once.

    Args:
        incoming: Rows of ``listening/events`` from one file.
        present: Stored rows.
    """
    new = incoming.unique(EVENTS.primary_key, keep="first", maintain_order=True).join(
        present, on=EVENTS.primary_key, how="anti", maintain_order="left"
    )
    # Each looks for its twin among the rows of the other grain.
    twins = present.with_columns(~pl.col(_GRAIN)).filter(pl.col(_GRAIN).is_in(new[_GRAIN].unique().to_list()))
    if twins.is_empty():
        return new
    return _numbered(new).join(_numbered(twins), on=[*_SAME, "_occurrence"], how="anti", nulls_equal=True).select(new.columns)


def _numbered(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows in order of time with the minute in which each ended, and which one of several alike it is."""
    ended = (pl.col("started_at") + pl.duration(milliseconds=pl.col("played_ms").fill_null(0))).dt.truncate("1m")
    rows = rows.sort("started_at", "track_id").with_columns(_ended_minute=ended)
    return rows.with_columns(_occurrence=pl.int_range(pl.len()).over(_SAME))


def touches_midnight(rows: pl.DataFrame, day: date) -> bool:
    """Whether the twin of one of these rows may lie under the day before or after.

    Both grains give a play the same length, and ends that differ by less than a minute.
    """
    begin, end = _bounds(day)
    return not rows.filter(~pl.col("started_at").is_between(begin + _MINUTE, end - _MINUTE, closed="left")).is_empty()


def near_midnights(rows: pl.LazyFrame, day: date) -> pl.LazyFrame:
    """The rows of the day before and after that lie within a minute of this day's midnights."""
    begin, end = _bounds(day)
    return rows.filter(
        pl.col("started_at").is_between(begin - _MINUTE, begin, closed="left")
        | pl.col("started_at").is_between(end, end + _MINUTE, closed="left")
    )


def _bounds(day: date) -> tuple[datetime, datetime]:
    begin = datetime.combine(day, time(), UTC)
    return begin, begin + timedelta(days=1)
