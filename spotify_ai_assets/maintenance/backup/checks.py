"""Whether backups can be relied on, as a check on the drills."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl

from spotify_ai_assets.loading import check
from spotify_ai_assets.maintenance.backup.contracts import DRILLS
from spotify_ai_assets.resources.lake import Lake

_LONGEST = timedelta(days=8)


@check(DRILLS, required_resource_keys={"lake"})
def newest_drill(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The newest drill passed and is at most eight days old: a backup counts as one only while it was restored lately.

    Where there was no drill yet there is nothing to judge; health says so.
    """
    lake: Lake = context.resources.lake
    newest = lake.scan(DRILLS.key).filter(pl.col("began_at") == pl.col("began_at").max()).collect()
    if newest.is_empty():
        return dg.AssetCheckResult(passed=True, metadata={"drills": 0})
    row = newest.row(0, named=True)
    is_young = datetime.now(UTC) - row["began_at"] <= _LONGEST
    told = {name: row[name] for name in ("snapshot", "is_passed", "rto_s", "rpo_s")}
    return dg.AssetCheckResult(
        passed=row["is_passed"] and is_young,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={**told, "began_at": row["began_at"].isoformat(), **({"failure": row["failure"]} if row["failure"] else {})},
    )
