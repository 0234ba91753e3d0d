"""Is it audio: told by a file's bytes, never by its name; the question that sends a file to audio or to another importer.

A decoder may be lenient, since it was told that a file is audio. This question must not be: of a stream without signature, such as
MPEG audio without tags, several frames must follow one another near the beginning, each at the place that the one before announces,
which text, tables and archives do not hold by chance.
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from spotify_ai_assets.audio.measures.containers import Container, identify, read_mpeg_frame

_LEADING_JUNK = 4096
"""Streams may begin in the middle of a frame, and encoders pad."""

_FRAMES = 4
"""So many frames in a row are no accident; fewer only where they fill the whole file."""

_LONGEST_RUN = 32 * 1024
_OTHER = (b"PK", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"%PDF", b"PAR1", b"SQLite format 3", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x7fELF")
"""Beginnings of archives, tables, pictures and programs: whatever looks like a frame in them is none."""

_TAGS = (b"ID3\x02", b"ID3\x03", b"ID3\x04")
"""The versions of ID3v2 that exist."""


def detect_audio(path: Path) -> str | None:
    """The container of a file of audio, such as ``wav`` or ``mp3``; ``None`` where it is none, or cannot be looked into.

    It says what a file claims to be, not that it can be decoded: ``midi`` and ``asf`` are named too, so that a refusal can say why.
    """
    try:
        with open_regular(path) as file:
            return recognise(file)
    except (OSError, ValueError):
        return None


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; neither a link nor a pipe nor a device.

    Raises:
        OSError: It is none, or cannot be opened.
        ValueError: Its name holds a NUL.
    """
    # Opening a pipe without O_NONBLOCK would wait for a writer for ever.
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "no regular file")
    return os.fdopen(number, "rb")


def recognise(file: BinaryIO) -> str | None:
    """The container of audio in an open file, or ``None``.

    Args:
        file: Open for reading; its position is lost.
    """
    file.seek(0)
    head = file.read(_LEADING_JUNK + _LONGEST_RUN)
    if head.startswith(_OTHER):
        return None
    found = identify(file)
    is_tagged = head.startswith(_TAGS) and found.start > 0
    if found.name in ("iff", "riff"):
        return None
    if found.name and found.name not in ("mp3", "adts"):
        return found.name
    if is_tagged:  # a tag alone is an MP3 without frames
        return found.name or "mp3"
    return _find_run(head, found)


def _find_run(head: bytes, found: Container) -> str | None:
    if found.name == "adts":
        return "adts" if _is_run(head, 0, _adts_frame) else None
    at = head.find(b"\xff", 0, _LEADING_JUNK)
    while at >= 0:
        if _is_run(head, at, _mpeg_frame):
            return "mp3"
        at = head.find(b"\xff", at + 1, _LEADING_JUNK)
    return None


Frame = tuple[int, object]
"""Bytes of a frame, and what all frames of its stream share."""


def _is_run(head: bytes, start: int, read: Callable[[bytes, int], Frame | None]) -> bool:
    at, frames, first = start, 0, read(head, start)
    while frames < _FRAMES:
        frame = read(head, at)
        if frame is None or first is None or frame[1] != first[1]:
            break
        at, frames = at + frame[0], frames + 1
    # A short file may hold two frames and a piece of a third, or end in a tag.
    is_over = start == 0 and len(head) < _LONGEST_RUN and (at >= len(head) or head.startswith(b"TAG", at))
    return frames >= _FRAMES or (frames >= 2 and is_over)


def _mpeg_frame(data: bytes, at: int) -> Frame | None:
    frame = read_mpeg_frame(data, at)
    return frame and (frame.size, frame.likeness)


def _adts_frame(data: bytes, at: int) -> Frame | None:
    """The header of an ADTS frame, ISO/IEC 13818-7."""
    head = data[at : at + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return None
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return (size, (head[1], head[2])) if size > 7 else None
