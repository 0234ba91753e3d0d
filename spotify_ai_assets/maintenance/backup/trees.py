"""Trees of files to be backed up: walking them and reading what is found, piece by piece."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ai_assets.maintenance.backup.places import list_objects, open_object_store

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

PIECE_BYTES = 4 * 2**20
LEFT_OUT = frozenset({".scratch"})
"""Folders in which half-made things lie."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a tree.

    Attributes:
        path: Relative to the tree, with forward slashes.
        size: Bytes.
        modified_ns: When it was changed last.
        mode: Its permissions.
        mark: Changes whenever the file is replaced or written to: a file with the same mark, size and time needs no second look.
    """

    path: str
    size: int
    modified_ns: int
    mode: int
    mark: str


@dataclass(frozen=True)
class Tree:
    """A folder, or a part of an object store, under the name that it has in backups.

    Attributes:
        name: The first part of its files' names in a backup.
        root: A folder, or ``s3://bucket/prefix``.
        without: Files that are no part of it, relative to it.
    """

    name: str
    root: str
    without: frozenset[str] = field(default=frozenset())

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return "://" not in self.root

    def files(self) -> Iterator[Found]:
        """Its regular files, each folder's in the order of their names; links are none."""
        found = self._below("") if self.is_local else self._objects()
        return (each for each in found if each.path not in self.without)

    def read(self, path: str) -> Iterator[bytes]:
        """The bytes of a file, in pieces.

        Raises:
            FileNotFoundError: It is gone.
        """
        if not self.is_local:
            with self._store.open_input_stream(f"{self._prefix}/{path}") as stream:
                while piece := stream.read(PIECE_BYTES):
                    yield piece
            return
        # A file that became a link meanwhile is somebody's trap.
        descriptor = os.open(Path(self.root) / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            while piece := _read(file.fileno()):
                yield piece

    def _below(self, folder: str) -> Iterator[Found]:
        try:
            with os.scandir(Path(self.root) / folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in found:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(status.st_mode) and entry.name not in LEFT_OUT:
                yield from self._below(path)
            elif stat.S_ISREG(status.st_mode):
                mark = f"{status.st_ino:x}.{status.st_ctime_ns:x}"
                yield Found(path, status.st_size, status.st_mtime_ns, stat.S_IMODE(status.st_mode), mark)

    def _objects(self) -> Iterator[Found]:
        for path, size, modified_ns in sorted(list_objects(self._store, self._prefix, self._prefix)):
            yield Found(path, size, modified_ns, 0o644, "")

    @property
    def _prefix(self) -> str:
        return self.root.partition("://")[2].rstrip("/")

    @cached_property
    def _store(self) -> "FileSystem":
        return open_object_store()


def _read(descriptor: int) -> bytes:
    """The next piece: a whole one but at the end, whatever a single read gives."""
    parts, left = [], PIECE_BYTES
    while left and (part := os.read(descriptor, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
