"""The checks of reports: does a page say what the tables say? Each looks at the days of its run, else at the newest page."""

from datetime import date, timedelta

import dagster as dg
import polars as pl

from spotify_ai_assets.contracts import DAY, Table
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.loading import check
from spotify_ai_assets.partitions import run_days
from spotify_ai_assets.reports.contracts import ANOMALIES, COHORTS, DAILY_LISTENING, WEEKLY_TRENDS, YEAR_IN_REVIEW
from spotify_ai_assets.reports.figures import Frame
from spotify_ai_assets.resources.lake import Lake

_COUNTS = ("plays", "streams")
_SMALL = 1e-6
"""Hours are sums of fractions, which differ in their last digits by the order of adding."""


@check(DAILY_LISTENING, blocking=True, required_resource_keys={"lake"})
def totals_are_the_lakes(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The plays and streams of each page are those of `listening/country_days`."""
    lake, shown = _shown(context, DAILY_LISTENING)
    counted = _span(lake, "listening/country_days", shown).group_by(DAY).agg(pl.sum(*_COUNTS))
    return _compare(shown, counted, _COUNTS)


@check(WEEKLY_TRENDS, blocking=True, required_resource_keys={"lake"})
def weeks_are_the_lakes(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The streams of each week are those of its seven days in `listening/country_days`, the suspicious ones likewise."""
    lake, shown = _shown(context, WEEKLY_TRENDS)
    sunday = pl.col(DAY).dt.truncate("1w").dt.offset_by("6d")
    weeks = [
        _span(lake, f"listening/{part}country_days", shown, -6).group_by(sunday).agg(pl.col("streams").sum().alias(f"{part}streams"))
        for part in ("", "suspicious_")
    ]
    return _compare(shown, weeks[0].join(weeks[1], on=DAY, how="left"), ("streams", "suspicious_streams"))


@check(ANOMALIES, blocking=True, required_resource_keys={"lake"})
def differences_are_the_lakes(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Streams with and without the suspicious, and these, are those of the lake and add up to the unit."""
    lake, shown = _shown(context, ANOMALIES)
    whole = _span(lake, "listening/country_days", shown).group_by(DAY).agg(pl.sum(*_COUNTS))
    part = _span(lake, "listening/suspicious_streams", shown).group_by(DAY).agg(pl.sum(*_COUNTS).name.prefix("suspicious_"))
    counted = (
        whole.join(part, on=DAY, how="left")
        .with_columns(pl.col("suspicious_plays", "suspicious_streams").fill_null(0))
        .with_columns(genuine_streams=pl.col("streams") - pl.col("suspicious_streams"))
    )
    return _compare(shown, counted, (*_COUNTS, "suspicious_plays", "suspicious_streams", "genuine_streams"))


@check(COHORTS, blocking=True, required_resource_keys={"lake"})
def listeners_are_the_lakes(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The active listeners of each week are those of `listening/listener_track_days` who played something genuine."""
    lake, shown = _shown(context, COHORTS)
    sunday = pl.col(DAY).dt.truncate("1w").dt.offset_by("6d")
    played = [
        _span(lake, f"listening/{table}", shown, -6).group_by(sunday, "listener_id").agg(pl.col("plays").sum().alias(table))
        for table in ("listener_track_days", "suspicious_streams")
    ]
    genuine = pl.col("listener_track_days") > pl.col("suspicious_streams").fill_null(0)
    counted = played[0].join(played[1], on=[DAY, "listener_id"], how="left").group_by(DAY).agg(active_listeners=genuine.sum())
    return _compare(shown, counted, ("active_listeners",))


@check(YEAR_IN_REVIEW, blocking=True, required_resource_keys={"lake"})
def years_are_the_lakes(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each year's plays, streams and hours are those of everybody in `listening/year_in_review`."""
    lake, shown = _shown(context, YEAR_IN_REVIEW, section="total")
    is_total = (pl.col("listener_id") == GLOBAL) & (pl.col("section") == "total")
    counted = (
        _span(lake, "listening/year_in_review", shown).filter(is_total).select(DAY, *_COUNTS, played_hours=pl.col("played_ms") / 3_600_000)
    )
    return _compare(shown, counted, (*_COUNTS, "played_hours"))


def _shown(context: dg.AssetCheckExecutionContext, table: Table, section: str = "headline") -> tuple[Lake, pl.DataFrame]:
    """The large numbers of the pages to look at, one row per page."""
    lake: Lake = context.resources.lake
    days = [day for day in run_days(context.op_execution_context.run.tags) if table.has(day)]
    if not days and (states := lake.states(table.key)):
        days = [date.fromisoformat(max(states))]
    rows = lake.scan(table.key, first=min(days), last=max(days)) if days else table.empty().lazy()
    large = rows.filter(pl.col("section") == section).select(DAY, "measure", "value").collect()
    return lake, large.pivot("measure", index=DAY, values="value")


def _span(lake: Lake, key: str, shown: pl.DataFrame, first: int = 0) -> pl.LazyFrame:
    """The rows of a table of the days of these pages, or from so many days before."""
    if shown.is_empty():
        return lake.tables[key].empty().lazy()
    days = shown[DAY].to_list()
    return lake.scan(key, first=min(days) + timedelta(days=first), last=max(days))


def _compare(shown: pl.DataFrame, counted: Frame, measures: tuple[str, ...]) -> dg.AssetCheckResult:
    """Passed where each page shows what is counted; days without anything count nothing."""
    if shown.is_empty():
        return dg.AssetCheckResult(passed=True, metadata={"pages": 0, "differing": 0})
    beside = shown.join(counted.lazy().collect(), on=DAY, how="left", suffix="_lake")
    difference = [(pl.col(name).fill_null(0) - pl.col(f"{name}_lake").fill_null(0)).abs() > _SMALL for name in measures]
    differing = beside.filter(pl.any_horizontal(difference))
    return dg.AssetCheckResult(passed=differing.is_empty(), metadata={"pages": shown.height, "differing": differing.height})
