"""The job that looks after health, every quarter of an hour."""

import dagster as dg

from spotify_ai_assets.loading import asset_key, schedule
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.maintenance.health.contracts import HEALTH
from spotify_ai_assets.runs import launch_tags

check_health = dg.define_asset_job(
    "check_health",
    selection=dg.AssetSelection.assets(asset_key(HEALTH)),
    description=_("Looks at every part of the platform, grades it, keeps the grades, and tells of what changed."),
    tags={"exclusive": "check_health"},
)


@schedule(job=check_health, cron_schedule="*/15 * * * *", execution_timezone="UTC")
def every_quarter_hour(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Looks at the platform every quarter of an hour."""
    return dg.RunRequest(run_key=f"{context.scheduled_execution_time:%Y-%m-%dT%H:%M}", tags=launch_tags())
