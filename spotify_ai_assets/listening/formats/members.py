"""Members: the files in a file, and what is common to all archives.

What a file is follows from its first bytes, never from its name. Each kind of archive has its own module.
"""

import re
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.formats import streams

HEAD = 1 << 20
MAX_MEMBERS = 100_000
ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_GZIP, _ZSTD, _SKIPPABLE = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")

Chunks = Callable[[], Iterator[bytes]]
_Entry = TypeVar("_Entry")


class Member:
    """One file, plain or inside another.

    Attributes:
        name: Its name, for detection only; never logged.
        path: Where it lies, if it is a plain file by itself.
        refused: The rule for which it is not read, if it is refused.
    """

    def __init__(self, name: str, chunks: Chunks, *, path: Path | None = None, refused: str | None = None) -> None:
        self.name = name
        self.path = path
        self.refused = refused
        self._chunks = chunks
        self._head: bytes | None = None
        self._copy: IO[bytes] | None = None

    def chunks(self) -> Iterator[bytes]:
        """The contents from the beginning; may be called again.

        Raises:
            UnreadableFileError: The member is refused, breaks off or is damaged.
        """
        if self.refused:
            raise UnreadableFileError(self.refused, f"a file was refused: {self.refused}")
        yield from self._chunks()

    def head(self) -> bytes:
        """The first ``HEAD`` bytes, or as many as there are before the end or a break.

        Raises:
            UnreadableFileError: Not one byte can be read.
        """
        if self._head is None:
            found = bytearray()
            try:
                for chunk in self.chunks():
                    found += chunk
                    if len(found) >= HEAD:
                        break
            except UnreadableFileError:
                if not found:
                    raise
            self._head = bytes(found[:HEAD])
        return self._head

    @contextmanager
    def as_file(self) -> Iterator[IO[bytes]]:
        """The contents as a seekable file; of a member inside another, an unnamed temporary copy that lasts as long as it.

        Raises:
            UnreadableFileError: As ``chunks``.
        """
        if self._copy is None and self.path:
            try:
                file = self.path.open("rb")
            except OSError:
                raise UnreadableFileError("unreadable_file", "the file cannot be read") from None
            with file:
                yield file
            return
        if self._copy is None:
            self._copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the member
            weakref.finalize(self, self._copy.close)
            for chunk in self.chunks():
                self._copy.write(chunk)
        self._copy.seek(0)
        yield self._copy


def first_bytes(chunks: Iterator[bytes], size: int) -> bytes:
    """The first bytes, at most ``size``."""
    found = b""
    for chunk in chunks:
        found += chunk
        if len(found) >= size:
            break
    return found[:size]


def find_unpacker(start: bytes) -> Callable[[Iterator[bytes]], Iterator[bytes]] | None:
    """What undoes the compression of a file that begins so, if it is compressed."""
    if start.startswith(_GZIP):
        return streams.gunzip
    if start.startswith(_ZSTD) or _SKIPPABLE.match(start):
        return streams.unzstd
    return None


def is_tar(start: bytes) -> bool:
    """Whether a file that begins so is a tar archive."""
    return start[257:262] == b"ustar"


def is_packed(start: bytes) -> bool:
    """Whether a file that begins so is compressed or an archive."""
    return start.startswith(ZIP) or find_unpacker(start) is not None or is_tar(start)


def refused_path(name: str) -> str | None:
    """The rule by which a path is refused, if it may lead out of the archive."""
    parts = name.replace("\\", "/").split("/")
    return "unsafe_path" if not parts[0] or ".." in parts or re.match(r"[A-Za-z]:", name) else None


def archive_member(name: str, chunks: Chunks, refused: str | None) -> Member:
    """An archive's member, refused if it is an archive itself."""
    member = Member(name, chunks, refused=refused)
    if refused is None:
        try:
            if is_packed(member.head()[:512]):
                member.refused = "nested_archive"
        except UnreadableFileError:
            pass  # the reader of the member meets the same error and reports it
    return member


def count_entries(entries: Iterable[_Entry]) -> Iterator[tuple[int, _Entry]]:
    """Number the entries of an archive.

    Raises:
        UnreadableFileError: There are more than ``MAX_MEMBERS``.
    """
    for number, entry in enumerate(entries):
        if number == MAX_MEMBERS:
            raise UnreadableFileError("too_many_members", "the archive has too many files")
        yield number, entry
