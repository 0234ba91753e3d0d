"""The lake: every table's rows, in Delta, one file and one state per partition, but for those that are appended to.

A data file is written, made durable and only then named by a commit; the commit is made durable before anyone is told. The
file carries the state of its partition in its footer: digest, code version, digests of its inputs, run and trace. Files are
immutable and never share a name, so a reader sees the old partition or the new one, never a mixture.

Types are compared exactly (Delta would cast 1.5 to 1), keys must be unique, and an empty day needs empty inputs. A commit
goes through the handle that was read: when another commit came first, ``write`` looks whether its own partition was touched
and ``update`` reads and computes anew. Log entries hold row counts but no column statistics, so no identifier gets there.

The rooms behind it: ``lake_rows.py`` checks rows, ``lake_states.py`` says what is known of a partition, ``lake_log.py`` commits,
``lake_care.py`` mends and vacuums. Which partitions are out of date is decided in ``staleness.py``.
"""

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from spotify_ai_assets.contracts import DAY, SHARD, WHOLE, Partition, Table, name_of
from spotify_ai_assets.errors import CommitConflictError, EmptyPartitionError, MissingInputError, TransientError
from spotify_ai_assets.resources import lake_care, lake_log
from spotify_ai_assets.resources.digests import digest
from spotify_ai_assets.resources.lake_log import HISTORY_DAYS
from spotify_ai_assets.resources.lake_rows import RecentRows, checked
from spotify_ai_assets.resources.lake_states import Origin, Recipe, State, Written, from_footer, join_states, to_footer
from spotify_ai_assets.resources.locks import Locks
from spotify_ai_assets.resources.storage import Storage

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction

__all__ = ["HISTORY_DAYS", "WHOLE", "Lake", "Origin", "Recipe", "State", "Written"]

Part = TypeVar("Part", bound=Partition)

_ATTEMPTS = 25
_THREADS = 4
_BATCH_PARTITIONS, _BATCH_ROWS = 31, 100_000
_RECENT_BYTES = 2**30
_HIVE = {DAY: {DAY: pl.Date}, SHARD: {SHARD: pl.String}}
_LOG = logging.getLogger(__name__)


