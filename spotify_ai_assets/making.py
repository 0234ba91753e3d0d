"""Making the partitions of a table: read the declared inputs, run the table's function, validate, commit.

The one loop behind every asset that is made from others. It knows the lake and the staleness rule but no orchestrator:
``loading.py`` wraps it into assets.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from spotify_ai_assets.contracts import Partition, Table, name_of
from spotify_ai_assets.errors import MissingInputError, PermanentError, TransientError
from spotify_ai_assets.resources.lake import Batch, Lake, Origin, Written
from spotify_ai_assets.staleness import ALL, Ledger, awaited, partitions_of, reasons, recipe_now, same
from spotify_ai_assets.validation import BrokenPromisesError, Violation, require

_LOG = logging.getLogger(__name__)


class Inputs:
    """What one partition of a table is made from: exactly those partitions of others that its contract declares.

    Args:
        table: The contract of the table being made.
        partition: The day or shard being made; ``None`` for a whole.
        lake: Where the inputs lie.
        ledger: Which files hold them now; the same states whose digests go into its recipe.
    """

    def __init__(self, table: Table, partition: Partition, lake: Lake, ledger: Ledger) -> None:
        self.partition = partition
        self._table = table
        self._lake = lake
        self._ledger = ledger

    @property
    def day(self) -> date:
        """The day being made.

        Raises:
            MissingInputError: The table is not daily.
        """
        if not isinstance(self.partition, date):
            raise MissingInputError(f"{self._table.key}: it is not made by day")
        return self.partition

    @property
    def shard(self) -> str:
        """The shard being made.

        Raises:
            MissingInputError: The table is not sharded.
        """
        if not isinstance(self.partition, str):
            raise MissingInputError(f"{self._table.key}: it is not made by shard")
        return self.partition

    def __call__(self, key: str, first: int | None = None, last: int | None = None) -> pl.LazyFrame:
        """The rows of a declared input.

        Args:
            key: The input's table.
            first: Narrows the declared window: first day, relative to the day made.
            last: Narrows the declared window: last day, relative to the day made.

        Raises:
            MissingInputError: The contract does not declare that it reads this table.
        """
        declared = [reads for reads in self._table.reads if reads.key == key]
        if not declared:
            raise MissingInputError(f"{self._table.key}: its contract does not declare that it reads {key}")
        one = same(declared[0], self.partition, self._lake.tables[key])
        if one is not ALL:
            states = [state for state in [self._ledger.state(key, one)] if state]
        elif not (self._lake.tables[key].is_daily and isinstance(self.partition, date)):
            states = [state for _, state in sorted(self._ledger.states(key).items())]
        else:
            oldest = None if any(reads.first is None for reads in declared) else min(reads.first or 0 for reads in declared)
            begin = oldest if first is None else first
            end = max(reads.last for reads in declared) if last is None else last
            states = self._ledger.window(key, None if begin is None else self.day + timedelta(begin), self.day + timedelta(end))
        return self._lake.open(key, states)

    @property
    def driving_rows(self) -> int | None:
        """Rows of this partition in the inputs that drive the table; ``None`` where nothing drives it."""
        drivers = [reads.key for reads in self._table.reads if reads.drives]
        rows = [state.rows for key in drivers if (state := self._ledger.state(key, self._here(self._lake.tables[key])))]
        return sum(rows) if drivers else None

    @property
    def missing(self) -> list[str]:
        """Inputs of this partition that are made from others and were not made yet."""
        return [table.key for table in self._made_here if self._is_due(table) and self._ledger.state(table.key, self._here(table)) is None]

    @property
    def stale(self) -> list[str]:
        """Inputs of this partition that are themselves out of date."""
        return [table.key for table in self._made_here if reasons(table, self._here(table), self._lake.tables, self._ledger)]

    @property
    def _made_here(self) -> list[Table]:
        """The tables made from others of which this very partition is read; a whole that is read may be older."""
        here = [self._lake.tables[reads.key] for reads in self._table.reads if (reads.first or 0) <= 0 <= reads.last]
        return [table for table in here if table.reads and table.partitioned_by and table.partitioned_by == self._table.partitioned_by]

    def _here(self, source: Table) -> Partition:
        """The partition of a source that is of the same day or shard."""
        return self.partition if source.partitioned_by == self._table.partitioned_by else None

    def _is_due(self, source: Table) -> bool:
        return source.has(self.partition) and not awaited(source, self._here(source), self._lake.tables, self._ledger)


Make = Callable[[Inputs], pl.DataFrame]
"""Gives all rows of one partition from its inputs."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one partition.

    Attributes:
        partition: The day or shard; ``None`` for a whole.
        written: The committed partition; ``None`` where it was left alone or refused.
        reason: Why it was refused; empty when it was not. Holds no personal value.
        violations: Broken promises of its contract, where that is why.
        waits_for: The inputs without which there is nothing to make yet.
    """

    partition: Partition
    written: Written | None = None
    reason: str = ""
    violations: tuple[Violation, ...] = ()
    waits_for: tuple[str, ...] = ()


def make_partitions(
    table: Table, make: Make, partitions: Iterable[Partition], lake: Lake, ledger: Ledger, origin: Origin, *, only_stale: bool = False
) -> Iterator[Made]:
    """Make partitions of a table in order, small ones several to a commit.

    Days that a weekly or monthly table does not have, shards without input, and what waits for an input are left alone. One that
    is refused is reported and the others go on: nothing of it is committed, its last good state stays. Each is reported once it
    is committed.

    Args:
        table: The contract.
        make: The table's function.
        partitions: The days or shards to make, or ``None`` alone.
        lake: Where everything lies.
        ledger: The states as known now; follows what is written.
        origin: The run.
        only_stale: Leave alone what is up to date, and refuse a partition whose driving inputs are out of date.

    Raises:
        TransientError: A lock or a commit race was lost; another try may succeed.
    """
    ordered = sorted(partitions, key=name_of)
    waiting: list[Made] = []
    with lake.batch(table.key, ordered, origin=origin) as batch:
        for each in ordered:
            if absent := awaited(table, each, lake.tables, ledger):
                waiting.append(Made(each, waits_for=tuple(absent)))
            elif _is_empty(table, each, lake, ledger) or (only_stale and not reasons(table, each, lake.tables, ledger)):
                waiting.append(Made(each))
            else:
                waiting.append(_try(table, make, Inputs(table, each, lake, ledger), lake, ledger, batch, only_stale=only_stale))
            if batch.is_full:
                batch.flush()
                yield from waiting
                waiting.clear()
    yield from waiting


def _is_empty(table: Table, partition: Partition, lake: Lake, ledger: Ledger) -> bool:
    """Whether a table has no such day, or no input ever had such a shard."""
    if table.is_sharded:
        return partition not in partitions_of(table, [], lake.tables, ledger)
    return not table.has(partition)


def _try(table: Table, make: Make, inputs: Inputs, lake: Lake, ledger: Ledger, batch: Batch, *, only_stale: bool) -> Made:
    partition = inputs.partition
    try:
        return Made(partition, _make(table, make, inputs, lake, ledger, batch, only_stale=only_stale))
    except TransientError:
        raise
    except BrokenPromisesError as broken:
        return Made(partition, reason=str(broken), violations=broken.violations)
    except PermanentError as error:
        return Made(partition, reason=str(error))
    except Exception as error:  # its message may hold a person's value, so only its kind and place are told
        _LOG.error("%s %s: %s", table.key, name_of(partition), tell_place(error))
        return Made(partition, reason=tell_place(error))


def _make(table: Table, make: Make, inputs: Inputs, lake: Lake, ledger: Ledger, batch: Batch, *, only_stale: bool) -> Written:
    if absent := inputs.missing:
        raise MissingInputError(f"{table.key}: {', '.join(absent)} was not made for {name_of(inputs.partition)} yet")
    if only_stale and (waiting := inputs.stale):
        raise MissingInputError(f"{table.key}: waits for {', '.join(waiting)} of {name_of(inputs.partition)}")
    started = time.perf_counter()
    recipe = recipe_now(table, inputs.partition, lake.tables, ledger)
    frame = make(inputs)
    require(table, frame)
    written = batch.put(frame, inputs.partition, recipe=recipe, driving_rows=inputs.driving_rows, seconds=time.perf_counter() - started)
    ledger.note(table.key, inputs.partition, written.state)
    return written


def tell_place(error: Exception) -> str:
    """The kind of an error and where it was raised, without its message."""
    traceback = error.__traceback__
    while traceback and traceback.tb_next and "spotify_ai_assets" in traceback.tb_next.tb_frame.f_code.co_filename:
        traceback = traceback.tb_next
    where = f" in {traceback.tb_frame.f_code.co_name}, line {traceback.tb_lineno}" if traceback else ""
    return f"{type(error).__name__}{where}"
