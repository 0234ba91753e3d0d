"""Tar archives: plain ones by position, compressed ones as a stream."""

import itertools
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.formats import members, streams
from spotify_ai_assets.listening.formats.members import Chunks, Member, archive_member, count_entries, refused_path

_TAR_BUFFER, _TAR_PIECE = 64 << 10, 16 << 10


def plain_tar(path: Path) -> Iterator[Member]:
    """Members of a tar that is not compressed.

    Raises:
        UnreadableFileError: The archive is damaged.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            for _, entry in count_entries(iter(archive)):
                if entry.isdir():
                    continue
                start, size = entry.offset_data, entry.size
                yield archive_member(entry.name, lambda start=start, size=size: _range(path, start, size), _refused_tar_entry(entry))
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError):
        raise UnreadableFileError("malformed_tar", "the tar archive is damaged") from None


def compressed_tar(unpacked: Chunks) -> Iterator[Member]:
    """Members of a tar that can only be read forwards.

    Raises:
        UnreadableFileError: The archive is damaged.
    """
    try:
        # Reading forwards needs nothing of a file but `read`; the stubs ask for a whole one.
        with tarfile.open(fileobj=_Reader(unpacked()), mode="r|", bufsize=_TAR_BUFFER) as archive:  # type: ignore[arg-type]
            for number, entry in count_entries(iter(archive)):
                if entry.isdir():
                    continue
                live = _Live(archive, entry, unpacked, number)
                yield archive_member(entry.name, live.chunks, _refused_tar_entry(entry))
                live.close()
                # Python keeps every entry it has seen; the stubs hide the list.
                archive.members.clear()  # type: ignore[attr-defined]
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError):
        raise UnreadableFileError("malformed_tar", "the tar archive is damaged") from None


def _refused_tar_entry(entry: tarfile.TarInfo) -> str | None:
    if entry.issym() or entry.islnk():
        return "unsafe_link"
    if not entry.isreg() or entry.issparse():
        return "not_a_regular_file"
    return refused_path(entry.name)


def _range(path: Path, start: int, size: int) -> Iterator[bytes]:
    read = 0
    for chunk in streams.read_chunks(path, start, size):
        read += len(chunk)
        yield chunk
    if read < size:
        raise UnreadableFileError("truncated_tar", "the tar archive breaks off")


class _Reader:
    """Chunks as the file object that ``tarfile`` reads from; what has come before an error is handed out before it."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._broken: UnreadableFileError | None = None

    def read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size and (self._rest or self._refill()):
            part = self._rest[: size - len(found)]
            found += part
            self._rest = self._rest[len(part) :]
        if self._broken and not found:
            raise self._broken
        return bytes(found)

    def _refill(self) -> bool:
        try:
            self._rest = memoryview(next(self._chunks, b""))
        except UnreadableFileError as error:
            self._broken = error
        return len(self._rest) > 0


class _Live:
    """An entry under the reading head of a stream: its beginning is kept, so that one look and one reading need one pass."""

    def __init__(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, unpacked: Chunks, number: int) -> None:
        self._file = archive.extractfile(entry) if entry.isreg() else None
        self._unpacked = unpacked
        self._number = number
        self._kept: list[bytes] = []
        self._is_whole = False
        self._broken: UnreadableFileError | None = None

    def close(self) -> None:
        self._file = None

    def chunks(self) -> Iterator[bytes]:
        if self._file is None:
            yield from self._again()
            return
        self._fill(self._file)
        yield b"".join(self._kept)
        if self._broken:
            raise self._broken
        if not self._is_whole:
            # From here on the head has moved: another reader has to unpack the archive again.
            file, self._file = self._file, None
            while chunk := _read_entry(file):
                yield chunk

    def _fill(self, file: IO[bytes]) -> None:
        missing = members.HEAD - sum(map(len, self._kept))
        while missing > 0 and not self._is_whole and not self._broken:
            try:
                chunk = _read_entry(file)
            except UnreadableFileError as error:
                self._broken = error
                return
            self._kept.append(chunk)
            missing -= len(chunk)
            self._is_whole = not chunk

    def _again(self) -> Iterator[bytes]:
        try:
            # As above: only `read` is needed.
            with tarfile.open(fileobj=_Reader(self._unpacked()), mode="r|", bufsize=_TAR_BUFFER) as archive:  # type: ignore[arg-type]
                file = archive.extractfile(next(itertools.islice(archive, self._number, None)))
                while file and (chunk := _read_entry(file)):
                    yield chunk
        except (tarfile.TarError, OSError, ValueError, StopIteration):
            raise UnreadableFileError("truncated_tar", "the tar archive breaks off") from None


def _read_entry(file: IO[bytes]) -> bytes:
    """The next piece of a tar entry: a small one, for ``tarfile`` drops a piece that an error cuts short."""
    try:
        return file.read(_TAR_PIECE)
    except (tarfile.TarError, OSError, ValueError):
        raise UnreadableFileError("truncated_tar", "the tar archive breaks off") from None
