"""What each asset of listening shows as its plot: one small picture of one day, made from columns that anyone may see."""

import polars as pl

from spotify_ai_assets.catalog.pictures import bars
from spotify_ai_assets.listening.contracts import CHART_ENTRIES, EVENTS, IMPORTS, REJECTED
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.resources.plots import Plot

_BARS = 8


def plays_by_track(rows: pl.LazyFrame) -> Plot:
    """How many tracks were played how often: the long tail."""
    counts = rows.group_by("track_id").len().select(times=pl.col("len").clip(upper_bound=30))
    times = counts.group_by("times").len("tracks").sort("times").collect()
    return Plot(_("Tracks by number of plays (30: 30 or more)"), "line", times["times"].to_list(), times["tracks"].to_list())


def session_lengths(rows: pl.LazyFrame) -> Plot:
    """How many sessions had how many plays."""
    lengths = rows.group_by(pl.col("plays").clip(upper_bound=40)).len("sessions").sort("plays").collect()
    return Plot(_("Sessions by number of plays (40: 40 or more)"), "line", lengths["plays"].to_list(), lengths["sessions"].to_list())


def top_tracks(rows: pl.LazyFrame) -> Plot:
    """The most streamed tracks."""
    return _top(rows, "track_name", _("Streams of the top tracks"))


def top_artists(rows: pl.LazyFrame) -> Plot:
    """The most streamed artists."""
    return _top(rows, "artist_name", _("Streams of the top artists"))


def streams_by_country(rows: pl.LazyFrame) -> Plot:
    """Streams of each country."""
    return _top(rows, "country", _("Streams by country"))


def chart_top(rows: pl.LazyFrame) -> Plot:
    """The top of the daily chart of all countries."""
    top = rows.filter(pl.col("period") == "daily", pl.col("country") == "global", pl.col("rank") <= _BARS).sort("rank").collect()
    return Plot(_("Global daily chart, streams"), "bar", top["track_name"].to_list(), top["streams"].to_list())


def listens_by_source(rows: pl.LazyFrame) -> Plot:
    """How many listens came in which format."""
    return bars(_("Listens by source"), rows, "source")


def records_by_format(rows: pl.LazyFrame) -> Plot:
    """How many records came in which format."""
    return bars(_("Imported records by format"), rows.drop_nulls("format"), "format", pl.sum("rows"))


def rejections_by_rule(rows: pl.LazyFrame) -> Plot:
    """How many records broke which rule."""
    return bars(_("Rejected records by rule"), rows, "rule")


def published_streams(rows: pl.LazyFrame) -> Plot:
    """The most streamed tracks of a published chart."""
    return _top(rows, "track_name", _("Published streams of the top tracks"))


def _top(rows: pl.LazyFrame, name: str, title: str) -> Plot:
    return bars(title, rows, name, pl.sum("streams"))


PICTURES = {
    EVENTS.key: listens_by_source,
    IMPORTS.key: records_by_format,
    REJECTED.key: rejections_by_rule,
    CHART_ENTRIES.key: published_streams,
}
"""By the keys of the tables that intake fills."""
