"""Rows of one file on their way to their days: in memory while they are few, else on disk by month.

A file is committed as a whole, so all its rows must be known before the first day is written; a file may be larger than
memory. Rows here are pseudonymous already, yet about people: what a killed import left is removed by the next one.
"""

import fcntl
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import TracebackType

import polars as pl

_IN_MEMORY_ROWS = 400_000
_ROW_GROUP_ROWS = 20_000


class Spool:
    """Collects batches and, once closed, gives them back day by day, to several threads at once if need be.

    Args:
        folder: Where rows go that are too many for memory; a folder of its own is made there and removed in the end.
    """

    def __init__(self, folder: Path) -> None:
        self._parent = folder
        self._folder: Path | None = None
        self._lock: int | None = None
        self._batches: list[pl.DataFrame] = []
        self._waiting = 0
        self._spilled = 0
        self._counts: Counter[date] = Counter()
        self._by_day: dict[date, pl.DataFrame] = {}

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._folder and self._lock is not None:
            shutil.rmtree(self._folder)
            os.close(self._lock)

    def count(self, day: date) -> int:
        """How many rows a day has."""
        return self._counts[day]

    def add(self, rows: pl.DataFrame) -> None:
        """Take a batch of rows with a ``day``."""
        if rows.is_empty():
            return
        self._counts.update(dict(rows["day"].value_counts().iter_rows()))
        self._batches.append(rows)
        self._waiting += rows.height
        if self._waiting > _IN_MEMORY_ROWS:
            self._spill()

    def close(self) -> list[date]:
        """Take no more.

        Returns:
            The days that have rows, in order.
        """
        if self._batches and self._folder:
            self._spill()
        elif self._batches:
            whole = pl.concat(self._batches)
            self._by_day = {key[0]: rows for key, rows in whole.partition_by("day", as_dict=True, maintain_order=True).items()}
        self._batches = []
        return sorted(self._counts)

    def rows(self, day: date) -> pl.DataFrame:
        """The rows of a day that has some, in the order in which they came."""
        return self.scan(day).collect()

    def scan(self, day: date) -> pl.LazyFrame:
        """The same, to be narrowed before they are read."""
        if self._folder:
            return pl.scan_parquet(self._folder / f"{day:%Y-%m}" / "*.parquet").filter(pl.col("day") == day)
        return self._by_day[day].lazy()

    def _spill(self) -> None:
        if self._folder is None:
            self._folder, self._lock = _open_folder(self._parent)
        # Sorted, so that a day is found by the statistics of few row groups.
        rows = pl.concat(self._batches).sort("day", maintain_order=True).with_columns(_month=pl.col("day").dt.strftime("%Y-%m"))
        for (month,), part in rows.partition_by("_month", as_dict=True, include_key=False, maintain_order=True).items():
            folder = self._folder / str(month)
            folder.mkdir(exist_ok=True)
            part.write_parquet(folder / f"{self._spilled:06}.parquet", compression="lz4", statistics=True, row_group_size=_ROW_GROUP_ROWS)
        self._spilled += 1
        self._batches, self._waiting = [], 0


def _open_folder(parent: Path) -> tuple[Path, int]:
    """A new folder and the lock on it, which lasts as long as this process; folders whose lock is free are left from killed ones."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(parent):
        for left in parent.glob("import-*"):
            descriptor = os.open(left, os.O_RDONLY)
            if _lock(descriptor):
                shutil.rmtree(left)
            os.close(descriptor)
        folder = Path(tempfile.mkdtemp(prefix="import-", dir=parent))
        descriptor = os.open(folder, os.O_RDONLY)
        _lock(descriptor)
    return folder, descriptor


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
