"""Small tables and the lake over them, for the tests of the lake and for the processes that they start."""

import datetime as dt
import subprocess
import sys
from pathlib import Path

import polars as pl

from spotify_ai_assets.contracts import Column, Table, by_key
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.locks import FileLocks

DAY = dt.date(2024, 1, 1)
DAYS = Table(
    "a/days",
    (
        Column("day", pl.Date, "Day."),
        Column("id", pl.String, "Key.", personal="pseudonym"),
        Column("n", pl.Int64, "Number.", nullable=True),
    ),
    ("id",),
    "team:x",
)
WHOLE = Table(
    "a/whole", (Column("id", pl.String, "Key."), Column("x", pl.Float64, "Number.", nullable=True)), ("id",), "team:x", partitioned_by=None
)
TABLES = by_key(DAYS, WHOLE)


def open_lake(folder: Path | str, tables=TABLES, timeout_s: float = 60.0) -> Lake:
    return Lake(f"{folder}/lake", tables, FileLocks(Path(folder) / "locks", timeout_s))


def later(days: int) -> dt.date:
    return DAY + dt.timedelta(days)


def day_rows(ids: dict[str, int | None] | int, day: dt.date = DAY) -> pl.DataFrame:
    """Rows of ``a/days``: the given ones, or that many."""
    rows = {f"i{n}": n for n in range(ids)} if isinstance(ids, int) else ids
    return pl.DataFrame({"day": [day] * len(rows), "id": list(rows), "n": list(rows.values())}, schema=DAYS.schema)


def whole_rows(ids: dict[str, float | None]) -> pl.DataFrame:
    return pl.DataFrame({"id": list(ids), "x": list(ids.values())}, schema=WHOLE.schema)


def numbers(lake: Lake, day: dt.date = DAY) -> dict[str, int | None]:
    """The rows of one day as they can be read now."""
    return dict(lake.scan("a/days", first=day, last=day).select("id", "n").collect().iter_rows())


def log_files(lake: Lake, key: str = "a/days") -> list[str]:
    return sorted(path.name for path in Path(lake.storage.uri(key, "_delta_log")).iterdir())


def log_file(lake: Lake, version: int, suffix: str = "json", key: str = "a/days") -> Path:
    return Path(lake.storage.uri(key, f"_delta_log/{version:020}.{suffix}"))


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run Python code in a process of its own that can import this module; arguments are in ``sys.argv``."""
    here = Path(__file__).resolve().parent
    prelude = f"import sys; sys.path[:0] = [{str(here)!r}, {str(here.parents[1])!r}]\nfrom lake_tables import *\n"
    command = [sys.executable, "-c", prelude + code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], timeout_s: float = 120) -> str:
    """What a process printed; an error of its is one of the test's."""
    output, errors = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, errors
    return output
