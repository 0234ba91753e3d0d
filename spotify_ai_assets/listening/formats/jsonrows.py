"""JSON records, in lines or in an array, as frames of text columns.

Blocks of lines are parsed by polars. A block that it refuses is divided until few lines are left around the damage, and these are
read one by one. All scalars become text, so that a value of a wrong type spoils no other row: what the text means is decided
later.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping

import polars as pl
from polars.datatypes import DataType, DataTypeClass

from spotify_ai_assets.listening.formats import streams
from spotify_ai_assets.listening.formats.members import Member
from spotify_ai_assets.listening.formats.sample import JsonLayout

Shape = Mapping[str, DataType]
Path = tuple[str, ...]

_FEW = 64
_SOME = 2048
_PARTS = 16
_RELEARN = 1 << 20
_OVERLAP = 4 << 10
# Text that may have been no text in the file: a number, a truth value, a list or an object.
_DOUBTFUL = r"^(?:[\[{]|-?\d[\d.eE+-]*$|true$|false$)"


class _Number(str):
    """A JSON number, or NaN or Infinity, in the digits of the file."""

    __slots__ = ()

    @staticmethod
    def refuse(digits: str) -> None:
        """Take no number that is not in the standard."""
        raise ValueError(digits)


def _keep_first(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # Of a repeated key polars keeps the first; both ways of reading must agree.
    return dict(reversed(pairs))


_DECODER = json.JSONDecoder(object_pairs_hook=_keep_first, parse_float=_Number, parse_int=_Number, parse_constant=_Number, strict=False)
_STRICT = json.JSONDecoder(parse_constant=_Number.refuse)
_BROKEN_JSON = (ValueError, RecursionError)


class _Boundary:
    """How the beginning of a record is known in the text of an array: by an opening brace and one of the known first keys."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = set(keys)
        self._compile()

    def _compile(self) -> None:
        keys = "|".join(re.escape(json.dumps(key)) for key in sorted(self._keys))
        self.start = re.compile(rf"\{{\s*(?:{keys})\s*:")
        self._between = re.compile(rf"\}}\s*,?\s*(?=\{{\s*(?:{keys})\s*:)".encode("utf-8", "replace"))

    def split(self, text: bytes) -> bytes:
        """Put each record on its own line.

        No string can hold what is looked for: its quote would end the string, and no key may follow that.
        """
        return self._between.sub(b"}\n", text)

    def learn(self, text: bytes) -> None:
        """Add the first keys of the records at the beginning of a text."""
        for value, _ in _values(text.decode("latin-1"), self.start):
            if isinstance(value, dict) and value:
                self._keys.add(list(value)[-1])
        self._compile()


def read_json(member: Member, layout: JsonLayout, shape: Shape, texts: tuple[Path, ...]) -> Iterator[pl.DataFrame]:
    """All records of a JSON file, block by block.

    Args:
        member: The file.
        layout: Where its records are.
        shape: Wanted fields, of types String, and Struct and List made of them; all others are passed over.
        texts: Paths of fields that must be text if they are anything; a number there rejects the record.

    Yields:
        Frames of ``row`` (1-based), the fields of ``shape``, and ``rule``, null for a record that could be parsed.

    Raises:
        UnreadableFileError: The file breaks off; all complete records before the break have been delivered.
    """
    chunks = streams.skip_bytes(streams.as_utf8(member.chunks()), layout.start)
    boundary = None if layout.is_lines else _Boundary(layout.keys)
    lines = streams.read_lines(_records_to_lines(chunks, boundary) if boundary else chunks)
    done = 0
    for block in lines:
        frame = _parse(block, shape, texts, boundary)
        yield frame.with_columns(row=pl.int_range(done + 1, done + 1 + frame.height, dtype=pl.Int64))
        done += frame.height


def _records_to_lines(chunks: Iterable[bytes], boundary: _Boundary) -> Iterator[bytes]:
    """The text of an array with a line for each record, by the boundaries between them, so that damage does not spread."""
    pending = b""
    for chunk in streams.gather(chunks):
        text, newline, pending = boundary.split((pending + chunk).replace(b"\n", b" ")).rpartition(b"\n")
        if newline:
            yield text + newline
        elif len(pending) > _RELEARN:
            boundary.learn(pending)
            if len(pending) > streams.MAX_LINE:
                yield pending[:-_OVERLAP]
                pending = pending[-_OVERLAP:]
    yield pending


