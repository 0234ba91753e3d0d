"""What a Dagster instance knows, as plain data: runs, ticks, daemons, pools, materialisations, checks.

Metrics and health read it here and need no Dagster of their own. Reading changes nothing and costs a few dozen milliseconds,
whatever the length of the history: counts are made by the database, and details are read of the newest only.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import dagster as dg
from dagster._core.events.log import EventLogEntry
from dagster._core.scheduler.instigation import InstigatorType, TickStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES  # no public name lists them
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.storage.schedules.schema import JobTickTable
from dagster._serdes import deserialize_value
from dagster._utils.schedules import cron_string_iterator, reverse_cron_string_iterator

_ACTIVE_AT_MOST = 1000
_FAILED_TICKS = 500
_RECENT_S = 7200.0


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that has not ended.

    Attributes:
        job: Its job.
        status: ``queued``, ``starting``, ``started``, …
        since: When it came into this status, in seconds since 1970.
    """

    job: str
    status: str
    since: float


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that has ended.

    Attributes:
        run_id: The run.
        job: Its job.
        status: ``success``, ``failure`` or ``canceled``.
        ended_at: When, in seconds since 1970.
        seconds: From its start to its end; ``None`` where it never started.
    """

    run_id: str
    job: str
    status: str
    ended_at: float
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of an instance.

    Attributes:
        kept: How many runs the instance keeps, by job and status.
        active: Those that have not ended.
        last: By job the one that ended last.
        recent: Those that ended within the last two hours.
    """

    kept: Mapping[tuple[str, str], int]
    active: tuple[ActiveRun, ...]
    last: Mapping[str, EndedRun]
    recent: tuple[EndedRun, ...]


@dataclass(frozen=True, slots=True)
class Ticker:
    """A schedule or a sensor that has ticked or was switched.

    Attributes:
        kind: ``schedule`` or ``sensor``.
        name: Its name.
        is_running: Whether it is on.
        last_at: When it ticked last, in seconds since 1970; ``None`` before its first tick.
        last_status: ``started``, ``skipped``, ``success`` or ``failure``; empty before its first tick.
        failed: Ids of its failed ticks, among the newest 500 of all.
    """

    kind: str
    name: str
    is_running: bool
    last_at: float | None
    last_status: str
    failed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that this instance needs.

    Attributes:
        kind: Its type, such as ``SCHEDULER``.
        is_healthy: What Dagster says, which tolerates 30 minutes of silence.
        beat_at: Its last heartbeat, in seconds since 1970; ``None`` where there never was one.
    """

    kind: str
    is_healthy: bool
    beat_at: float | None


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of slots that steps wait for.

    Attributes:
        name: The pool.
        limit: How many slots there are; ``None`` where no limit is set.
        active: Slots that steps hold.
        assigned: Steps that have a slot and have not begun.
        pending: Steps that wait for one.
    """

    name: str
    limit: int | None
    active: int
    assigned: int
    pending: int


@dataclass(frozen=True, slots=True)
class Made:
    """The last materialisation of an asset.

    Attributes:
        at: When, in seconds since 1970; ``None`` where there is none.
        run_status: How the run ended that was launched last to make it; empty where none was.
        figures: The numbers of its metadata.
    """

    at: float | None
    run_status: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Checked:
    """The last evaluation of an asset check.

    Attributes:
        asset: The asset's key.
        name: The check.
        passed: Whether it passed.
        severity: ``ERROR`` or ``WARN``.
        at: When, in seconds since 1970.
        figures: The numbers of its metadata.
    """

    asset: str
    name: str
    passed: bool
    severity: str
    at: float
    figures: Mapping[str, float]


def read_runs(instance: dg.DagsterInstance, now: float) -> Runs:
    """The runs of an instance.

    Args:
        instance: Which.
        now: The time, in seconds since 1970.
    """
    from sqlalchemy import func, select

    columns = RunsTable.c
    ended = select(columns.run_id, columns.pipeline_name, columns.status, columns.start_time, columns.end_time)
    newest = select(func.max(columns.end_time)).where(columns.end_time.is_not(None)).group_by(columns.pipeline_name)
    with cast("Any", instance.run_storage).connect() as connection:
        counted = connection.execute(select(columns.pipeline_name, columns.status, func.count()).group_by("pipeline_name", "status"))
        kept = {(job, status.lower()): int(count) for job, status, count in counted}
        last = [_ended(*row) for row in connection.execute(ended.where(columns.end_time.in_(newest)))]
        recent = [_ended(*row) for row in connection.execute(ended.where(columns.end_time > now - _RECENT_S))]
    records = instance.get_run_records(dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES)), limit=_ACTIVE_AT_MOST)
    active = [
        ActiveRun(record.dagster_run.job_name, record.dagster_run.status.value.lower(), record.update_timestamp.timestamp())
        for record in records
    ]
    # Two jobs may have ended at the same moment, so the newest end of a job may be an older end of another.
    by_job = {each.job: each for each in sorted(last, key=lambda each: each.ended_at)}
    return Runs(kept, tuple(active), by_job, tuple(recent))


def _ended(run_id: str, job: str, status: str, start: float | None, end: float) -> EndedRun:
    return EndedRun(run_id, job, status.lower(), end, max(end - start, 0.0) if start else None)


