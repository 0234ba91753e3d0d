"""The stream of listens: one contract, carried by a Redis in production and by a spool folder on a laptop.

At least once: what ``append`` has returned for is durable, and a message comes again until it is acknowledged, however its
reader died. Whoever acts on messages must therefore be able to act twice. Messages hold pseudonyms, never real ids; those that
are acknowledged are removed. Beside its body a message carries the trace that its sender worked for, where there is one.

What is in a message belongs to ``recommendations/realtime/messages.py``.
"""

import fcntl
import os
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.resources.durable_file import replace_file
from spotify_ai_assets.resources.storage import sync_path
from spotify_ai_assets.resources.traceparent import Context, parse, working
from spotify_ai_assets.settings import Settings

Topic = Literal["listen", "forget"]
TOPICS: tuple[Topic, ...] = ("listen", "forget")
_SCRATCH_S = 3600.0
"""Nobody takes an hour to write a file."""
_UNFINISHED_S = 60.0
"""And who takes a minute has died, if what is in the file must go."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, as its reader gets it.

    Attributes:
        id: Its place in the stream.
        topic: What it tells: that somebody listened, or that somebody is to be forgotten.
        body: JSON; anything at all where a stranger wrote it.
        accepted_at: When the stream took it, UTC.
        sent_by: What its sender worked for, where that was traced.
    """

    id: str
    topic: str
    body: bytes
    accepted_at: datetime
    sent_by: Context | None = None


class StreamError(TransientError):
    """The stream does not answer, or somebody else reads it."""


class Stream(Protocol):
    """A stream of messages with one group of readers, each message for one of them."""

    def append(self, topic: Topic, bodies: Sequence[bytes]) -> None:
        """Accept messages, durable when this returns; after an error some may be in the stream, so send all of them again.

        Raises:
            StreamError: The stream does not answer.
        """
        ...

    def read(self, count: int, wait_s: float) -> list[Message]:
        """The next messages for this reader; first those that it, or another that died, read and never acknowledged.

        Args:
            count: About how many at most.
            wait_s: How long to wait for the first.

        Raises:
            StreamError: The stream does not answer.
        """
        ...

    def acknowledge(self, ids: Collection[str]) -> None:
        """Remove messages whose effects are durable; ids that are gone already are passed over.

        Raises:
            StreamError: The stream does not answer.
        """
        ...

    def waiting(self) -> int:
        """How many messages are accepted and not acknowledged yet.

        Raises:
            StreamError: The stream does not answer.
        """
        ...

    def scrub(self) -> None:
        """Remove from disk whatever is left there of acknowledged messages.

        Raises:
            StreamError: The stream does not answer.
        """
        ...

    def close(self) -> None:
        """Let go of it; what was read and not acknowledged is for the next reader."""
        ...


