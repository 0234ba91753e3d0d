"""What a file holds when it is decoded: packed files, archives, tables, databases, and what is in those again.

A file is known by how it begins, never by its name. Everything is read in pieces; what would grow beyond measure is refused
before or while it grows, and what cannot be decoded is said, never skipped. Where a packed file breaks off, all that it had was
read: that is no refusal.
"""

import codecs
import itertools
import json
import re
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.maintenance.erasure.tabular import Piece, read_avro, read_duckdb, read_npy, read_parquet, read_sqlite

if TYPE_CHECKING:
    import zipfile
    from pathlib import Path

CHUNK = 4 * 2**20
"""Bytes that are read at once."""

_HEAD = 1024
_TOKEN = b"gAAAAA"
"""How a Fernet token begins: version 128 and the first bytes of its time, in base64."""
_ESCAPES = re.compile(rb'((?:\\u[0-9a-fA-F]{4})+)|\\(["\\/bfnrt])')
_OVERLAP = 4096
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


class UndecodableError(PlatformError):
    """Something inside of a file cannot be decoded.

    Attributes:
        rule: Why: ``corrupt``, ``encrypted``, ``no_key``, ``too_deep``, ``expands_too_far`` or ``unreadable``.
    """

    def __init__(self, rule: str, message: str = "") -> None:
        super().__init__(message or rule)
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Limits:
    """How far something may grow.

    Attributes:
        depth: How deep things may be packed in one another.
        growth: How many times as large as its file its contents may be.
        free_bytes: What the contents of any file may be, however small it is.
        memory_bytes: What is held in memory; more goes to a file without a name.
    """

    depth: int = 6
    growth: int = 100
    free_bytes: int = 512 * 2**20
    memory_bytes: int = 64 * 2**20


@dataclass(slots=True)
class Meter:
    """Counts what comes out of one file.

    Attributes:
        allowed: How many bytes may.
        used: How many did.
    """

    allowed: int
    used: int = 0

    def add(self, size: int) -> None:
        """Count bytes.

        Raises:
            UndecodableError: They are more than may be.
        """
        self.used += size
        self.check(0)

    def check(self, size: int) -> None:
        """Refuse what says of itself that it would be too large.

        Raises:
            UndecodableError: It would.
        """
        if self.used + size > self.allowed:
            raise UndecodableError("expands_too_far", "the contents are far larger than their file")


@dataclass(slots=True)
class Reading:
    """One way in which a file, or something in it, was read.

    Attributes:
        inside: What was decoded, such as ``gzip/parquet``; empty for the bytes themselves.
        chunks: The bytes.
        is_text: Whether words end where letters and digits do.
    """

    inside: str
    chunks: Iterable[bytes]
    is_text: bool = False