class Lake:
    """All tables under one root.

    Args:
        root: A folder, or ``s3://bucket/prefix``.
        tables: Every contract by its key.
        locks: Hands out the lock of a table.
    """

    def __init__(self, root: str, tables: Mapping[str, Table], locks: Locks) -> None:
        self.storage = Storage(root)
        self.tables = tables
        self.locks = locks
        self._files: dict[str, State] = {}
        """What each data file that was looked at or written tells."""
        self._recent = RecentRows(_RECENT_BYTES)

    # Reading -----------------------------------------------------------------------------------------------------------

    def table(self, key: str, *, version: int | None = None, as_of: datetime | None = None) -> "DeltaTable | None":
        """The Delta table of a contract, or ``None`` before its first commit.

        Args:
            key: The table's key.
            version: A past version.
            as_of: A past moment, with its time zone; the last commit before it counts.

        Raises:
            HistoryErasedError: The past state was removed by an erasure.
            PermanentError: The past state never was, or is older than the history kept.
            TransientError: A power cut tore the end of the log and nobody has written since.
        """
        self._contract(key)
        table = lake_log.open_table(self.storage, key)
        if table is None or (version is None and as_of is None):
            return table
        return lake_log.open_past(table, key, version, as_of)

    def scan(
        self,
        key: str,
        *,
        first: date | None = None,
        last: date | None = None,
        version: int | None = None,
        as_of: datetime | None = None,
    ) -> pl.LazyFrame:
        """The rows of a table, of all its days or of those from ``first`` to ``last``, both included.

        Rows come in the order of their days or shards; within one, or a table that is not daily, sorted by key where it was written
        at once. A column that the contract gained later is null in rows written before.

        Raises:
            HistoryErasedError: The past state was removed by an erasure.
            PermanentError: The past state never was, or is older than the history kept.
        """
        contract, table = self._contract(key), self.table(key, version=version, as_of=as_of)
        if table is None:
            return contract.empty().lazy()
        files = lake_log.live_files(table, contract)
        if first is not None and contract.is_daily:
            files = files.filter(pl.col("partition") >= name_of(first))
        if last is not None and contract.is_daily:
            files = files.filter(pl.col("partition") <= name_of(last))
        return self._scan(contract, files["path"].to_list())

    def open(self, key: str, states: Iterable[State], *, from_disk: bool = False) -> pl.LazyFrame:
        """The rows of partitions whose states are known: exactly those files, whatever was committed since.

        Args:
            key: The table's key.
            states: The partitions.
            from_disk: Read the files even where their rows are still in memory, as a proof of them must.
        """
        contract, paths = self._contract(key), [path for state in states if state.rows for path in state.paths]
        rows = None if from_disk else self._recent.get(contract, paths)
        return self._scan(contract, paths) if rows is None else rows

    def states(self, key: str) -> dict[str, State]:
        """Every partition's state, by its name: an ISO date, a shard, or ``WHOLE``.

        Raises:
            TransientError: A file is not there or not whole.
        """
        table = self.table(key)
        return {} if table is None else self._states(key, lake_log.live_files(table, self._contract(key)))

    def state(self, key: str, partition: Partition) -> State | None:
        """One partition's state, or ``None`` where there is none.

        Raises:
            TransientError: A file is not there or not whole.
        """
        if (table := self.table(key)) is None:
            return None
        files = lake_log.live_files(table, self._contract(key)).filter(pl.col("partition") == name_of(partition))
        return self._states(key, files).get(name_of(partition))

    # Writing -----------------------------------------------------------------------------------------------------------

    def write(
        self,
        key: str,
        frame: pl.DataFrame,
        partition: Partition = None,
        *,
        recipe: Recipe | None = None,
        origin: Origin | None = None,
        driving_rows: int | None = None,
        seconds: float = 0.0,
    ) -> Written:
        """Replace one partition by these rows.

        The same rows made by the same recipe change nothing.

        Args:
            key: The table's key.
            frame: All rows of the partition, in any order, exactly the contract's columns.
            partition: The day or the shard, for a table that has them.
            recipe: How the rows were made.
            origin: Which run made them.
            driving_rows: Rows in the inputs that drive this partition; ``None`` where it has none.
            seconds: How long making the rows took.

        Raises:
            ContractError: Columns, types or keys differ from the contract.
            EmptyPartitionError: No rows although the inputs have some.
            CommitConflictError: Another writer replaced this partition meanwhile.
        """
        with self.batch(key, [partition], origin=origin) as batch:
            written = batch.put(frame, partition, recipe=recipe, driving_rows=driving_rows, seconds=seconds)
        return replace(written, version=batch.version)

    def batch(self, key: str, partitions: Iterable[Partition], *, origin: Origin | None = None) -> "Batch":
        """Replace several partitions, the ones that are put until a flush in one commit.

        Args:
            key: The table's key.
            partitions: Those that may be put.
            origin: Which run makes them.
        """
        return Batch(self, self._contract(key), [name_of(each) for each in partitions], origin or Origin())

    def update(
        self,
        key: str,
        partitions: Iterable[Part],
        change: Callable[[Part, pl.DataFrame], pl.DataFrame],
        *,
        origin: Origin | None = None,
        transaction: str | None = None,
    ) -> dict[Part, Written]:
        """Read partitions, change them, and commit all of them or none.

        When another commit came first, they are read and changed anew: nothing that another writer added is lost.
        ``change`` may therefore be called more than once for a partition, and for several at the same time.

        Args:
            key: The table's key.
            partitions: The days or shards to change; ``None`` alone for the whole of a table that has none.
            change: Gives the new rows of a partition from its present rows.
            origin: Which run does it.
            transaction: Names this update; noted in the log with the commit.

        Raises:
            ContractError: The changed rows break the contract.
            CommitConflictError: Other writers won every race.
        """
        contract, parts = self._contract(key), list(dict.fromkeys(partitions))
        names = [name_of(part) for part in parts]
        with self._writing(contract, names) as (table, files):
            for _ in range(_ATTEMPTS):
                with ThreadPoolExecutor(_THREADS) as pool:  # the disk's syncs overlap
                    remade = dict(zip(parts, pool.map(self._remaker(contract, files, change, origin or Origin()), parts), strict=True))
                new = {name_of(part): (old, state, add) for part, (old, state, add) in remade.items() if add is not None}
                version: int | None = table.version()
                if new:
                    added, removed = [add for *_, add in new.values()], tuple(path for old, *_ in new.values() if old for path in old.paths)
                    states = {name: state for name, (_, state, _) in new.items()}
                    version = lake_log.commit(self.storage, contract, table, added, removed, states, transaction)
                if version is not None:
                    return {part: Written(state, is_new=add is not None, version=version) for part, (_, state, add) in remade.items()}
                table, files = self._open_to_write(contract, names)
        raise CommitConflictError(f"{key}: other writers won every race for a commit")

    def extend(
        self,
        key: str,
        partitions: Iterable[Part],
        new_rows: Callable[[Part, pl.LazyFrame], pl.DataFrame],
        *,
        origin: Origin | None = None,
        transaction: str | None = None,
    ) -> dict[Part, int]:
        """Add rows to partitions in files of their own, all of them or none: it costs what is added, not what is there.

        Keys are unique within what is added; that the partition holds none of them is for ``new_rows`` to see to. It is called
        once more for each partition when another commit came first. ``update`` makes one file of many again.

        Args:
            key: The table's key.
            partitions: The days or shards to extend; ``None`` alone for the whole of a table that has none.
            new_rows: Gives the rows to add to a partition from its present rows.
            origin: Which run does it.
            transaction: Names this extension; noted in the log with the commit.

        Returns:
            How many rows were added to each.

        Raises:
            ContractError: The new rows break the contract.
            CommitConflictError: Other writers won every race.
        """
        contract, parts = self._contract(key), list(dict.fromkeys(partitions))
        with self._writing(contract, list(map(name_of, parts))) as (table, files):
            for _ in range(_ATTEMPTS):
                added: dict[Part, tuple[AddAction, State]] = {}
                for part in parts:
                    present = self._scan(contract, files.filter(pl.col("partition") == name_of(part))["path"].to_list())
                    rows = checked(contract, new_rows(part, present), part)
                    if rows.height:
                        made = State(digest(rows), rows.height, 0, Recipe(contract.code_version), origin or Origin(), 0.0, ())
                        added[part] = self._put(contract, rows, name_of(part), made)
                adds, states = [add for add, _ in added.values()], {name_of(part): state for part, (_, state) in added.items()}
                if not adds or lake_log.commit(self.storage, contract, table, adds, (), states, transaction) is not None:
                    return {part: added[part][1].rows if part in added else 0 for part in parts}
                table, files = self._open_to_write(contract, list(map(name_of, parts)))
        raise CommitConflictError(f"{key}: other writers won every race for a commit")

    def drop(self, key: str, partitions: Iterable[Partition], *, origin: Origin | None = None) -> list[str]:
        """Take partitions out of a table, all of them or none; their bytes go when vacuum finds that no kept version needs them.

        Args:
            key: The table's key.
            partitions: The days or shards; ``None`` alone for the whole of a table that has none.
            origin: Which run does it.

        Returns:
            The names of those that were there.

        Raises:
            CommitConflictError: Other writers won every race.
        """
        contract, names = self._contract(key), [name_of(partition) for partition in partitions]
        if self.table(key) is None:
            return []
        with self._writing(contract, names) as (table, files):
            for _ in range(_ATTEMPTS):
                gone = sorted(set(files["partition"]))
                states = {name: State("", 0, 0, Recipe(), origin or Origin(), 0.0, ()) for name in gone}
                if not gone or lake_log.commit(self.storage, contract, table, [], tuple(files["path"]), states) is not None:
                    return gone
                table, files = self._open_to_write(contract, names)
        raise CommitConflictError(f"{key}: other writers won every race for a commit")

    def append(self, key: str, frame: pl.DataFrame, *, transaction: str, origin: Origin | None = None) -> bool:
        """Add rows to a table that is not daily, exactly once per transaction.

        Delta notes a transaction's id but does not refuse it a second time; this does. Keys are unique within these rows;
        that the table holds none of them yet is the caller's knowledge.

        Returns:
            Whether rows were added; ``False`` where this transaction was committed before.

        Raises:
            ContractError: Columns, types or keys differ from the contract.
            CommitConflictError: Other writers won every race.
        """
        contract = self._contract(key)
        rows = checked(contract, frame, None)
        made = State(digest(rows), rows.height, 0, Recipe(contract.code_version), origin or Origin(), 0.0, ())
        put: tuple[AddAction, State] | None = None
        with self._writing(contract, []) as (table, _):
            for _ in range(_ATTEMPTS):
                if table.transaction_version(transaction) is not None:
                    return False
                put = put or self._put(contract, rows, WHOLE, made)
                if lake_log.commit(self.storage, contract, table, [put[0]], (), {WHOLE: put[1]}, transaction) is not None:
                    return True
                table, _ = self._open_to_write(contract, [])
        raise CommitConflictError(f"{key}: other writers won every race for a commit")

    # Care --------------------------------------------------------------------------------------------------------------

    def mend(self, key: str) -> list[str]:
        """Set aside what a power cut tore: log files, checkpoints, partitions whose data is not whole.

        Returns:
            One sentence for each thing set aside; a partition named there must be made again.
        """
        contract = self._contract(key)
        with self.locks.exclusive(key):
            return self._mend(contract)

    def vacuum(self, key: str, *, keep: timedelta = timedelta(days=HISTORY_DAYS), dry_run: bool = False) -> list[str]:
        """Remove the files that no kept version needs, those of killed writers included, while nobody writes.

        Returns:
            The removed (or, in a dry run, removable) files, relative to the table.
        """
        contract = self._contract(key)
        with self.locks.exclusive(key):
            if not dry_run:
                self._mend(contract)
            table = self.table(key)
            return [] if table is None else lake_care.vacuum(self.storage, key, table, keep, dry_run=dry_run)

    def forget_history(self, key: str) -> None:
        """Remove every past state, so that what was rewritten is gone from the disk; ``as_of`` a past moment fails then."""
        contract = self._contract(key)
        with self.locks.exclusive(key):
            self._mend(contract)
            if (table := self.table(key)) is not None:
                lake_care.forget_history(self.storage, key, table)

    # Inside ------------------------------------------------------------------------------------------------------------

    def _contract(self, key: str) -> Table:
        if key not in self.tables:
            raise MissingInputError(f"{key}: no contract declares this table")
        return self.tables[key]

    def _mend(self, contract: Table) -> list[str]:
        sentences = lake_care.mend(self.storage, contract)
        for sentence in sentences:
            _LOG.warning(sentence)
        return sentences

    @contextmanager
    def _writing(self, contract: Table, names: list[str]) -> "Iterator[tuple[DeltaTable, pl.DataFrame]]":
        """Hold the shared lock on a table whose log and named partitions are whole; gives it with the files of these partitions.

        A commit on top of a torn one would hide it for good, so a torn table is mended first, under the exclusive lock.
        """
        while True:
            with self.locks.shared(contract.key):
                if not lake_care.is_torn(self.storage, contract.key):
                    table, files = self._open_to_write(contract, names)
                    if not lake_care.torn_files(self.storage, contract.key, files):
                        yield table, files
                        return
            with self.locks.exclusive(contract.key):
                self._mend(contract)

    def _open_to_write(self, contract: Table, names: list[str]) -> "tuple[DeltaTable, pl.DataFrame]":
        table = lake_log.open_to_write(self.storage, contract)
        return table, lake_log.live_files(table, contract).filter(pl.col("partition").is_in(names))

    def _remaker(
        self, contract: Table, files: pl.DataFrame, change: Callable[[Part, pl.DataFrame], pl.DataFrame], origin: Origin
    ) -> "Callable[[Part], tuple[State | None, State, AddAction | None]]":
        """Gives for a partition its old state, its new one, and the file to add where the rows differ."""
        states = self._states(contract.key, files)

        def remake(part: Part) -> "tuple[State | None, State, AddAction | None]":
            old = states.get(name_of(part))
            rows = checked(contract, change(part, self._scan(contract, list(old.paths) if old else []).collect()), part)
            made = State(digest(rows), rows.height, 0, Recipe(contract.code_version), origin, 0.0, ())
            if (old.digest == made.digest) if old else rows.is_empty():
                return old, old or made, None
            add, state = self._put(contract, rows, name_of(part), made)
            return old, state, add

        return remake

    def _put(self, contract: Table, rows: pl.DataFrame, name: str, made: State) -> "tuple[AddAction, State]":
        """Write the rows to a new file, which is no part of the table before a commit names it."""
        folder = f"{contract.partitioned_by}={name}/" if contract.partitioned_by else ""
        path = f"{folder}{uuid.uuid4().hex}.parquet"
        is_public = all(column.personal == "none" for column in contract.columns)
        size = self.storage.write(contract.key, path, rows, statistics=is_public, metadata=to_footer(made))
        state = self._files[f"{contract.key}/{path}"] = replace(made, size=size, paths=(path,))
        self._recent.keep(contract, path, rows)
        return lake_log.addition(path, size, rows.height), state

    def _scan(self, contract: Table, paths: list[str]) -> pl.LazyFrame:
        if not paths:
            return contract.empty().lazy()
        return pl.scan_parquet(
            [self.storage.uri(contract.key, path) for path in paths],
            glob=False,
            schema=pl.Schema({name: dtype for name, dtype in contract.schema.items() if name != contract.partitioned_by}),
            hive_partitioning=contract.partitioned_by is not None,
            hive_schema=_HIVE[contract.partitioned_by] if contract.partitioned_by else None,
            missing_columns="insert",
            extra_columns="ignore",
        ).select(list(contract.schema))

    def _states(self, key: str, files: pl.DataFrame) -> dict[str, State]:
        """States of the partitions that these files hold; a footer is read once, since files never change."""
        unread = files.filter(pl.Series([f"{key}/{path}" not in self._files for path in files["path"]], dtype=pl.Boolean))
        try:
            footers = self.storage.footers(key, unread["path"].to_list())
            for (path, rows, size), footer in zip(unread.select("path", "rows", "size").iter_rows(), footers, strict=True):
                self._files[f"{key}/{path}"] = from_footer(path, rows, size, footer)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise TransientError(f"{key}: a data file was removed just now or is not whole; `mend` takes the latter out") from error
        partitions = files.group_by("partition", maintain_order=True).agg("path").iter_rows()
        return {str(name): join_states([self._files[f"{key}/{path}"] for path in paths]) for name, paths in partitions}


