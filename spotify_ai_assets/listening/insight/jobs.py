"""The job of insight: what the day that ended means, once its plays were counted."""

from datetime import timedelta

import dagster as dg

from spotify_ai_assets.listening.insight.contracts import TABLES
from spotify_ai_assets.loading import asset_key, schedule
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.runs import launch_tags

daily_insight = dg.define_asset_job(
    "daily_insight",
    selection=dg.AssetSelection.assets(*(asset_key(table) for table in TABLES.values())),
    description=_("Makes one day of trends, anomalies, suspicious streams, cohorts, forecasts and the like, with all their checks."),
)


@schedule(job=daily_insight, cron_schedule="30 5 * * *", execution_timezone="UTC")
def every_morning_insight(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Makes yesterday at 05:30 UTC, when its plays are counted; on Mondays what is weekly, on the first what is monthly."""
    day = (context.scheduled_execution_time - timedelta(days=1)).date().isoformat()
    return dg.RunRequest(run_key=day, partition_key=day, tags=launch_tags())