@dataclass(slots=True)
class Decoder:
    """Decodes what a file holds.

    Attributes:
        limits: How far things may grow.
        keys: Fernet keys of files that are kept encrypted.
        has_numbers: Whether columns of 64-bit numbers are read too.
        refused: What could not be decoded, and why; filled while readings are read.
    """

    limits: Limits
    keys: Sequence[bytes] = ()
    has_numbers: bool = False
    refused: list[tuple[str, str]] = field(default_factory=list)
    _meter: Meter = field(default_factory=lambda: Meter(0))

    def decode(self, file: BinaryIO, size: int, path: "Path | None" = None) -> Iterator[Reading]:
        """All readings of a file beside its bytes; each must be read to its end before the next is asked for.

        Args:
            file: The file, at its beginning.
            size: Its bytes.
            path: Where it lies; without it databases are read from a copy.
        """
        self.refused = []
        self._meter = Meter(max(self.limits.free_bytes, self.limits.growth * size))
        yield from self._decode(file, "", 0, path)

    def _decode(self, file: BinaryIO, inside: str, depth: int, path: "Path | None" = None) -> Iterator[Reading]:
        head = file.read(_HEAD)
        file.seek(0)
        found = _kind(head)
        if not found:
            return
        kind, read = found
        here = f"{inside}/{kind}".strip("/")
        try:
            if depth >= self.limits.depth:
                raise UndecodableError("too_deep")
            yield from read(self, file, here, depth, path)
        except Exception as error:  # a decoder may fail in any way on bytes that somebody else made
            self.refused.append((here, _rule(error)))

    def _unpack(self, chunks: Iterator[bytes], inside: str, depth: int) -> Iterator[Reading]:
        """The bytes of something packed, and what they hold again."""
        found = self._guarded(chunks, inside)
        head = b""
        while len(head) < _HEAD and (chunk := next(found, b"")):
            head += chunk
        if not _kind(head):
            yield Reading(inside, itertools.chain((head,), found), is_text=is_text(head))
            return
        with cast(BinaryIO, tempfile.SpooledTemporaryFile(self.limits.memory_bytes)) as copy:
            yield Reading(inside, _copied(itertools.chain((head,), found), copy))
            copy.seek(0)
            yield from self._decode(copy, inside, depth + 1)

    def _guarded(self, chunks: Iterator[bytes], inside: str) -> Iterator[bytes]:
        """Counts what comes; ends where no more can be had, and remembers why."""
        try:
            for chunk in chunks:
                self._meter.add(len(chunk))
                yield chunk
        except Exception as error:  # a decoder may fail in any way on bytes that somebody else made
            self.refused.append((inside, _rule(error)))

    # Packed files ----------------------------------------------------------------------------------------------------------

    def gzip(self, file: BinaryIO, inside: str, depth: int, path: "Path | None") -> Iterator[Reading]:
        """A gzip file, all its members."""
        del path
        yield from self._unpack(_inflated(file), inside, depth)

    def zstd(self, file: BinaryIO, inside: str, depth: int, path: "Path | None") -> Iterator[Reading]:
        """A zstd file, all its frames."""
        del path
        import zstandard

        def chunks() -> Iterator[bytes]:
            with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file, read_across_frames=True, closefd=False) as stream:
                while chunk := stream.read(CHUNK):
                    yield chunk

        yield from self._unpack(chunks(), inside, depth)

    def bzip2(self, file: BinaryIO, inside: str, depth: int, path: "Path | None") -> Iterator[Reading]:
        """A bzip2 file."""
        del path
        import bz2

        with bz2.open(file) as stream:
            yield from self._unpack(_to_its_end(stream), inside, depth)

    def xz(self, file: BinaryIO, inside: str, depth: int, path: "Path | None") -> Iterator[Reading]:
        """An xz file."""
        del path
        import lzma

        with lzma.open(file) as stream:
            yield from self._unpack(_to_its_end(stream), inside, depth)

    def fernet(self, file: BinaryIO, inside: str, depth: int, path: "Path | None") -> Iterator[Reading]:
        """A file kept encrypted: a Fernet token on each line."""
        del path
        from cryptography.fernet import Fernet, InvalidToken, MultiFernet

        if not self.keys:
            raise UndecodableError("no_key")
        cipher = MultiFernet([Fernet(key) for key in self.keys])

        def chunks() -> Iterator[bytes]:
            for line in file:
                try:
                    yield cipher.decrypt(line.strip())
                except InvalidToken:
                    raise UndecodableError("no_key") from None

        yield from self._unpack(chunks(), inside, depth)

    # Archives --------------------------------------------------------------------------------------------------------------

    def zip(self, file: BinaryIO, inside: str, depth: int, path: "Path | None") -> Iterator[Reading]:
        """The members of a zip archive; their names stand in its bytes."""
        del path
        import zipfile

        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                try:
                    yield from self._member(archive, member, inside, depth)
                except Exception as error:  # the other members are read all the same
                    self.refused.append((inside, _rule(error)))

    def _member(self, archive: "zipfile.ZipFile", member: "zipfile.ZipInfo", inside: str, depth: int) -> Iterator[Reading]:
        if member.flag_bits & 1:
            raise UndecodableError("encrypted")
        self._meter.check(member.file_size)
        with archive.open(member) as stream:
            yield from self._unpack(iter(lambda: stream.read(CHUNK), b""), inside, depth)

    def tar(self, file: BinaryIO, inside: str, depth: int, path: "Path | None") -> Iterator[Reading]:
        """The packed members of a tar archive; what is not packed stands in its bytes."""
        del path
        import tarfile

        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isreg() else None
                if stream:
                    yield from self._unpack(iter(lambda stream=stream: stream.read(CHUNK), b""), inside, depth)

    # Tables and databases --------------------------------------------------------------------------------------------------

    def parquet(self, file: BinaryIO, inside: str, depth: int, path: "Path | None") -> Iterator[Reading]:
        """The values of a parquet file; statistics and metadata stand in its bytes."""
        del path
        yield from self._table(read_parquet(file, self._meter.check, has_numbers=self.has_numbers), inside, depth)

    def avro(self, file: BinaryIO, inside: str, depth: int, path: "Path | None") -> Iterator[Reading]:
        """The records of an Avro file."""
        del path
        yield from self._table(read_avro(file), inside, depth)

    def npy(self, file: BinaryIO, inside: str, depth: int, path: "Path | None") -> Iterator[Reading]:
        """The cells of an array of texts; numbers stand in its bytes."""
        del path
        yield from self._table(read_npy(file), inside, depth)

    def sqlite(self, file: BinaryIO, inside: str, depth: int, path: "Path | None") -> Iterator[Reading]:
        """The rows of a SQLite database; what was deleted stands in its bytes."""
        yield from self._table(read_sqlite(file, path), inside, depth)

    def duckdb(self, file: BinaryIO, inside: str, depth: int, path: "Path | None") -> Iterator[Reading]:
        """The rows of a DuckDB database."""
        yield from self._table(read_duckdb(file, path), inside, depth)

    def _table(self, pieces: Iterable[Piece], inside: str, depth: int) -> Iterator[Reading]:
        for is_text, piece in pieces:
            if not is_text and _kind(piece[:_HEAD]):
                yield from self._unpack(iter((piece,)), inside, depth)
            else:
                yield Reading(inside, (piece,), is_text=is_text)

    def safetensors(self, file: BinaryIO, inside: str, depth: int, path: "Path | None") -> Iterator[Reading]:
        """The header of a safetensors file without its escapes; the tensors stand in its bytes."""
        del depth, path
        size = int.from_bytes(file.read(8), "little")
        if size > 100 * 2**20:
            raise UndecodableError("corrupt")
        texts = _texts(json.loads(file.read(size)))
        yield Reading(inside, iter(("\n".join(texts).encode(errors="surrogatepass"),)), is_text=True)


