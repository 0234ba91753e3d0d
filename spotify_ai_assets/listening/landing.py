"""Which files an import takes, and what becomes of them afterwards.

The spool below the data folder belongs to the platform: what was imported from it is removed after its commit, or kept
encrypted for some days; what could not be read is quarantined. A file that somebody names by path is theirs: it is read in
place and never touched.
"""

import hashlib
import logging
import os
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.listening.intake import FileReport, Progress
from spotify_ai_assets.settings import Settings, secret

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

KEY_VARIABLE = "SPOTIFY_AI_LANDING_KEY"
AUDIO = "audio"
"""The folder of the spool in which audio lands."""

_CHUNK = 16 * 2**20
UNFINISHED = (".part", ".tmp", ".crdownload")
"""Ends of the names of files that somebody is still writing."""
_LOG = logging.getLogger(__name__)

Fingerprint = tuple[int, ...]


class Landing(Protocol):
    """Where the files of an import come from."""

    def files(self) -> list[Path]:
        """The files to import, in order."""
        ...

    def done(self, path: Path, digest: str, reports: Sequence[FileReport], *, may_keep: bool = True) -> None:
        """Told after everything of a file was committed; the digest is empty where it could not be opened.

        What may not be kept, since somebody is in it who is to be forgotten, is neither kept nor quarantined.
        """
        ...

    def progress(self, name: str, rows: int) -> None:
        """Told the file and the records read so far."""
        ...

    def keeps(self, now: datetime) -> bool:
        """Whether imported files are kept for some days; removes those whose days are over."""
        ...


@dataclass(slots=True)
class GivenFiles:
    """Files that somebody named, folders with all that is in them.

    Attributes:
        paths: The files and folders.
        watch: Told the file and the records read so far.
        reports: What became of them.
    """

    paths: Sequence[Path]
    watch: Progress = lambda name, rows: None
    reports: list[FileReport] = field(default_factory=list)
    _done: set[Path] = field(default_factory=set)

    def files(self) -> list[Path]:
        """The files to import, folders unfolded, in order; when an import is tried again, those that are left."""
        return [file for path in self.paths for file in list_files(path) if file not in self._done]

    def done(self, path: Path, digest: str, reports: Sequence[FileReport], *, may_keep: bool = True) -> None:
        """Remember the reports; the file stays as it is."""
        self.reports.extend(reports)
        self._done.add(path)

    def progress(self, name: str, rows: int) -> None:
        """Pass it on."""
        self.watch(name, rows)

    def keeps(self, now: datetime) -> bool:
        """They are not the platform's to keep."""
        return False


@dataclass(slots=True)
class SpooledFiles:
    """The files in the landing spool.

    Attributes:
        folder: The spool.
        aside: Where files go that are broken or are no data, named by their digest.
        kept: Where imported files go that are kept for some days.
        keep_days: How many days; 0 removes them at once.
        reports: What became of them.
    """

    folder: Path
    aside: Path
    kept: Path
    keep_days: int
    reports: list[FileReport] = field(default_factory=list)
    _seen: dict[Path, Fingerprint] = field(default_factory=dict)

    def files(self) -> list[Path]:
        """The files that have landed, in order; those still being written under a temporary name are left alone."""
        self._seen = {path: _fingerprint(path) for path in _landed(self.folder)}
        return list(self._seen)

    def done(self, path: Path, digest: str, reports: Sequence[FileReport], *, may_keep: bool = True) -> None:
        """Remove, keep or quarantine a file whose records are committed.

        One that could not be opened, or has changed since it was listed, stays for the next import: somebody is still writing it.
        """
        self.reports.extend(reports)
        if not digest or _fingerprint(path) != self._seen[path]:
            return
        try:
            self._clear(path, digest, reports, may_keep=may_keep)
        except OSError as error:
            _LOG.error("%s: was imported but cannot be moved out of the spool: %s", digest[:12], error.strerror)

    def _clear(self, path: Path, digest: str, reports: Sequence[FileReport], *, may_keep: bool) -> None:
        if is_settled(reports) or not may_keep:
            if self.keep_days and may_keep:
                encrypt(path, self.kept / f"{digest}.fernet")
            path.unlink()
        else:
            self.aside.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.move(path, self.aside / digest)
        self._drop_empty_folders(path.parent)

    def _drop_empty_folders(self, folder: Path) -> None:
        """A folder's name may be a person's; it goes with its last file."""
        with suppress(OSError):  # it is not empty, or not the platform's to remove
            while folder != self.folder:
                folder.rmdir()
                folder = folder.parent

    def progress(self, name: str, rows: int) -> None:
        """Nobody watches the spool."""

    def keeps(self, now: datetime) -> bool:
        """Whether imported files are kept for some days; removes those whose days are over.

        Raises:
            SettingsError: They are, but the environment has no usable key.
        """
        oldest = (now - timedelta(days=self.keep_days)).timestamp()
        for file in self.kept.glob("*.fernet"):
            if file.stat().st_mtime < oldest:
                file.unlink()
        if self.keep_days:
            _cipher()
        return self.keep_days > 0


