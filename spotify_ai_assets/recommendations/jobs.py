"""The jobs of recommendations: training once a week, refreshing every day, and taking in new tracks as they come."""

import dagster as dg

from spotify_ai_assets.catalog.contracts import TEXT_EMBEDDINGS
from spotify_ai_assets.contracts import SHARDS
from spotify_ai_assets.loading import asset_key, schedule, sensor
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.recommendations.contracts import ARTIST_INDEX, RELEASE, TABLES, TRACK_INDEX
from spotify_ai_assets.runs import ONLY_STALE, launch_tags
from spotify_ai_assets.staleness import Ledger, digest_stale, plan
from spotify_ai_assets.tables import TABLES as ALL_TABLES

_ALL_SHARDS = range_tags(SHARDS[0], SHARDS[-1])
_COLD = (TEXT_EMBEDDINGS, TRACK_INDEX, ARTIST_INDEX, RELEASE)
"""What a new track must go through to be recommended; listeners stay where they are."""

FOLLOWING = (TEXT_EMBEDDINGS, *(table for table in TABLES.values() if table.reads and not table.is_model))

recommendations_refresh = dg.define_asset_job(
    "recommendations_refresh",
    selection=dg.AssetSelection.assets(*map(asset_key, FOLLOWING)),
    description=_("Brings interactions, indices, the release and all shelves up to date, with the model that serves."),
)

recommendations_training = dg.define_asset_job(
    "recommendations_training",
    selection=dg.AssetSelection.assets(*map(asset_key, (TEXT_EMBEDDINGS, *(table for table in TABLES.values() if table.reads)))),
    description=_(
        "Tunes a recipe, measures it on a window that it has not seen, fits the winner on everything, and makes indices, a release and "
        "all shelves of it. A recipe that fails its gate is not served."
    ),
)


@schedule(job=recommendations_training, cron_schedule="0 4 * * 1", execution_timezone="UTC")
def weekly_recommendations(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Trains the recommender on Mondays at 04:00 UTC."""
    return dg.RunRequest(run_key=f"{context.scheduled_execution_time:%Y-%m-%d}", tags=launch_tags(**{ONLY_STALE: "true"}, **_ALL_SHARDS))


@schedule(job=recommendations_refresh, cron_schedule="30 6 * * *", execution_timezone="UTC")
def daily_recommendations(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Refreshes indices and shelves every day at 06:30 UTC, after the day that ended was made."""
    return dg.RunRequest(run_key=f"{context.scheduled_execution_time:%Y-%m-%d}", tags=launch_tags(**{ONLY_STALE: "true"}, **_ALL_SHARDS))


@sensor(job=recommendations_refresh, minimum_interval_seconds=30, required_resource_keys={"lake"})
def cold_tracks(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Brings new tracks of the catalogue into the index by their text and sound, so that they can be recommended within a minute.

    The same state is requested once, so what was refused waits until something changes.
    """
    ledger = Ledger(context.resources.lake.states)
    stale = plan(ALL_TABLES, [table.key for table in _COLD], [], ledger)
    if not {TEXT_EMBEDDINGS.key, TRACK_INDEX.key} & {each.key for each in stale}:
        return dg.SkipReason("every track of the catalogue is in its place")
    keys = [asset_key(ALL_TABLES[key]) for key in dict.fromkeys(each.key for each in stale)]
    tags = launch_tags(**{ONLY_STALE: "true"})
    return dg.RunRequest(run_key=digest_stale(stale, ALL_TABLES, ledger), asset_selection=keys, tags=tags)