class Batch:
    """Partitions of one table that are replaced together; see ``Lake.batch``.

    What is put lies in durable files at once and becomes part of the table at the next flush: all of it or none. The table's
    lock is held from the first put to the flush. Leaving the block flushes, leaving it by an error forgets what was put.
    """

    def __init__(self, lake: Lake, contract: Table, names: list[str], origin: Origin) -> None:
        self._lake = lake
        self._contract = contract
        self._names = names
        self._origin = origin
        self._held = ExitStack()
        self._put: dict[str, tuple[State | None, State, AddAction]] = {}
        self.version = 0
        """The table's version that holds what was flushed last."""

    def __enter__(self) -> "Batch":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._held:
            if kind is None:
                self.flush()

    @property
    def is_full(self) -> bool:
        """Whether enough was put for a commit: one costs as much as a few small partitions."""
        return len(self._put) >= _BATCH_PARTITIONS or sum(state.rows for _, state, _ in self._put.values()) >= _BATCH_ROWS

    def put(
        self,
        frame: pl.DataFrame,
        partition: Partition = None,
        *,
        recipe: Recipe | None = None,
        driving_rows: int | None = None,
        seconds: float = 0.0,
    ) -> Written:
        """Replace a partition by these rows at the next flush; arguments and errors as in ``Lake.write``."""
        lake, contract, name = self._lake, self._contract, name_of(partition)
        if frame.is_empty() and driving_rows:
            raise EmptyPartitionError(f"{contract.key}: {name or 'the table'} came out empty although its inputs have {driving_rows} rows")
        rows = checked(contract, frame, partition)
        made = State(digest(rows), rows.height, 0, recipe or Recipe(), self._origin, seconds, ())
        self._open()
        before = self._before.get(name)
        if before and (before.digest, before.recipe) == (made.digest, made.recipe):
            self._put.pop(name, None)
            return Written(before, is_new=False, version=self.version)
        add, state = lake._put(contract, rows, name, made)
        self._put[name] = before, state, add
        return Written(state, is_new=before is None or before.digest != state.digest, version=self.version)

    def flush(self) -> None:
        """Commit what was put.

        Raises:
            CommitConflictError: Another writer replaced one of these partitions meanwhile; nothing is committed.
        """
        if self._put:
            self._commit()
        self._put.clear()
        self._held.close()

    def _open(self) -> None:
        """Hold the table, unless it is held already, and see what its partitions are."""
        if not self._put:
            self._held.close()
            self._table, files = self._held.enter_context(self._lake._writing(self._contract, self._names))
            self._before, self.version = self._lake._states(self._contract.key, files), self._table.version()

    def _commit(self) -> None:
        lake, contract = self._lake, self._contract
        added = [add for *_, add in self._put.values()]
        removed = tuple(path for before, *_ in self._put.values() if before for path in before.paths)
        states = {name: state for name, (_, state, _) in self._put.items()}
        for _ in range(_ATTEMPTS):
            version = lake_log.commit(lake.storage, contract, self._table, added, removed, states)
            if version is not None:
                self.version = version
                return
            self._table, files = lake._open_to_write(contract, list(states))
            now = lake._states(contract.key, files)
            if any(
                (now[name].paths if name in now else ()) != (before.paths if before else ()) for name, (before, *_) in self._put.items()
            ):
                break
        raise CommitConflictError(f"{contract.key}: {', '.join(states) or 'the table'} was replaced by another writer meanwhile")
