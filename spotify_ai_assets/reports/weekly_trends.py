"""The figures of a week's page: what rises, what moved on the charts, which levels changed, what to expect.

All counts are genuine unless they say otherwise. Layout and wording do not belong here (``pages/``).
"""

from datetime import date, timedelta

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.reports.contracts import WEEKLY_TRENDS
from spotify_ai_assets.reports.figures import Frame, assemble, head_figures, list_figures, number

GLOBAL_RISING = 20
COUNTRY_RISING = 5
MOVES = 8
RECENT_DAYS = 28
"""A change of level is counted as recent for so long."""
FORECASTS = {"country": 9, "track": 6, "artist": 6}
"""How many forecasts of each kind are on the page, the largest first."""
_COUNTS = ("streams", "suspicious_streams")


def summarise_week(
    *,
    country_days: Frame,
    suspicious_country_days: Frame,
    trends: Frame,
    charts: Frame,
    genuine_charts: Frame,
    change_points: Frame,
    forecasts: Frame,
    day: date,
) -> pl.DataFrame:
    """Compute every number of a week's page.

    Args:
        country_days: ``listening/country_days`` of the week.
        suspicious_country_days: ``listening/suspicious_country_days`` of the week.
        trends: ``listening/trends``; rows of other days are ignored, as in the arguments below.
        charts: ``listening/charts``, of which the weekly ones count.
        genuine_charts: ``listening/genuine_charts``, likewise.
        change_points: ``listening/change_points``.
        forecasts: ``listening/forecasts``, of which those that may be shown count.
        day: The Sunday that ends the week.

    Returns:
        Rows of ``reports/weekly_trends``, in the order of its key.
    """
    days = _days(country_days, suspicious_country_days, day)
    rising = trends.lazy().filter(pl.col(DAY) == day).collect()
    weekly = (pl.col(DAY) == day) & (pl.col("period") == "weekly") & (pl.col("country") == GLOBAL)
    chart, genuine = charts.lazy().filter(weekly).collect(), genuine_charts.lazy().filter(weekly).collect()
    changes = change_points.lazy().filter(pl.col(DAY) == day).collect()
    shown = forecasts.lazy().filter(pl.col(DAY) == day, "is_shown").collect()
    everywhere = rising.filter(pl.col("country") == GLOBAL)
    headline = head_figures(
        WEEKLY_TRENDS,
        "headline",
        genuine_streams=days["genuine_streams"].sum(),
        **{name: days[name].sum() for name in _COUNTS},
        rising_tracks=everywhere.filter(pl.col("subject") == "track").height,
        rising_artists=everywhere.filter(pl.col("subject") == "artist").height,
        entries=genuine["is_new"].sum(),
        level_changes=changes.filter(pl.col("changed_on") > day - timedelta(days=RECENT_DAYS)).height,
        forecasts_shown=shown.select("subject", "item_id").n_unique(),
    )
    sections = (
        headline,
        list_figures(WEEKLY_TRENDS, "days", days),
        _rising(rising, "track", "tracks"),
        _rising(rising, "artist", "artists"),
        _moves(chart, genuine),
        _changes(changes, day),
        _forecasts(shown),
    )
    return assemble(WEEKLY_TRENDS, day, sections)


def _days(country_days: Frame, suspicious: Frame, day: date) -> pl.DataFrame:
    """Streams of each day of the week; of a day without any play nothing is known."""
    week = pl.DataFrame({DAY: [day - timedelta(days=ago) for ago in reversed(range(7))]})
    counted = country_days.lazy().group_by(DAY).agg(pl.col("streams").sum()).collect()
    flagged = suspicious.lazy().group_by(DAY).agg(pl.col("streams").sum().alias("suspicious_streams")).collect()
    none = pl.when(pl.col("streams").is_not_null()).then(0)
    days = (
        week.join(counted, on=DAY, how="left")
        .join(flagged, on=DAY, how="left")
        .sort(DAY)
        .with_columns(pl.col("suspicious_streams").fill_null(none))
        .select(
            pl.col(DAY).dt.to_string("iso").alias("item"),
            pl.col(DAY).dt.to_string("iso").alias("label"),
            *_COUNTS,
            genuine_streams=pl.col("streams") - pl.col("suspicious_streams"),
        )
    )
    return number(days)


def _rising(trends: pl.DataFrame, subject: str, section: str) -> pl.DataFrame:
    of_subject = (
        trends.filter(pl.col("subject") == subject).sort("country", "rank", "item_id").rename({"country": "scope", "item_id": "item"})
    )
    length = pl.when(pl.col("scope") == GLOBAL).then(GLOBAL_RISING).otherwise(COUNTRY_RISING)
    return list_figures(WEEKLY_TRENDS, section, number(of_subject, "scope").filter(pl.col("position") <= length))


def _moves(charts: pl.DataFrame, genuine: pl.DataFrame) -> pl.DataFrame:
    """The largest moves of the week's global chart without suspicious streams, and where each would be with them."""
    everyone = charts.select("track_id", pl.col("rank").alias("rank_with_suspicious"))
    moved = genuine.join(everyone, on="track_id", how="left").rename({"track_id": "item", "track_name": "label", "artist_name": "detail"})
    kinds = {
        "climbers": moved.filter(pl.col("movement") > 0).sort("movement", "rank", descending=[True, False]),
        "entries": moved.filter("is_new").sort("rank"),
        "fallers": moved.filter(pl.col("movement") < 0).sort("movement", "rank"),
    }
    chosen = [number(found.head(MOVES)).with_columns(scope=pl.lit(kind)) for kind, found in kinds.items()]
    return list_figures(WEEKLY_TRENDS, "moves", pl.concat(chosen))


def _changes(changes: pl.DataFrame, day: date) -> pl.DataFrame:
    newest = changes.sort("changed_on", "score", "item_id", descending=[True, True, False]).select(
        pl.col("subject").alias("scope"),
        pl.col("item_id").alias("item"),
        pl.col("item_id").alias("label"),
        pl.col("changed_on").dt.to_string("iso").alias("detail"),
        "before",
        "after",
        "change",
        "score",
        days_ago=(pl.lit(day) - pl.col("changed_on")).dt.total_days(),
    )
    return list_figures(WEEKLY_TRENDS, "changes", number(newest, "scope"))


def _forecasts(shown: pl.DataFrame) -> pl.DataFrame:
    """The days of the largest forecasts of each kind; the globe comes before its countries."""
    per = ("subject", "item_id")
    size = shown.sort("target_on").group_by(per, maintain_order=True).agg(pl.col("streams").sum().alias("size"))
    ranked = size.sort("size", "item_id", descending=[True, False]).with_columns(
        pl.int_range(pl.len()).over("subject").alias("place"),
        pl.col("subject").replace_strict(FORECASTS, return_dtype=pl.Int64).alias("most"),
    )
    chosen = ranked.filter((pl.col("place") < pl.col("most")) | (pl.col("item_id") == GLOBAL)).select(per)
    rows = shown.join(chosen, on=per, how="semi").sort(*per, "target_on")
    rows = rows.with_columns(scope=pl.col("subject") + "/" + pl.col("item_id"), label="label", item=pl.col("target_on").dt.to_string("iso"))
    return list_figures(WEEKLY_TRENDS, "forecasts", number(rows, "scope"))
