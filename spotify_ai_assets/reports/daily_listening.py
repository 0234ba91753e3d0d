"""The figures of a day's page, in long form: one row per number that the page shows.

Layout and wording do not belong here (``pages/``).
"""

from datetime import date

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.reports.contracts import DAILY_LISTENING
from spotify_ai_assets.reports.figures import Frame, assemble, list_figures, number

GLOBAL_TOP = 20
COUNTRY_TOP = 5
ARTIST_TOP = 10


def summarise_day(
    *,
    charts: Frame,
    artist_days: Frame,
    country_days: Frame,
    listener_track_days: Frame,
    sessions: Frame,
    day: date,
) -> pl.DataFrame:
    """Compute every number of a day's page.

    Args:
        charts: ``listening/charts``; rows of other days are ignored, as in every argument.
        artist_days: ``listening/artist_days``.
        country_days: ``listening/country_days``.
        listener_track_days: ``listening/listener_track_days``, of which only ``day`` and ``listener_id`` are needed: counts of
            listeners per country do not add up, since one listener may travel.
        sessions: ``listening/sessions``, of which only ``day`` and ``is_open`` are needed.
        day: The UTC day.

    Returns:
        Rows of ``reports/daily_listening``, in the order of its key. A day without plays has its headline of zeros only.
        Rates are shares of plays between 0 and 1, missing without plays; sessions are those that closed on the day.
    """
    is_today = pl.col(DAY) == day
    listeners = listener_track_days.lazy().filter(is_today).select(pl.col("listener_id").n_unique())
    closed = sessions.lazy().filter(is_today, ~pl.col("is_open")).select(pl.len())
    counts = country_days.lazy().filter(is_today).collect()
    sections = (
        _headline(counts, listeners.collect().item(), closed.collect().item()),
        _tops(charts.lazy().filter(is_today).collect()),
        _artists(artist_days.lazy().filter(is_today).collect()),
        _ranked(counts, "country", "countries"),
        _ranked(counts, "platform", "platforms"),
    )
    return assemble(DAILY_LISTENING, day, sections)


def _headline(country_days: pl.DataFrame, listeners: int, sessions: int) -> pl.DataFrame:
    plays = pl.col("plays").sum()
    totals = country_days.select(
        pl.lit("all").alias("item"),
        pl.lit("all").alias("label"),
        pl.lit(1).alias("position"),
        plays,
        pl.col("streams").sum(),
        _hours(pl.col("played_ms").sum()),
        pl.when(plays > 0).then(pl.col("skips").sum() / plays).alias("skip_rate"),
        pl.when(plays > 0).then(pl.col("completions").sum() / plays).alias("completion_rate"),
        pl.lit(listeners).alias("listeners"),
        pl.lit(sessions).alias("sessions"),
    )
    return list_figures(DAILY_LISTENING, "headline", totals)


def _tops(charts: pl.DataFrame) -> pl.DataFrame:
    length = pl.when(pl.col("country") == GLOBAL).then(GLOBAL_TOP).otherwise(COUNTRY_TOP)
    tops = charts.filter(pl.col("period") == "daily", pl.col("rank") <= length)
    names = {"country": "scope", "rank": "position", "track_id": "item", "track_name": "label", "artist_name": "detail"}
    return list_figures(DAILY_LISTENING, "tops", tops.rename(names))


def _artists(artist_days: pl.DataFrame) -> pl.DataFrame:
    # Countries may spell an artist differently: the page shows the spelling with the most streams.
    artists = (
        artist_days.filter(pl.col("kind") == "track")
        .sort("streams", "artist_name", descending=[True, False])
        .group_by("artist_id", maintain_order=True)
        .agg(pl.col("artist_name").first(), pl.col("streams", "plays").sum(), _hours(pl.col("played_ms").sum()))
        .sort("streams", "plays", "artist_id", descending=[True, True, False])
        .head(ARTIST_TOP)
    )
    return list_figures(DAILY_LISTENING, "artists", number(artists.rename({"artist_id": "item", "artist_name": "label"})))


def _ranked(country_days: pl.DataFrame, column: str, section: str) -> pl.DataFrame:
    groups = (
        country_days.group_by(column)
        .agg(pl.col("streams", "plays").sum())
        .sort("streams", "plays", column, descending=[True, True, False])
        .with_columns(pl.col(column).alias("item"), pl.col(column).alias("label"))
    )
    return list_figures(DAILY_LISTENING, section, number(groups))


def _hours(played_ms: pl.Expr) -> pl.Expr:
    return (played_ms / 3_600_000).alias("played_hours")
