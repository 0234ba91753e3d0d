"""Whether a frame keeps its contract's promises about values, by a pandera schema made from the contract.

One pass over the frame finds out whether any promise is broken; pandera then tells which and how often, so that a good day,
which nearly every day is, costs neither pandera's 8 ms nor its import. Only eager frames are validated: of a LazyFrame pandera
would look at the types and skip the values. Types and keys are compared by the lake itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

from spotify_ai_assets.contracts import Column, Table
from spotify_ai_assets.errors import ContractError

if TYPE_CHECKING:
    from pandera.polars import DataFrameSchema


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that some rows break.

    Attributes:
        column: The column.
        rule: The broken rule in pandera's words, such as ``greater_than_or_equal_to(0)``.
        rows: How many rows break it.
        examples: A few of the values; empty for a column that is about a person.
    """

    column: str
    rule: str
    rows: int
    examples: tuple[str, ...]


class BrokenPromisesError(ContractError):
    """Rows break what their contract promises of values; the message tells columns, rules and counts.

    Attributes:
        violations: The broken promises.
    """

    def __init__(self, table: Table, found: list[Violation]) -> None:
        told = "; ".join(f"{each.column} breaks {each.rule} in {each.rows} rows" for each in found)
        super().__init__(f"{table.key}: {told}")
        self.violations = tuple(found)


def require(table: Table, frame: pl.DataFrame) -> None:
    """Let only rows pass that keep their contract's promises.

    Raises:
        BrokenPromisesError: Some do not.
    """
    if found := violations(table, frame):
        raise BrokenPromisesError(table, found)


def violations(table: Table, frame: pl.DataFrame) -> list[Violation]:
    """All broken promises of a frame, each with its count.

    Args:
        table: The contract.
        frame: An eager frame of its columns.
    """
    if frame.is_empty() or _is_kept(table, frame):
        return []
    from pandera.errors import SchemaErrors

    try:
        _schema(table).validate(frame, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases.select("column", "check", "failure_case")
        return [
            Violation(str(column), str(rule), rows.height, _examples(table, str(column), rows["failure_case"]))
            for (column, rule), rows in cases.group_by("column", "check", maintain_order=True)
        ]
    return []


def _is_kept(table: Table, frame: pl.DataFrame) -> bool:
    if dict(frame.schema) != table.schema:
        return False
    broken = [rule for column in table.columns for rule in _broken(column)]
    return not broken or not frame.select(pl.any_horizontal(broken)).item()


def _broken(column: Column) -> Iterator[pl.Expr]:
    """For each promise of a column, whether any row breaks it; a missing value breaks no other promise than to be there."""
    value = pl.col(column.name)
    if not column.nullable:
        yield value.has_nulls()
    if column.minimum is not None:
        yield (value < column.minimum).any()
    if column.maximum is not None:
        yield (value > column.maximum).any()
    if column.allowed is not None:
        yield (~value.is_in(column.allowed)).any()
    if column.pattern is not None:
        yield (~value.str.contains(f"^(?:{column.pattern})$")).any()


def _examples(table: Table, column: str, values: pl.Series) -> tuple[str, ...]:
    return tuple(str(value)[:80] for value in values.head(3)) if column in table.public_columns else ()


@lru_cache
def _schema(table: Table) -> "DataFrameSchema":
    import pandera.polars as pa

    columns = {column.name: pa.Column(nullable=column.nullable, checks=_checks(column)) for column in table.columns if _promises(column)}
    return pa.DataFrameSchema(columns)


def _promises(column: Column) -> bool:
    return not column.nullable or any(rule is not None for rule in (column.minimum, column.maximum, column.allowed, column.pattern))


def _checks(column: Column) -> list:
    import pandera.polars as pa

    checks = []
    if column.minimum is not None:
        checks.append(pa.Check.ge(column.minimum))
    if column.maximum is not None:
        checks.append(pa.Check.le(column.maximum))
    if column.allowed is not None:
        checks.append(pa.Check.isin(column.allowed))
    if column.pattern is not None:
        checks.append(pa.Check.str_matches(f"^(?:{column.pattern})$"))
    return checks
