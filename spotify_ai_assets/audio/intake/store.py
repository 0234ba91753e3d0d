"""Where audio lives on disk: originals under the SHA-256 of their bytes, and the cache of their analyses.

::

    artifacts/audio/<2 hex>/<sha256>                       originals
    artifacts/analyses/<extractor>/<2 hex>/<sha256>.npz    what was measured; may be removed at any time
    quarantine/audio/<sha256>                              what was refused

No name of a file takes part in a path. An original is always a copy: a hard link would be changed by whoever goes on writing the
file that it was made from, and its name would then lie. Where the file system can share blocks between files (btrfs, xfs) the copy
is such a clone, which costs nothing and keeps its own content.

An original appears whole, after it was synced, or not at all. An analysis is not synced: one that a power cut has torn is measured
again.
"""

import hashlib
import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from spotify_ai_assets.audio.analysis import Analysis, from_npz
from spotify_ai_assets.audio.intake.formats import open_regular
from spotify_ai_assets.errors import PlatformError, UnreadableFileError

MOST_BYTES = 4 * 2**30
"""A file above that is refused before it is opened; it holds 6 hours of uncompressed stereo."""

_CHUNK = 4 * 2**20
_FICLONE = 0x40049409
"""ioctl_ficlone(2): share all blocks of another file."""

_FILE_ID = re.compile(r"[0-9a-f]{64}")


class UnsettledFileError(PlatformError):
    """A file changed while it was copied: somebody is still writing it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that is in the store.

    Attributes:
        file_id: SHA-256 of its bytes.
        bytes: How many.
    """

    file_id: str
    bytes: int