def open_landing(settings: Settings) -> SpooledFiles:
    """The spool that the settings name."""
    return SpooledFiles(settings.landing, settings.data / "quarantine", settings.data / "kept", settings.keep_landing_days)


def is_settled(reports: Sequence[FileReport]) -> bool:
    """Whether nobody needs to look at a file again: there is data in it, and all of that was read."""
    return any(report.format for report in reports) and not any(report.is_broken for report in reports)


def list_files(folder: Path) -> list[Path]:
    """The regular files of a folder and of those in it, in order of their paths; hidden and unfinished ones are left out.

    What cannot be looked into is listed itself, so that its import says why: a folder without permission, a file in one, or a
    path that is no folder.
    """
    found: list[Path] = []

    def unreadable(error: OSError) -> None:
        found.append(Path(error.filename))

    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(parent, name) for name in names if not name.startswith(".") and not name.endswith(UNFINISHED)]
        found += [path for path in paths if _may_be_file(path)]
    return sorted(found)


def what_landed(folder: Path) -> str | None:
    """A digest of which files lie in a folder, their sizes and times, for cursors and run keys; ``None`` where it is empty."""
    seen = [(os.fsencode(path), _fingerprint(path)) for path in _landed(folder)]
    return hashlib.sha256(repr(seen).encode()).hexdigest() if seen else None


def _landed(folder: Path) -> list[Path]:
    # A spool in which nothing ever landed need not exist; its folder of audio is another domain's.
    return [path for path in list_files(folder) if path.relative_to(folder).parts[:1] != (AUDIO,)] if folder.exists() else []


def _may_be_file(path: Path) -> bool:
    """Whether it is a regular file, as far as that can be known; no link, pipe or device."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return True


def _fingerprint(path: Path) -> Fingerprint:
    """What changes whenever a file does; nothing where it cannot be known."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def encrypt(path: Path, target: Path) -> None:
    """Write a file encrypted, one Fernet token a line for each 16 MiB.

    Args:
        path: The file.
        target: Where the encrypted one goes; it appears whole or not at all.

    Raises:
        SettingsError: The environment has no usable key.
    """
    cipher = _cipher()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = target.with_suffix(".tmp")
    with path.open("rb") as plain, unfinished.open("wb") as sealed:
        while chunk := plain.read(_CHUNK):
            sealed.write(cipher.encrypt(chunk) + b"\n")
        sealed.flush()
        os.fsync(sealed.fileno())
    unfinished.replace(target)


def _cipher() -> "Fernet":
    from cryptography.fernet import Fernet

    try:
        return Fernet(secret(KEY_VARIABLE) or "")
    except ValueError:
        raise SettingsError(f"keeping landing files needs a Fernet key in {KEY_VARIABLE}") from None
