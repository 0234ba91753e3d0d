"""What Dagster remembers of old runs, and taking out of it what nobody needs any more, down to the bytes.

A run that is deleted un-materialises what it made, so what is latest stays: the newest materialisation and observation of each
partition of each asset, the newest evaluation of each check, and the runs that hold one of them. Of such a run, once it is old,
only that and its beginning and end remain. ``instance.delete_run`` forgets less than it says: executions of checks stay, and so do
the run's database and what its steps printed, so all of these go here. Deleted rows stay readable in a database's free pages and
write-ahead log until ``clear`` has rewritten it.

The statements are the same on SQLite, where each run has a database of its own beside the index, and on PostgreSQL.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES  # no public name lists them

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.resources.heartbeat import forget_beats

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

THINNED = "spotify_ai/thinned"
"""The tag of a run of which only what is latest was kept; its value is the run's own id, since a retry inherits tags."""

_LATEST = ("ASSET_MATERIALIZATION", "ASSET_OBSERVATION")
_OF_ASSETS = (*_LATEST, "ASSET_MATERIALIZATION_PLANNED", "ASSET_FAILED_TO_MATERIALIZE")
_OF_CHECKS = ("ASSET_CHECK_EVALUATION", "ASSET_CHECK_EVALUATION_PLANNED")
_BATCH = 500
_WAIT_S = 60
_TABLES = ("event_logs", "asset_event_tags", "asset_check_executions", "asset_keys", "runs", "run_tags", "kvs", "job_ticks")

Kind = tuple[str, str | None, str]
"""An asset, a partition of it or none, and the type of an event."""


@dataclass(frozen=True, slots=True)
class Latest:
    """What must stay.

    Attributes:
        events: Ids in the index of the newest materialisations and observations, and of the newest evaluations of checks.
        executions: Ids of the newest executions of checks.
        kinds: By run, what of its own is the latest.
        runs: The runs that hold any of it.
    """

    events: frozenset[int]
    executions: frozenset[int]
    kinds: Mapping[str, frozenset[Kind]]
    runs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Prunable:
    """What may go.

    Attributes:
        whole: Old runs of which nothing is needed.
        thinned: Old runs that hold something latest and still have all the rest.
        kept: Old runs that hold something latest.
    """

    whole: tuple[str, ...]
    thinned: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(slots=True)
class Pruned:
    """What went, or would go in a dry run.

    Attributes:
        runs: Whole runs.
        thinned: Runs of which only the latest remains.
        events: Rows of events, in the index and in the runs' own databases that remain.
        bytes: By how much files became smaller; 0 in a dry run and on PostgreSQL.
    """

    runs: int = 0
    thinned: int = 0
    events: int = 0
    bytes: int = 0


def find_latest(instance: dg.DagsterInstance) -> Latest:
    """The newest materialisation and observation of each partition and evaluation of each check, as Dagster sees them: by id."""
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
    from sqlalchemy import func, select

    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    newest = (
        select(func.max(events.id))
        .where(events.asset_key.is_not(None), events.dagster_event_type.in_(_LATEST))
        .group_by(events.asset_key, events.partition, events.dagster_event_type)
    )
    judged = select(func.max(checks.id)).group_by(checks.asset_key, checks.check_name, checks.partition)
    kinds: dict[str, set[Kind]] = defaultdict(set)
    with _index(instance) as connection:
        made = select(events.id, events.run_id, events.asset_key, events.partition, events.dagster_event_type).where(events.id.in_(newest))
        ids = set()
        for number, run, asset, partition, kind in connection.execute(made):
            ids.add(number)
            kinds[run].add((asset, partition, kind))
        executions = connection.execute(
            select(checks.id, checks.run_id, checks.evaluation_event_storage_id).where(checks.id.in_(judged))
        ).all()
    ids |= {evaluation for _, _, evaluation in executions if evaluation is not None}
    runs = {*kinds, *(run for _, run, _ in executions if run)}
    return Latest(
        frozenset(ids), frozenset(each[0] for each in executions), {run: frozenset(of) for run, of in kinds.items()}, frozenset(runs)
    )


def find_prunable(instance: dg.DagsterInstance, before: datetime, latest: Latest) -> Prunable:
    """The runs that ended before a moment, by what may be done to them. The run that others retried stays while one of them does."""
    finished = instance.get_run_records(dg.RunsFilter(statuses=list(FINISHED_STATUSES), created_before=before))
    old = [each.dagster_run for each in finished if (each.end_time or each.update_timestamp.timestamp()) < before.timestamp()]
    names = {run.run_id for run in old}
    needed = latest.runs & names
    staying = [run for run in instance.get_runs() if run.run_id in needed or run.run_id not in names]
    needed |= names & {each for run in staying for each in (run.root_run_id, run.parent_run_id) if each}
    kept = tuple(sorted(needed))
    done = {run.run_id for run in old if run.tags.get(THINNED) == run.run_id}
    return Prunable(tuple(sorted(names - needed)), tuple(each for each in kept if each not in done), kept)


