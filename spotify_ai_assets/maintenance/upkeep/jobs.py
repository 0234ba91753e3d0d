"""The nightly job that keeps the platform small, and its parts: retention, compaction, orphans, rotation of logs, pruning of runs.

The parts do not wait for each other, so that one that fails keeps none of the others from its work. Each writes what it did into
the audit trail; a dry run changes nothing and records nothing there.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from spotify_ai_assets.errors import LockTimeoutError
from spotify_ai_assets.loading import schedule
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.maintenance.upkeep.compaction import compact, find_scattered
from spotify_ai_assets.maintenance.upkeep.leftovers import find_leftovers, remove_leftovers, rules
from spotify_ai_assets.maintenance.upkeep.orphans import find_unused, remove_versions, size_of_version, vacuum
from spotify_ai_assets.maintenance.upkeep.retention import expire, find_expired
from spotify_ai_assets.maintenance.upkeep.rotation import plan_turn, turn
from spotify_ai_assets.recommendations.workshop import FORGETTING
from spotify_ai_assets.resources import open_locks
from spotify_ai_assets.resources.artifacts import Artifacts, open_artifacts
from spotify_ai_assets.resources.audit import open_audit, who_of
from spotify_ai_assets.resources.exclusive import alone
from spotify_ai_assets.resources.lake import HISTORY_DAYS, Lake
from spotify_ai_assets.resources.run_history import prune
from spotify_ai_assets.runs import claim, launch_tags
from spotify_ai_assets.settings import Settings

UPKEEP = "upkeep"
"""The job, and what only one of its runs holds at a time."""

PARTS = ("retention", "compaction", "orphans", "log_rotation", "run_pruning")
"""Its ops."""

Figures = dict[str, float | list[str]]

_AGAIN = dg.RetryPolicy(max_retries=2, delay=2)


class _Careful(dg.Config):
    dry_run: bool = Field(default=True, description="Only count what would be done.")


class RetentionConfig(_Careful):
    """How retention works: contracts say how long rows are kept."""


class CompactionConfig(_Careful):
    """What compaction looks for."""

    most_files: int = Field(default=8, ge=1, le=10_000, description="How many files a partition may have.")
    settled_days: int = Field(default=2, ge=0, le=365, description="How old a day must be: a younger one may still be streamed into.")


class OrphansConfig(_Careful):
    """How long what nobody refers to is kept."""

    history_days: int = Field(default=HISTORY_DAYS, ge=0, le=365, description="How far back past states of tables stay readable.")
    version_days: int = Field(default=14, ge=1, le=365, description="How old a version of an artifact must be that nothing leads to.")
    former: int = Field(default=3, ge=1, le=100, description="How many versions each alias can go back to.")
    quarantine_days: int = Field(default=30, ge=1, le=30, description="How long files stay that could not be imported.")
    scratch_days: int = Field(default=7, ge=1, le=365, description="How long work in progress stays that nobody went on with.")


class RotationConfig(_Careful):
    """How logs are rotated."""

    most_megabytes: int = Field(default=64, ge=1, le=10_000, description="A log above that is put aside at once.")
    plain_days: int = Field(default=7, ge=0, le=30, description="How long what steps printed can be read in the web interface.")
    keep_days: int = Field(default=30, ge=1, le=30, description="How long logs are kept.")


class PruningConfig(_Careful):
    """Which runs are old."""

    keep_days: int = Field(default=30, ge=7, le=3650, description="How long a run is kept whole.")


def _part(action: str, *resources: str) -> dict[str, Any]:
    keys = {"exclusive", "settings", *resources}
    return {"required_resource_keys": keys, "out": dg.Out(dg.Nothing), "retry_policy": _AGAIN, "tags": {"action": action}}


@dg.op(**_part("retained", "lake"), description=_("Takes rows out of the present whose days are over, as each table's contract says."))
def retention(context: dg.OpExecutionContext, config: RetentionConfig) -> None:
    """Takes rows out of the present whose days are over, as each table's contract says."""
    lake: Lake = context.resources.lake
    today, origin = datetime.now(UTC).date(), claim(context)
    with _telling(context, "retained", config) as figures:
        found = find_expired(lake, today)
        figures |= {
            "tables": len(found),
            "partitions": sum(len(each.partitions) for each in found),
            "rows": sum(each.rows for each in found),
        }
        if not config.dry_run:
            expire(lake, found, today, origin)


@dg.op(**_part("compacted", "lake"), description=_("Makes one file of the partitions that were appended or streamed in many."))
def compaction(context: dg.OpExecutionContext, config: CompactionConfig) -> None:
    """Makes one file of the partitions that were appended or streamed in many."""
    lake: Lake = context.resources.lake
    origin = claim(context)
    with _telling(context, "compacted", config) as figures:
        found = find_scattered(lake, datetime.now(UTC).date(), most_files=config.most_files, settled_days=config.settled_days)
        figures |= {"partitions": len(found), "files": sum(each.files for each in found)}
        if not config.dry_run:
            done = compact(lake, found, origin)
            figures |= {"partitions": done.partitions, "files": done.files, "bytes": done.saved, "refused": done.refused}


