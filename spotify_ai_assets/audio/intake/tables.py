"""Tables that come with audio: which file is which track, what it is labelled, how it was perceived. Their headers tell them apart."""

import csv
import re
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

import polars as pl

from spotify_ai_assets.audio.contracts import GIVEN_LINKS, LABELS, PERCEPTUAL_LABELS
from spotify_ai_assets.audio.intake.formats import open_regular
from spotify_ai_assets.audio.intake.tags import escape_name
from spotify_ai_assets.contracts import Table
from spotify_ai_assets.errors import UnreadableFileError

FILE_COLUMNS = ("file", "file_name", "file_id", "sha256", "path", "filename")
LABEL_COLUMNS = ("label", "genre", "mood", "class")
MOST_BYTES = 64 * 2**20
"""A table of a million files has less."""

_HEAD = 2**16
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")


def detect_table(path: Path) -> Table | None:
    """Which table a file is, by its header; ``None`` where it is none of audio's."""
    try:
        with _open(path) as file:
            head = [next(csv.reader([line]), []) for line in file.read(_HEAD).splitlines()[:3]]
    except (OSError, ValueError, csv.Error):
        return None
    names = {name.strip().lower() for name in head[0]} if head else set()
    has_file = bool(names & set(FILE_COLUMNS))
    if has_file and "track_id" in names and not names & {"valence", "acousticness"}:
        return GIVEN_LINKS
    if has_file and names & set(LABEL_COLUMNS):
        return LABELS
    return PERCEPTUAL_LABELS if _is_perceptual(names, head) else None


def _is_perceptual(names: set[str], head: list[list[str]]) -> bool:
    echonest = any("echonest" in line for line in head)
    return echonest or bool(names & {"valence", "acousticness", "speechiness", "liveness", "instrumentalness"} and len(names) > 1)


def read_table(path: Path, table: Table) -> pl.DataFrame:
    """The rows of a table, by its contract.

    Raises:
        UnreadableFileError: It is damaged; the rule and the line say where.
    """
    return _READERS[table.key](path)


def _as_known(name: str) -> str:
    """A file as ``audio/files`` has it: its digest in small letters, or the last part of its path, escaped."""
    return name.lower() if _DIGEST.fullmatch(name) else escape_name(Path(name))


def _links(path: Path) -> pl.DataFrame:
    rows = [*_dictionaries(path)]
    file = next(name for name in FILE_COLUMNS if name in rows[0]) if rows else "file"
    # A list of files of which some have no track yet is a table of the others.
    found = [{"file": _as_known(row[file]), "track_id": row["track_id"]} for row in rows if row[file] and row["track_id"]]
    return pl.DataFrame(found, schema=GIVEN_LINKS.schema).unique("file", keep="last", maintain_order=True)


def _labels(path: Path) -> pl.DataFrame:
    rows = [*_dictionaries(path)]
    file = next(name for name in FILE_COLUMNS if name in rows[0]) if rows else "file"
    label = next(name for name in LABEL_COLUMNS if name in rows[0]) if rows else "label"
    for number, row in enumerate(rows, 1):
        if not row[file] or not row[label]:
            raise UnreadableFileError("missing_label", "a row names no file or no label", number)
    found = [
        {
            "file": _as_known(row[file]),
            "label": row[label],
            "artist": row.get("artist") or row.get("artist_name") or None,
            "fold": row.get("fold") or None,
        }
        for row in rows
    ]
    return pl.DataFrame(found, schema=LABELS.schema).unique("file", keep="last", maintain_order=True)


def _perceptual(path: Path) -> pl.DataFrame:
    from spotify_ai_assets.audio.models.perceptual_labels import read_labels

    rows = read_labels(path)
    if "file" in rows.columns:
        rows = rows.with_columns(pl.Series("file", [name and _as_known(name) for name in rows["file"]], pl.String))
    named = [name for name in ("track_id", "isrc", "file") if name in rows.columns]
    artist = pl.col("artist") if "artist" in rows.columns else pl.lit(None, pl.String)
    labels = [name for name in rows.columns if name not in (*named, "artist")]
    whole = rows.with_columns(item=pl.coalesce(named), artist=artist)
    long = whole.unpivot(labels, index=["item", "artist"], variable_name="feature").drop_nulls(("item", "value"))
    return long.select(*PERCEPTUAL_LABELS.schema).unique(("item", "feature"), keep="last", maintain_order=True)


_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {GIVEN_LINKS.key: _links, LABELS.key: _labels, PERCEPTUAL_LABELS.key: _perceptual}


def _open(path: Path) -> TextIO:
    """Open a regular file as text: opening a pipe would wait for a writer."""
    return TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="")


def _dictionaries(path: Path) -> Iterator[dict[str, str]]:
    if path.stat().st_size > MOST_BYTES:
        raise UnreadableFileError("too_large", f"it has more than {MOST_BYTES} bytes")
    number = 0
    with _open(path) as file:
        reader = csv.DictReader(file, strict=True)
        try:
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
            for number, row in enumerate(reader, 1):
                if None in row or None in row.values():
                    raise UnreadableFileError("ragged_row", "a row has more or fewer fields than the header", number)
                yield {name: value.strip() for name, value in row.items()}
        except csv.Error as error:
            raise UnreadableFileError("not_csv", "it is no CSV", number + 1) from error
        except UnicodeDecodeError as error:
            raise UnreadableFileError("not_utf8", "it is not UTF-8", number + 1) from error
