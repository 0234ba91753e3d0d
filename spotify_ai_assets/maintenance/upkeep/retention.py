"""How long rows are kept: each table as long as its contract says, and no day longer.

Of a daily table whole days go, of another the rows whose time is over. They leave the present here; their bytes leave the disk
with the next vacuum after the lake's history. A table that would only be made again from what is kept longer is no case of
retention but a mistake in contracts, and is refused.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import polars as pl

from spotify_ai_assets.contracts import TIME, Table
from spotify_ai_assets.errors import PermanentError
from spotify_ai_assets.resources.lake import Lake, Origin


@dataclass(frozen=True, slots=True)
class Expired:
    """What of one table is past its days.

    Attributes:
        key: The table.
        partitions: Names of the partitions that it is in; whole days of a daily table.
        rows: How many rows.
    """

    key: str
    partitions: tuple[str, ...]
    rows: int


def age_column(table: Table) -> str:
    """The column that tells how old a row of a table without days is: its only time or date.

    Raises:
        PermanentError: There is none, or more than one.
    """
    found = [name for name, dtype in table.schema.items() if dtype in (TIME, pl.Date())]
    if len(found) != 1:
        raise PermanentError(f"{table.key}: rows are kept for {table.retention_days} days, but {len(found)} columns tell their age")
    return found[0]


def kept_too_short(tables: Mapping[str, Table]) -> list[str]:
    """The tables that would be made again at once: made from others, of which one is kept longer."""
    limited = [table for table in tables.values() if table.retention_days is not None and table.reads]
    return [table.key for table in limited if any(_days(tables[reads.key]) > _days(table) for reads in table.reads)]


def find_expired(lake: Lake, today: date) -> list[Expired]:
    """What is past its days.

    Raises:
        PermanentError: A contract cannot be kept to; the message names the table.
    """
    if wrong := kept_too_short(lake.tables):
        raise PermanentError(f"{', '.join(wrong)}: made from tables that are kept longer, so that it would be made again")
    looked = (_expired(lake, table, table.retention_days, today) for table in lake.tables.values() if table.retention_days is not None)
    return [each for each in looked if each.partitions]


def expire(lake: Lake, found: Iterable[Expired], today: date, origin: Origin | None = None) -> None:
    """Take out of the present what ``find_expired`` found."""
    for each in found:
        table = lake.tables[each.key]
        partitions = [table.partition(name) for name in each.partitions]
        if table.is_daily:
            lake.drop(each.key, partitions, origin=origin)
        else:
            lake.update(each.key, partitions, _younger(table, today), origin=origin)


def _expired(lake: Lake, table: Table, days: int, today: date) -> Expired:
    states = lake.states(table.key)
    if table.is_daily:
        oldest = (today - timedelta(days=days)).isoformat()
        gone = {name: state.rows for name, state in states.items() if name < oldest}
    else:
        is_old = ~_is_young(table, today)
        counts = {name: lake.open(table.key, [state]).filter(is_old).select(pl.len()).collect().item() for name, state in states.items()}
        gone = {name: count for name, count in counts.items() if count}
    return Expired(table.key, tuple(sorted(gone)), sum(gone.values()))


def _younger(table: Table, today: date) -> Callable[[object, pl.DataFrame], pl.DataFrame]:
    return lambda _, rows: rows.filter(_is_young(table, today))


def _is_young(table: Table, today: date) -> pl.Expr:
    """Whether a row is still to be kept; one without a time is."""
    name, oldest = age_column(table), today - timedelta(days=table.retention_days or 0)
    begin = pl.lit(oldest) if table.schema[name] == pl.Date() else pl.lit(datetime.combine(oldest, time.min)).dt.replace_time_zone("UTC")
    return (pl.col(name) >= begin).fill_null(True)


def _days(table: Table) -> float:
    return float("inf") if table.retention_days is None else table.retention_days
