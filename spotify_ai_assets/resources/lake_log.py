"""A table's Delta log: opening, creating and widening a table, its past versions, one commit on top of the version read.

Nothing here retries: a commit that came too late says so, and ``lake.py`` decides what to read again.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from spotify_ai_assets.contracts import WHOLE, Table
from spotify_ai_assets.errors import HistoryErasedError, PermanentError, TransientError
from spotify_ai_assets.resources.lake_states import State
from spotify_ai_assets.resources.storage import Storage

if TYPE_CHECKING:
    from deltalake import DeltaTable, PostCommitHookProperties, Schema
    from deltalake.transaction import AddAction, RemoveAction

HISTORY_DAYS = 7
_ATTEMPTS = 10
ERASED_BEFORE = "spotify_ai.erasedBefore"
"""Table property: the first version that an erasure left."""


def open_table(storage: Storage, key: str) -> "DeltaTable | None":
    """The newest version, or ``None`` before the first commit.

    Raises:
        TransientError: A power cut tore the end of the log; the next write, or ``mend``, sets that end aside.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        return DeltaTable(storage.uri(key))
    except TableNotFoundError:
        return None
    except DeltaError as error:
        raise TransientError(f"{key}: the end of its log is not whole; the next write to it, or `mend`, sets that aside") from error


def open_past(table: "DeltaTable", key: str, version: int | None, as_of: datetime | None) -> "DeltaTable":
    """The same table as it was.

    A moment is looked up in the commits' own times: those of the files change when a backup is restored.

    Raises:
        HistoryErasedError: An erasure removed that state.
        PermanentError: That state never was, or is older than the history kept.
    """
    from deltalake.exceptions import DeltaError

    erased_before = int(table.metadata().configuration.get(ERASED_BEFORE, 0))
    if as_of is not None:
        milliseconds = as_of.astimezone(UTC).timestamp() * 1000
        version = max((commit["version"] for commit in table.history() if commit["timestamp"] <= milliseconds), default=-1)
    if version is not None and erased_before and version < erased_before:
        raise HistoryErasedError(f"{key}: an erasure removed the states before version {erased_before}")
    gone = f"{key}: that state is not there; history is kept for {HISTORY_DAYS} days"
    if version is None or version < 0:
        raise PermanentError(gone)
    try:
        table.load_as_version(version)
    except (DeltaError, ValueError) as error:
        raise PermanentError(gone) from error
    return table


def open_to_write(storage: Storage, contract: Table) -> "DeltaTable":
    """The newest version, created where there is none, with every column that the contract has by now.

    Raises:
        TransientError: Other processes changed the table's columns at the same time, again and again.
    """
    from deltalake import CommitProperties
    from deltalake.exceptions import DeltaError

    for _ in range(_ATTEMPTS):
        table = open_table(storage, contract.key) or _create(storage, contract)
        known = {field.name for field in table.schema().fields}
        added = [field for field in _schema(contract).fields if field.name not in known]
        if not added:
            return table
        storage.sync_log(contract.key, table.version())
        with suppress(DeltaError):  # another commit came first: look again
            table.alter.add_columns(added, commit_properties=CommitProperties(max_commit_retries=0), post_commithook_properties=no_hooks())
            storage.sync_log(contract.key, table.version())
            return table
    raise TransientError(f"{contract.key}: other processes kept changing the table while it was widened")


def _create(storage: Storage, contract: Table) -> "DeltaTable":
    from deltalake import CommitProperties, DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        table = DeltaTable.create(
            storage.uri(contract.key),
            _schema(contract),
            partition_by=_partition_by(contract),
            configuration={
                "delta.logRetentionDuration": f"interval {HISTORY_DAYS} days",
                "delta.deletedFileRetentionDuration": f"interval {HISTORY_DAYS} days",
                # Log files go in the vacuum only, after the checkpoint that replaces them is durable.
                "delta.enableExpiredLogCleanup": "false",
            },
            # Tried again, a creation would commit itself on top of the table that another process created meanwhile.
            commit_properties=CommitProperties(max_commit_retries=0),
        )
    except DeltaError:
        if (table := open_table(storage, contract.key)) is None:  # else another process created it first
            raise
    return table


