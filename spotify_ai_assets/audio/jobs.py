"""The jobs of audio: taking what landed and all that follows from it, and training the models."""

from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES  # no public name lists them

from spotify_ai_assets.audio.contracts import FILES, TABLES
from spotify_ai_assets.contracts import SHARDS
from spotify_ai_assets.listening.landing import AUDIO
from spotify_ai_assets.loading import asset_key, schedule, sensor
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.runs import ONLY_STALE, launch_tags
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.staleness import Ledger, digest_stale, plan
from spotify_ai_assets.tables import TABLES as ALL_TABLES

_ALL_SHARDS = range_tags(SHARDS[0], SHARDS[-1])
FOLLOWING = tuple(table.key for table in TABLES.values() if table.reads and not table.is_model)
"""The tables that are made from what landed and from models."""


audio_intake = dg.define_asset_job(
    "audio_intake",
    selection=dg.AssetSelection.assets(asset_key(FILES), *(asset_key(TABLES[key]) for key in FOLLOWING)),
    description=_(
        "Takes the audio that landed, in a pool of confined processes inside one step, and makes all tables that follow from it, "
        "each shard only where something changed."
    ),
)

audio_models = dg.define_asset_job(
    "audio_models",
    selection=dg.AssetSelection.assets(*(asset_key(table) for table in TABLES.values() if table.is_model)),
    description=_("Trains the encoder, the sound model and the perceptual model anew; each serves only if its gate lets it."),
)


def _is_running(context: dg.SensorEvaluationContext) -> bool:
    running = dg.RunsFilter(job_name=audio_intake.name, statuses=list(NOT_FINISHED_STATUSES))
    return context.instance.get_runs_count(running) > 0


@sensor(job=audio_intake, minimum_interval_seconds=30, required_resource_keys={"settings"})
def landed_audio(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Takes audio as soon as it lies still in `data/landing/audio`.

    The same files are requested once; its run keys hold a digest of what lies there, never a name.
    """
    from spotify_ai_assets.audio.intake.landing import what_landed

    settings: Settings = context.resources.settings
    landed = what_landed(settings.landing / AUDIO, datetime.now(UTC).timestamp())
    if not landed:
        return dg.SkipReason("nothing has landed")
    return dg.RunRequest(run_key=landed, tags=launch_tags(**{ONLY_STALE: "true"}, **_ALL_SHARDS))


@sensor(job=audio_intake, minimum_interval_seconds=60, required_resource_keys={"lake"})
def stale_audio(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Makes again what is out of date of audio: after another model was promoted, a table of links landed, or the extractor changed.

    The same state is requested once, so what was refused waits until something changes.
    """
    if _is_running(context):
        return dg.SkipReason("audio is being taken")
    ledger = Ledger(context.resources.lake.states)
    stale = plan(ALL_TABLES, FOLLOWING, [], ledger)
    if not stale:
        return dg.SkipReason("nothing is stale")
    # Only these: Dagster leaves out a step behind one that gave nothing, as embeddings give none while there is no encoder.
    keys = [asset_key(ALL_TABLES[key]) for key in dict.fromkeys(each.key for each in stale)]
    tags = launch_tags(**{ONLY_STALE: "true"}, **_ALL_SHARDS)
    return dg.RunRequest(run_key=digest_stale(stale, ALL_TABLES, ledger), asset_selection=keys, tags=tags)


@schedule(job=audio_models, cron_schedule="0 3 * * 1", execution_timezone="UTC")
def every_monday(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Trains the models of audio on Mondays at 03:00 UTC."""
    return dg.RunRequest(run_key=f"{context.scheduled_execution_time:%Y-%m-%d}", tags=launch_tags(**{ONLY_STALE: "true"}))
