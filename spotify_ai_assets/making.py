"""Making the days of a daily table: read the declared inputs, run the table's function, validate, commit.

The one loop behind every daily asset. It knows the lake and the staleness rule but no orchestrator: ``loading.py`` wraps it
into assets.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.errors import MissingInputError, PermanentError, TransientError
from spotify_ai_assets.resources.lake import Batch, Lake, Origin, Written
from spotify_ai_assets.staleness import Ledger, reasons, recipe_now
from spotify_ai_assets.validation import BrokenPromisesError, Violation, require

_LOG = logging.getLogger(__name__)


class Inputs:
    """What one day of a table is made from: exactly the partitions that its contract declares.

    Args:
        table: The contract of the table being made.
        day: The day being made.
        lake: Where the inputs lie.
        ledger: Which files hold them now; the same states whose digests go into the day's recipe.
    """

    def __init__(self, table: Table, day: date, lake: Lake, ledger: Ledger) -> None:
        self.day = day
        self._table = table
        self._lake = lake
        self._ledger = ledger

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
        if not self._lake.tables[key].is_daily:
            states = [state for state in [self._ledger.state(key, None)] if state]
        else:
            oldest = None if any(reads.first is None for reads in declared) else min(reads.first or 0 for reads in declared)
            begin = oldest if first is None else first
            end = max(reads.last for reads in declared) if last is None else last
            states = self._ledger.window(key, None if begin is None else self.day + timedelta(begin), self.day + timedelta(end))
        return self._lake.open(key, states)

    @property
    def driving_rows(self) -> int | None:
        """Rows of this day in the inputs that drive the table; ``None`` where nothing drives it."""
        drivers = [reads for reads in self._table.reads if reads.drives]
        states = [self._ledger.state(reads.key, self.day if self._lake.tables[reads.key].is_daily else None) for reads in drivers]
        return sum(state.rows for state in states if state) if drivers else None

    @property
    def missing(self) -> list[str]:
        """Inputs of this day that are made from others and were not made yet."""
        return [table.key for table in self._made_today if table.has(self.day) and self._ledger.state(table.key, self.day) is None]

    @property
    def stale(self) -> list[str]:
        """Inputs of this day that are themselves out of date."""
        return [table.key for table in self._made_today if reasons(table, self.day, self._lake.tables, self._ledger)]

    @property
    def _made_today(self) -> list[Table]:
        """The daily tables made from others of which this day is read."""
        today = [reads for reads in self._table.reads if (reads.first or 0) <= 0 <= reads.last]
        return [table for table in (self._lake.tables[reads.key] for reads in today) if table.reads and table.is_daily]


Make = Callable[[Inputs], pl.DataFrame]
"""Gives all rows of one day from its inputs."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one day.

    Attributes:
        day: The day.
        written: The committed partition; ``None`` where the day was left alone or refused.
        reason: Why it was refused; empty when it was not. Holds no personal value.
        violations: Broken promises of its contract, where that is why.
    """

    day: date
    written: Written | None = None
    reason: str = ""
    violations: tuple[Violation, ...] = ()


def make_days(
    table: Table, make: Make, days: Iterable[date], lake: Lake, ledger: Ledger, origin: Origin, *, only_stale: bool = False
) -> Iterator[Made]:
    """Make days of a table in order, small ones several to a commit; days that a weekly or monthly table does not have are left alone.

    A day that is refused is reported and the others go on: nothing of it is committed, its last good state stays. A day is
    reported once it is committed.

    Args:
        table: The contract.
        make: The table's function.
        days: The days to make.
        lake: Where everything lies.
        ledger: The states as known now; follows what is written.
        origin: The run.
        only_stale: Leave alone what is up to date, and refuse a day whose driving inputs are out of date.

    Raises:
        TransientError: A lock or a commit race was lost; another try may succeed.
    """
    days = sorted(days)
    waiting: list[Made] = []
    with lake.batch(table.key, days, origin=origin) as batch:
        for day in days:
            if not table.has(day) or (only_stale and not reasons(table, day, lake.tables, ledger)):
                waiting.append(Made(day))
            else:
                waiting.append(_try_day(table, make, Inputs(table, day, lake, ledger), lake, ledger, batch, only_stale=only_stale))
            if batch.is_full:
                batch.flush()
                yield from waiting
                waiting.clear()
    yield from waiting


def _try_day(table: Table, make: Make, inputs: Inputs, lake: Lake, ledger: Ledger, batch: Batch, *, only_stale: bool) -> Made:
    day = inputs.day
    try:
        return Made(day, _make_day(table, make, inputs, lake, ledger, batch, only_stale=only_stale))
    except TransientError:
        raise
    except BrokenPromisesError as broken:
        return Made(day, reason=str(broken), violations=broken.violations)
    except PermanentError as error:
        return Made(day, reason=str(error))
    except Exception as error:  # its message may hold a person's value, so only its kind and place are told
        _LOG.error("%s %s: %s", table.key, day, tell_place(error))
        return Made(day, reason=tell_place(error))


def _make_day(table: Table, make: Make, inputs: Inputs, lake: Lake, ledger: Ledger, batch: Batch, *, only_stale: bool) -> Written:
    if absent := inputs.missing:
        raise MissingInputError(f"{table.key}: {', '.join(absent)} was not made for {inputs.day} yet")
    if only_stale and (waiting := inputs.stale):
        raise MissingInputError(f"{table.key}: waits for {', '.join(waiting)} of {inputs.day}")
    started = time.perf_counter()
    recipe = recipe_now(table, inputs.day, lake.tables, ledger)
    frame = make(inputs)
    require(table, frame)
    written = batch.put(frame, inputs.day, recipe=recipe, driving_rows=inputs.driving_rows, seconds=time.perf_counter() - started)
    ledger.note(table.key, inputs.day, written.state)
    return written


def tell_place(error: Exception) -> str:
    """The kind of an error and where it was raised, without its message."""
    traceback = error.__traceback__
    while traceback and traceback.tb_next and "spotify_ai_assets" in traceback.tb_next.tb_frame.f_code.co_filename:
        traceback = traceback.tb_next
    where = f" in {traceback.tb_frame.f_code.co_name}, line {traceback.tb_lineno}" if traceback else ""
    return f"{type(error).__name__}{where}"
