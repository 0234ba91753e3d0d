"""Public data sets of recommendation as matrices, so that they run through the same models as the platform's own histories.

Three layouts: lists of items of each listener in ``train.txt``, ``test.txt`` and perhaps ``valid.txt`` (LightGCN, He et al. 2020),
one sequence in time order of each listener (S3-Rec, Zhou et al. 2020), and the tables of HetRec's Last.fm set (Cantador et al. 2011).
Whatever is read is checked; a file that breaks its layout is refused whole.
"""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from spotify_ai_assets.errors import MissingInputError, UnreadableFileError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_LARGEST = 2**31 - 1
_TABLES = {
    "user_artists.dat": {"userID": pl.Int64, "artistID": pl.Int64, "weight": pl.Int64},
    "artists.dat": {"id": pl.Int64, "name": pl.String, "url": pl.String, "pictureURL": pl.String},
}


@dataclass(frozen=True, slots=True)
class Lists:
    """A folder of lists, whose test part stays closed until it is asked for.

    Attributes:
        folder: Where they are.
        train: What models may learn from, ones, float32, shape (listeners, items), sorted indices.
        valid: What settings are chosen by, of the same shape; ``None`` where the folder has none.
    """

    folder: Path
    train: "csr_matrix"
    valid: "csr_matrix | None"

    def read_test(self) -> "csr_matrix":
        """What is foreseen, of the same shape; larger if it has listeners or items that nothing else has: nobody can foresee those."""
        return read_lists(_find(self.folder, "test.txt"), _shape_of(self.train))


def open_lists(folder: Path) -> Lists:
    """Open a folder of ``train.txt``, ``test.txt`` and perhaps ``valid.txt``, each plain or with ``.gz`` behind it.

    Raises:
        MissingInputError: A file is not there.
        UnreadableFileError: A file is damaged or of another layout.
    """
    train = read_lists(_find(folder, "train.txt"))
    _find(folder, "test.txt")
    if not _exists(folder, "valid.txt"):
        return Lists(folder, train, None)
    valid = read_lists(_find(folder, "valid.txt"), _shape_of(train))
    return Lists(folder, widen(train, _shape_of(valid)), valid)