class Store:
    """Originals and analyses below the data folder.

    Args:
        data: The data folder.
        most_bytes: Size above which a file is refused.
    """

    def __init__(self, data: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._originals = data / "artifacts" / "audio"
        self._analyses = data / "artifacts" / "analyses"
        self._aside = data / "quarantine" / "audio"
        self._most_bytes = most_bytes

    # Originals ---------------------------------------------------------------------------------------------------------------

    def keep(self, path: Path) -> Kept:
        """Copy a file into the store under its digest; it is read once and never changed.

        Raises:
            UnreadableFileError: It cannot be opened, by rule ``not_found``, ``permission_denied`` or ``not_a_file`` (a link, a folder,
                a pipe), or it is ``too_large``.
            UnsettledFileError: It changed meanwhile.
            OSError: The store cannot be written, or the file's disk is failing.
        """
        with _open(path) as file:
            before = _state(file)
            size = os.fstat(file.fileno()).st_size
            if size > self._most_bytes:
                raise UnreadableFileError("too_large", f"it has {size} bytes, more than {self._most_bytes}")
            self._originals.mkdir(parents=True, exist_ok=True, mode=0o700)
            number, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=self._originals)
            part = Path(name)
            try:
                with os.fdopen(number, "w+b") as copy:
                    digest = _copy(file, copy, self._most_bytes)
                    if _state(file) != before:
                        raise UnsettledFileError("a file changed while it was read")
                    copy.flush()
                    os.fsync(copy.fileno())
                self._adopt(part, self.original(digest))
            finally:
                part.unlink(missing_ok=True)
        return Kept(digest, size)

    def original(self, file_id: str) -> Path:
        """Where the bytes of a file are."""
        return self._originals / _checked(file_id)[:2] / file_id

    def has(self, file_id: str) -> bool:
        """Whether they are there."""
        return self.original(file_id).is_file()

    def reject(self, file_id: str) -> None:
        """Move an original to the quarantine; one that is there already stays."""
        self._adopt(self.original(file_id), self._aside / file_id)

    def rejected(self, file_id: str) -> Path:
        """Where a rejected file is."""
        return self._aside / _checked(file_id)

    def readmit(self, file_id: str) -> None:
        """Move a rejected file back among the originals, once it can be measured after all."""
        self._adopt(self.rejected(file_id), self.original(file_id))

    def sweep(self) -> int:
        """Remove what a copy that was killed has left behind, and tell how many; only while nothing is copied."""
        parts = list(self._originals.glob(".*.part")) + list(self._analyses.glob("*/*/.*.part"))
        for part in parts:
            part.unlink(missing_ok=True)
        return len(parts)

    def _adopt(self, part: Path, target: Path) -> None:
        """Give a file its final name, if no file has it: what has the same digest is the same."""
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if target.exists():
            part.unlink(missing_ok=True)
            return
        with suppress(FileNotFoundError):  # another process has adopted the same
            part.replace(target)
        _sync_folder(target.parent)

    # Analyses ----------------------------------------------------------------------------------------------------------------

    def analysis(self, file_id: str, extractor: str) -> Analysis | None:
        """What was measured of a file by an extractor; ``None`` where nothing was, or what was is damaged."""
        try:
            data = self._analysis(file_id, extractor).read_bytes()
            found = from_npz(data)
        except (OSError, ValueError):
            return None
        return found if found.extractor == extractor else None

    def has_analysis(self, file_id: str, extractor: str) -> bool:
        """Whether there is one; it may be damaged."""
        return self._analysis(file_id, extractor).is_file()

    def put_analysis(self, file_id: str, extractor: str, data: bytes) -> None:
        """Keep what was measured, as ``Analysis.to_npz`` wrote it."""
        _write(self._analysis(file_id, extractor), data)

    def refusal(self, file_id: str, extractor: str) -> tuple[str, str] | None:
        """Rule and reason by which an extractor refused a file for good; ``None`` where it did not."""
        try:
            found = json.loads(self._analysis(file_id, extractor).with_suffix(".json").read_bytes())
            return str(found["rule"]), str(found["reason"])
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def put_refusal(self, file_id: str, extractor: str, rule: str, reason: str) -> None:
        """Remember that an extractor refuses a file, and always will."""
        target = self._analysis(file_id, extractor).with_suffix(".json")
        _write(target, json.dumps({"rule": rule, "reason": reason}).encode())

    def forget_analyses(self, keep: str) -> int:
        """Remove what all extractors but one have found; how many files that were."""
        count = 0
        for file in self._analyses.glob("*/*/*.*"):
            if file.parent.parent.name != keep:
                file.unlink(missing_ok=True)
                count += 1
        return count

    def _analysis(self, file_id: str, extractor: str) -> Path:
        if not extractor.isalnum():
            raise ValueError("an extractor is named by its digest")
        return self._analyses / extractor / _checked(file_id)[:2] / f"{file_id}.npz"


def _open(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except PermissionError:
        raise UnreadableFileError("permission_denied", "it may not be read") from None
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a name with a NUL is nobody's
        raise UnreadableFileError("not_found", "there is no such file") from None
    except OSError:
        raise UnreadableFileError("not_a_file", "a link, a folder, a pipe or a device") from None


def _checked(file_id: str) -> str:
    if not _FILE_ID.fullmatch(file_id):
        raise ValueError("a file is named by its SHA-256")
    return file_id


def _write(target: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    number, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=target.parent)
    part = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _state(file: BinaryIO) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _copy(file: BinaryIO, copy: BinaryIO, most_bytes: int) -> str:
    """Copy all of a file and give the digest of what was written."""
    source = copy if _clone(file, copy) else file
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        size += len(chunk)
        if size > most_bytes:  # it grows
            raise UnsettledFileError("a file changed while it was read")
        digest.update(chunk)
        if source is file:
            copy.write(chunk)
    return digest.hexdigest()


def _clone(file: BinaryIO, copy: BinaryIO) -> bool:
    """Share the blocks of a file, where the file system can."""
    try:
        from fcntl import ioctl

        ioctl(copy.fileno(), _FICLONE, file.fileno())
    except (ImportError, OSError):
        return False
    return True


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
