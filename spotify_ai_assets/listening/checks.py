"""The checks of listening beyond the contracts: do the tables agree with each other, and does a day look like its past?

Each looks at the days of its run only; one without days, such as a run of checks alone, looks at the newest.
"""

from datetime import date, timedelta

import dagster as dg
import polars as pl

from spotify_ai_assets.contracts import DAY, Table
from spotify_ai_assets.listening import verification
from spotify_ai_assets.listening.contracts import (
    ARTIST_DAYS,
    CHART_ENTRIES,
    CHARTS,
    COUNTRY_DAYS,
    EVENTS,
    IMPORTS,
    KEPT_FILES,
    LISTENER_TRACK_DAYS,
    PLAYS,
    REJECTED,
    SESSIONS,
    TRACK_DAYS,
)
from spotify_ai_assets.loading import check
from spotify_ai_assets.partitions import run_days
from spotify_ai_assets.resources.lake import Lake


def days_of_run(context: dg.AssetCheckExecutionContext, lake: Lake, table: Table) -> list[date]:
    """The days that the run made, else the newest."""
    if days := run_days(context.op_execution_context.run.tags):
        return days
    return [date.fromisoformat(max(states))] if (states := lake.states(table.key)) else []


def rows_of_days(lake: Lake, table: Table, days: list[date]) -> pl.LazyFrame:
    """The rows from the first to the last of these days."""
    return lake.scan(table.key, first=min(days), last=max(days)) if days else table.empty().lazy()


def verdict(broken: pl.DataFrame, *, blocking: bool = True, **metadata: float) -> dg.AssetCheckResult:
    """Passed where nothing is broken; else how much is, and on which days."""
    days = sorted({str(day) for day in broken[DAY]})[:10] if DAY in broken.columns else []
    return dg.AssetCheckResult(
        passed=broken.is_empty(),
        severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
        metadata={"broken": broken.height, **({"days": ", ".join(days)} if days else {}), **metadata},
    )


@check(EVENTS, blocking=True, required_resource_keys={"lake", "vault"})
def pseudonyms_only(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Every listener id was issued by the identity vault: no real id got through the door."""
    lake: Lake = context.resources.lake
    ids = rows_of_days(lake, EVENTS, days_of_run(context, lake, EVENTS)).select(pl.col("listener_id").unique()).collect()["listener_id"]
    leaked = len(context.resources.vault.unknown(ids))
    return dg.AssetCheckResult(passed=not leaked, metadata={"listeners": len(ids), "unknown": leaked})


@check(IMPORTS, blocking=True, required_resource_keys={"lake"})
def rows_add_up(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """For every imported file, records = stored + duplicate + rejected."""
    sums = pl.col("stored") + pl.col("duplicate") + pl.col("rejected")
    return verdict(context.resources.lake.scan(IMPORTS.key).filter(pl.col("rows") != sums).collect())


@check(REJECTED, required_resource_keys={"lake"})
def rejections_are_rare(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """At most 2 % of all records were refused."""
    lake: Lake = context.resources.lake
    rows, refused = lake.scan(IMPORTS.key).select(pl.sum("rows"), pl.sum("rejected")).collect().row(0)
    return dg.AssetCheckResult(
        passed=refused <= 0.02 * rows, severity=dg.AssetCheckSeverity.WARN, metadata={"records": rows, "rejected": refused}
    )


@check(KEPT_FILES, blocking=True, required_resource_keys={"lake", "vault"})
def kept_listeners_are_pseudonyms(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Every listener id of a kept file was issued by the identity vault."""
    ids = context.resources.lake.scan(KEPT_FILES.key).select(pl.col("listener_id").unique()).collect()["listener_id"]
    leaked = len(context.resources.vault.unknown(ids))
    return dg.AssetCheckResult(passed=not leaked, metadata={"listeners": len(ids), "unknown": leaked})


@check(CHART_ENTRIES, required_resource_keys={"lake"})
def published_ranks_are_dense(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each published chart has every rank from 1 to its length."""
    lake: Lake = context.resources.lake
    days = days_of_run(context, lake, CHART_ENTRIES)
    return verdict(verification.sparse_ranks(rows_of_days(lake, CHART_ENTRIES, days), ["source", "period", "country"]), blocking=False)


@check(PLAYS, required_resource_keys={"lake"})
def volume_is_usual(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The number of plays lies within five median absolute deviations of the 28 days before."""
    lake: Lake = context.resources.lake
    counts = {date.fromisoformat(name): state.rows for name, state in lake.states(PLAYS.key).items()}
    return verdict(verification.unusual_days(counts, days_of_run(context, lake, PLAYS)), blocking=False)


@check(SESSIONS, blocking=True, required_resource_keys={"lake"})
def sessions_hold_all_plays(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Plays in settled and open sessions, less those carried from the day before, are the plays of the day."""
    lake: Lake = context.resources.lake
    days = days_of_run(context, lake, SESSIONS)
    around = [min(days) - timedelta(days=1), *days] if days else []
    return verdict(verification.lost_plays(rows_of_days(lake, SESSIONS, around), rows_of_days(lake, PLAYS, days), days))


@check(LISTENER_TRACK_DAYS, blocking=True, required_resource_keys={"lake"})
def listeners_tracks_add_up(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Its plays, streams, skips and completions add up to those of `plays`, to the unit."""
    return _adds_up(context, LISTENER_TRACK_DAYS)


@check(TRACK_DAYS, blocking=True, required_resource_keys={"lake"})
def tracks_add_up(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Its plays, streams, skips and completions add up to those of `plays`, to the unit."""
    return _adds_up(context, TRACK_DAYS)


@check(ARTIST_DAYS, blocking=True, required_resource_keys={"lake"})
def artists_add_up(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Its plays, streams, skips and completions add up to those of `plays`, to the unit."""
    return _adds_up(context, ARTIST_DAYS)


@check(COUNTRY_DAYS, blocking=True, required_resource_keys={"lake"})
def countries_add_up(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Its plays, streams, skips and completions add up to those of `plays`, to the unit."""
    return _adds_up(context, COUNTRY_DAYS)


def _adds_up(context: dg.AssetCheckExecutionContext, table: Table) -> dg.AssetCheckResult:
    lake: Lake = context.resources.lake
    days = days_of_run(context, lake, table)
    return verdict(verification.differing_sums(rows_of_days(lake, table, days), rows_of_days(lake, PLAYS, days)))


@check(CHARTS, blocking=True, required_resource_keys={"lake"})
def ranks_are_dense(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each chart has every rank from 1 to its length once."""
    lake: Lake = context.resources.lake
    return verdict(verification.sparse_ranks(rows_of_days(lake, CHARTS, days_of_run(context, lake, CHARTS)), ["period", "country"]))


@check(CHARTS, required_resource_keys={"lake"})
def equals_rebuild(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Every table of two sampled days has the digest that a full rebuild from the raw listens gives."""
    lake: Lake = context.resources.lake
    days = verification.sample_days(sorted(lake.states(CHARTS.key)), days_of_run(context, lake, CHARTS))
    differing = {str(day): found for day in days if (found := verification.differs_from_rebuild(lake, day))}
    return dg.AssetCheckResult(
        passed=not differing,
        metadata={"days": ", ".join(map(str, days)), **({"differing": dg.MetadataValue.json(differing)} if differing else {})},
    )
