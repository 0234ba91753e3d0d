"""What the beginning of a member looks like, so that formats can be told apart by content.

Finds where records begin in JSON (lines, an array, an array inside an object), where the header of a table is, and the columns
of a Parquet file. Which fields make a format belongs to the module of that format.
"""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.formats import streams
from spotify_ai_assets.listening.formats.members import HEAD, Member

_Layout = TypeVar("_Layout")
_TRIES = 200
_SAMPLES = 20
_OBJECT = re.compile(r'\{\s*"')
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder(strict=False)
_BROKEN_JSON = (ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class JsonLayout:
    """Where the records of a JSON file are.

    Attributes:
        start: Offset of the first record in the text in UTF-8.
        is_lines: Whether each line is one record; otherwise they follow each other with commas.
        keys: First keys of records, by which the next record is found.
        context: The text around the array of records, as far as it is known.
    """

    start: int
    is_lines: bool
    keys: frozenset[str] = frozenset()
    context: str = ""


@dataclass(frozen=True, slots=True)
class TableLayout:
    """Where the records of a delimited file are.

    Attributes:
        skipped: Number of lines, blank ones not counted, before the first record.
        separator: The character between fields.
        columns: Positions of the columns by their lower-case names.
        width: Number of fields of a record.
    """

    skipped: int
    separator: str
    columns: dict[str, int]
    width: int


class Sample:
    """The beginning of a member, looked at in several ways; each is worked out once."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._objects: dict[int, list[dict[str, object]]] = {}

    @cached_property
    def _bytes(self) -> bytes:
        return b"".join(streams.as_utf8(iter([self._member.head()])))

    @cached_property
    def text(self) -> str:
        """The beginning with one character a byte, so that offsets are offsets of bytes; empty for binary data."""
        return "" if self.is_parquet else self._bytes.decode("latin-1")

    @property
    def is_parquet(self) -> bool:
        """Whether it is a Parquet file."""
        return self._member.head().startswith(b"PAR1")

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing but white space."""
        return not self._bytes.strip()

    @property
    def _is_whole(self) -> bool:
        return len(self._member.head()) < HEAD

    @cached_property
    def columns(self) -> frozenset[str]:
        """Names of a Parquet file's columns; empty for other files.

        Raises:
            UnreadableFileError: It begins as a Parquet file but is none.
        """
        if not self.is_parquet:
            return frozenset()
        import pyarrow
        from pyarrow import parquet

        try:
            with self._member.as_file() as file:
                return frozenset(parquet.read_schema(file).names)
        except (pyarrow.ArrowException, OSError, ValueError, MemoryError):
            raise UnreadableFileError("malformed_parquet", "the Parquet file is damaged") from None

    @cached_property
    def lines(self) -> list[str]:
        """Lines that are not blank; a last one that is cut off is left out."""
        lines = self._bytes.decode("utf-8", "replace").split("\n")
        return [line.rstrip("\r") for line in (lines if self._is_whole else lines[:-1]) if line and not line.isspace()]

    def fields(self, separator: str) -> list[list[str]]:
        """The fields of the first lines."""
        return [_fields(line, separator) for line in self.lines[:_SAMPLES]]

    def header(self, *columns: str, separators: str = ",;\t") -> TableLayout | None:
        """The first line that names all of these columns, whatever their case."""
        wanted = columns[0]
        for number, line in enumerate(self.lines[:100]):
            if wanted not in line.lower():
                continue
            for separator in separators:
                names = [name.strip().lower() for name in _fields(line, separator)]
                if set(columns) <= set(names):
                    return TableLayout(number + 1, separator, {name: names.index(name) for name in names}, len(names))
        return None

    def json_layout(
        self, is_record: Callable[[dict], bool], envelopes: tuple[tuple[str, ...], ...] = (), bare: bool = True
    ) -> JsonLayout | None:
        """Where records of a kind are.

        Args:
            is_record: Whether an object is such a record.
            envelopes: Paths of keys to the array of records in an object that holds them.
            bare: Whether records may also stand in lines, in an array without an object around it, or alone.

        Returns:
            The place, or ``None`` if there are no such records.
        """
        start = _skip(self.text, 0)
        first = self._line_objects[:1]
        if bare and first and first[0][0] == 0 and is_record(first[0][1]):
            return JsonLayout(start, is_lines=True)
        if bare and self.text.startswith("[", start) and (layout := self._array(start, is_record)):
            return layout
        whole = _decode(self.text, start) if bare else None
        if whole and isinstance(whole[0], dict) and is_record(whole[0]):
            return JsonLayout(start, is_lines=False, keys=frozenset(list(whole[0])[:1]))
        for path in envelopes:
            array = _find_array(self.text, start, path)
            if array is not None and (layout := self._array(array, is_record)):
                return layout
        # The first line may be damaged: any later one tells as well.
        return JsonLayout(start, is_lines=True) if bare and any(is_record(found) for _, found in self._line_objects) else None

    def expect(self, layout: Callable[["Sample"], _Layout | None]) -> _Layout:
        """The layout that a format finds.

        Raises:
            UnreadableFileError: It finds none: the member is not of that format.
        """
        found = layout(self)
        if found is None:
            raise UnreadableFileError("other_format", "the file is not of the format that it is read as")
        return found

    @cached_property
    def _line_objects(self) -> list[tuple[int, dict]]:
        found = []
        for number, line in enumerate(self.lines[:_TRIES]):
            text = line.strip()
            decoded = _decode(text, 0) if text.startswith("{") else None
            if decoded and decoded[1] == len(text) and isinstance(decoded[0], dict):
                found.append((number, decoded[0]))
        return found

    def _array(self, bracket: int, is_record: Callable[[dict], bool]) -> JsonLayout | None:
        found = self._array_objects(bracket)
        keys = frozenset(next(iter(one)) for one in found if one and is_record(one))
        if not keys:
            return None
        array = _decode(self.text, bracket) if self._is_whole else None
        return JsonLayout(bracket + 1, is_lines=False, keys=keys, context=self.text[:bracket] + (self.text[array[1] :] if array else ""))

    def _array_objects(self, bracket: int) -> list[dict]:
        """Objects of an array, found even behind damaged ones."""
        if bracket not in self._objects:
            found, position = [], bracket
            for _ in range(_TRIES):
                match = _OBJECT.search(self.text, position)
                if not match or len(found) == _SAMPLES:
                    break
                decoded = _decode(self.text, match.start())
                if decoded:
                    found.append(decoded[0])
                position = decoded[1] if decoded else match.start() + 1
            self._objects[bracket] = found
        return self._objects[bracket]


def _fields(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _decode(text: str, position: int) -> tuple[object, int] | None:
    try:
        return _DECODER.raw_decode(text, position)
    except _BROKEN_JSON:
        return None


def _find_array(text: str, start: int, path: tuple[str, ...]) -> int | None:
    """Offset of the array at a path of keys in the object at ``start``, which need not be complete."""
    if not text.startswith("{", start):
        return None
    position = _skip(text, start + 1)
    while key := _decode(text, position):
        position = _skip(text, key[1])
        if not text.startswith(":", position):
            return None
        position = _skip(text, position + 1)
        if key[0] == path[0]:
            if len(path) > 1:
                return _find_array(text, position, path[1:])
            return position if text.startswith("[", position) else None
        value = _decode(text, position)
        if not value:
            return None
        position = _skip(text, value[1])
        if not text.startswith(",", position):
            return None
        position = _skip(text, position + 1)
    return None
