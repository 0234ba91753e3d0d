"""The digest of a frame's logical rows: equal rows give equal digests, whatever file, chunking or machine held them."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import polars as pl
from blake3 import blake3

_LARGE = 10_000
"""Rows from which a second thread is worth its start."""


def digest(frame: pl.DataFrame) -> str:
    """BLAKE3 over the rows of a frame in the order given.

    Callers sort by the table's primary key first, which makes the order a property of the rows themselves. Column names and
    types take part; positive and negative zero are one value, as are all NaNs.

    Args:
        frame: Any number of rows; columns of scalars, or of lists and arrays of them.

    Returns:
        64 hexadecimal digits.
    """
    whole = blake3(json.dumps([(name, str(dtype)) for name, dtype in frame.schema.items()]).encode())
    if frame.height < _LARGE:
        parts = [_digest_column(column) for column in frame.iter_columns()]
    else:
        with ThreadPoolExecutor(2) as pool:
            parts = list(pool.map(_digest_column, frame.iter_columns()))
    return blake3(whole.digest() + b"".join(parts)).hexdigest()


def _digest_column(column: pl.Series) -> bytes:
    # Each part has a length that is known from what came before it; otherwise a null could spell the bytes of a value.
    hashed = blake3(len(column).to_bytes(8, "little"))
    nulls = column.null_count()
    hashed.update(nulls.to_bytes(8, "little"))
    if nulls:
        hashed.update(_raw(column.is_null().cast(pl.UInt8)))
    for values in _values(column.drop_nulls() if nulls else column):
        if len(values):  # an empty view cannot be cast
            hashed.update(memoryview(values).cast("B"))
    return hashed.digest()


def _values(column: pl.Series) -> Iterator[memoryview | bytes]:
    """The values of a column without nulls as contiguous bytes."""
    if column.dtype in (pl.String, pl.Binary):
        raw = column.cast(pl.Binary).rechunk()
        lengths = raw.bin.size().to_numpy()
        *_, data = raw.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
        yield lengths.data
        yield memoryview(data or b"")[: int(lengths.sum(dtype="int64"))]
    elif isinstance(column.dtype, pl.List):
        yield _raw(column.list.len())
        yield _digest_column(column.filter(column.list.len() > 0).explode())
    elif isinstance(column.dtype, pl.Array):
        yield _digest_column(column.explode())
    elif column.dtype == pl.Boolean:
        yield _raw(column.cast(pl.UInt8))
    elif column.dtype.is_float():
        yield (column.fill_nan(float("nan")).rechunk().to_numpy() + 0.0).data  # polars leaves -0.0 as it is, numpy does not
    else:
        yield _raw(column.to_physical())


def _raw(numbers: pl.Series) -> memoryview:
    return numbers.rechunk().to_numpy().data