Read = Callable[[Decoder, BinaryIO, str, int, "Path | None"], Iterator[Reading]]

_KINDS: tuple[tuple[str, int, bytes, Read], ...] = (
    ("parquet", 0, b"PAR1", Decoder.parquet),
    ("sqlite", 0, b"SQLite format 3\0", Decoder.sqlite),
    ("zip", 0, b"PK\x03\x04", Decoder.zip),
    ("gzip", 0, b"\x1f\x8b", Decoder.gzip),
    ("zstd", 0, b"\x28\xb5\x2f\xfd", Decoder.zstd),
    ("bzip2", 0, b"BZh", Decoder.bzip2),
    ("xz", 0, b"\xfd7zXZ\0", Decoder.xz),
    ("npy", 0, b"\x93NUMPY", Decoder.npy),
    ("avro", 0, b"Obj\x01", Decoder.avro),
    ("duckdb", 8, b"DUCK", Decoder.duckdb),
    ("tar", 257, b"ustar", Decoder.tar),
    ("safetensors", 8, b'{"', Decoder.safetensors),
    ("fernet", 0, _TOKEN, Decoder.fernet),
)


def _kind(head: bytes) -> tuple[str, Read] | None:
    return next(((kind, read) for kind, at, mark, read in _KINDS if head[at : at + len(mark)] == mark), None)


def _rule(error: Exception) -> str:
    return error.rule if isinstance(error, UndecodableError) else "corrupt"


def _copied(chunks: Iterable[bytes], copy: IO[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        copy.write(chunk)
        yield chunk


def is_text(head: bytes) -> bool:
    """Whether the beginning of something reads as text: UTF-8 without control characters."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head)


@dataclass(slots=True)
class Unescaper:
    """Text without the escapes of JSON, where some hide a letter.

    Attributes:
        tail: The end of what was seen, which the next piece may go on.
    """

    tail: bytes = b""

    def __call__(self, chunk: bytes) -> bytes:
        """The end of the last piece and this one without escapes; nothing where there are none."""
        text = self.tail + chunk
        self.tail = text[-_OVERLAP:]
        return _ESCAPES.sub(_unescaped, text) if b"\\u" in text or b"\\/" in text else b""


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1]:
        # Surrogates come in pairs: a run is decoded as a whole.
        return bytes.fromhex(match[1].replace(b"\\u", b"").decode()).decode("utf-16-be", "replace").encode()
    return _LETTERS.get(match[2], match[2])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield str(name)
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    else:
        yield str(value)


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """The contents of a gzip file, as far as it goes: ``gzip`` gives nothing of a last piece that is cut off."""
    inflater = zlib.decompressobj(31)
    pending = b""
    is_begun = False
    while chunk := pending or file.read(1 << 16):
        if not is_begun and chunk.strip(b"\0") == b"":  # padding after the last member
            pending = b""
            continue
        found = inflater.decompress(chunk, CHUNK)
        is_begun = True
        if found:
            yield found
        pending = inflater.unconsumed_tail
        if inflater.eof:
            pending = inflater.unused_data
            inflater, is_begun = zlib.decompressobj(31), False
    if is_begun and (rest := inflater.flush()):
        yield rest


def _to_its_end(stream: IO[bytes]) -> Iterator[bytes]:
    try:
        while chunk := stream.read(CHUNK):
            yield chunk
    except EOFError:
        return
