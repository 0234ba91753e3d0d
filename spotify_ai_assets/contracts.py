"""What a table is, as plain data: columns, key, partitions, personal-data classes, owner, retention, inputs.

One declaration per table. ``loading.py`` turns it into the blocking check, the column docs of the UI and the asset's
dependencies; ``resources/lake.py`` enforces types and keys; ``resources/warehouse.py`` makes it a DuckDB view;
``staleness.py`` follows its inputs. The declarations themselves live in each domain's ``contracts.py``.
No Dagster here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import polars as pl

Personal = Literal["none", "pseudonym", "derived"]
"""``pseudonym``: stands for a person. ``derived``: a fact about a person. ``none``: may be shown to anyone."""

DAY = "day"
TIME = pl.Datetime("us", "UTC")


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
    """A table that another is made from, and which of its days one day needs.

    Attributes:
        key: The table that is read.
        first: First day read, relative to the day made; ``None`` reads from the beginning of history.
        last: Last day read, relative to the day made.
        drives: Whether rows here on the day itself must lead to rows there: an empty day is refused unless every driving
            input of that day is empty. Carried state (yesterday's open sessions, past charts) does not drive.
    """

    key: str
    first: int | None = 0
    last: int = 0
    drives: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """The contract of one table of the lake.

    Attributes:
        key: ``domain/noun``, the asset key.
        columns: All columns in order. A daily table begins with ``day``.
        primary_key: Columns that identify a row, in the order in which rows are sorted.
        owner: Who answers for it, ``team:name`` or an e-mail address.
        code_version: Changed whenever the same inputs should give other rows; makes every partition stale.
        reads: The tables it is made from; empty for a table that intake fills.
        is_daily: Whether it has one partition per UTC day, or is a single whole.
        grain: Which days of a daily table there are: every day, the Sundays that end a week, the last days of months.
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
    is_daily: bool = True
    grain: Literal["day", "week", "month"] = "day"
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

    def has(self, day: date) -> bool:
        """Whether there is a partition of this day, as there is of every day unless the table is weekly or monthly."""
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
