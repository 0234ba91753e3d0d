"""What each asset of insight shows as its plot: one small picture of one day, made from columns that anyone may see."""

import polars as pl

from spotify_ai_assets.catalog.pictures import bars
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.listening.insight.contracts import ALL
from spotify_ai_assets.listening.insight.parts import genuine
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.resources.plots import Plot


def rising_tracks(rows: pl.LazyFrame) -> Plot:
    """What rises worldwide: the streams a day that it gains each day."""
    tracks = rows.filter(pl.col("country") == GLOBAL, pl.col("subject") == "track")
    return bars(_("Rising tracks, streams a day gained each day"), tracks, "label", pl.sum("velocity"))


def suspicious_by_rule(rows: pl.LazyFrame) -> Plot:
    """How many plays each rule flags."""
    return bars(_("Suspicious plays by rule"), rows, "rule", pl.sum("plays"))


def suspicious_by_track(rows: pl.LazyFrame) -> Plot:
    """The tracks with most suspicious streams."""
    return bars(_("Suspicious streams by track"), rows, "track_name", pl.sum("streams"))


def suspicious_by_artist(rows: pl.LazyFrame) -> Plot:
    """The artists with most suspicious streams."""
    return bars(_("Suspicious streams by artist"), rows, "artist_name", pl.sum("streams"))


def suspicious_by_country(rows: pl.LazyFrame) -> Plot:
    """Suspicious streams of each country."""
    return bars(_("Suspicious streams by country"), rows, "country", pl.sum("streams"))


def plays_by_hour(rows: pl.LazyFrame) -> Plot:
    """Genuine plays of each UTC hour."""
    hours = rows.group_by(pl.col("started_at").dt.hour().alias("hour")).agg(plays=genuine("plays").sum()).sort("hour").collect()
    return Plot(_("Genuine plays by UTC hour"), "line", hours["hour"].to_list(), hours["plays"].to_list())


def anomalies_by_severity(rows: pl.LazyFrame) -> Plot:
    """How many causes there are of each severity."""
    return bars(_("Unusual volumes by severity"), rows.filter("is_cause"), "severity")


def surest_changes(rows: pl.LazyFrame) -> Plot:
    """Where the level changed, the surest first."""
    return bars(_("Changes of level, by how sure they are"), rows, "item_id", pl.max("score"))


def expected_streams(rows: pl.LazyFrame) -> Plot:
    """The streams of the world in the next two weeks."""
    world = rows.filter(pl.col("subject") == "country", pl.col("item_id") == GLOBAL).sort("target_on").collect()
    return Plot(_("Streams to be expected"), "line", world["target_on"].to_list(), world["streams"].to_list())


def newcomers(rows: pl.LazyFrame) -> Plot:
    """How many listeners came."""
    return bars(_("New listeners"), rows.select(pl.col("day").dt.to_string()), "day")


def retention(rows: pl.LazyFrame) -> Plot:
    """The share of listeners who stayed, by weeks since they came."""
    kept = rows.filter(pl.col("dimension") == ALL).sort("weeks_since").collect()
    title = _("Share of listeners retained, by weeks since they came")
    return Plot(title, "line", kept["weeks_since"].to_list(), kept["retention"].to_list())


def completion_by_position(rows: pl.LazyFrame) -> Plot:
    """The share of genuine plays that are completed, by place in the session."""
    place = pl.col("item").str.strip_suffix("+").cast(pl.Int64).alias("place")
    share = (genuine("completions") / genuine("plays")).alias("share")
    shares = rows.filter(pl.col("dimension") == "position").select(place, share).sort("place").collect()
    title = _("Share of plays completed, by place in the session (21: 21 or later)")
    return Plot(title, "line", shares["place"].to_list(), shares["share"].to_list())


def streams_by_genre(rows: pl.LazyFrame) -> Plot:
    """Genuine streams of each genre."""
    return bars(_("Streams by genre"), rows.filter(pl.col("country") == GLOBAL), "genre", genuine("streams").sum())


def units_by_artist(rows: pl.LazyFrame) -> Plot:
    """Who earns most of the user-centric pool with genuine streams."""
    pool = rows.filter(pl.col("country") == GLOBAL, pl.col("model") == "user_centric")
    return bars(_("Units of the user-centric pool"), pool, "artist_name", genuine("units").sum())


def streams_by_month(rows: pl.LazyFrame) -> Plot:
    """Genuine streams of all listeners together, by month."""
    month = (pl.col("item") + "-01").str.to_date()
    months = rows.filter(pl.col("section") == "months").select(month=month, streams=genuine("streams")).sort("month").collect()
    return Plot(_("Streams by month"), "line", months["month"].to_list(), months["streams"].to_list())