def _parse(lines: list[bytes | None], shape: Shape, texts: tuple[Path, ...], boundary: _Boundary | None) -> pl.DataFrame:
    """The records of some lines in their order, and ``_line``, the position of each one's line."""
    frame = _parse_block(lines, shape, texts)
    if frame is not None:
        return frame
    if len(lines) <= _FEW:
        return _parse_singly(dict(enumerate(lines)), shape, texts, boundary)
    if len(lines) <= _SOME:
        # Most often some lines are no JSON and the others are sound.
        odd = {position: line for position, line in enumerate(lines) if not _is_json(line)}
        sound = [position for position in range(len(lines)) if position not in odd]
        if odd and (frame := _parse_block([lines[position] for position in sound], shape, texts)) is not None:
            frame = frame.with_columns(pl.Series("_line", sound, dtype=pl.Int64))
            return pl.concat([frame, _parse_singly(odd, shape, texts, boundary)]).sort("_line", maintain_order=True)
    size = max(_FEW, len(lines) // _PARTS)
    parts = [
        _parse(lines[start : start + size], shape, texts, boundary).with_columns(pl.col("_line") + start)
        for start in range(0, len(lines), size)
    ]
    return pl.concat(parts)


def _parse_block(lines: list[bytes | None], shape: Shape, texts: tuple[Path, ...]) -> pl.DataFrame | None:
    """The records of lines that are sound without exception; ``None`` if one is not."""
    whole = [line for line in lines if line is not None]
    if len(whole) < len(lines) or not whole:
        return None
    try:
        frame = pl.read_ndjson(b"\n".join(whole), schema=shape)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    if frame.height != len(lines):
        return None
    return frame.with_columns(_doubt(frame, whole, texts), pl.int_range(frame.height, dtype=pl.Int64).alias("_line"))


def _is_json(line: bytes | None) -> bool:
    try:
        return line is not None and isinstance(_STRICT.decode(line.decode()), dict)
    except _BROKEN_JSON:
        return False


def _doubt(frame: pl.DataFrame, lines: list[bytes], texts: tuple[Path, ...]) -> pl.Series:
    """``wrong_type`` where a name was no text: only lines whose text leaves it open are looked at again."""
    fields = [_field(path) for path in texts]
    doubtful = frame.select(pl.any_horizontal(field.str.contains(_DOUBTFUL).fill_null(False) for field in fields)).to_series()
    rules: list[str | None] = [None] * frame.height
    for index in doubtful.arg_true():
        rules[index] = _wrong_type(_DECODER.decode(lines[index].decode("utf-8", "replace")), texts)
    return pl.Series("rule", rules, dtype=pl.String)


def _field(path: Path) -> pl.Expr:
    field = pl.col(path[0])
    for key in path[1:]:
        field = field.struct.field(key)
    return field


def _wrong_type(record: object, texts: tuple[Path, ...]) -> str | None:
    for path in texts:
        value = record
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None and (not isinstance(value, str) or isinstance(value, _Number)):
            return "wrong_type"
    return None


def _parse_singly(lines: dict[int, bytes | None], shape: Shape, texts: tuple[Path, ...], boundary: _Boundary | None) -> pl.DataFrame:
    """The records of lines, by their positions, whatever state they are in; an array's line may hold several."""
    records, rules, positions = [], [], []
    for position, line in lines.items():
        for value, rule in _read_line(line, boundary):
            record = value if isinstance(value, dict) else {}
            records.append({name: _shaped(record.get(name), dtype) for name, dtype in shape.items()})
            rules.append(rule or ("malformed_row" if record is not value else _wrong_type(record, texts)))
            positions.append(position)
    frame = pl.DataFrame(records, schema=shape)
    return frame.with_columns(pl.Series("rule", rules, dtype=pl.String), pl.Series("_line", positions, dtype=pl.Int64))


def _read_line(line: bytes | None, boundary: _Boundary | None) -> Iterator[tuple[object, str | None]]:
    if line is None:
        yield None, "line_too_long"
    elif boundary:
        yield from _values(line.decode("utf-8", "surrogateescape"), boundary.start)
    else:
        try:
            yield _DECODER.decode(line.decode("utf-8")), None
        except UnicodeDecodeError:
            yield None, "bad_encoding"
        except _BROKEN_JSON:
            yield None, "malformed_json"


_BETWEEN = re.compile(r"[\s,]*")
_BAD_BYTE = re.compile("[\udc80-\udcff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _values(text: str, start: re.Pattern[str]) -> Iterator[tuple[object, str | None]]:
    """The values of an array's text one by one, with a rule for those that are damaged; ends at the array's end."""
    position = 0
    while (position := _end(_BETWEEN.match(text, position))) < len(text):
        following = start.search(text, position + 1)
        if text[position] == "]":
            # A bracket that is followed by another record is damage, not the end.
            if not following:
                return
            position = following.start()
            continue
        try:
            value, end = _DECODER.raw_decode(text, position)
            yield value, "bad_encoding" if _BAD_BYTE.search(text, position, end) else None
        except _BROKEN_JSON:
            end = following.start() if following else len(text)
            yield None, "bad_encoding" if _BAD_BYTE.search(text, position, end) else "malformed_json"
        position = end


def _end(match: re.Match[str] | None) -> int:
    return match.end() if match else 0


def _shaped(value: object, dtype: DataType | DataTypeClass) -> object:
    """A decoded value in a column's type; null where it does not fit."""
    if value is None:
        return None
    if isinstance(dtype, pl.Struct):
        return {field.name: _shaped(value.get(field.name), field.dtype) for field in dtype.fields} if isinstance(value, dict) else None
    if isinstance(dtype, pl.List):
        return [_shaped(one, dtype.inner) for one in value] if isinstance(value, list) else None
    text = str(value) if isinstance(value, str) else json.dumps(value)
    # A lone surrogate has no place in UTF-8.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _SURROGATE.search(text) else text
