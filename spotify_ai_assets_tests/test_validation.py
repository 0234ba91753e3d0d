"""The blocking check made from a contract: every promise about values is really looked at."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandera.errors import SchemaErrors

from spotify_ai_assets import validation
from spotify_ai_assets.contracts import Column, Table
from spotify_ai_assets.validation import violations

TABLE = Table(
    "a/things",
    (
        Column("id", pl.String, "Id.", pattern=r"[a-z]+"),
        Column("who", pl.String, "Who.", personal="pseudonym", pattern=r"[0-9]+"),
        Column("count", pl.Int64, "Count.", minimum=0, maximum=9),
        Column("kind", pl.String, "Kind.", allowed=("x", "y"), nullable=True),
    ),
    ("id",),
    "team:a",
    partitioned_by=None,
)
GOOD = pl.DataFrame({"id": ["a", "b"], "who": ["1", "2"], "count": [0, 9], "kind": ["x", None]}, schema=TABLE.schema)


def test_good_rows_break_nothing() -> None:
    assert violations(TABLE, GOOD) == []


def test_no_rows_break_nothing() -> None:
    assert violations(TABLE, TABLE.empty()) == []


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("count", -1, "greater_than_or_equal_to(0)"),
        ("count", 10, "less_than_or_equal_to(9)"),
        ("count", None, "not_nullable"),
        ("kind", "z", "isin"),
        ("id", "a\nB", "str_matches"),
        ("id", "1", "str_matches"),
    ],
)
def test_each_broken_promise_is_told_with_its_count(column: str, value: object, rule: str) -> None:
    frame = GOOD.with_columns(pl.when(pl.int_range(pl.len()) == 1).then(pl.lit(value)).otherwise(column).alias(column)).cast(TABLE.schema)
    (found,) = violations(TABLE, frame)
    assert (found.column, found.rows) == (column, 1)
    assert found.rule.startswith(rule)


def test_values_about_persons_are_counted_but_not_quoted() -> None:
    (found,) = violations(TABLE, GOOD.with_columns(who=pl.lit("alice")))
    assert (found.column, found.rows, found.examples) == ("who", 2, ())


def test_all_broken_promises_are_told_at_once() -> None:
    frame = GOOD.with_columns(who=pl.lit("alice"), count=pl.lit(-5, pl.Int64))
    assert {found.column for found in violations(TABLE, frame)} == {"who", "count"}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b1", "1", "", None]),
            st.sampled_from(["1", "x", None]),
            st.sampled_from([-1, 0, 9, 10, None]),
            st.sampled_from(["x", "z", None]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_the_quick_look_and_the_full_one_agree(rows: list[tuple[object, ...]]) -> None:
    frame = pl.DataFrame(rows, orient="row", schema=[*TABLE.schema.items()])
    try:
        validation._schema(TABLE).validate(frame, lazy=True)
        is_kept = True
    except SchemaErrors:
        is_kept = False
    assert validation._is_kept(TABLE, frame) == is_kept
    assert (violations(TABLE, frame) == []) == is_kept


def test_another_column_or_type_is_told_and_never_raises() -> None:
    assert violations(TABLE, GOOD.drop("who"))
    assert violations(TABLE, GOOD.with_columns(count=pl.col("count").cast(pl.String)))
