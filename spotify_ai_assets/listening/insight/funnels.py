"""How far plays get: streamed, completed or skipped, by their place in the session, by playlist, release and age of the release.

Each of these dimensions tells all plays of the day apart, so the counts of each add up to the day's plays. Funnels by country and
device over any range belong to ``listening.ranges``.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import LISTENER_TRACK_DAYS
from spotify_ai_assets.listening.insight.contracts import FUNNELS, OTHER, UNKNOWN
from spotify_ai_assets.listening.insight.parts import Frame, both, genuine

LAST_POSITION = 20
"""Later places in a session are counted as one."""
LISTED = 200
"""So many playlists and releases are told apart; the others are one."""

_MEASURES = ("plays", "streams", "skips", "completions")


def count_funnels(plays: Frame, suspicious: Frame, sessions: Frame, tracks: Frame, albums: Frame, day: date) -> pl.DataFrame:
    """Count a day's plays, streams, skips and completions in each dimension.

    The most played releases are told apart, by genuine plays, then id. What has no known release, such as a podcast, and what
    was not played from a known playlist is ``unknown``. An age is in whole years on the day; a release of the future has 0.

    Args:
        plays: Rows of ``listening/plays``; those of other days are left out.
        suspicious: Rows of ``listening/suspicious_streams``, likewise.
        sessions: Rows of ``listening/sessions`` of the day and of the day before, whose open sessions go on.
        tracks: Rows of ``catalog/tracks``.
        albums: Rows of ``catalog/albums``.
        day: The UTC day.

    Returns:
        Rows of ``listening/funnels`` in the order of their key.
    """
    marked = _mark(plays, suspicious, sessions, tracks, albums, day)
    names = albums.lazy().select(item="album_id", label="name").collect()
    position = pl.col("position")
    by_position = pl.when(position > LAST_POSITION).then(pl.lit(f"{LAST_POSITION + 1}+")).otherwise(position.cast(pl.String))
    releases = _keep_top(_count(marked, "release", pl.col("album_id"))).join(names, on="item", how="left")
    counted = [
        _count(marked, "position", by_position),
        _count(marked, "release_age", pl.col("age").cast(pl.String)),
        _keep_top(_count(marked, "playlist", pl.col("playlist_id"))),
        releases,
    ]
    return (
        pl.concat(counted, how="diagonal")
        .with_columns(day=pl.lit(day), label=pl.coalesce("label", "item"))
        .sort(FUNNELS.primary_key)
        .select(pl.col(name).cast(dtype) for name, dtype in FUNNELS.schema.items())
    )


def _mark(plays: Frame, suspicious: Frame, sessions: Frame, tracks: Frame, albums: Frame, day: date) -> pl.DataFrame:
    """The day's plays with all that tells them apart, and a 1 or 0 for each measure and its suspicious part."""
    today = plays.lazy().filter(pl.col(DAY) == day)
    key = LISTENER_TRACK_DAYS.primary_key
    flagged = suspicious.lazy().filter(pl.col(DAY) == day).select(*key, is_suspicious=pl.lit(True))
    measures = {"plays": pl.lit(1), "streams": pl.col("is_stream"), "skips": pl.col("is_skipped"), "completions": pl.col("is_completed")}
    released = albums.lazy().select("album_id", "released_on")
    return (
        _place(today, sessions.lazy(), day)
        .join(flagged, on=key, how="left", maintain_order="left")
        .join(tracks.lazy().select("track_id", "album_id"), on="track_id", how="left", maintain_order="left")
        .join(released, on="album_id", how="left", maintain_order="left")
        .select(
            "position",
            "album_id",
            "playlist_id",
            age=_years(pl.col("released_on"), day),
            **{name: measure.cast(pl.Int64) for name, measure in measures.items()},
            **{
                f"suspicious_{name}": (pl.col("is_suspicious").fill_null(False) & measure.cast(pl.Boolean)).cast(pl.Int64)
                for name, measure in measures.items()
            },
        )
        .collect()
    )


def _place(plays: pl.LazyFrame, sessions: pl.LazyFrame, day: date) -> pl.LazyFrame:
    """Add to each play its ``position`` in its session, which may have begun on an earlier day; 1 is the first.

    A listener's sessions do not overlap: a play belongs to the last one that began before it.
    """
    begun = sessions.select(DAY, "listener_id", begun_at="started_at", carried="plays", is_open="is_open")
    today = begun.filter(pl.col(DAY) == day).select("listener_id", "begun_at")
    open_before = begun.filter("is_open", pl.col(DAY) == day - timedelta(days=1)).select("listener_id", "begun_at", "carried")
    known = today.join(open_before, on=["listener_id", "begun_at"], how="left").sort("listener_id", "begun_at")
    ordered = plays.sort("listener_id", "started_at", "track_id")
    return ordered.join_asof(
        known, left_on="started_at", right_on="begun_at", by="listener_id", strategy="backward", check_sortedness=False
    ).with_columns(
        position=pl.int_range(1, pl.len() + 1).over("listener_id", "begun_at") + pl.col("carried").fill_null(0),
    )


def _years(since: pl.Expr, day: date) -> pl.Expr:
    """Whole years from a date to the day: its anniversaries so far; none where it is still to come."""
    passed = pl.lit(day.month * 100 + day.day) >= since.dt.month().cast(pl.Int64) * 100 + since.dt.day()
    return (day.year - since.dt.year() - pl.when(passed).then(0).otherwise(1)).clip(lower_bound=0)


def _count(marked: pl.DataFrame, dimension: str, item: pl.Expr) -> pl.DataFrame:
    items = marked.group_by(item=item.fill_null(UNKNOWN)).agg(pl.col(both(_MEASURES)).sum())
    return items.with_columns(dimension=pl.lit(dimension))


def _keep_top(items: pl.DataFrame) -> pl.DataFrame:
    """The known items with most genuine plays, the others as one."""
    is_known = pl.col("item") != UNKNOWN
    listed: Sequence[str] = items.filter(is_known).sort(genuine("plays"), "item", descending=[True, False]).head(LISTED)["item"].to_list()
    item = pl.when(pl.col("item").is_in([*listed, UNKNOWN])).then("item").otherwise(pl.lit(OTHER))
    return items.group_by(item, "dimension").agg(pl.col(both(_MEASURES)).sum())