def prune(instance: dg.DagsterInstance, before: datetime, *, dry_run: bool) -> Pruned:
    """Remove runs that ended before a moment, and of those that hold something latest all the rest.

    Every step may be repeated: a run is marked as thinned after it was, and what is latest is looked up anew each time.

    Args:
        instance: Whose runs.
        before: Aware.
        dry_run: Only count.

    Raises:
        TransientError: A database was in use for too long to be rewritten.
    """
    latest = find_latest(instance)
    found = find_prunable(instance, before, latest)
    size = 0 if dry_run else _size(instance)
    told = Pruned(len(found.whole), len(found.thinned))
    for run_id in found.whole:
        told.events += _count_events(instance, run_id) if dry_run else delete_run(instance, run_id)
    told.events += _forget_superseded(instance, found.kept, latest, dry_run=dry_run)
    for run_id in found.thinned:
        told.events += _thin(instance, run_id, latest.kinds.get(run_id, frozenset()), dry_run=dry_run)
        if not dry_run:
            instance.add_run_tags(run_id, {THINNED: run_id})
    if not dry_run:
        forget_beats(instance)
    if not dry_run and (told.events or told.runs or told.thinned):
        clear(instance)
        told.bytes = max(0, size - _size(instance))
    return told


def delete_run(instance: dg.DagsterInstance, run_id: str) -> int:
    """Remove a run with its events, executions of checks, printed lines and its own database; gives how many events that were.

    It un-materialises what only this run made: ``prune`` never does that, an erasure may.
    """
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

    count = _count_events(instance, run_id)
    instance.delete_run(run_id)
    with _index(instance) as connection:
        connection.execute(AssetCheckExecutionsTable.delete().where(AssetCheckExecutionsTable.c.run_id == run_id))
        _forget_last(connection, run_id)
    _drop_database(instance, run_id)
    _drop_prints(instance, run_id)
    return count


def clear(instance: dg.DagsterInstance) -> None:
    """Rewrite the instance's databases so that no byte of a deleted row is left in them or in their write-ahead logs.

    What PostgreSQL keeps in its own write-ahead log goes when that is recycled.

    Raises:
        TransientError: A database was in use for too long.
    """
    for path in databases(instance):
        rewrite(path)
    with _index(instance) as connection:
        if connection.dialect.name == "postgresql":
            _rewrite_tables(connection)


def rewrite(path: Path) -> None:
    """Rewrite one SQLite database without its free pages, and empty its write-ahead log.

    Raises:
        TransientError: Another process used it for too long.
    """
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.OperationalError as error:
        raise TransientError(f"the database {path.name} could not be rewritten: {error}") from None
    if is_busy:
        raise TransientError(f"the database {path.name} is being read; its write-ahead log could not be emptied")


def databases(instance: dg.DagsterInstance) -> list[Path]:
    """The SQLite files of an instance: runs, index, schedules and one of each run; none where they are elsewhere or in memory."""
    found: set[Path] = set()
    for connect in (instance.run_storage, instance.schedule_storage):
        if hasattr(connect, "connect"):
            with connect.connect() as connection:  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]: of every SQL storage
                found |= _files(connection)
    with _index(instance) as connection:
        found |= _files(connection)
    shards = _shards(instance)
    return sorted(found | (set(shards.glob("*.db")) if shards else set()))


def _files(connection: "Connection") -> set[Path]:
    path = Path(connection.engine.url.database or "") if connection.dialect.name == "sqlite" else None
    return {path} if path and path.is_file() else set()


def _size(instance: dg.DagsterInstance) -> int:
    sides = ("", "-wal")
    return sum(each.stat().st_size for path in databases(instance) for side in sides if (each := Path(f"{path}{side}")).is_file())


def _rewrite_tables(connection: "Connection") -> None:
    from sqlalchemy import inspect, text
    from sqlalchemy.exc import OperationalError

    there = set(inspect(connection).get_table_names())
    with connection.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as session:
        session.execute(text(f"SET lock_timeout = '{_WAIT_S}s'"))
        for table in _TABLES:
            if table in there:
                try:
                    session.execute(text(f"VACUUM FULL {table}"))
                except OperationalError:
                    raise TransientError(f"the table {table} was in use for too long to be rewritten") from None


def _index(instance: dg.DagsterInstance) -> Any:
    """A transaction on the events of all runs that are looked up by asset; of all events, where they lie in one database."""
    return instance.event_log_storage.index_connection()  # pyright: ignore[reportAttributeAccessIssue]: of every SQL storage


def _shards(instance: dg.DagsterInstance) -> Path | None:
    """The folder of the runs' own databases, where they have some."""
    storage = instance.event_log_storage
    return Path(storage.path_for_shard("index")).parent if hasattr(storage, "path_for_shard") else None  # pyright: ignore[reportAttributeAccessIssue]


def _drop_database(instance: dg.DagsterInstance, run_id: str) -> None:
    if shards := _shards(instance):
        for side in ("", "-wal", "-shm"):
            (shards / f"{run_id}.db{side}").unlink(missing_ok=True)


