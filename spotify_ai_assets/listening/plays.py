"""Listens become plays: one row each, with a played time and whether it was streamed, skipped and completed.

How a file's fields become a listen belongs to ``formats``; what plays add up to belongs to ``sessions`` and ``days``.
"""

from datetime import date

import polars as pl

from spotify_ai_assets.listening.contracts import PLAYS, STREAM_MS

SKIP_REASONS = ("fwdbtn", "backbtn", "clickrow", "clickside", "playbtn")
"""Spotify's reasons for an end that say that the listener chose to hear something else: next, previous, another row, another
item of the side bar, play elsewhere. ``endplay``, ``remote``, ``popup`` and ``unknown`` may as well mean that listening
stopped; ``logout``, ``trackerror`` and ``unexpected-exit`` do. None of those is a skip."""

COMPLETED_SHARE = 0.95
"""A play of at least this share of the track's length reached its end: cross-fading and silence cut the last seconds."""

LONGEST_MS = 86_400_000
"""No play is longer than a day."""


def clean_plays(events: pl.DataFrame | pl.LazyFrame, day: date) -> pl.DataFrame:
    """Turn the listens of a day into plays.

    * ``played_ms`` is the source's played time, else the track's length, else 0.
    * A stream lasted 30 s or more. A scrobble, a listen without a played time, counts as one.
    * A play is complete when its source says that the track was done or when it lasted ``COMPLETED_SHARE`` of the track's
      length. A scrobble is complete unless its source marks it as skipped or gives one of ``SKIP_REASONS``. A played time
      that comes without a reason and a length tells nothing: not complete.
    * A play is skipped when its source marks it so or gives one of ``SKIP_REASONS``, and it is not complete.

    Of listens with the same key the one with the longest known played time stays, then the one with the greatest values in
    the order of columns: the choice does not hang on the order of rows.

    Args:
        events: Rows of ``listening/events``; those of other days are left out.
        day: The UTC day.

    Returns:
        Rows of ``listening/plays`` in the order of their key.
    """
    is_left = pl.col("was_skipped").fill_null(False) | pl.col("reason_end").is_in(SKIP_REASONS).fill_null(False)
    is_done = (pl.col("reason_end") == "trackdone").fill_null(False)
    has_lasted = (pl.col("duration_ms") > 0) & (pl.col("played_ms") >= COMPLETED_SHARE * pl.col("duration_ms"))
    return (
        _without_duplicates(events.lazy().filter(pl.col("day") == day).collect())
        .lazy()
        .with_columns(
            played_ms=pl.coalesce("played_ms", pl.col("duration_ms").clip(upper_bound=LONGEST_MS), 0),
            is_stream=(pl.col("played_ms") >= STREAM_MS).fill_null(True),
            is_completed=pl.when(pl.col("played_ms").is_null()).then(~is_left).otherwise(is_done | has_lasted.fill_null(False)),
        )
        .with_columns(is_skipped=is_left & ~pl.col("is_completed"))
        .select(*PLAYS.schema)
        .collect()
    )


def _without_duplicates(events: pl.DataFrame) -> pl.DataFrame:
    key = list(PLAYS.primary_key)
    # The lake hands rows over in the order of their key: looking is four times as fast as sorting them again.
    if not events.is_sorted(key):
        events = events.sort(key)
    is_repeated = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in key)
    if not events.select(is_repeated.any()).item():
        return events
    rest = ["played_ms", *(name for name in events.columns if name not in (*key, "played_ms"))]
    descending = [False] * len(key) + [True] * len(rest)
    return events.sort(*key, *rest, descending=descending, nulls_last=True).unique(key, keep="first", maintain_order=True)
