"""What would become of files: each goes through the sandbox, nothing is kept, and a row tells the outcome and what it took."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from spotify_ai_assets.audio.analysis import from_npz
from spotify_ai_assets.audio.intake.formats import open_regular
from spotify_ai_assets.audio.intake.sandbox import Pool, Refusal
from spotify_ai_assets.audio.intake.tags import escape_name
from spotify_ai_assets.audio.intake.taking import FLEETING

MANIFEST = "manifest.csv"
"""A table beside files that says what they are: columns ``path`` and ``kind`` (``valid``, ``odd`` or ``corrupt``)."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """One file.

    Attributes:
        path: Where it is, below what was named; printable.
        kind: What the manifest calls it; empty without one.
        outcome: ``decoded``, ``partial`` (it breaks off), ``excerpt`` (only its first part was measured) or ``refused``.
        rule: By which it was refused.
        seconds: Length of what can be decoded.
        cpu_s: Processor time that measuring it took.
        wall_s: The same on the clock.
        peak_mb: Most memory that was resident in its child, in 1,000,000 bytes; 0 where the child was lost.
        is_as_expected: Whether it was handled as its kind demands: a valid file decodes whole; an odd or corrupt one decodes, or is
            refused for what it is. A child lost, a limit reached or an error of the product is never expected.
    """

    path: str
    kind: str
    outcome: str
    rule: str
    seconds: float | None
    cpu_s: float
    wall_s: float
    peak_mb: float
    is_as_expected: bool


def inspect_files(paths: Iterable[Path], pool: Pool) -> Iterator[Inspected]:
    """Measure files and keep nothing.

    Args:
        paths: Files, or folders with all that is in them; a manifest in a folder, and what it does not name, is left out.
        pool: Where they are measured.

    Yields:
        A row for each, in order.
    """
    listed = {file: (shown, kind) for path in paths for file, shown, kind in _list(path)}
    found = dict(pool.each(listed, lambda file: _inspect(file, pool, *listed[file])))
    yield from (found[file] for file in listed)


def tabulate(rows: Iterable[Inspected]) -> pl.DataFrame:
    """Rows as a frame with a column for each of their fields."""
    schema = {"path": pl.String, "kind": pl.String, "outcome": pl.String, "rule": pl.String, "seconds": pl.Float64}
    schema |= {"cpu_s": pl.Float64, "wall_s": pl.Float64, "peak_mb": pl.Float64, "is_as_expected": pl.Boolean}
    return pl.DataFrame([{name: getattr(row, name) for name in schema} for row in rows], schema=schema)


def _list(path: Path) -> Iterator[tuple[Path, str, str]]:
    """Files with what they are called and what kind they are."""
    if not path.is_dir():
        yield path, escape_name(path), ""
        return
    kinds = _read_manifest(path / MANIFEST)
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        if (kinds and str(name) not in kinds) or not (file.is_file() or file.is_symlink()):
            continue
        yield file, "/".join(escape_name(Path(part)) for part in name.parts), kinds.get(str(name), "")


def _read_manifest(path: Path) -> Mapping[str, str]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["path"]: row["kind"] for row in csv.DictReader(file)}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error):
        return {}


def _inspect(file: Path, pool: Pool, shown: str, kind: str) -> Inspected:
    try:
        open_regular(file).close()
    except (OSError, ValueError):
        return Inspected(shown, kind, "refused", "not_a_file", None, 0.0, 0.0, 0.0, is_as_expected=not kind)
    answer = pool.ask("analyse", file)
    cost = answer.cost
    took = (round(cost.cpu_seconds, 3), round(cost.wall_seconds, 3), round(cost.peak_bytes / 1e6, 1))
    if isinstance(answer, Refusal):
        is_expected = kind != "valid" and answer.rule not in FLEETING
        return Inspected(shown, kind, "refused", answer.rule, None, *took, is_as_expected=is_expected)
    facts = from_npz(answer.payload).facts
    outcome = "partial" if facts["is_partial"] else "excerpt" if facts["is_excerpt"] else "decoded"
    return Inspected(shown, kind, outcome, "", facts["duration_ms"] / 1000, *took, is_as_expected=kind != "valid" or outcome == "decoded")
