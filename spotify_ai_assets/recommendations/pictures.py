"""What the assets of recommendations show: plots of public columns, and tables in Markdown."""

from typing import TYPE_CHECKING

import polars as pl

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.resources.plots import Plot

if TYPE_CHECKING:
    from spotify_ai_assets.recommendations.workshop import Workshop


def interactions_by_part(rows: pl.LazyFrame) -> Plot:
    """How many pairs of listener and track each window has."""
    found = rows.group_by("part").len("pairs").sort("part", descending=True).collect()
    return Plot(_("Listeners' tracks by window"), "bar", found["part"].to_list(), found["pairs"].to_list())


def ndcg_by_recipe(rows: pl.LazyFrame) -> Plot:
    """NDCG of each recipe where what was known is hidden."""
    wanted = rows.filter(pl.col("metric") == "ndcg", pl.col("slice") == "", pl.col("table") == "discovery").drop_nulls("value")
    found = wanted.sort("value").select("recipe", "value").collect()
    return Plot(_("NDCG by recipe, discovery"), "bar", found["recipe"].to_list(), found["value"].to_list())


def reasons_of_shelves(rows: pl.LazyFrame) -> Plot:
    """What carries the recommendations of each shelf."""
    found = rows.group_by(pl.format("{}: {}", "shelf", "reason").alias("of")).len("rows").sort("of").collect()
    return Plot(_("Recommendations by shelf and reason"), "bar", found["of"].to_list(), found["rows"].to_list())


def reasons_of_tracks(rows: pl.LazyFrame) -> Plot:
    """What makes them alike."""
    found = rows.group_by("reason").len("rows").sort("reason").collect()
    return Plot(_("Pairs by reason"), "bar", found["reason"].to_list(), found["rows"].to_list())


def present_evaluation(workshop: "Workshop", rows: pl.LazyFrame) -> dict[str, str]:
    """The recipes beside each other, and what the gate said."""
    from spotify_ai_assets.recommendations.trainings import show_evaluation

    return show_evaluation(workshop, rows)


def present_recommender(workshop: "Workshop", rows: pl.LazyFrame) -> dict[str, str]:
    """The card of the model that serves."""
    return {"card": workshop.registry.card("recommendations/model")} if rows.head(1).collect().height else {}
