"""The nightly backup and the weekly drill of restoring it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
import polars as pl
from dagster._core.storage.tags import PRIORITY_TAG  # no public name of the tag that orders the steps of a run
from pydantic import Field

from spotify_ai_assets.errors import PermanentError, TransientError
from spotify_ai_assets.launching import run_job
from spotify_ai_assets.loading import asset_key, schedule
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.maintenance.backup.contracts import DRILLS
from spotify_ai_assets.maintenance.jobs import MADE
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.resources.audit import open_audit, who_of
from spotify_ai_assets.resources.exclusive import alone
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import claim, launch_tags
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

if TYPE_CHECKING:
    from spotify_ai_assets.maintenance.backup.drilling import Drill

BACKUP, DRILL = "backup", "drill"
"""The jobs, and what only one of their runs holds at a time."""

_AGAIN = dg.RetryPolicy(max_retries=2, delay=2)
_NEEDED = {"exclusive", "settings", "lake"}


class SavingConfig(dg.Config):
    """How a backup is made."""

    engine: Literal["installed", "restic", "embedded"] = Field(
        default="installed",
        description="What keeps the first backup of a place: restic where it is installed unless told.",
    )


class ExpiryConfig(dg.Config):
    """What becomes of old backups."""

    dry_run: bool = Field(default=True, description="Only count the backups whose time is over.")


class DrillConfig(dg.Config):
    """What is drilled."""

    snapshot: str = Field(
        default="latest",
        pattern=r"^(latest|[0-9A-Za-z:+.-]{4,40})$",
        description="The name of a backup, or how it begins, a moment, or latest.",
    )


@dg.op(
    required_resource_keys=_NEEDED,
    out=dg.Out(dg.Nothing),
    retry_policy=_AGAIN,
    tags={PRIORITY_TAG: "1"},
    description=_("Copies databases, pointers and then all data into the place of backups, encrypted, each piece once."),
)
def save(context: dg.OpExecutionContext, config: SavingConfig) -> None:
    """Copies databases, pointers and then all data into the place of backups, encrypted, each piece once."""
    from spotify_ai_assets.maintenance.backup.saving import list_snapshots, make_backup

    settings: Settings = context.resources.settings
    with _telling(context, "backed_up") as told:
        made = make_backup(
            settings,
            context.resources.lake,
            dagster_url=_dagster_url(context.instance),
            engine=None if config.engine == "installed" else config.engine,
        )
        told["subject"] = made.snapshot.id
        told["figures"] |= {**made.figures, "engine": made.snapshot.engine, "snapshots": len(list_snapshots(settings))}


@dg.op(
    required_resource_keys=_NEEDED,
    out=dg.Out(dg.Nothing),
    retry_policy=_AGAIN,
    description=_("Removes backups that no day or week needs any more, and all that are older than thirty days."),
)
def expire(context: dg.OpExecutionContext, config: ExpiryConfig) -> None:
    """Removes backups that no day or week needs any more, and all that are older than thirty days."""
    from spotify_ai_assets.maintenance.backup.saving import forget_old, list_snapshots

    settings: Settings = context.resources.settings
    if config.dry_run:
        doomed = forget_old(settings, now=datetime.now(UTC), dry_run=True)
        context.log.info("%s backups could be removed", len(doomed))
        return
    with _telling(context, "backups_expired") as told:
        doomed = forget_old(settings, now=datetime.now(UTC), dry_run=False)
        left = list_snapshots(settings)
        told["figures"] |= {"removed": len(doomed), "snapshots": len(left)}
        if left:
            told["figures"]["oldest_at"] = left[0].at.isoformat()


@dg.op(
    required_resource_keys=_NEEDED,
    out=dg.Out(dg.Nothing),
    description=_("Restores the newest backup into scratch, compares, opens, works and searches, and notes what came of it."),
)
def rehearse(context: dg.OpExecutionContext, config: DrillConfig) -> None:
    """Restores the newest backup into scratch, compares, opens, works and searches, and notes what came of it."""
    from spotify_ai_assets.maintenance.backup.drilling import drill as drill_restoring

    settings: Settings = context.resources.settings
    lake: Lake = context.resources.lake
    origin = claim(context)
    with _telling(context, "drilled") as told:
        found = drill_restoring(settings, remake, remakable(), wanted=config.snapshot)
        told["subject"] = found.snapshot
        told["figures"] |= found.figures
        lake.append(DRILLS.key, _as_row(found), transaction=f"drill {context.run_id}", origin=origin)
        context.log_event(dg.AssetMaterialization(asset_key(DRILLS), metadata=found.figures))
        if not found.is_passed:
            raise dg.Failure(found.failure or "", allow_retries=False)


def _as_row(found: "Drill") -> pl.DataFrame:
    return pl.DataFrame([found.as_row()], schema=DRILLS.schema)


def remakable() -> set[str]:
    """The daily tables whose assets need the lake and the settings alone, so that a copy of the platform can make them."""
    from spotify_ai_assets.definitions import defs

    known = defs().get_repository_def().assets_defs_by_key
    return {table.key for table in MADE if known[asset_key(table)].required_resource_keys <= {"lake", "settings", "io_manager"}}


def remake(settings: Settings, lake: Lake, key: str, partition: str) -> None:
    """Make one day of a table again, by the job that always does, on another platform and an instance that forgets.

    Args:
        settings: Of the other platform.
        lake: Its lake.
        key: The table.
        partition: The day.

    Raises:
        PlatformError: It failed.
    """
    with dg.DagsterInstance.ephemeral() as instance:
        tags = launch_tags(**range_tags(partition, partition))
        run_job(instance, "backfill", {"lake": lake, "settings": settings}, tags, [asset_key(TABLES[key])])


@contextmanager
def _telling(context: dg.OpExecutionContext, action: str) -> Iterator[dict[str, Any]]:
    """Gives what to fill in; the audit trail is told of it however it ends, and a retry is asked for where it may help."""
    told: dict[str, Any] = {"subject": context.job_name, "figures": {}}
    begin, outcome = time.monotonic(), "failure"
    try:
        yield told
        outcome = "success"
    except TransientError:
        raise
    except PermanentError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    finally:
        told["figures"].setdefault("seconds", round(time.monotonic() - begin, 3))
        origin = claim(context)
        open_audit(context.resources.settings).record(
            action,
            subject=told["subject"],
            who=who_of(context.run.tags),
            outcome=outcome,
            run_id=origin.run_id,
            trace_id=origin.trace_id,
            figures=told["figures"],
        )
        context.log.info("%s: %s", action, told["figures"])
    context.add_output_metadata({"figures": dg.MetadataValue.json(told["figures"])})


def _dagster_url(instance: dg.DagsterInstance) -> str:
    """The address of Dagster's PostgreSQL, where it has one."""
    return str(getattr(instance.run_storage, "postgres_url", ""))


