"""The figures of a week's page of cohorts: who stays, where they skip, what they hear, who would earn what.

All counts are genuine. What is told of fewer than five listeners is left out. Layout and wording do not belong here (``pages/``).
"""

from datetime import date, timedelta

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.listening.insight.contracts import OTHER, UNKNOWN
from spotify_ai_assets.reports.contracts import COHORTS, TRIANGLE_WEEKS
from spotify_ai_assets.reports.figures import ALL, Frame, assemble, head_figures, list_figures, number

SMALLEST_GROUP = 5
"""Of fewer listeners than these nothing is told but that they are fewer."""
SCOPES = 6
"""How many countries and devices have a triangle of their own, the largest."""
FUNNEL_ROWS = {"position": 21, "playlist": 10, "release": 10, "release_age": 30}
FUNNEL_PLAYS = 20
"""A rate of fewer plays says nothing."""
GENRES = 9
COUNTRIES = 8
COUNTRY_GENRES = 3
SHARES = 15
MOVED = 6


def summarise_cohorts(*, cohorts: Frame, funnels: Frame, genre_mix: Frame, stream_share: Frame, day: date) -> pl.DataFrame:
    """Compute every number of a week's page of cohorts.

    Args:
        cohorts: ``listening/cohorts`` of this Sunday and the twelve before.
        funnels: ``listening/funnels`` of the days of the week.
        genre_mix: ``listening/genre_mix`` of the days of the week.
        stream_share: ``listening/stream_share``; rows of other days are ignored.
        day: The Sunday that ends the week.

    Returns:
        Rows of ``reports/cohorts``, in the order of its key. A retention is missing where its cohort has fewer than five listeners.
    """
    in_week = pl.col(DAY).is_between(day - timedelta(days=6), day)
    cells = cohorts.lazy().filter(pl.col(DAY) > day - timedelta(weeks=TRIANGLE_WEEKS + 1), pl.col(DAY) <= day).collect()
    stages = _funnel_counts(funnels.lazy().filter(in_week).collect())
    shares = _shares_of_models(stream_share.lazy().filter(pl.col(DAY) == day, pl.col("country") == GLOBAL).collect())
    genres = _genre_counts(genre_mix.lazy().filter(in_week).collect())
    newest = cells.filter(pl.col(DAY) == day, pl.col("dimension") == ALL)
    rates = stages.filter(pl.col("scope") == "position").sum()
    is_played = bool(rates["plays"].item())
    headline = head_figures(
        COHORTS,
        "headline",
        active_listeners=(newest["active"] - newest["suspicious_active"]).sum(),
        new_listeners=newest.filter(pl.col("weeks_since") == 0)["size"].sum(),
        retention_1=_retention(newest, 1),
        retention_4=_retention(newest, 4),
        skip_rate=rates["skips"].item() / rates["plays"].item() if is_played else None,
        completion_rate=rates["completions"].item() / rates["plays"].item() if is_played else None,
        genres=genres.filter(pl.col("scope") == GLOBAL, pl.col("item") != UNKNOWN).height,
        moved_share=shares["difference"].abs().sum() / 2 if shares.height else None,
    )
    triangles = _triangles(cells)
    sections = (
        headline,
        list_figures(COHORTS, "retention", triangles),
        list_figures(COHORTS, "average_retention", _averages(triangles)),
        _funnels(stages),
        _genres(genres),
        _shares(shares),
    )
    return assemble(COHORTS, day, sections)


def _retention(newest: pl.DataFrame, weeks: int) -> float | None:
    found = newest.filter(pl.col("weeks_since") == weeks, pl.col("size") >= SMALLEST_GROUP)["retention"]
    return found.item() if len(found) else None


def _triangles(cells: pl.DataFrame) -> pl.DataFrame:
    """Retention of all and of the largest countries and devices, by cohort and weeks since it came."""
    recent = cells.filter(pl.col("weeks_since") <= TRIANGLE_WEEKS)
    members = recent.filter(pl.col("weeks_since") == 0).group_by("dimension", "item").agg(pl.col("size").sum())
    largest = (
        members.filter(pl.col("size") >= SMALLEST_GROUP)
        .sort("size", "item", descending=[True, False])
        .with_columns(pl.int_range(pl.len()).over("dimension").alias("place"))
        .filter(pl.col("place") < SCOPES)
    )
    is_all = pl.col("dimension") == ALL
    is_told = pl.col("size") >= SMALLEST_GROUP
    told = [pl.when(is_told).then(name).alias(name) for name in ("active", "suspicious_active", "retention", "size")]
    rows = (
        recent.join(largest, on=("dimension", "item"), how="semi")
        .with_columns(
            scope=pl.when(is_all).then(pl.lit(GLOBAL)).otherwise(pl.concat_str("dimension", "item", separator="/")),
            item=pl.col("cohort_on").dt.to_string("iso"),
            label=pl.col("cohort_on").dt.to_string("iso"),
        )
        .with_columns(told)
        .sort("scope", "cohort_on", "weeks_since", descending=[False, True, False])
    )
    return number(rows, "scope")


