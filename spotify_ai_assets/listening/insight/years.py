"""What a year, or any range of days, was made of: for each listener and for all of them together.

Lists are ranked by genuine plays, and only what was genuinely played is listed; the totals tell all plays and the suspicious ones.
Fixed charts belong to ``listening.charts``; how a review looks, to ``reports``.
"""

from collections.abc import Iterator
from datetime import date
from itertools import pairwise

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.listening.insight.contracts import ALL, UNKNOWN, YEAR_IN_REVIEW
from spotify_ai_assets.listening.insight.parts import Frame, both, genuine, stack

LISTED = {"tracks": (10, 50), "artists": (10, 50), "genres": (5, 50)}
"""How long a list is, of a listener and of all together."""
ROWS_AT_ONCE = 2_000_000
"""Rows of daily counts held in memory; more are read in parts, each with all days of some listeners."""

_MEASURES = ("plays", "streams", "played_ms")
_SUMS = both(_MEASURES)
_ITEMS = {
    "total": pl.lit(ALL),
    "months": pl.col(DAY).dt.strftime("%Y-%m"),
    "weekdays": pl.col(DAY).dt.weekday().cast(pl.String),
    "tracks": pl.col("track_id"),
    "artists": pl.col("artist_id"),
    "genres": pl.col("genre"),
}


def review(
    listener_track_days: Frame,
    suspicious: Frame,
    track_days: Frame,
    artists: Frame,
    first: date,
    last: date,
    *,
    only: str | None = None,
) -> pl.DataFrame:
    """Review a range of days.

    The sections: ``total`` of all plays, ``months`` and ``weekdays`` of them (in their order, those with a play), and of tracks,
    not podcasts and audiobooks, the top ``tracks``, ``artists`` and ``genres`` by genuine streams, then plays, time and id.

    Args:
        listener_track_days: Rows of ``listening/listener_track_days``.
        suspicious: Rows of ``listening/suspicious_streams``.
        track_days: Rows of ``listening/track_days``, for names and for the days of everybody's lists.
        artists: Rows of ``catalog/artists``, for genres.
        first: First day.
        last: Last day.
        only: The one listener's pseudonym, or ``global``, that is to be reviewed; everybody when ``None``.

    Returns:
        Rows of ``listening/year_in_review`` in the order of their key, their ``day`` the last of the range. ``listeners`` is 1 in
        a listener's own rows.

    Raises:
        ValueError: ``first`` is after ``last``.
    """
    if first > last:
        raise ValueError("the first day is after the last")
    in_range = pl.col(DAY).is_between(first, last)
    genres = artists.lazy().select("artist_id", "genre").drop_nulls().collect()
    counts, flagged, named = (frame.lazy().filter(in_range) for frame in (listener_track_days, suspicious, track_days))
    if only not in (None, GLOBAL):
        counts, flagged = (frame.filter(pl.col("listener_id") == only) for frame in (counts, flagged))
        named = named.join(counts.select("artist_id").unique(), on="artist_id", how="semi")

    names = _names(named)
    reviews: list[pl.DataFrame] = []
    everybody: dict[str, pl.DataFrame] = {}
    for part in _parts(counts, flagged):
        part = part.join(genres, on="artist_id", how="left").with_columns(pl.col("genre").fill_null(UNKNOWN))
        own: list[pl.DataFrame] = []
        for section, item in _ITEMS.items():
            counted = _count(part, section, item)
            if only != GLOBAL:
                own.append(_list(counted.with_columns(listeners=pl.lit(1, pl.Int64)), section, first, 0))
            if only in (None, GLOBAL):
                everybody[section] = _add(everybody.get(section), counted)
        if own:
            reviews.append(_tell(own, names, last))
    if everybody:
        reviews.append(_tell(_review_all(everybody, named, genres, first), names, last))
    return pl.concat(reviews) if reviews else YEAR_IN_REVIEW.empty()


