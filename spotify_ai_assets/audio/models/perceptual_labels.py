"""Labelled tracks for the perceptual estimator: a CSV of values from 0 to 1 that people or another service gave.

Two layouts are read. A plain one has one header row with a column that names the track (``track_id``, ``isrc`` or
``file``), maybe ``artist``, and the labels. That of the FMA data set's ``echonest.csv`` has three header rows (source, group, name), an
index of track ids and the labels in the group ``audio_features``.
"""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import polars as pl

from spotify_ai_assets.errors import UnreadableFileError

PERCEPTUAL = ("valence", "acousticness", "speechiness", "liveness", "instrumentalness")
MOST_BYTES = 512 << 20
MOST_COLUMNS = 2_000

_KNOWN = {*PERCEPTUAL, "danceability", "energy"}
_IDENTITIES = {
    "track_id": "track_id",
    "id": "track_id",
    "spotify_id": "track_id",
    "isrc": "isrc",
    "file": "file",
    "file_name": "file",
    "filename": "file",
    "path": "file",
}
_ARTISTS = {"artist", "artist_name", "artists", "track_artist"}
_NO_LABELS = {
    "key",
    "mode",
    "explicit",
    "is_explicit",
    "time_signature",
    "tempo",
    "loudness",
    "duration_ms",
}  # facts, though some are 0 or 1
_MISSING = {"", "na", "n/a", "nan", "null", "none"}


def read_labels(path: Path) -> pl.DataFrame:
    """Read labelled tracks.

    The five perceptual labels, ``danceability`` and ``energy`` must be numbers from 0 to 1 wherever they are given. Another column is
    a label too where all that it holds are such numbers, but for those that are facts (``key``, ``mode``, ``tempo`` ...).

    Args:
        path: A CSV file in UTF-8.

    Returns:
        One row for each track: the columns ``track_id``, ``isrc`` and ``file`` as far as the file has them, ``artist`` where it has
        one (text, ``null`` where empty), and each label as Float64 with ``null`` where it is missing.

    Raises:
        UnreadableFileError: The file breaks a rule: ``too_large``, ``not_utf8``, ``not_csv``, ``empty``, ``too_many_columns``,
            ``duplicate_column``, ``no_identity``, ``no_labels``, ``ragged_row``, ``no_track``, ``bad_number``, ``out_of_range`` or
            ``contradicting_rows``. ``row`` is the number of the record in the file, header rows counted.
    """
    if path.stat().st_size > MOST_BYTES:
        raise UnreadableFileError("too_large", f"labels above {MOST_BYTES >> 20} MiB are not read")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _read(stream)
    except UnicodeDecodeError as error:
        raise UnreadableFileError("not_utf8", f"the labels are not UTF-8 at byte {error.start} of a block") from error
    except csv.Error as error:
        raise UnreadableFileError("not_csv", f"the labels are not CSV: {error}") from error


def _read(stream: TextIO) -> pl.DataFrame:
    rows = _number(csv.reader(stream, strict=True))
    _, first = next(rows, (0, []))
    if not any(cell.strip() for cell in first):
        raise UnreadableFileError("empty", "the labels have no header")
    if len(first) > MOST_COLUMNS:
        raise UnreadableFileError("too_many_columns", f"{len(first)} columns, {MOST_COLUMNS} at most are read", 1)
    names = _fma_columns(first, rows) if "echonest" in first else _plain_columns(first)
    if len(set(names.values())) < len(names):
        raise UnreadableFileError("duplicate_column", "two columns mean the same", 1)
    if not {"track_id", "isrc", "file"} & set(names.values()):
        raise UnreadableFileError("no_identity", "no column names the track: track_id, isrc or file", 1)
    columns: dict[str, list[str | None]] = {name: [] for name in names.values()}
    numbers = []
    for number, row in rows:
        if not any(cell.strip() for cell in row) or _names_index(row):
            continue
        if len(row) != len(first):
            raise UnreadableFileError("ragged_row", f"row {number} has {len(row)} cells, the header {len(first)}", number)
        numbers.append(number)
        for place, name in names.items():
            cell = row[place].strip()
            columns[name].append(None if cell.lower() in _MISSING else cell)
    return _make_frame(columns, numbers)


def _number(rows: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    return enumerate(rows, start=1)


def _plain_columns(header: list[str]) -> dict[int, str]:
    """Meaning of each named column by its place."""
    names = {}
    for place, cell in enumerate(header):
        name = cell.strip().lower()
        if name:
            names[place] = "artist" if name in _ARTISTS else _IDENTITIES.get(name, name)
    return names


def _fma_columns(first: list[str], rows: Iterator[tuple[int, list[str]]]) -> dict[int, str]:
    """The same of the FMA layout, whose other two header rows are taken from ``rows``."""
    (_, groups), (_, fields) = next(rows, (2, [])), next(rows, (3, []))
    if not len(first) == len(groups) == len(fields):
        raise UnreadableFileError("ragged_row", "the three header rows differ in length", 3)
    names = {0: "track_id"}
    for place, (source, group, field) in enumerate(zip(first, groups, fields, strict=True)):
        if source == "echonest" and group == "audio_features":
            names[place] = field
        elif source == "echonest" and (group, field) == ("metadata", "artist_name"):
            names[place] = "artist"
    return names


def _names_index(row: list[str]) -> bool:
    """Whether a row only names the index, as the FMA files' fourth does."""
    return row[0].strip() == "track_id" and not any(cell.strip() for cell in row[1:])


def _make_frame(columns: dict[str, list[str | None]], numbers: list[int]) -> pl.DataFrame:
    identities = [name for name in ("track_id", "isrc", "file") if name in columns]
    for number, *given in zip(numbers, *(columns[name] for name in identities), strict=True):
        if not any(given):
            raise UnreadableFileError("no_track", f"row {number} names no track", number)
    texts = [*identities, *(["artist"] if "artist" in columns else [])]
    data = {name: pl.Series(name, columns[name], pl.String) for name in texts}
    labels = {name: values for name in columns if name not in texts and (values := _parse_label(name, columns[name], numbers)) is not None}
    if not labels:
        raise UnreadableFileError("no_labels", "no column holds numbers from 0 to 1")
    frame = pl.DataFrame([*data.values(), *(pl.Series(name, values, pl.Float64) for name, values in labels.items())])
    return _merge(frame.with_columns(pl.Series("row", numbers, pl.Int64)), identities, list(labels))


def _parse_label(name: str, cells: list[str | None], numbers: list[int]) -> list[float | None] | None:
    """Numbers of one column, ``None`` where it is not a label."""
    if name in _NO_LABELS:
        return None
    values: list[float | None] = []
    for number, cell in zip(numbers, cells, strict=True):
        value = None if cell is None else _to_number(cell)
        if cell is not None and (value is None or not 0 <= value <= 1):
            if name not in _KNOWN:
                return None
            rule = "bad_number" if value is None else "out_of_range"
            raise UnreadableFileError(rule, f"{name} of row {number} is not a number from 0 to 1", number)
        values.append(value)
    return values if name in _KNOWN or any(value is not None for value in values) else None


def _to_number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _merge(frame: pl.DataFrame, identities: list[str], labels: list[str]) -> pl.DataFrame:
    """One row for each track: equal repetitions are dropped, differing ones are an error."""
    distinct = frame.unique([*identities, *labels], keep="first", maintain_order=True)
    repeated = distinct.filter(~pl.struct(identities).is_first_distinct())
    if repeated.height:
        number = int(repeated["row"][0])
        raise UnreadableFileError("contradicting_rows", f"row {number} gives a track other labels than a row before it", number)
    return distinct.drop("row")