@dg.op(
    **_part("swept", "lake"),
    description=_("Removes files that no version of a table needs, versions of artifacts that nothing leads to, and leftover files."),
)
def orphans(context: dg.OpExecutionContext, config: OrphansConfig) -> None:
    """Removes files that no version of a table needs, versions of artifacts that nothing leads to, and leftover files."""
    lake: Lake = context.resources.lake
    settings: Settings = context.resources.settings
    now = datetime.now(UTC)
    claim(context)
    with _telling(context, "swept", config) as figures:
        kept = rules(quarantine_days=config.quarantine_days, kept_days=settings.keep_landing_days, scratch_days=config.scratch_days)
        left = find_leftovers(settings.data, kept, now)
        figures |= {"leftovers": len(left), "leftover_bytes": sum(each.size for each in left)}
        if not config.dry_run:
            remove_leftovers(settings.data, left)
        vacuumed = vacuum(lake, timedelta(days=config.history_days), dry_run=config.dry_run)
        figures |= {"files": vacuumed.files, "bytes": vacuumed.bytes, "busy": vacuumed.busy, "strangers": vacuumed.strangers}
        figures |= _sweep_versions(settings, now - timedelta(days=config.version_days), config)


def _sweep_versions(settings: Settings, before: datetime, config: OrphansConfig) -> Figures:
    """Remove versions that nothing leads to, while no training publishes any."""
    artifacts = open_artifacts(settings)
    if config.dry_run:
        return _versions(artifacts, before, config)
    try:
        with open_locks(settings).exclusive(FORGETTING):
            return _versions(artifacts, before, config)
    except LockTimeoutError:  # a training goes on; the next night will do
        return {"versions": 0, "version_bytes": 0, "versions_busy": 1}


def _versions(artifacts: Artifacts, before: datetime, config: OrphansConfig) -> Figures:
    unused = find_unused(artifacts, before, former=config.former)
    figures: Figures = {"versions": len(unused), "version_bytes": sum(size_of_version(artifacts, each) for each in unused)}
    if not config.dry_run:
        remove_versions(artifacts, unused)
    return figures


@dg.op(**_part("rotated"), description=_("Puts logs aside, compresses them and what steps printed, and removes both after some weeks."))
def log_rotation(context: dg.OpExecutionContext, config: RotationConfig) -> None:
    """Puts logs aside, compresses them and what steps printed, and removes both after some weeks."""
    settings: Settings = context.resources.settings
    claim(context)
    with _telling(context, "rotated", config) as figures:
        planned = plan_turn(
            settings.data / "logs",
            settings.data / "dagster" / "storage",
            datetime.now(UTC),
            most_bytes=config.most_megabytes * 2**20,
            plain_days=config.plain_days,
            keep_days=config.keep_days,
        )
        figures |= {"aside": len(planned.aside), "compressed": len(planned.compressed), "expired": len(planned.expired)}
        if not config.dry_run:
            figures["bytes"] = turn(planned)


@dg.op(
    **_part("pruned"),
    description=_("Removes old runs and their events, but never what is the latest of a partition or a check, and clears the databases."),
)
def run_pruning(context: dg.OpExecutionContext, config: PruningConfig) -> None:
    """Removes old runs and their events, but never what is the latest of a partition or a check, and clears the databases."""
    claim(context)
    with _telling(context, "pruned", config) as figures:
        before = datetime.now(UTC) - timedelta(days=config.keep_days)
        done = prune(context.instance, before, dry_run=config.dry_run)
        figures |= {"runs": done.runs, "thinned": done.thinned, "events": done.events, "bytes": done.bytes}


@contextmanager
def _telling(context: dg.OpExecutionContext, action: str, config: _Careful) -> Iterator[Figures]:
    """Gives the figures to fill in; they go into the step's metadata and, unless nothing was changed, into the audit trail."""
    figures: Figures = {}
    begin, outcome = time.monotonic(), "failure"
    try:
        yield figures
        outcome = "success"
    finally:
        figures["seconds"] = round(time.monotonic() - begin, 3)
        if not config.dry_run:
            origin = claim(context)
            open_audit(context.resources.settings).record(
                action,
                subject=f"{UPKEEP}/{context.op.name}",
                who=who_of(context.run.tags),
                outcome=outcome,
                run_id=origin.run_id,
                trace_id=origin.trace_id,
                figures={name: len(value) if isinstance(value, list) else value for name, value in figures.items()},
            )
    context.log.info("%s: %s", action, figures)
    context.add_output_metadata({"figures": dg.MetadataValue.json({"dry_run": config.dry_run, **figures})})


def figures_of(instance: dg.DagsterInstance, run_id: str) -> dict[str, dict[str, Any]]:
    """What each part of a run told, by the name of the part."""
    found: dict[str, dict[str, Any]] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_OUTPUT):
        event = entry.get_dagster_event()
        value: Any = event.step_output_data.metadata["figures"].value
        found[event.step_key or ""] = {name: each for name, each in value.items() if name != "dry_run"}
    return dict(sorted(found.items()))


@dg.graph
def _upkeep() -> None:
    retention()
    compaction()
    orphans()
    log_rotation()
    run_pruning()


def upkeep_config(*, dry_run: bool) -> dict[str, Any]:
    """The configuration of a run of all parts."""
    return {"ops": {part: {"config": {"dry_run": dry_run}} for part in PARTS}}


upkeep = _upkeep.to_job(
    description=_(
        "Keeps the platform small: rows past their days, tables in many files, what nobody refers to, logs, and old runs. "
        "Nothing goes that a table, a pointer or the latest materialisation of a partition still needs."
    ),
    **alone(UPKEEP),
)


@schedule(job=upkeep, cron_schedule="20 2 * * *", execution_timezone="UTC")
def nightly_upkeep(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Keeps the platform small, every night at 02:20 UTC."""
    return dg.RunRequest(
        run_key=f"{context.scheduled_execution_time:%Y-%m-%d}", run_config=upkeep_config(dry_run=False), tags=launch_tags()
    )
