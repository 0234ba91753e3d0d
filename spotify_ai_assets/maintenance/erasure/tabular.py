"""The values of tables and databases as text: parquet, Avro, SQLite, DuckDB, arrays of texts.

All give pieces of bytes that say of themselves whether they are text. Cells of text end with a line, so that no value is made of
two neighbours, and no piece ends within a cell.
"""

import sqlite3
import tempfile
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pyarrow as pa

Piece = tuple[bool, bytes]
"""Whether it is text, and the bytes."""

_BATCH = 1 << 16
_PIECE = 4 * 2**20
_WAIT_S = 30
_WAL = 2
"""What a SQLite header says at bytes 18 and 19 where changes go to a log beside the file."""


def read_parquet(file: BinaryIO, check: Callable[[int], None], *, has_numbers: bool) -> Iterator[Piece]:
    """The values of all columns that can hold an identifier: text, bytes, and 64-bit numbers where these are sought.

    Args:
        file: The parquet file.
        check: Told the bytes of each row group's pages before they are unpacked; may refuse.
        has_numbers: Whether columns of numbers are read too.

    Raises:
        Exception: Whatever pyarrow raises on a damaged file.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        columns = sorted({column.path for column in _columns(parquet.schema, has_numbers=has_numbers)})
        check(sum(parquet.metadata.row_group(number).total_byte_size for number in range(parquet.metadata.num_row_groups)))
        if columns:
            for batch in parquet.iter_batches(_BATCH, columns=columns, use_threads=False):
                for column in batch.columns:
                    yield from _cells(column, has_numbers=has_numbers)


def _columns(schema: Any, *, has_numbers: bool) -> Iterator[Any]:
    wanted = {"BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"} | ({"INT64"} if has_numbers else set())
    for number in range(len(schema)):
        column = schema.column(number)
        if column.physical_type in wanted and column.logical_type.type not in ("TIMESTAMP", "TIME"):
            yield column


def _cells(array: "pa.Array", *, has_numbers: bool) -> Iterator[Piece]:
    """The leaves of an array."""
    import pyarrow.types as kinds

    kind = array.type
    parts = _parts(array)
    if parts is not None:
        for part in parts:
            yield from _cells(part, has_numbers=has_numbers)
    elif any(is_kind(kind) for is_kind in (kinds.is_string, kinds.is_large_string, kinds.is_binary, kinds.is_large_binary)):
        yield from _joined(array)
    elif kinds.is_fixed_size_binary(kind) or kinds.is_decimal(kind) or (has_numbers and kinds.is_integer(kind)):
        for buffer in array.buffers()[1:]:
            if buffer:
                yield False, buffer.to_pybytes()


def _parts(array: Any) -> "list[pa.Array] | None":
    """The arrays that an array is made of; ``None`` for a leaf."""
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):
        return [array.storage]
    if isinstance(array, pa.DictionaryArray):
        return [array.dictionary]
    if isinstance(array, pa.StructArray):
        return array.flatten()
    if isinstance(array, pa.MapArray):
        return [array.keys, array.items]
    if isinstance(array, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        return [array.flatten()]
    return None


def _joined(array: "pa.Array") -> Iterator[Piece]:
    """Cells of text, each with an end of line; those of one piece are joined by Arrow, without an object for each."""
    import pyarrow as pa
    from pyarrow.compute import call_function

    is_text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    values = array.drop_null().cast(pa.large_binary())
    if len(values):
        lists = pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)
        joined = call_function("binary_join", [lists, pa.scalar(b"\n", pa.large_binary())])
        yield is_text, joined[0].as_buffer().to_pybytes() + b"\n"


def read_npy(file: BinaryIO) -> Iterator[Piece]:
    """The cells of an array of texts, which stand side by side in its bytes; of other arrays nothing.

    Raises:
        ValueError: It is damaged.
    """
    import numpy as np

    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, kind = read_header(file)
    if kind.kind in "US" and kind.itemsize:
        size = max(_PIECE // kind.itemsize, 1) * kind.itemsize
        while chunk := file.read(size):
            cells = np.frombuffer(chunk[: len(chunk) // kind.itemsize * kind.itemsize], dtype=kind).tolist()
            yield from gather([[cell.decode(errors="surrogateescape") if isinstance(cell, bytes) else cell for cell in cells]])


def read_avro(file: BinaryIO) -> Iterator[Piece]:
    """The values of all records of an Avro file.

    Raises:
        Exception: Whatever fastavro raises on a damaged file or an unknown codec.
    """
    import fastavro

    yield from gather(_leaves(record) for record in fastavro.reader(file))


def _leaves(value: Any) -> Iterator[str | bytes]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield str(name)
            yield from _leaves(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, str | bytes):
        yield value
    elif value is not None and not isinstance(value, bool | float):
        yield str(value)


def gather(rows: Iterable[Iterable[Any]]) -> Iterator[Piece]:
    """Cells in pieces: text and numbers together, bytes apart.

    Args:
        rows: Cells; ``None`` and fractions are left out, bytes may be of any kind.
    """
    texts: list[str] = []
    size = 0
    for row in rows:
        for cell in row:
            if isinstance(cell, bytes):
                yield False, cell
            elif cell is not None and not isinstance(cell, float):
                text = cell if isinstance(cell, str) else str(cell)
                texts.append(text)
                size += len(text) + 1
        if size > _PIECE:
            yield True, _lines(texts)
            texts, size = [], 0
    if texts:
        yield True, _lines(texts)


def _lines(texts: list[str]) -> bytes:
    try:
        return ("\n".join(texts) + "\n").encode(errors="surrogateescape")
    except UnicodeEncodeError:  # halves of surrogate pairs, which no value has
        return ("\n".join(texts) + "\n").encode(errors="surrogatepass")


def read_sqlite(file: BinaryIO, path: Path | None) -> Iterator[Piece]:
    """The rows of all tables of a SQLite database, read in one transaction; nothing is written.

    Args:
        file: The database.
        path: Where it lies; without it a copy in memory is read.

    Raises:
        sqlite3.Error: It is damaged, or locked for too long.
    """
    with closing(_open_sqlite(file, path)) as database:
        database.text_factory = lambda found: found.decode("utf-8", "surrogateescape")
        database.execute("BEGIN")
        # A virtual table's rows lie in tables of its own; it has no root page.
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0").fetchall():
            yield from gather(database.execute(f"SELECT * FROM {_quoted(name)}"))


def _open_sqlite(file: BinaryIO, path: Path | None) -> sqlite3.Connection:
    if path is None:
        contents = bytearray(file.read())
        contents[18:20] = b"\x01\x01"  # a copy in memory has no log beside it
        database = sqlite3.connect(":memory:")
        database.deserialize(bytes(contents))
        return database
    # Whoever opens a database with a log for reading makes the log's files where there are none: nothing may be written here.
    is_quiet = file.read(20)[18] == _WAL and not path.with_name(f"{path.name}-wal").exists()
    mode = "immutable=1" if is_quiet else "mode=ro"
    return sqlite3.connect(f"file:{urllib.parse.quote(str(path))}?{mode}", uri=True, timeout=_WAIT_S, isolation_level=None)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def read_duckdb(file: BinaryIO, path: Path | None) -> Iterator[Piece]:
    """The rows of all tables of a DuckDB database, each cell as text; nothing is written, no other file is opened.

    Args:
        file: The database.
        path: Where it lies; without it a copy is read.

    Raises:
        Exception: Whatever DuckDB raises on a database that is damaged, or open elsewhere.
    """
    import duckdb

    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            path = Path(folder, "copy.duckdb")
            with path.open("wb") as copy:
                while chunk := file.read(_PIECE):
                    copy.write(chunk)
        configuration: dict[str, Any] = {
            "enable_external_access": "false",
            "autoinstall_known_extensions": "false",
            "lock_configuration": "true",
        }
        with duckdb.connect(str(path), read_only=True, config=configuration) as database:
            tables = database.execute("SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
            for schema, name in tables:
                rows = database.execute(f"SELECT COLUMNS(*)::VARCHAR FROM {_quoted(schema)}.{_quoted(name)}")
                yield from gather(row for batch in iter(lambda rows=rows: rows.fetchmany(10_000), []) for row in batch)