def _averages(triangles: pl.DataFrame) -> pl.DataFrame:
    """Retention by weeks since, over the cohorts of which it is told."""
    weeks = (
        triangles.filter(pl.col("size").is_not_null())
        .group_by("scope", "weeks_since")
        .agg((pl.col("active") - pl.col("suspicious_active")).sum().alias("stayed"), pl.col("size").sum())
        .sort("scope", "weeks_since")
        .with_columns(retention=pl.col("stayed") / pl.col("size"), item=pl.col("weeks_since").cast(pl.String))
        .with_columns(label="item")
    )
    return number(weeks, "scope")


def _funnel_counts(funnels: pl.DataFrame) -> pl.DataFrame:
    """Genuine counts of the week by stage."""
    counts = ("plays", "streams", "skips", "completions")
    return (
        funnels.sort(DAY)
        .group_by(pl.col("dimension").alias("scope"), "item")
        .agg(pl.col("label").last(), *((pl.col(name).sum() - pl.col(f"suspicious_{name}").sum()).alias(name) for name in counts))
    )


def _funnels(stages: pl.DataFrame) -> pl.DataFrame:
    place = pl.col("item").cast(pl.Int64, strict=False)
    by_number = pl.col("scope").is_in(["position", "release_age"])
    length = pl.col("scope").replace_strict(FUNNEL_ROWS, return_dtype=pl.Int64)
    told = (
        stages.filter(pl.col("plays") >= FUNNEL_PLAYS)
        .filter(by_number | ~pl.col("item").is_in([OTHER, UNKNOWN]))
        .with_columns(order=pl.when(by_number).then(place.fill_null(10**6)).otherwise(-pl.col("plays")))
        .with_columns(skip_rate=pl.col("skips") / pl.col("plays"), completion_rate=pl.col("completions") / pl.col("plays"))
        .sort("scope", "order", "item")
    )
    return list_figures(COHORTS, "funnels", number(told, "scope").filter(pl.col("position") <= length))


def _genre_counts(genre_mix: pl.DataFrame) -> pl.DataFrame:
    """Genuine streams of the week by country and genre, and their share."""
    return (
        genre_mix.group_by(pl.col("country").alias("scope"), pl.col("genre").alias("item"))
        .agg(streams=pl.col("streams").sum() - pl.col("suspicious_streams").sum())
        .filter(pl.col("streams") > 0)
        .with_columns(label="item", share=pl.col("streams") / pl.col("streams").sum().over("scope"))
        .sort("scope", "streams", "item", descending=[False, True, False])
    )


def _genres(genres: pl.DataFrame) -> pl.DataFrame:
    sizes = genres.filter(pl.col("scope") != GLOBAL).group_by("scope").agg(pl.col("streams").sum())
    largest = sizes.sort("streams", "scope", descending=[True, False]).head(COUNTRIES)["scope"]
    length = pl.when(pl.col("scope") == GLOBAL).then(GENRES).otherwise(COUNTRY_GENRES)
    shown = genres.filter((pl.col("scope") == GLOBAL) | pl.col("scope").is_in(largest.to_list()))
    return list_figures(COHORTS, "genres", number(shown, "scope").filter(pl.col("position") <= length))


def _shares_of_models(stream_share: pl.DataFrame) -> pl.DataFrame:
    """Each artist's share of the pool without suspicious streams, by both models."""
    share = pl.col("genuine_share").fill_null(0.0)
    return (
        stream_share.group_by("artist_id")
        .agg(
            pl.col("artist_name").first(),
            *(share.filter(pl.col("model") == model).sum().alias(model) for model in ("pro_rata", "user_centric")),
            (pl.col("streams") - pl.col("suspicious_streams")).filter(pl.col("model") == "pro_rata").sum().alias("streams"),
        )
        .with_columns(difference=pl.col("user_centric") - pl.col("pro_rata"))
        .rename({"artist_id": "item", "artist_name": "label"})
        .sort("streams", "item", descending=[True, False])
    )


def _shares(shares: pl.DataFrame) -> pl.DataFrame:
    kinds = {
        "largest": shares.head(SHARES),
        "gaining": shares.filter(pl.col("difference") > 0).sort("difference", "item", descending=[True, False]).head(MOVED),
        "losing": shares.filter(pl.col("difference") < 0).sort("difference", "item").head(MOVED),
    }
    return list_figures(COHORTS, "shares", pl.concat([number(found).with_columns(scope=pl.lit(kind)) for kind, found in kinds.items()]))