class SpoolStream:
    """A stream in a folder: each ``append`` is a file, and goes when all of its messages are acknowledged.

    One process reads at a time; the kernel lets go of its lock when it dies. Any number append.

    Args:
        folder: Made when it is first written to or read.
        pause_s: How often an idle reader looks again.
    """

    def __init__(self, folder: Path, pause_s: float = 0.03) -> None:
        self._folder = folder
        self._pause_s = pause_s
        self._lock: int | None = None
        self._open: dict[str, set[str]] = {}
        """Of each file that was read the messages that are not acknowledged yet."""

    def append(self, topic: Topic, bodies: Sequence[bytes]) -> None:
        """Write one file and rename it into sight."""
        if not bodies:
            return
        if any(b"\n" in body for body in bodies):
            raise ValueError("a message of a spool is one line")
        self._make()
        sent_by = f"-{context}" if (context := working()) else ""
        name = f"{time.time_ns():020}-{uuid.uuid4().hex[:12]}{sent_by}.{topic}"
        scratch = self._folder / f".{name}"
        with scratch.open("xb") as file:
            file.write(b"\n".join([*bodies, b""]))
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(self._folder / name)
        sync_path(self._folder)

    def read(self, count: int, wait_s: float) -> list[Message]:
        """The messages of the oldest files that were not read yet; a file is read as a whole."""
        self._hold()
        end = time.monotonic() + wait_s
        while not (names := self._unread()) and time.monotonic() < end:
            time.sleep(self._pause_s)
        found: list[Message] = []
        for name in names:
            if len(found) >= count:
                break
            found += self._take(name)
        return found

    def acknowledge(self, ids: Collection[str]) -> None:
        """Remove the files of which nothing is left."""
        for each in ids:
            name = each.partition(":")[0]
            left = self._open.get(name, set())
            if each in left:
                left.remove(each)
                self._drop_empty(name)

    def waiting(self) -> int:
        """Messages in the folder."""
        waiting = sum(map(len, self._open.values()))
        for name in self._unread():
            with suppress(FileNotFoundError):  # it was acknowledged just now
                waiting += (self._folder / name).read_bytes().count(b"\n")
        return waiting

    def remove(self, is_doomed: Callable[[bytes], bool]) -> int:
        """Take messages out that nobody has read yet, and what of them is half written; gives how many.

        Raises:
            StreamError: Another process reads.
        """
        self._hold()
        removed = 0
        for name in self._unread():
            bodies = (self._folder / name).read_bytes().split(b"\n")[:-1]
            kept = [body for body in bodies if not is_doomed(body)]
            removed += len(bodies) - len(kept)
            if not kept:
                (self._folder / name).unlink()
            elif len(kept) < len(bodies):
                with replace_file(self._folder / name) as file:
                    file.write(b"\n".join([*kept, b""]))
        for path in self._folder.glob(".*-*"):
            with suppress(FileNotFoundError):  # it was finished just now
                is_left = path.stat().st_mtime < time.time() - _UNFINISHED_S
                if is_left and any(map(is_doomed, path.read_bytes().split(b"\n"))):
                    path.unlink()
        return removed

    def scrub(self) -> None:
        """Remove what dead processes left half written; nothing is left of a file that was removed."""
        oldest = time.time() - _SCRATCH_S
        for path in self._folder.glob(".*-*"):
            with suppress(FileNotFoundError):  # it was finished just now
                if path.stat().st_mtime < oldest:
                    path.unlink()

    def close(self) -> None:
        """Let another process read."""
        self._open.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _make(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _hold(self) -> None:
        if self._lock is not None:
            return
        self._make()
        lock = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StreamError("another process reads the spool of the stream already") from None
        self._lock = lock

    def _unread(self) -> list[str]:
        try:
            names = [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return []
        return sorted(name for name in names if name.rpartition(".")[2] in TOPICS and not name.startswith(".") and name not in self._open)

    def _take(self, name: str) -> list[Message]:
        stamp, topic = name.partition("-")[0], name.rpartition(".")[2]
        accepted_at = datetime.fromtimestamp(int(stamp) / 1e9, UTC) if stamp.isdigit() else datetime.now(UTC)
        bodies = (self._folder / name).read_bytes().split(b"\n")[:-1]
        sent_by = parse("-".join(name.rpartition(".")[0].split("-")[2:]))
        found = [Message(f"{name}:{number}", topic, body, accepted_at, sent_by) for number, body in enumerate(bodies)]
        self._open[name] = {message.id for message in found}
        self._drop_empty(name)
        return found

    def _drop_empty(self, name: str) -> None:
        if not self._open[name]:
            # Gone from the list only after it is gone from the folder, else it would be read again.
            (self._folder / name).unlink(missing_ok=True)
            del self._open[name]


def open_stream(settings: Settings, reader: str = "worker") -> Stream:
    """The stream that the settings name; it connects when it is first used.

    Args:
        settings: Name the Redis, or the folder of the spool.
        reader: Who reads; one that is started again under its name goes on with what it had not acknowledged.
    """
    if not settings.stream_url:
        return SpoolStream(settings.stream)
    from spotify_ai_assets.resources.redis_stream import RedisStream

    return RedisStream(settings.stream_url, reader)
