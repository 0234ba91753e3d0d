"""Delimited text: comma and tab separated records, with or without quotes.

Works by lines. A quoted field may run over a few lines; a stray quote spoils its own line and no other.
"""

import csv
from collections.abc import Callable, Iterator

import polars as pl

from spotify_ai_assets.listening.formats import streams
from spotify_ai_assets.listening.formats.members import Member
from spotify_ai_assets.listening.formats.sample import TableLayout

_MAX_JOINED = 5
Record = list[str] | str
"""The fields of a record, or the rule that it breaks."""


def read_table(
    member: Member, layout: TableLayout, *, is_quoted: bool = True, comment: Callable[[str], bool] = lambda line: False
) -> Iterator[pl.DataFrame]:
    """All records of a delimited file, block by block.

    Args:
        member: The file.
        layout: Where its records and columns are.
        is_quoted: Whether fields may be quoted; otherwise a quote is a character as any.
        comment: Whether a line is no record.

    Yields:
        Frames of ``row`` (1-based), the columns of ``layout`` as text, and ``rule``, null for a record that could be parsed.

    Raises:
        UnreadableFileError: The file breaks off; all complete records before the break have been delivered.
    """
    done, skip = 0, layout.skipped
    for block in streams.read_lines(streams.as_utf8(member.chunks())):
        lines, skip = block[skip:], max(0, skip - len(block))
        texts = [_decode(line) for line in lines]
        texts = [line for line in texts if not isinstance(line, str) or not comment(line)]
        records = list(_quoted(texts, layout) if is_quoted else _plain(texts, layout))
        if records:
            yield _frame(records, layout, done)
            done += len(records)


def _decode(line: bytes | None) -> str | tuple[str]:
    """The text of a line, or the rule that it breaks in a tuple."""
    if line is None:
        return ("line_too_long",)
    try:
        return line.decode().rstrip("\r")
    except UnicodeDecodeError:
        return ("bad_encoding",)


def _plain(lines: list[str | tuple[str]], layout: TableLayout) -> Iterator[Record]:
    for line in lines:
        yield line[0] if isinstance(line, tuple) else _fitted(line.split(layout.separator), layout.width)


def _quoted(lines: list[str | tuple[str]], layout: TableLayout) -> Iterator[Record]:
    position = 0
    while position < len(lines):
        line = lines[position]
        if isinstance(line, tuple):
            yield line[0]
            position += 1
            continue
        record, used = _parse(line, layout), 1
        if isinstance(record, str):
            record, used = _joined(lines[position : position + _MAX_JOINED], layout)
        yield record
        position += used


def _joined(lines: list[str | tuple[str]], layout: TableLayout) -> tuple[Record, int]:
    """A record whose quoted field runs over several lines, else the first line by itself, its quotes taken lightly."""
    joined = ""
    for used, line in enumerate(lines, start=1):
        if isinstance(line, tuple):
            break
        joined += line if used == 1 else "\n" + line
        if used > 1 and isinstance(record := _parse(joined, layout), list):
            return record, used
    return _parse(str(lines[0]), layout, strict=False), 1


def _parse(line: str, layout: TableLayout, strict: bool = True) -> Record:
    try:
        # Not splitlines(): it also cuts at line separators that a name may hold.
        parts = [part + "\n" for part in line.split("\n")]
        records = list(csv.reader(parts, delimiter=layout.separator, strict=strict))
    except csv.Error:
        return "malformed_row"
    return _fitted(records[0], layout.width) if len(records) == 1 else "malformed_row"


def _fitted(fields: list[str], width: int) -> Record:
    """Fields in the right number; empty ones beyond it are let go."""
    if len(fields) < width or any(fields[width:]):
        return "malformed_row"
    return fields[:width]


def _frame(records: list[Record], layout: TableLayout, done: int) -> pl.DataFrame:
    nothing = [None] * layout.width
    fields = list(zip(*(nothing if isinstance(record, str) else record for record in records), strict=True))
    columns: dict[str, pl.Series] = {name: pl.Series(fields[position], dtype=pl.String) for name, position in layout.columns.items()}
    rules = [record if isinstance(record, str) else None for record in records]
    return pl.DataFrame(columns).with_columns(
        row=pl.int_range(done + 1, done + 1 + len(records), dtype=pl.Int64),
        rule=pl.Series(rules, dtype=pl.String),
    )