def commit(
    storage: Storage,
    contract: Table,
    table: "DeltaTable",
    added: "list[AddAction]",
    removed: tuple[str, ...],
    states: Mapping[str, State],
    transaction: str | None = None,
) -> int | None:
    """Commit on top of exactly the version that was read, durable when this returns.

    Returns:
        The version that holds it; ``None`` where another commit came first.
    """
    from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
    from deltalake.exceptions import CommitFailedError
    from deltalake.transaction import Transaction

    now = int(time.time() * 1000)
    base = table.version()
    # Another writer may not have synced yet what this commit is about to stand on.
    storage.sync_log(contract.key, base)
    try:
        table.create_write_transaction(
            [*added, *(removal(path, now) for path in removed)],
            "append",  # with explicit removals: an overwrite would derive them from a predicate
            table.schema(),
            _partition_by(contract),
            commit_properties=CommitProperties(
                custom_metadata=_metadata(contract, states),
                max_commit_retries=0,
                app_transactions=[Transaction(transaction, 1, now)] if transaction else None,
            ),
            post_commithook_properties=PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False),
        )
    except CommitFailedError:
        # An object store may take a commit and lose the answer; the repeated request then finds its own commit there.
        newest = DeltaTable(storage.uri(contract.key))
        live = set(live_files(newest, contract)["path"])
        is_there = not storage.is_local and (added[0].path in live if added else live.isdisjoint(removed))
        return newest.version() if is_there else None
    storage.sync_log(contract.key, base + 1)  # the handle still shows the version that was read
    return base + 1


def _is_done(added: set[str], removed: tuple[str, ...], live: set[str]) -> bool:
    """Whether a commit that got no answer came about: files are never named twice, so its own tell."""
    return bool(added & live) if added else not live.intersection(removed)


def _metadata(contract: Table, states: Mapping[str, State]) -> dict[str, object]:
    origin = next(iter(states.values())).origin
    return {
        "run_id": origin.run_id,
        "trace_id": origin.trace_id,
        "code_version": contract.code_version,
        "partitions": {
            name: {"digest": state.digest, "rows": state.rows, "inputs": dict(state.recipe.inputs)} for name, state in states.items()
        },
    }


def live_files(table: "DeltaTable", contract: Table) -> pl.DataFrame:
    """Live files in the order of their partitions: path, partition, rows, size."""
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    by = contract.partitioned_by
    partition = pl.col(f"partition.{by}").cast(pl.String) if by and actions.height else pl.lit(WHOLE)
    return actions.select("path", partition.alias("partition"), rows="num_records", size="size_bytes").sort("partition", "path")


def addition(path: str, size: int, rows: int) -> "AddAction":
    """The log's entry for a new file. It counts the rows and says nothing about their values."""
    from deltalake.transaction import AddAction

    return AddAction(
        path=path,
        size=size,
        partition_values=_partition_values(path),
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": rows}),
    )


def removal(path: str, now: int) -> "RemoveAction":
    """The log's entry for a file that is no longer part of the table."""
    from deltalake.transaction import RemoveAction

    return RemoveAction(path=path, data_change=True, deletion_timestamp=now, partition_values=_partition_values(path))


def no_hooks() -> "PostCommitHookProperties":
    """For commits that change no rows: no checkpoint, no clean-up."""
    from deltalake import PostCommitHookProperties

    return PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


def _partition_values(path: str) -> dict[str, str | None]:
    folder = path.rpartition("/")[0]
    name, _, value = folder.partition("=")
    return {name: value} if folder else {}


def _partition_by(contract: Table) -> list[str] | None:
    return [contract.partitioned_by] if contract.partitioned_by else None


def _schema(contract: Table) -> "Schema":
    from deltalake import Schema

    return Schema.from_arrow(contract.empty().to_arrow(compat_level=pl.CompatLevel.oldest()).schema)
