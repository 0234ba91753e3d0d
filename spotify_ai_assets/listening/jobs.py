"""The jobs of listening: importing what has landed, and making the day that ended."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from spotify_ai_assets.catalog.pictures import PICTURES as CATALOG_PICTURES
from spotify_ai_assets.contracts import name_of
from spotify_ai_assets.errors import PlatformError, TransientError
from spotify_ai_assets.listening.contracts import TABLES
from spotify_ai_assets.listening.intake import INTAKE_LOCK, Intake
from spotify_ai_assets.listening.landing import Landing, is_settled, what_landed
from spotify_ai_assets.listening.pictures import PICTURES as LISTENING_PICTURES
from spotify_ai_assets.loading import asset_key, partition_metadata, schedule, sensor, show_partition
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.making import tell_place
from spotify_ai_assets.resources import open_locks
from spotify_ai_assets.resources.suppression import Suppression
from spotify_ai_assets.runs import claim, launch_tags
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES as ALL_TABLES

PICTURES = {**CATALOG_PICTURES, **LISTENING_PICTURES}

_WAIT_S = 3600.0
"""How long an import waits for an erasure, which waits for the files that others are importing."""


@dg.op(
    pool="import_landing",
    required_resource_keys={"lake", "vault", "landing", "settings"},
    description=_("Imports every landed file, one commit each, and tells which days of which tables changed."),
    out=dg.Out(dg.Nothing),
)
def import_files(context: dg.OpExecutionContext) -> None:
    """Import the files of the landing resource and record what changed."""
    settings: Settings = context.resources.settings
    landing: Landing = context.resources.landing
    lake = context.resources.lake
    now = datetime.now(UTC)
    intake = Intake(
        lake,
        context.resources.vault,
        listener=settings.listener,
        scratch=settings.data / "scratch",
        now=now,
        origin=claim(context),
        progress=landing.progress,
        erased=Suppression(settings).is_suppressed,
    )
    counts = {"files": 0, "rows": 0, "stored": 0, "duplicate": 0, "rejected": 0}
    failed: list[str] = []
    try:
        keeps = landing.keeps(now)
        for path in landing.files():
            try:
                _import_file(context, intake, landing, path, keeps, counts)
            except TransientError:
                raise
            except PlatformError as error:
                failed.append(f"{intake.digest[:12]}: {error}")
            except Exception as error:  # its message may hold a path or a value, and the instance would keep it
                failed.append(f"{intake.digest[:12]}: {tell_place(error)}")
    except TransientError as error:
        raise dg.RetryRequested(max_retries=3, seconds_to_wait=2) from error
    finally:
        _record(context, intake, lake)
    if failed:
        raise dg.Failure("\n".join(failed[:20]), metadata={"files": len(failed)}, allow_retries=False)
    context.add_output_metadata(counts)


def _import_file(context: dg.OpExecutionContext, intake: Intake, landing: Landing, path: Path, keeps: bool, counts: dict[str, int]) -> None:
    settings: Settings = context.resources.settings
    with open_locks(settings, _WAIT_S).shared(INTAKE_LOCK):
        _take_file(context, intake, landing, path, keeps, counts)


def _take_file(context: dg.OpExecutionContext, intake: Intake, landing: Landing, path: Path, keeps: bool, counts: dict[str, int]) -> None:
    reports = intake.take(path)
    for report in reports:
        counts["files"] += 1
        for name in ("rows", "stored", "duplicate", "rejected"):
            counts[name] += getattr(report, name)
        context.log.info(f"{intake.digest[:12]}: {report.rows} rows, {report.stored} stored, {report.reason or 'complete'}")
    may_keep = not intake.holds_erased
    if keeps and may_keep and is_settled(reports):
        intake.note_kept(intake.digest)
    landing.done(path, intake.digest, reports, may_keep=may_keep)


def _record(context: dg.OpExecutionContext, intake: Intake, lake) -> None:
    """One materialisation for each partition that changed; the newest of a table with a preview and a plot."""
    for key, days in intake.touched.items():
        table, states = ALL_TABLES[key], lake.states(key)
        names = sorted(map(name_of, days))
        for name in names:
            metadata = partition_metadata(states[name])
            if name == names[-1]:
                metadata |= show_partition(lake, table, states[name], PICTURES.get(key))
            context.log_event(dg.AssetMaterialization(asset_key(table), partition=name or None, metadata=metadata))


@dg.job(description=_("Imports what has landed: listens, charts and catalogue files."))
def import_landing() -> None:
    """Import what has landed."""
    import_files()


@sensor(job=import_landing, minimum_interval_seconds=30, required_resource_keys={"settings"})
def landed_files(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Imports files as soon as they land in the spool.

    The same files are requested once; its cursor and run keys hold a digest of what lies there, never a name.
    """
    settings: Settings = context.resources.settings
    landed = what_landed(settings.landing)
    return dg.RunRequest(run_key=landed, tags=launch_tags()) if landed else dg.SkipReason("nothing has landed")


daily_listening = dg.define_asset_job(
    "daily_listening",
    selection=dg.AssetSelection.assets(*(asset_key(table) for table in TABLES.values() if table.reads)),
    description=_("Makes one day of plays, sessions, daily tables and charts, with all their checks."),
)


@schedule(job=daily_listening, cron_schedule="0 5 * * *", execution_timezone="UTC")
def every_morning(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Makes yesterday at 05:00 UTC, when the files of the night have landed."""
    day = (context.scheduled_execution_time - timedelta(days=1)).date().isoformat()
    return dg.RunRequest(run_key=day, partition_key=day, tags=launch_tags())