def _drop_prints(instance: dg.DagsterInstance, run_id: str) -> None:
    """What the steps of a run printed."""
    with suppress(NotImplementedError):  # a manager that keeps nothing
        instance.compute_log_manager.delete_logs(prefix=[run_id])


def _forget_last(connection: "Connection", run_id: str) -> None:
    """Where the table of assets has a copy of what a deleted run told last, put what remains in its place."""
    from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageTable
    from sqlalchemy import select

    assets, events = AssetKeyTable.c, SqlEventLogStorageTable.c
    named = assets.last_run_id == run_id
    for (asset,) in connection.execute(select(assets.asset_key).where(named | assets.last_materialization.contains(run_id))).all():
        mine = (events.asset_key == asset) & (events.dagster_event_type == _LATEST[0])
        left = connection.execute(select(events.event, events.run_id).where(mine).order_by(events.id.desc()).limit(1)).first()
        event, run = left or (None, None)
        told = {"last_materialization": event, "last_run_id": run, "cached_status_data": None}
        connection.execute(AssetKeyTable.update().where(assets.asset_key == asset).values(told))


def _count_events(instance: dg.DagsterInstance, run_id: str) -> int:
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
    from sqlalchemy import func, select

    if (shards := _shards(instance)) and not (shards / f"{run_id}.db").is_file():
        return 0  # to ask would make the database
    with instance.event_log_storage.run_connection(run_id) as connection:  # pyright: ignore[reportAttributeAccessIssue]: of every SQL storage
        events = SqlEventLogStorageTable.c
        return connection.execute(select(func.count()).select_from(SqlEventLogStorageTable).where(events.run_id == run_id)).scalar_one()


def _forget_superseded(instance: dg.DagsterInstance, runs: Iterable[str], latest: Latest, *, dry_run: bool) -> int:
    """Remove from the index what old runs tell of assets and checks and what newer runs have told since."""
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, AssetEventTagsTable, SqlEventLogStorageTable
    from sqlalchemy import select

    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    count = 0
    with _index(instance) as connection:
        for batch in _batches(list(runs)):
            about = select(events.id).where(events.run_id.in_(batch), events.dagster_event_type.in_((*_OF_ASSETS, *_OF_CHECKS)))
            gone = _without(connection, about, latest.events)
            judged = _without(connection, select(checks.id).where(checks.run_id.in_(batch)), latest.executions)
            count += len(gone)
            if dry_run:
                continue
            for some in _batches(gone):
                connection.execute(AssetEventTagsTable.delete().where(AssetEventTagsTable.c.event_id.in_(some)))
                connection.execute(SqlEventLogStorageTable.delete().where(events.id.in_(some)))
            for some in _batches(judged):
                connection.execute(AssetCheckExecutionsTable.delete().where(checks.id.in_(some)))
    return count


def _without(connection: "Connection", wanted: "Select[Any]", kept: frozenset[int]) -> list[int]:
    return [number for (number,) in connection.execute(wanted) if number not in kept]


def _thin(instance: dg.DagsterInstance, run_id: str, kinds: frozenset[Kind], *, dry_run: bool) -> int:
    """Leave of a run's own events its beginning and end and the newest of each kind that is the latest; gives how many others there are."""
    from dagster._core.events import EVENT_TYPE_TO_PIPELINE_RUN_STATUS
    from dagster._core.storage.event_log.schema import AssetEventTagsTable, SqlEventLogStorageTable
    from sqlalchemy import select

    shards = _shards(instance)
    if shards and not (shards / f"{run_id}.db").is_file():
        return 0
    ends = {kind.value for kind in EVENT_TYPE_TO_PIPELINE_RUN_STATUS}
    # In one database with the index, what is told of assets and checks was dealt with there.
    spared = ends if shards else {*ends, *_OF_ASSETS, *_OF_CHECKS}
    events = SqlEventLogStorageTable.c
    with instance.event_log_storage.run_connection(run_id) as connection:  # pyright: ignore[reportAttributeAccessIssue]: of every SQL storage
        told = connection.execute(
            select(events.id, events.asset_key, events.partition, events.dagster_event_type).where(events.run_id == run_id)
        ).all()
        newest = {(asset, partition, kind): number for number, asset, partition, kind in sorted(told, key=lambda each: each[0])}
        kept = {number for each, number in newest.items() if each in kinds}
        gone = [number for number, _, _, kind in told if number not in kept and kind not in spared]
        for some in () if dry_run else _batches(gone):
            connection.execute(AssetEventTagsTable.delete().where(AssetEventTagsTable.c.event_id.in_(some)))
            connection.execute(SqlEventLogStorageTable.delete().where(events.id.in_(some)))
    if not dry_run:
        _drop_prints(instance, run_id)
    return len(gone)


def _batches(values: list[Any]) -> Iterator[list[Any]]:
    return (values[start : start + _BATCH] for start in range(0, len(values), _BATCH))
