"""Reads a file of bytes as intake does; shared by the tests of formats."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.formats import CATALOG, CHARTS, LISTENS, REJECTED, detect, explain, open_members

NOW = datetime(2026, 7, 1, tzinfo=UTC)
SCHEMAS = {"listens": LISTENS, "charts": CHARTS, "catalog": CATALOG}


@dataclass
class Result:
    format: str | None = None
    reason: str | None = None
    rows: list[dict] = field(default_factory=list)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    error: UnreadableFileError | None = None

    @property
    def rules(self) -> Counter:
        return Counter(rule for _, rule in self.rejected)

    @property
    def numbers(self) -> list[int]:
        return sorted([row["row"] for row in self.rows] + [row for row, _ in self.rejected])


def read_all(path: Path) -> list[Result]:
    """Every member of a file, with the frames' schemas and the row numbers checked on the way."""
    results = []
    for member in open_members(path):
        result = Result()
        results.append(result)
        try:
            found = detect(member)
            if found is None:
                result.reason = explain(member)
                continue
            result.format = found.name
            for batch in found.read(member, NOW):
                assert dict(batch.frame.schema) == SCHEMAS[found.kind]
                assert dict(batch.rejected.schema) == REJECTED
                result.rows += batch.frame.to_dicts()
                result.rejected += batch.rejected.rows()
        except UnreadableFileError as error:
            result.error = error
        assert result.numbers == list(range(1, len(result.numbers) + 1))
    return results


def read_bytes(folder: Path, data: bytes | str, name: str = "file") -> Result:
    """The only member of a file with these contents."""
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    (result,) = read_all(path)
    return result


def only(frame: pl.DataFrame) -> dict:
    (row,) = frame.to_dicts()
    return row