def _parts(counts: pl.LazyFrame, flagged: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The rows in parts that fit into memory, each with all rows of its listeners; pseudonyms are evenly spread."""
    rows = stack(counts, flagged, [DAY, "listener_id", "kind", "track_id", "artist_id"], _MEASURES)
    parts = -(-counts.select(pl.len()).collect().item() // ROWS_AT_ONCE)
    bounds = [f"{16**4 * number // parts:04x}" for number in range(parts)] + ["g"]
    for begin, end in pairwise(bounds):
        part = rows if parts == 1 else rows.filter(pl.col("listener_id") >= begin, pl.col("listener_id") < end)
        yield part.collect(engine="streaming")


def _count(rows: pl.DataFrame, section: str, item: pl.Expr) -> pl.DataFrame:
    """Counts of each listener by item, with the days that have a play."""
    wanted = rows.filter(pl.col("kind") == "track") if section in LISTED else rows
    return wanted.group_by("listener_id", item=item).agg(pl.col(_SUMS).sum(), days=pl.col(DAY).n_unique().cast(pl.Int64))


def _add(sums: pl.DataFrame | None, counted: pl.DataFrame) -> pl.DataFrame:
    """Everybody's counts by item so far, with these listeners'; no listener is in two parts."""
    more = counted.group_by("item").agg(pl.col(_SUMS).sum(), listeners=pl.len().cast(pl.Int64))
    if sums is None:
        return more
    return pl.concat([sums, more]).group_by("item").agg(pl.col(*_SUMS, "listeners").sum())


def _list(counted: pl.DataFrame, section: str, first: date, scope: int) -> pl.DataFrame:
    """Give items their place: in the calendar, or in the list of the best, which is cut."""
    if section not in LISTED:
        place = {
            "total": pl.lit(1),
            "weekdays": pl.col("item").cast(pl.Int64, strict=False),
            "months": _month_number(first),
        }[section]
        return _in_order(counted.with_columns(section=pl.lit(section), position=place.cast(pl.Int64)))
    best = [genuine("streams"), genuine("plays"), genuine("played_ms")]
    return _in_order(
        counted.filter(genuine("plays") > 0)
        .sort("listener_id", *best, "item", descending=[False, True, True, True, False])
        .with_columns(section=pl.lit(section), position=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("listener_id"))
        .filter(pl.col("position") <= LISTED[section][scope])
    )


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("listener_id", "section", "position", "item", *_SUMS, "days", "listeners")


def _month_number(first: date) -> pl.Expr:
    """Which month of the range a ``YYYY-MM`` is, 1 is the first."""
    year, month = pl.col("item").str.head(4), pl.col("item").str.tail(2)
    return year.cast(pl.Int64, strict=False) * 12 + month.cast(pl.Int64, strict=False) - (first.year * 12 + first.month) + 1


def _review_all(everybody: dict[str, pl.DataFrame], named: pl.LazyFrame, genres: pl.DataFrame, first: date) -> list[pl.DataFrame]:
    """The rows of all listeners together; days are counted anew, for what is listed only."""
    found = []
    for section, sums in everybody.items():
        listed = _list(sums.with_columns(listener_id=pl.lit(GLOBAL), days=pl.lit(0, pl.Int64)), section, first, 1)
        rows = named.join(genres.lazy(), on="artist_id", how="left").with_columns(pl.col("genre").fill_null(UNKNOWN))
        rows = rows.filter(pl.col("kind") == "track") if section in LISTED else rows
        days = rows.group_by(item=_ITEMS[section]).agg(days=pl.col(DAY).n_unique().cast(pl.Int64))
        days = days.join(listed.lazy().select("item"), on="item", how="semi").collect(engine="streaming")
        found.append(_in_order(listed.drop("days").join(days, on="item", how="left", maintain_order="left")))
    return found


def _names(named: pl.LazyFrame) -> pl.DataFrame:
    """Names of tracks and artists; a track that goes by several artists is named as most of its streams are."""
    known = (
        named.filter(pl.col("kind") == "track")
        .group_by("track_id", "artist_id")
        .agg(pl.col("streams").sum(), pl.col("track_name", "artist_name").min())
        .sort("streams", "artist_id", descending=[True, False])
        .collect(engine="streaming")
    )
    tracks = known.unique("track_id", keep="first", maintain_order=True)
    tracks = tracks.select(section=pl.lit("tracks"), item="track_id", label="track_name", detail="artist_name")
    artists = known.group_by(item="artist_id").agg(label=pl.col("artist_name").min()).with_columns(section=pl.lit("artists"))
    return pl.concat([tracks, artists], how="diagonal")


def _tell(sections: list[pl.DataFrame], names: pl.DataFrame, last: date) -> pl.DataFrame:
    """Rows of the table, named, in the order of its key."""
    return (
        pl.concat(sections)
        .lazy()
        .join(names.lazy(), on=["section", "item"], how="left")
        .with_columns(day=pl.lit(last), label=pl.coalesce("label", "item"))
        .sort(YEAR_IN_REVIEW.primary_key)
        .select(pl.col(name).cast(dtype) for name, dtype in YEAR_IN_REVIEW.schema.items())
        .collect()
    )
