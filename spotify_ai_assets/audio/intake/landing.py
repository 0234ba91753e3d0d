"""Which files of audio have landed, or were named, and what becomes of them once they are taken.

``data/landing/audio`` is the platform's: what was taken from it is removed after its commit, since the store has it. A file that
somebody names by path is theirs: it is read in place and never touched.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ai_assets.audio.intake.formats import detect_audio
from spotify_ai_assets.audio.intake.taking import Taken
from spotify_ai_assets.listening.landing import list_files

if TYPE_CHECKING:
    from spotify_ai_assets.audio.intake.receiving import Report

QUIET_SECONDS = 5.0
"""A file that was written to less long ago is left for the next time: a decoder would take the first half of one for a short one."""

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class GivenAudio:
    """Files that somebody named, folders with all that is in them.

    Attributes:
        paths: The files and folders.
        reports: What became of them.
    """

    paths: Sequence[Path]
    reports: "list[Report]" = field(default_factory=list)
    _taken: set[Path] = field(default_factory=set)

    def files(self) -> list[Path]:
        """The files, folders unfolded, in order, but for those that a try before took and reported."""
        return [file for path in self.paths for file in list_files(path) if file not in self._taken]

    def done(self, taken: Taken) -> None:
        """They stay as they are."""
        self._taken.add(taken.path)


@dataclass(slots=True)
class LandedAudio:
    """The files below audio's folder of the landing spool, at any depth.

    Attributes:
        folder: That folder.
        now: The present moment, in seconds since 1970.
        reports: What became of the files.
    """

    folder: Path
    now: float
    reports: "list[Report]" = field(default_factory=list)
    _seen: dict[Path, tuple[int, ...]] = field(default_factory=dict)

    def files(self) -> list[Path]:
        """The files that have landed, in order; hidden ones, those with a temporary name and those still being written are left alone."""
        self._seen = dict(_settled(self.folder, self.now))
        return list(self._seen)

    def done(self, taken: Taken) -> None:
        """Remove a file whose row is committed: the store, or the quarantine, has its bytes.

        One of which nothing was kept stays, and so does one that has changed since it was listed.
        """
        path = taken.path
        if taken.file_id is None or _state(path) != self._seen.get(path):
            return
        try:
            path.unlink()
        except OSError as error:
            _LOG.error("%s: was taken but cannot be removed from the spool: %s", taken.file_id[:12], error.strerror)
            return
        with suppress(OSError):  # a folder is not empty, or not the platform's to remove; its name may be a person's
            folder = path.parent
            while folder != self.folder:
                folder.rmdir()
                folder = folder.parent


def what_landed(folder: Path, now: float) -> str | None:
    """A digest of which files have landed, their sizes and times, for cursors and run keys; ``None`` where none has.

    Files that are still being written do not count, so that the digest changes once they are whole.

    Args:
        folder: Audio's folder of the landing spool; it need not exist.
        now: The present moment, in seconds since 1970.
    """
    seen = [(os.fsencode(path), state) for path, state in _settled(folder, now)]
    return hashlib.sha256(repr(seen).encode()).hexdigest() if seen else None


def split_audio(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Files and folders as two lists of files, those of audio's intake and all else, told by content."""
    from spotify_ai_assets.audio.intake.tables import detect_table

    audio: list[Path] = []
    other: list[Path] = []
    for path in paths:
        for file in list_files(path):
            (audio if detect_audio(file) or detect_table(file) else other).append(file)
    return audio, other


def _settled(folder: Path, now: float) -> list[tuple[Path, tuple[int, ...]]]:
    states = [(path, _state(path)) for path in (list_files(folder) if folder.exists() else [])]
    # A time in the future is some other clock's, and says nothing.
    return [(path, state) for path, state in states if state and not 0 <= now - state[2] / 1e9 < QUIET_SECONDS]


def _state(path: Path) -> tuple[int, ...]:
    """What changes whenever a file does; nothing where it cannot be known."""
    try:
        status = path.lstat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns
