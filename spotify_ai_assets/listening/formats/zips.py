"""Zip archives, also those whose directory is lost."""

import itertools
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.formats import streams
from spotify_ai_assets.listening.formats.members import ZIP, Member, archive_member, count_entries, first_bytes, refused_path

_ENCRYPTED, _DESCRIPTOR = 0x1, 0x8


def zip_archive(path: Path, size: int) -> Iterator[Member]:
    """Members of a zip of ``size`` bytes.

    Raises:
        UnreadableFileError: The archive is damaged or would unpack to too much.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, OverflowError):
        yield from _broken_zip(path, size)
        return
    limit = streams.size_limit(size)
    if sum(entry.file_size for entry in entries) > limit:
        raise UnreadableFileError("compression_bomb", "the archive unpacks to more than is allowed for its size")
    for _, entry in count_entries(entries):
        if entry.is_dir():
            continue

        def chunks(entry: zipfile.ZipInfo = entry) -> Iterator[bytes]:
            return streams.limit_size(_zip_chunks(path, entry), limit)

        yield archive_member(entry.filename, chunks, _refused_zip_entry(entry))


def _refused_zip_entry(entry: zipfile.ZipInfo) -> str | None:
    if entry.flag_bits & _ENCRYPTED:
        return "encrypted_zip"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "unsafe_link"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        return "unsupported_compression"
    return refused_path(entry.orig_filename)


def _zip_chunks(path: Path, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(entry) as file:
            # read1 gives each piece as it is unpacked; read would lose the pieces before a break. The stubs lack it.
            while chunk := file.read1(streams.CHUNK):  # type: ignore[attr-defined]
                yield chunk
    except EOFError:
        raise UnreadableFileError("truncated_zip", "the zip archive breaks off") from None
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError, NotImplementedError):
        raise UnreadableFileError("malformed_zip", "the zip archive is damaged") from None


def _broken_zip(path: Path, size: int) -> Iterator[Member]:
    """The files of a zip whose directory, at its end, is gone: read one after the other, as far as they can be told apart."""
    offset = 0
    for _, _ in count_entries(itertools.repeat(None)):
        header = first_bytes(streams.read_chunks(path, offset, 30), 30)
        if len(header) < 30 or not header.startswith(ZIP[0]):
            break
        flags, method = int.from_bytes(header[6:8], "little"), int.from_bytes(header[8:10], "little")
        names = int.from_bytes(header[26:28], "little")
        start = offset + 30 + names + int.from_bytes(header[28:30], "little")
        name = first_bytes(streams.read_chunks(path, offset + 30, names), names).decode("utf-8", "replace")
        refused = "encrypted_zip" if flags & _ENCRYPTED else refused_path(name)
        if method == zipfile.ZIP_STORED and not flags & _DESCRIPTOR:
            end = start + int.from_bytes(header[18:22], "little")
            member = archive_member(name, lambda start=start, end=end: _stored(path, start, end - start), refused)
        elif method == zipfile.ZIP_DEFLATED:
            end = _end_of_deflate(path, start, size)
            member = archive_member(name, lambda start=start: streams.limit_size(_inflate(path, start), streams.size_limit(size)), refused)
        else:
            break
        if not name.endswith("/"):
            yield member
        if end is None:
            break
        # A descriptor of up to 24 bytes may follow the data.
        offset = end + max(0, first_bytes(streams.read_chunks(path, end, 64), 64).find(ZIP[0]))
    raise UnreadableFileError("truncated_zip", "the zip archive breaks off")


def _stored(path: Path, start: int, size: int) -> Iterator[bytes]:
    for chunk in streams.read_chunks(path, start, size):
        size -= len(chunk)
        yield chunk
    if size:
        raise UnreadableFileError("truncated_zip", "the zip archive breaks off")


def _inflate(path: Path, start: int) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=-15)
    try:
        for chunk in streams.read_chunks(path, start):
            while chunk and not unpacker.eof:
                if piece := unpacker.decompress(chunk, streams.CHUNK):
                    yield piece
                chunk = unpacker.unconsumed_tail
            if unpacker.eof:
                return
        if piece := unpacker.flush():
            yield piece
    except zlib.error:
        raise UnreadableFileError("malformed_zip", "the zip archive is damaged") from None
    if not unpacker.eof:
        raise UnreadableFileError("truncated_zip", "the zip archive breaks off")


def _end_of_deflate(path: Path, start: int, size: int) -> int | None:
    """Where the compressed data that begins at ``start`` ends, or ``None`` if it breaks off before."""
    unpacker, offset, unpacked = zlib.decompressobj(wbits=-15), start, 0
    try:
        for chunk in streams.read_chunks(path, start):
            offset += len(chunk)
            while chunk and not unpacker.eof:
                unpacked += len(unpacker.decompress(chunk, streams.CHUNK))
                chunk = unpacker.unconsumed_tail
            if unpacked > streams.size_limit(size):
                return None
            if unpacker.eof:
                return offset - len(unpacker.unused_data)
    except zlib.error:
        pass
    return None
