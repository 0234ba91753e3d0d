import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.resources.digests import digest

SCHEMA = {"text": pl.String, "number": pl.Int64, "real": pl.Float64, "flag": pl.Boolean, "tags": pl.List(pl.String)}
_cells = st.tuples(
    st.none() | st.text(max_size=4),
    st.none() | st.integers(-(2**40), 2**40),
    st.none() | st.floats(),
    st.none() | st.booleans(),
    st.none() | st.lists(st.none() | st.text(max_size=2), max_size=3),
)


def frame(rows) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def one(value, dtype=pl.String) -> str:
    return digest(pl.DataFrame({"a": [value]}, schema={"a": dtype}))


@given(st.lists(_cells, max_size=12), st.integers(0, 12))
def test_chunks_and_slices_do_not_change_the_digest(rows, cut):
    whole = frame(rows)
    pieces = pl.concat([frame(rows[:cut]), frame(rows[cut:])], rechunk=False)
    slice_of_more = frame([*rows[:1], *rows, *rows[:1]]).slice(min(len(rows), 1), len(rows))
    assert digest(pieces) == digest(whole) == digest(slice_of_more)


@given(st.lists(_cells, min_size=1, max_size=6), st.data())
def test_any_changed_cell_changes_the_digest(rows, data):
    row, column = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, 4))
    value = data.draw(_cells)[column]
    changed = [list(cells) for cells in rows]
    changed[row][column] = value
    is_same = value == rows[row][column] or (
        isinstance(value, float)
        and isinstance(rows[row][column], float)
        and math.isnan(value + rows[row][column])
        and math.isnan(value) == math.isnan(rows[row][column])
    )
    assert (digest(frame(changed)) == digest(frame(rows))) == is_same


@given(st.lists(_cells, max_size=8, unique_by=lambda cells: cells[1]), st.randoms())
def test_sorted_by_key_the_order_of_the_rows_does_not_matter(rows, random):
    mixed = list(rows)
    random.shuffle(mixed)
    assert digest(frame(mixed).sort("number")) == digest(frame(rows).sort("number"))


def test_a_file_gives_the_digest_of_the_frame_written_to_it(tmp_path):
    rows = frame([("a", 1, 0.5, True, ["x", None]), (None, None, None, None, None), ("", 0, math.nan, False, [])])
    rows.write_parquet(tmp_path / "rows.parquet", row_group_size=1)
    assert digest(pl.read_parquet(tmp_path / "rows.parquet")) == digest(rows)


@pytest.mark.parametrize("other", ["", "\x00", "\x01", "0", "null"])
def test_a_missing_text_is_no_text(other):
    assert one(None) != one(other)


@pytest.mark.parametrize(("dtype", "zero"), [(pl.Int64, 0), (pl.Float64, 0.0), (pl.Boolean, False), (pl.List(pl.Int64), [])])
def test_a_missing_value_is_no_zero(dtype, zero):
    assert one(None, dtype) != one(zero, dtype)


@pytest.mark.parametrize(("dtype", "value"), [(pl.Boolean, True), (pl.Int8, 1), (pl.UInt8, 1), (pl.Binary, b"\x01")])
def test_the_mark_of_a_missing_value_is_no_value(dtype, value):
    assert one(None, dtype) != one(value, dtype)


def test_both_zeros_are_one_value_and_all_nans_are():
    assert one(-0.0, pl.Float64) == one(0.0, pl.Float64)
    assert one(math.nan, pl.Float32) == one(-math.nan, pl.Float32) != one(0.0, pl.Float32)


def test_text_does_not_flow_from_one_row_into_the_next():
    assert digest(pl.DataFrame({"a": ["ab", "c"]})) != digest(pl.DataFrame({"a": ["a", "bc"]}))


def test_names_and_types_of_columns_take_part():
    rows = pl.DataFrame({"a": [1]})
    assert len({digest(rows), digest(rows.rename({"a": "b"})), digest(rows.cast(pl.Int32)), digest(rows.clear())}) == 4


def test_rows_do_not_flow_from_one_list_into_the_next():
    kinds = pl.List(pl.Int64)
    first, second = pl.DataFrame({"a": [[1, 2], [3]]}, schema={"a": kinds}), pl.DataFrame({"a": [[1], [2, 3]]}, schema={"a": kinds})
    assert digest(first) != digest(second)
    arrays = pl.DataFrame({"a": [[1.0, 2.0], None]}, schema={"a": pl.Array(pl.Float32, 2)})
    assert digest(arrays) == digest(arrays.clone()) != digest(arrays.reverse())


def test_many_rows_have_the_digest_that_few_threads_or_chunks_give():
    rows = pl.DataFrame({"a": range(30_000), "b": [str(n) for n in range(30_000)]})
    assert digest(rows) == digest(pl.concat([rows.head(9), rows.slice(9)], rechunk=False))
