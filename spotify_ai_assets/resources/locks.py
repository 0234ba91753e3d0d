"""One lock per table: shared by writers, exclusive for whoever removes files.

A full vacuum beside a writer deletes the files of a commit that is about to happen; nothing in Delta prevents that. On one
machine the lock is a file lock, which the kernel releases when its holder dies; across machines it is a PostgreSQL
advisory lock, released when the holder's connection dies. Whoever waits for the exclusive lock is not overtaken for ever by
writers that come later. No lock may be taken twice by one thread.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol

from spotify_ai_assets.errors import LockTimeoutError

TIMEOUT_S = 120.0


class Locks(Protocol):
    """Hands out the lock of a table."""

    def shared(self, key: str) -> AbstractContextManager[None]:
        """Hold the table's lock together with other writers."""
        ...

    def exclusive(self, key: str) -> AbstractContextManager[None]:
        """Hold the table's lock alone."""
        ...


class FileLocks:
    """``flock`` on two files per table: the lock, and a gate that everyone passes to get it.

    The kernel would let new writers share the lock while a vacuum waits for it. Whoever waits holds the gate, so nobody who
    comes later gets past.

    Args:
        folder: Where the lock files live; never a network file system.
        timeout_s: How long to wait before giving up.
    """

    def __init__(self, folder: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._folder = folder
        self._timeout_s = timeout_s

    def shared(self, key: str) -> AbstractContextManager[None]:
        """Hold the table's lock together with other writers."""
        return self._hold(key, fcntl.LOCK_SH)

    def exclusive(self, key: str) -> AbstractContextManager[None]:
        """Hold the table's lock alone."""
        return self._hold(key, fcntl.LOCK_EX)

    @contextmanager
    def _hold(self, key: str, mode: int) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        name, deadline = key.replace("/", "."), time.monotonic() + self._timeout_s
        with closing(_File(self._folder / f"{name}.lock")) as lock:
            with closing(_File(self._folder / f"{name}.gate")) as gate:
                for file, wanted in ((gate, fcntl.LOCK_EX), (lock, mode)):
                    if not file.lock(wanted, deadline):
                        raise _timeout(key, self._timeout_s)
            yield


class _File:
    """An open lock file; closing it lets go of its lock."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def lock(self, mode: int, deadline: float) -> bool:
        """Try until the deadline, at first often, then every 20 ms: a blocking ``flock`` knows no time limit."""
        pause_s = 0.0005
        while True:
            try:
                fcntl.flock(self._descriptor, mode | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.02)

    def close(self) -> None:
        os.close(self._descriptor)


class PostgresLocks:
    """Advisory locks of a PostgreSQL server, one session for each held lock; the server queues who waits.

    Args:
        url: ``postgresql+psycopg2://…``; a direct connection, since a pooler that shares sessions shares their locks too.
        timeout_s: How long to wait before giving up.
    """

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._timeout_s = timeout_s

    def shared(self, key: str) -> AbstractContextManager[None]:
        """Hold the table's lock together with other writers."""
        return self._hold(key, "pg_advisory_lock_shared")

    def exclusive(self, key: str) -> AbstractContextManager[None]:
        """Hold the table's lock alone."""
        return self._hold(key, "pg_advisory_lock")

    @contextmanager
    def _hold(self, key: str, function: str) -> Iterator[None]:
        from sqlalchemy import text
        from sqlalchemy.exc import OperationalError

        number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big", signed=True)
        with self._engine.connect() as session:
            try:
                session.execute(text("select set_config('lock_timeout', :limit, false)"), {"limit": f"{round(self._timeout_s * 1000)}ms"})
                session.execute(text(f"select {function}(:number)"), {"number": number})
            except OperationalError as error:
                if getattr(error.orig, "pgcode", None) != _LOCK_NOT_AVAILABLE:
                    raise
                raise _timeout(key, self._timeout_s) from error
            yield


_LOCK_NOT_AVAILABLE = "55P03"


def _timeout(key: str, timeout_s: float) -> LockTimeoutError:
    return LockTimeoutError(f"{key}: its lock was held by another process for {timeout_s:g} s")
