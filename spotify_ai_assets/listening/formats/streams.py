"""Byte streams: decompression within bounds, one character encoding, lines of bounded length.

All is iterators over chunks of bytes, so that the data before a break is never lost. What the bytes mean does not belong here.
"""

import codecs
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from spotify_ai_assets.errors import UnreadableFileError

CHUNK = 4 << 20
BLOCK = 16 << 20
MAX_LINE = 16 << 20
MAX_LINES = 150_000
MAX_SIZE = 64 << 30
MAX_RATIO = 1000
FREE_SIZE = 256 << 20
"""A file may always unpack to this size, however well it is compressed."""

# What one call unpacks is lost when it meets damage: bites are small, but calls cost time. A zstd block of 4 bytes can unpack to
# 128 KiB: bites shrink while much comes out of them, so that even a bomb finds little room.
_GZIP_BITE = 16 << 10
_ZSTD_BITES = (256, 4 << 10)
_ZSTD_WINDOW = 128 << 20


def read_chunks(path: Path, start: int = 0, size: int | None = None) -> Iterator[bytes]:
    """Chunks of a file or of a range of it.

    Raises:
        UnreadableFileError: The file cannot be opened or read.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            while chunk := file.read(CHUNK if size is None else min(CHUNK, size)):
                yield chunk
                size = None if size is None else size - len(chunk)
    except OSError:
        raise UnreadableFileError("unreadable_file", "the file cannot be read") from None


def size_limit(packed: int) -> int:
    """How many bytes a compressed file of ``packed`` bytes may unpack to."""
    return min(MAX_SIZE, max(FREE_SIZE, packed * MAX_RATIO))


def limit_size(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Pass chunks on up to a total size.

    Raises:
        UnreadableFileError: There is more.
    """
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > limit:
            raise UnreadableFileError("compression_bomb", "the file unpacks to more than is allowed for its size")
        yield chunk


def gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack gzip, with several members if there are, in pieces of at most ``CHUNK`` bytes.

    Raises:
        UnreadableFileError: The stream breaks off or is damaged.
    """
    unpacker = None
    try:
        for chunk in _bites(chunks, _GZIP_BITE):
            while chunk:
                # Zero bytes between and after members are padding that tape tools leave.
                if unpacker is None and not (chunk := chunk.lstrip(b"\0")):
                    break
                unpacker = unpacker or zlib.decompressobj(wbits=31)
                if piece := unpacker.decompress(chunk, CHUNK):
                    yield piece
                chunk = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
                unpacker = None if unpacker.eof else unpacker
        if unpacker is not None and (piece := unpacker.flush()):
            yield piece
    except zlib.error:
        raise UnreadableFileError("malformed_gzip", "the gzip stream is damaged") from None
    if unpacker is not None and not unpacker.eof:
        raise UnreadableFileError("truncated_gzip", "the gzip stream breaks off")


def unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack zstd, with several frames if there are.

    Raises:
        UnreadableFileError: The stream breaks off, is damaged or needs a window above 128 MiB.
    """
    import zstandard

    context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    unpacker, size = None, _ZSTD_BITES[0]
    try:
        for chunk in chunks:
            start = 0
            while start < len(chunk):
                unpacker = unpacker or context.decompressobj()
                bite = chunk[start : start + size]
                piece = unpacker.decompress(bite)
                yield from _bites([piece], CHUNK)
                size = _ZSTD_BITES[0] if len(piece) > CHUNK else _ZSTD_BITES[1]
                start += len(bite)
                if unpacker.eof:
                    start -= len(unpacker.unused_data)
                    unpacker = None
    except zstandard.ZstdError:
        raise UnreadableFileError("malformed_zstd", "the zstd stream is damaged") from None
    if unpacker is not None:
        raise UnreadableFileError("truncated_zstd", "the zstd stream breaks off")


def _bites(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), size):
            yield chunk[start : start + size]


def gather(chunks: Iterable[bytes], size: int = CHUNK) -> Iterator[bytes]:
    """Join small chunks to at least ``size`` bytes; what has come before an error is delivered before it."""
    parts, total = [], 0
    try:
        for chunk in chunks:
            parts.append(chunk)
            total += len(chunk)
            if total >= size:
                yield b"".join(parts)
                parts, total = [], 0
    except UnreadableFileError as error:
        broken = error
    else:
        broken = None
    if parts:
        yield b"".join(parts)
    if broken:
        raise broken


def as_utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Text in UTF-8 without byte-order mark, from UTF-8 or from UTF-16 with one.

    A lone surrogate of UTF-16 becomes bytes that are no UTF-8, so that its line, and no other, is found to be damaged.
    """
    chunks = iter(chunks)
    first = next(chunks, b"")
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        decoder = codecs.getincrementaldecoder("utf-16")("surrogatepass")
        yield decoder.decode(first).encode("utf-8", "surrogatepass")
        for chunk in chunks:
            yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
        return
    yield first.removeprefix(codecs.BOM_UTF8)
    yield from chunks


def skip_bytes(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """All but the first ``count`` bytes."""
    for chunk in chunks:
        yield chunk[count:]
        count = max(0, count - len(chunk))


def read_lines(chunks: Iterable[bytes]) -> Iterator[list[bytes | None]]:
    """Lines that are not blank, without their ends, in lists of at most ``MAX_LINES``; ``None`` is a line above ``MAX_LINE`` bytes.

    An over-long line is passed over in flat memory. When the chunks end in an error, the complete lines before it are delivered
    first.
    """
    pending, is_skipping, broken = b"", False, None
    try:
        for chunk in gather(chunks, BLOCK):
            if is_skipping:
                _, newline, chunk = chunk.partition(b"\n")
                if not newline:
                    continue
                is_skipping = False
            text, newline, pending = (pending + chunk).rpartition(b"\n")
            if newline:
                yield from _split(text)
            if len(pending) > MAX_LINE:
                yield [None]
                pending, is_skipping = b"", True
    except UnreadableFileError as error:
        broken = error
    if broken:
        raise broken
    yield from _split(pending)


def _split(text: bytes) -> Iterator[list[bytes | None]]:
    lines = [None if len(line) > MAX_LINE else line for line in text.split(b"\n") if line and not line.isspace()]
    for start in range(0, len(lines), MAX_LINES):
        yield lines[start : start + MAX_LINES]