@dg.graph
def _backup() -> None:
    # What expires was promised to people, so it does whatever becomes of the new backup; by its priority that is made first.
    save()
    expire()


@dg.graph
def _drill() -> None:
    rehearse()


backup = _backup.to_job(
    **alone(BACKUP),
    description=_(
        "Backs everything up, encrypted and each piece once: databases and pointers first, then what they name. Seven daily and four "
        "weekly backups are kept, none for longer than thirty days."
    ),
)

drill = _drill.to_job(
    **alone(DRILL),
    description=_(
        "Proves the newest backup: restores it into scratch, digests every partition again, replays the erasure ledger, makes one "
        "partition again, and erases a listener of the copy whom the byte scan must not find afterwards."
    ),
)


def backup_config(*, dry_run: bool, engine: str = "installed") -> Mapping[str, Any]:
    """The configuration of a run of ``backup``; a dry run leaves old backups alone."""
    return {"ops": {"save": {"config": {"engine": engine}}, "expire": {"config": {"dry_run": dry_run}}}}


def drill_config(snapshot: str = "latest") -> Mapping[str, Any]:
    """The configuration of a run of ``drill``."""
    return {"ops": {"rehearse": {"config": {"snapshot": snapshot}}}}


@schedule(job=backup, cron_schedule="30 3 * * *", execution_timezone="UTC")
def nightly_backup(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Backs everything up, every night at 03:30 UTC, and removes the backups whose time is over."""
    at = context.scheduled_execution_time
    return dg.RunRequest(run_key=f"{at:%Y-%m-%d}", run_config=backup_config(dry_run=False), tags=launch_tags())


@schedule(job=drill, cron_schedule="0 5 * * 0", execution_timezone="UTC")
def weekly_drill(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Proves the newest backup, every Sunday at 05:00 UTC."""
    return dg.RunRequest(run_key=f"{context.scheduled_execution_time:%Y-%m-%d}", run_config=drill_config(), tags=launch_tags())
