"""What a table is, as plain data: columns, key, partitions, personal-data classes, owner, retention, inputs.

One declaration per table. ``loading.py`` turns it into the blocking check, the column docs of the UI and the asset's
dependencies; ``resources/lake.py`` enforces types and keys; ``resources/warehouse.py`` makes it a DuckDB view;
``staleness.py`` follows its inputs. The declarations themselves live in each domain's ``contracts.py``.
No Dagster here.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import polars as pl

Personal = Literal["none", "pseudonym", "derived"]
"""``pseudonym``: stands for a person. ``derived``: a fact about a person. ``none``: may be shown to anyone."""

DAY, SHARD = "day", "shard"
TIME = pl.Datetime("us", "UTC")
SHARDS = tuple(f"{number:02d}" for number in range(64))
"""The shards of a sharded table."""

Partition = date | str | None
"""A day of a daily table, a shard of a sharded one, ``None`` for the whole of another."""

WHOLE = ""
"""The name of the one partition of a table that is a single whole."""


def shard_of(identity: str) -> str:
    """The shard of a track, a file or whatever else has an id: 6 bits of the id's BLAKE2b digest."""
    return SHARDS[hashlib.blake2b(identity.encode(), digest_size=1).digest()[0] % len(SHARDS)]


def name_of(partition: Partition) -> str:
    """The name of a partition: an ISO date, a shard, or ``WHOLE``."""
    return WHOLE if partition is None else partition if isinstance(partition, str) else partition.isoformat()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: Singular, snake_case, with a unit suffix where there is a unit.
        dtype: The exact polars type; the lake casts nothing.
        description: One sentence, shown in the UI.
        personal: Its personal-data class.
        nullable: Whether a value may be missing.
        minimum: Smallest allowed value, inclusive.
        maximum: Largest allowed value, inclusive.
        allowed: The closed set of values, where there is one.
        pattern: A regular expression that each value matches in full.
    """

    name: str
    dtype: pl.DataType | type[pl.DataType]
    description: str
    personal: Personal = "none"
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Reads:
    """A table that another is made from, and which of its partitions one partition needs.

    Of a daily table the days of a window, of a sharded one the same shard, of a whole the whole. A partition that is no day
    reads all days, and one that is no shard all shards.

    Attributes:
        key: The table that is read.
        first: First day read, relative to the day made; ``None`` reads from the beginning of history, or all shards.
        last: Last day read, relative to the day made.
        drives: Whether rows here on the day itself must lead to rows there: an empty day is refused unless every driving
            input of that day is empty. Carried state (yesterday's open sessions, past charts) does not drive.
        awaited: Whether without rows of it there is nothing to make yet: the partition is then left alone, neither made nor stale.
    """

    key: str
    first: int | None = 0
    last: int = 0
    drives: bool = True
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """The contract of one table of the lake.

    Attributes:
        key: ``domain/noun``, the asset key.
        columns: All columns in order. A daily table begins with ``day``, a sharded one with ``shard``.
        primary_key: Columns that identify a row, in the order in which rows are sorted.
        owner: Who answers for it, ``team:name`` or an e-mail address.
        code_version: Changed whenever the same inputs should give other rows; makes every partition stale.
        reads: The tables it is made from; empty for a table that intake fills.
        partitioned_by: ``day``, one partition per UTC day; ``shard``, one of 64 by the id of what a row is about; or a single whole.
        grain: Which days of a daily table there are: every day, the Sundays that end a week, the last days of months.
        is_model: Whether it tells of a model. One is trained when asked for, or on its own schedule, not whenever an input changed.
        retention_days: How long a partition is kept; ``None`` for ever.
        part_of: The table whose counts this one holds the suspicious part of, row by row of that table's key. SQL has a view of
            what remains without it: ``listening.genuine_track_days`` is ``listening/track_days`` less its part.
    """

    key: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    owner: str
    code_version: str = "1"
    reads: tuple[Reads, ...] = ()
    partitioned_by: Literal["day", "shard"] | None = DAY
    grain: Literal["day", "week", "month"] = "day"
    is_model: bool = False
    retention_days: int | None = None
    part_of: str | None = None

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.key}: a column is declared twice")
        if missing := set(self.primary_key) - set(names):
            raise ValueError(f"{self.key}: key columns {sorted(missing)} are not declared")
        if self.is_daily and (names[0] != DAY or self.columns[0].dtype != pl.Date):
            raise ValueError(f"{self.key}: the first column of a daily table is the date `day`")
        if self.is_sharded and (names[0] != SHARD or self.columns[0].dtype != pl.String):
            raise ValueError(f"{self.key}: the first column of a sharded table is the text `shard`")

    @property
    def is_daily(self) -> bool:
        """Whether it has one partition per UTC day."""
        return self.partitioned_by == DAY

    @property
    def is_sharded(self) -> bool:
        """Whether it has one partition per shard."""
        return self.partitioned_by == SHARD

    def partition(self, name: str) -> Partition:
        """The partition of a name."""
        return date.fromisoformat(name) if self.is_daily else name or None

    def has(self, day: Partition) -> bool:
        """Whether there is a partition of this day, as there is of every day unless the table is weekly or monthly."""
        if not isinstance(day, date):
            return True
        return self.grain == "day" or (day.weekday() == 6 if self.grain == "week" else (day + timedelta(days=1)).day == 1)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Column names and types, in order."""
        return {column.name: _instance(column.dtype) for column in self.columns}

    @property
    def public_columns(self) -> tuple[str, ...]:
        """The columns that may be shown: previews, failure cases and messages hold no other."""
        return tuple(column.name for column in self.columns if column.personal == "none")

    @property
    def domain(self) -> str:
        """The part of the key before the slash."""
        return self.key.partition("/")[0]

    def empty(self) -> pl.DataFrame:
        """A frame with this table's columns and no rows."""
        return pl.DataFrame(schema=self.schema)


def _instance(dtype: pl.DataType | type[pl.DataType]) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype


def by_key(*tables: Table) -> Mapping[str, Table]:
    """Tables by their keys.

    Raises:
        ValueError: Two tables share a key.
    """
    found = {table.key: table for table in tables}
    if len(found) != len(tables):
        raise ValueError("two tables share a key")
    return found
