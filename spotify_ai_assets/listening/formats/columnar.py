"""Parquet files as frames of wanted columns, batch by batch."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import polars as pl

from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.formats import streams
from spotify_ai_assets.listening.formats.members import Member

if TYPE_CHECKING:
    import pyarrow
    from pyarrow import parquet

_ROWS = 1 << 17
_BUFFER = 1 << 20


def read_parquet(member: Member, columns: Collection[str]) -> Iterator[pl.DataFrame]:
    """Batches of a Parquet file.

    Args:
        member: The file.
        columns: Wanted columns, as far as the file has them.

    Yields:
        Frames of ``row`` (1-based), the columns, and ``rule``: ``bad_encoding`` where text is no UTF-8. A column of any
        other type than text, numbers, truth values and times is empty.

    Raises:
        UnreadableFileError: The file is damaged; all batches before the damage have been delivered.
    """
    import pyarrow
    from pyarrow import parquet

    done = 0
    try:
        with member.as_file() as source, parquet.ParquetFile(source, buffer_size=_BUFFER, pre_buffer=False) as file:
            _check_size(file.metadata)
            wanted = [name for name in file.schema_arrow.names if name in columns]
            for batch in file.iter_batches(batch_size=_ROWS, columns=wanted):
                yield _frame(batch, done)
                done += batch.num_rows
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError):
        raise UnreadableFileError("malformed_parquet", "the Parquet file is damaged") from None


def _check_size(metadata: "parquet.FileMetaData") -> None:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    packed = sum(group.column(number).total_compressed_size for group in groups for number in range(group.num_columns))
    if sum(group.total_byte_size for group in groups) > streams.size_limit(packed):
        raise UnreadableFileError("compression_bomb", "the file unpacks to more than is allowed for its size")


def _frame(batch: "pyarrow.RecordBatch", done: int) -> pl.DataFrame:
    import pyarrow

    columns, broken = {}, pl.repeat(False, batch.num_rows, dtype=pl.Boolean, eager=True)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pyarrow.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        # Text in Parquet is not checked by its reader, and polars trusts Arrow's text: bytes are decoded here, with a check.
        if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type) or pyarrow.types.is_string_view(column.type):
            column = column.cast(pyarrow.large_binary())
        if not _is_plain(column.type):
            column = pyarrow.nulls(len(column), pyarrow.large_binary())
        series = pl.Series(name, pl.from_arrow(column))
        if series.dtype == pl.Binary:
            decoded = _decode(series)
            broken = broken | (decoded.is_null() & series.is_not_null())
            series = decoded
        columns[name] = series
    return pl.DataFrame(columns).with_columns(
        row=pl.int_range(done + 1, done + 1 + batch.num_rows, dtype=pl.Int64),
        rule=pl.Series([None], dtype=pl.String).new_from_index(0, batch.num_rows) if not broken.any() else _rules(broken),
    )


def _decode(column: pl.Series) -> pl.Series:
    """Bytes as text, null where they are no UTF-8."""
    try:
        return column.cast(pl.String)
    except pl.exceptions.ComputeError:
        return pl.Series(column.name, [_decode_one(value) for value in column], dtype=pl.String)


def _decode_one(value: bytes | None) -> str | None:
    try:
        return value.decode() if value is not None else None
    except UnicodeDecodeError:
        return None


def _is_plain(dtype: "pyarrow.DataType") -> bool:
    from pyarrow import types

    is_binary = types.is_large_binary(dtype) or types.is_binary(dtype)
    return is_binary or types.is_integer(dtype) or types.is_floating(dtype) or types.is_boolean(dtype) or types.is_timestamp(dtype)


def _rules(broken: pl.Series) -> pl.Series:
    return broken.replace_strict({True: "bad_encoding", False: None}, return_dtype=pl.String)
