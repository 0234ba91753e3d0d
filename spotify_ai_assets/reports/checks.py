"""The checks of reports: does a page say what the tables say?"""

import dagster as dg
import polars as pl

from spotify_ai_assets.loading import check
from spotify_ai_assets.reports.contracts import DAILY_LISTENING
from spotify_ai_assets.resources.lake import Lake


@check(DAILY_LISTENING, blocking=True, required_resource_keys={"lake"})
def totals_are_the_lakes(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The plays and streams of each page are those of `listening/country_days`."""
    lake: Lake = context.resources.lake
    headline = pl.col("section") == "headline"
    figures = lake.scan(DAILY_LISTENING.key).filter(headline, pl.col("measure").is_in(["plays", "streams"]))
    shown = figures.select("day", "measure", "value").collect().pivot("measure", index="day", values="value")
    counted = lake.scan("listening/country_days").group_by("day").agg(pl.sum("plays", "streams")).collect()
    differing = shown.join(counted, on="day", how="left", suffix="_lake").filter(
        pl.any_horizontal(pl.col(name) != pl.col(f"{name}_lake").fill_null(0) for name in ("plays", "streams") if name in shown.columns)
    )
    return dg.AssetCheckResult(passed=differing.is_empty(), metadata={"days": shown.height, "differing": differing.height})
