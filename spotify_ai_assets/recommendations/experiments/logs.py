"""Logs of experiments as files: Parquet, CSV or JSON lines."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from spotify_ai_assets.errors import UnreadableFileError

_READERS = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".jsonl": pl.read_ndjson, ".ndjson": pl.read_ndjson}


def read_log(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Read a log.

    Args:
        path: A file whose name ends in .parquet, .csv, .jsonl or .ndjson.
        columns: What it must have; other columns may be there too.

    Raises:
        UnreadableFileError: It is of another format, cannot be read, lacks a column, or a value is missing.
    """
    if path.suffix.lower() not in _READERS:
        raise UnreadableFileError("other_format", "a log is a .parquet, .csv, .jsonl or .ndjson file")
    try:
        log = _READERS[path.suffix.lower()](path)
    except (OSError, pl.exceptions.PolarsError):
        raise UnreadableFileError("unreadable_file", "the log cannot be read") from None
    for name in columns:
        if name not in log.columns:
            raise UnreadableFileError("missing_column", f"the log has no column {name}; it needs {', '.join(columns)}")
        if log[name].null_count():
            raise UnreadableFileError("missing_value", f"a value of {name} is missing in the log")
    return log