def read_lists(path: Path, least: tuple[int, int] = (0, 0)) -> "csr_matrix":
    """Read lines of a listener's number and the numbers of their items, from 0; plain, or gzipped where the name ends so.

    Args:
        path: The file.
        least: Rows and columns that the matrix has at least.

    Returns:
        Ones, float32, shape (listeners, items), sorted indices; what is there twice counts once.

    Raises:
        UnreadableFileError: The file is damaged, or a line is not of whole numbers.
    """
    from scipy.sparse import csr_matrix

    rows: list[int] = []
    counts: list[int] = []
    items: list[np.ndarray] = [np.empty(0, np.int64)]
    for numbers in _read_numbers(path):
        rows.append(int(numbers[0]))
        items.append(numbers[1:])
        counts.append(len(numbers) - 1)
    listeners, columns = np.repeat(np.asarray(rows, np.int64), counts), np.concatenate(items)
    shape = max(max(rows, default=-1) + 1, least[0]), max(int(columns.max(initial=-1)) + 1, least[1])
    matrix = csr_matrix((np.ones(len(columns), np.float32), (listeners, columns)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def widen(matrix: "csr_matrix", shape: tuple[int, int]) -> "csr_matrix":
    """The same matrix with empty rows and columns behind it, up to a shape."""
    from scipy.sparse import csr_matrix

    pointers = np.concatenate([matrix.indptr, np.full(shape[0] - len(matrix.indptr) + 1, matrix.nnz, matrix.indptr.dtype)])
    return csr_matrix((matrix.data, matrix.indices, pointers), shape=shape)


def hold_out(matrix: "csr_matrix", share: float, seed: int) -> "tuple[csr_matrix, csr_matrix]":
    """Cut a share of each listener's items off, at random, for the choice of settings.

    Args:
        matrix: Shape (listeners, items).
        share: Of each listener's items, rounded, but at least one; whoever has one item keeps it.
        seed: Of the cut.

    Returns:
        What stays and what was cut off, both of the shape of the matrix.
    """
    rng = np.random.default_rng(seed)
    counts = np.diff(matrix.indptr)
    wanted = np.where(counts > 1, np.maximum(np.rint(share * counts).astype(np.int64), 1), 0)
    rows = np.repeat(np.arange(len(counts)), counts)
    shuffled = np.lexsort((rng.random(matrix.nnz), rows))
    place = np.empty(matrix.nnz, np.int64)
    place[shuffled] = np.arange(matrix.nnz) - matrix.indptr[rows[shuffled]]
    is_cut = place < wanted[rows]
    return _keep(matrix, rows, ~is_cut), _keep(matrix, rows, is_cut)


def read_sequences(path: Path) -> dict[int, np.ndarray]:
    """Read lines of a listener's number and their items in time order, or, of the same layout, the items to rank a hidden one among.

    Returns:
        Items by listener, int32, in the order of the file; items are numbered as the file has them, from 1 in the published ones.

    Raises:
        UnreadableFileError: The file is damaged, a line is not of whole numbers, or a listener comes twice.
    """
    found: dict[int, np.ndarray] = {}
    for row, numbers in enumerate(_read_numbers(path), 1):
        if int(numbers[0]) in found:
            raise UnreadableFileError("repeated_listener", f"line {row}: a listener comes twice", row)
        found[int(numbers[0])] = numbers[1:].astype(np.int32)
    return found


@dataclass(frozen=True, slots=True)
class Plays:
    """How often listeners played artists.

    Attributes:
        matrix: Numbers of plays, float32, shape (listeners, artists), sorted indices.
        listeners: The number of each row in the files, sorted.
        artists: The number of each column in the files, sorted.
        names: The name of each artist by their number.
    """

    matrix: "csr_matrix"
    listeners: np.ndarray
    artists: np.ndarray
    names: Mapping[int, str]


def read_hetrec(folder: Path) -> Plays:
    """Read ``user_artists.dat`` and ``artists.dat`` of HetRec's Last.fm set.

    Raises:
        MissingInputError: A file is not there.
        UnreadableFileError: A file is damaged or has other columns.
    """
    from scipy.sparse import csr_matrix

    plays, artists = (_read_table(folder, name) for name in _TABLES)
    rows = plays.group_by("userID", "artistID").agg(pl.col("weight").sum()).filter(pl.col("weight") > 0).sort("userID", "artistID")
    listeners, row = np.unique(rows["userID"].to_numpy(), return_inverse=True)
    known, column = np.unique(rows["artistID"].to_numpy(), return_inverse=True)
    weights = rows["weight"].cast(pl.Float32).to_numpy()
    matrix = csr_matrix((weights, (row, column)), shape=(len(listeners), len(known)))
    matrix.sort_indices()
    return Plays(matrix, listeners, known, dict(artists.select("id", "name").iter_rows()))


def _shape_of(matrix: "csr_matrix") -> tuple[int, int]:
    shape = matrix.shape
    assert shape is not None, "a matrix has a shape"
    return shape[0], shape[1]


def _read_table(folder: Path, name: str) -> pl.DataFrame:
    columns = _TABLES[name]
    try:
        # Names hold quotation marks that close nothing, and one file has the line ends of Windows.
        table = pl.read_csv(_find(folder, name), separator="\t", quote_char=None, schema_overrides=columns, encoding="utf8-lossy")
    except pl.exceptions.PolarsError:
        raise UnreadableFileError("malformed_table", f"{name} is not a table with tabs between its columns") from None
    table = table.rename({column: column.strip("\r") for column in table.columns})
    if table.columns != list(columns):
        raise UnreadableFileError("other_columns", f"{name} has other columns than {', '.join(columns)}")
    return table


def _keep(matrix: "csr_matrix", rows: np.ndarray, kept: np.ndarray) -> "csr_matrix":
    from scipy.sparse import csr_matrix

    pointers = np.r_[0, np.cumsum(np.bincount(rows[kept], minlength=len(matrix.indptr) - 1))]
    return csr_matrix((matrix.data[kept], matrix.indices[kept], pointers), shape=matrix.shape)


def _exists(folder: Path, name: str) -> bool:
    return (folder / name).is_file() or (folder / f"{name}.gz").is_file()


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise MissingInputError(f"the data set has no {name}")


def _read_numbers(path: Path) -> Iterator[np.ndarray]:
    """The whole numbers of each line that has any, int64, at least one."""
    for row, line in enumerate(_read_lines(path), 1):
        if words := line.split():
            if not all(word.isdigit() and word.isascii() and len(word) <= 10 for word in words):
                raise UnreadableFileError("not_numbers", f"line {row} is not of whole numbers from 0", row)
            numbers = np.array(words, dtype=np.int64)
            if numbers.max() >= _LARGEST:
                raise UnreadableFileError("number_too_large", f"line {row} has a number of 2^31 - 1 or more", row)
            yield numbers


def _read_lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            yield from lines
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise UnreadableFileError("malformed_gzip", "the gzip stream is damaged") from None
    except UnicodeDecodeError:
        raise UnreadableFileError("not_text", "the file is not text in UTF-8") from None