def read_tickers(instance: dg.DagsterInstance) -> list[Ticker]:
    """The schedules and sensors that the daemon knows of."""
    storage = instance.schedule_storage
    if storage is None:
        return []
    states = {state.selector_id: state for state in instance.all_instigator_state() if state.instigator_type in _TICKING}
    newest = _newest_ticks(storage, list(states))
    failed = _failed_ticks(storage)
    return [
        Ticker(
            "sensor" if state.instigator_type == InstigatorType.SENSOR else "schedule",
            state.instigator_name,
            state.is_running,
            newest[selector].timestamp if selector in newest else None,
            newest[selector].status.value.lower() if selector in newest else "",
            frozenset(failed.get(selector, ())),
        )
        for selector, state in states.items()
    ]


_TICKING = (InstigatorType.SCHEDULE, InstigatorType.SENSOR)


def _newest_ticks(storage: Any, selectors: list[str]) -> dict[str, Any]:
    found = storage.get_batch_ticks(selectors, limit=1) if selectors else {}
    return {selector: ticks[0] for selector, ticks in found.items() if ticks}


def _failed_ticks(storage: Any) -> dict[str, list[str]]:
    """Ids of the newest failed ticks by schedule or sensor; Dagster's own query for the ticks of a status fails in 1.13."""
    from sqlalchemy import select

    columns = JobTickTable.c
    statement = select(columns.selector_id, columns.id).where(columns.status == TickStatus.FAILURE.value)
    found: dict[str, list[str]] = {}
    with storage.connect() as connection:
        for selector, number in connection.execute(statement.order_by(columns.id.desc()).limit(_FAILED_TICKS)):
            found.setdefault(selector, []).append(str(number))
    return found


def read_daemons(instance: dg.DagsterInstance) -> list[Daemon]:
    """The daemons that this instance needs; empty for an instance that has none."""
    if instance.is_ephemeral:
        return []
    return [
        Daemon(kind, bool(status.healthy), status.last_heartbeat.timestamp if status.last_heartbeat else None)
        for kind, status in sorted(instance.get_daemon_statuses().items())
    ]


def read_pools(instance: dg.DagsterInstance) -> list[Pool]:
    """The pools that the instance knows of."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return []
    infos = [storage.get_concurrency_info(name) for name in sorted(storage.get_concurrency_keys())]
    return [
        Pool(info.concurrency_key, info.limit, info.active_slot_count, info.assigned_step_count, info.pending_step_count) for info in infos
    ]


def read_made(instance: dg.DagsterInstance, keys: Collection[str]) -> dict[str, Made]:
    """The last materialisations of assets, by key; without those that the instance does not know."""
    records = {
        record.asset_entry.asset_key.to_user_string(): record.asset_entry
        for record in instance.get_asset_records([dg.AssetKey(key.split("/")) for key in keys])
    }
    runs = {entry.last_run_id for entry in records.values() if entry.last_run_id}
    found = instance.get_run_records(dg.RunsFilter(run_ids=sorted(runs))) if runs else []
    statuses = {record.dagster_run.run_id: record.dagster_run.status.value.lower() for record in found}
    return {
        key: Made(
            entry.last_materialization.timestamp if entry.last_materialization else None,
            statuses.get(entry.last_run_id or "", ""),
            _figures(entry.last_materialization.asset_materialization) if entry.last_materialization else {},
        )
        for key, entry in records.items()
    }


def read_checked(instance: dg.DagsterInstance) -> list[Checked]:
    """The last evaluation of every check; one that was planned and never done is passed over."""
    from sqlalchemy import func, select

    columns = AssetCheckExecutionsTable.c
    done = columns.execution_status.in_(["SUCCEEDED", "FAILED"])
    newest = select(func.max(columns.id)).where(done).group_by(columns.asset_key, columns.check_name)
    with cast("Any", instance.event_log_storage).index_connection() as connection:
        rows = connection.execute(select(columns.evaluation_event).where(columns.id.in_(newest))).scalars().all()
    found = []
    for entry in [deserialize_value(row, EventLogEntry) for row in rows if row]:
        event = entry.dagster_event
        if event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        told = event.asset_check_evaluation_data
        key = told.asset_key.to_user_string()
        found.append(Checked(key, told.check_name, told.passed, told.severity.value, entry.timestamp, _figures(told)))
    return sorted(found, key=lambda each: (each.asset, each.name))


def last_deadline(cron: str, timezone: str, now: float) -> float:
    """The newest moment of a cron string that has passed, in seconds since 1970.

    Args:
        cron: Five fields.
        timezone: Its IANA time zone.
        now: The time, in seconds since 1970.
    """
    return next(reverse_cron_string_iterator(now, cron, timezone)).timestamp()


def next_deadline(cron: str, timezone: str, after: float) -> float:
    """The first moment of a cron string after another, in seconds since 1970; arguments as of ``last_deadline``."""
    return next(each for each in map(datetime.timestamp, cron_string_iterator(after, cron, timezone)) if each > after)


def _figures(event: Any) -> dict[str, float]:
    """The numbers among the metadata of an event."""
    values = {name: getattr(value, "value", None) for name, value in (event.metadata if event else {}).items()}
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
