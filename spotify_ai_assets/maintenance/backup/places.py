"""Where the embedded repository keeps its objects: a folder or a bucket, behind the same few operations."""

import ctypes
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from spotify_ai_assets.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_UNFINISHED = ".part"


class BackupError(PermanentError):
    """A backup that is not there or not whole, another key, or a place that cannot be restored to."""


class Place(Protocol):
    """Objects by names with forward slashes. An object appears whole or not at all."""

    def put(self, name: str, content: bytes) -> None:
        """Write an object, in the place of one of the same name; durable after the next ``sync``."""
        ...

    def get(self, name: str) -> bytes:
        """An object's bytes; ``FileNotFoundError`` where there is none."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """The objects below a folder, by name, and how long each is."""
        ...

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; one that is gone already is no failure."""
        ...

    def sync(self) -> None:
        """Make what was put durable."""
        ...


class Folder:
    """Objects as files of a folder that only its owner can read.

    Args:
        root: Made when it is first written to.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: str, content: bytes) -> None:
        """Write an object beside its name and rename it there."""
        path = self._root / name
        scratch = path.with_name(f".{uuid.uuid4().hex}{_UNFINISHED}")
        try:
            descriptor = self._create(scratch)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            scratch.replace(path)
        except OSError as error:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)
            raise TransientError(f"the place of backups cannot be written to: {os.strerror(error.errno or 0)}") from error

    def _create(self, path: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, flags, 0o600)

    def get(self, name: str) -> bytes:
        """An object's bytes."""
        return (self._root / name).read_bytes()

    def sizes(self, folder: str) -> dict[str, int]:
        """The objects below a folder; what a killed process left unfinished is none."""
        return {name: size for name, size in self._walk(folder) if not name.endswith(_UNFINISHED)}

    def _walk(self, folder: str) -> Iterator[tuple[str, int]]:
        with suppress(FileNotFoundError), os.scandir(self._root / folder) as entries:
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(name)
                else:
                    yield name, entry.stat(follow_symlinks=False).st_size

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects, and with them whatever killed processes left unfinished."""
        for name in [*names, *(name for name, _ in self._walk("") if name.endswith(_UNFINISHED))]:
            (self._root / name).unlink(missing_ok=True)

    def sync(self) -> None:
        """Flush the file system that holds the folder: one call, where thousands of small files would each need their own.

        Raises:
            TransientError: The disk did not take everything.
        """
        descriptor = os.open(self._root, os.O_RDONLY)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if not hasattr(libc, "syncfs"):
                os.sync()
            elif libc.syncfs(descriptor):
                raise TransientError(f"the place of backups did not take everything: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(descriptor)


class Bucket:
    """Objects of an object store, which appear whole and are durable when they were put.

    Args:
        root: ``s3://bucket/prefix``; endpoint, region and credentials come from the usual ``AWS_…`` variables.
    """

    def __init__(self, root: str) -> None:
        self._root = root.partition("://")[2].rstrip("/")
        self._opened: FileSystem | None = None

    def put(self, name: str, content: bytes) -> None:
        """Write an object."""
        try:
            with self._files.open_output_stream(f"{self._root}/{name}") as stream:
                stream.write(content)
        except OSError as error:
            raise TransientError("the bucket of backups cannot be written to") from error

    def get(self, name: str) -> bytes:
        """An object's bytes."""
        with self._files.open_input_stream(f"{self._root}/{name}") as stream:
            return stream.read()

    def sizes(self, folder: str) -> dict[str, int]:
        """The objects below a folder."""
        return {path: size for path, size, _ in list_objects(self._files, f"{self._root}/{folder}", self._root)}

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects."""
        for name in names:
            with suppress(FileNotFoundError):
                self._files.delete_file(f"{self._root}/{name}")

    def sync(self) -> None:
        """Nothing: an object store has what it has answered for."""

    @property
    def _files(self) -> "FileSystem":
        self._opened = self._opened or open_object_store()
        return self._opened


def open_object_store() -> "FileSystem":
    """The object store that the ``AWS_…`` variables name."""
    from pyarrow.fs import S3FileSystem

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return S3FileSystem(endpoint_override=os.environ.get("AWS_ENDPOINT_URL"), region=region)


def list_objects(files: "FileSystem", folder: str, relative_to: str) -> list[tuple[str, int, int]]:
    """The objects below a folder of an object store: name relative to a root, size, and nanoseconds of its last change."""
    from pyarrow.fs import FileSelector, FileType

    found = files.get_file_info(FileSelector(folder.rstrip("/"), allow_not_found=True, recursive=True))
    skip = len(relative_to) + 1
    return [(each.path[skip:], each.size or 0, each.mtime_ns or 0) for each in found if each.type == FileType.File]


def holds(place: Place, name: str) -> bool:
    """Whether a place has an object of this name with anything in it."""
    try:
        return bool(place.get(name))
    except FileNotFoundError:
        return False


def open_place(root: str) -> Place:
    """The place of an address: a folder, or ``s3://bucket/prefix``.

    Raises:
        BackupError: It is an address of another kind.
    """
    if root.startswith("s3://"):
        return Bucket(root)
    if "://" in root:
        raise BackupError("SPOTIFY_AI_BACKUPS must be a folder or s3://bucket/prefix")
    return Folder(Path(root))
