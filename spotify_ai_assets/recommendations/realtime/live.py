"""The live store: what listeners played lately, seen by the recommender at its next request.

A release holds histories as they were when it was made; the plays since then are here, each once, whatever comes twice. The
recommender adds those that its release does not know yet. Plays stay for 14 days, in which a release is made many times over.
A listener who is to be forgotten is gone at once, and a tombstone, a digest that leads back to nobody, refuses what may still
come of them.

On a laptop it is a SQLite file that any number of processes read, in production the Redis of the stream (``redis_live.py``).
"""

import hashlib
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.listening.plays import clean_plays
from spotify_ai_assets.recommendations.interactions import COMPLETED, LEFT, SKIPPED
from spotify_ai_assets.settings import Settings

KEEP = timedelta(days=14)
"""How long plays stay."""
KEEP_TOMBSTONES = timedelta(days=60)
"""Longer than anything waits in a stream or its backups."""

_ANY_DAY = date(2000, 1, 1)
_WAIT_S = 30.0
_SIGN = 1 << 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TABLES = """
CREATE TABLE IF NOT EXISTS plays (listener TEXT NOT NULL, key INTEGER NOT NULL, track TEXT NOT NULL, value REAL NOT NULL,
    started_us INTEGER NOT NULL, put_s INTEGER NOT NULL, PRIMARY KEY (listener, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS plays_by_age ON plays (put_s);
CREATE TABLE IF NOT EXISTS vectors (listener TEXT PRIMARY KEY, release TEXT NOT NULL, vector BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forgotten (digest BLOB PRIMARY KEY, put_s INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class LivePlay:
    """One play.

    Attributes:
        key: What names it among all plays: ``indices.histories.play_key`` of listener, start and track.
        track_id: The track.
        value: What it tells of the listener's taste, as ``interactions`` values it; without decay.
        started_at: When playing started, UTC.
    """

    key: int
    track_id: str
    value: float
    started_at: datetime


@dataclass(frozen=True, slots=True)
class LiveVector:
    """Where a listener is by now in the space of a release's model.

    Attributes:
        release: The release.
        vector: float32, shape (d,).
    """

    release: str
    vector: np.ndarray


class LiveError(TransientError):
    """The live store does not answer."""


class Live(Protocol):
    """What listeners played lately; every method may raise ``LiveError``."""

    def put(self, plays: Mapping[str, Sequence[LivePlay]], now: datetime) -> int:
        """Add plays by listener, all or none, seen by everybody when this returns; of equal keys the first stays.

        Those of forgotten listeners are passed over.

        Returns:
            How many were new.
        """
        ...

    def plays(self, listener: str) -> list[LivePlay]:
        """The plays of a listener, the earliest first."""
        ...

    def plays_of(self, listeners: Collection[str]) -> dict[str, list[LivePlay]]:
        """The plays of many listeners."""
        ...

    def put_vectors(self, release: str, vectors: Mapping[str, np.ndarray]) -> None:
        """Note where listeners are by now, unless they are forgotten."""
        ...

    def vector(self, listener: str) -> LiveVector | None:
        """Where a listener is, if plays were folded in lately."""
        ...

    def forget(self, listeners: Collection[str], now: datetime) -> None:
        """Remove everything about listeners and refuse them from now on; may be repeated."""
        ...

    def forgotten(self, listeners: Iterable[str]) -> set[str]:
        """Those of the listeners who are to be forgotten."""
        ...

    def expire(self, now: datetime) -> int:
        """Remove plays that were put 14 days ago or before, their listeners' vectors if nothing is left, and old tombstones.

        Returns:
            How many plays were removed, where the store counts them.
        """
        ...

    def close(self) -> None:
        """Close its connections."""
        ...


def value_plays(events: pl.DataFrame) -> dict[str, list[LivePlay]]:
    """The plays in listens by listener, cleaned and valued by the rules of the batch; podcasts and books tell nothing of taste.

    Args:
        events: Rows of ``listening/events``, of any days.
    """
    from spotify_ai_assets.recommendations.indices.histories import play_key

    # Which day it is makes no difference to a play; one for all makes one call of it.
    plays = clean_plays(events.filter(pl.col("kind") == "track").with_columns(day=pl.lit(_ANY_DAY)), _ANY_DAY)
    value = pl.when("is_completed").then(COMPLETED).when("is_skipped").then(SKIPPED).otherwise(LEFT)
    found: dict[str, list[LivePlay]] = {}
    for listener, track, started_at, worth in plays.select("listener_id", "track_id", "started_at", value.alias("value")).iter_rows():
        found.setdefault(listener, []).append(LivePlay(play_key(listener, started_at, track), track, worth, started_at))
    return found


class SqliteLive:
    """The store in a SQLite file: one writes, any number read, in other processes too.

    Args:
        path: The file; made when it is first used, for its owner alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []

    def put(self, plays: Mapping[str, Sequence[LivePlay]], now: datetime) -> int:
        """One transaction."""
        put_s = int(now.timestamp())
        with self._writing() as connection:
            gone = self._forgotten(connection, plays)
            before = connection.total_changes
            connection.executemany(
                "INSERT OR IGNORE INTO plays VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (listener, _signed(play.key), play.track_id, play.value, to_micros(play.started_at), put_s)
                    for listener, each in plays.items()
                    if listener not in gone
                    for play in each
                ),
            )
            return connection.total_changes - before

    def plays(self, listener: str) -> list[LivePlay]:
        """One look-up in the table's key."""
        with _answering():
            rows = self._connection().execute(
                "SELECT key, track, value, started_us FROM plays WHERE listener = ? ORDER BY started_us, key", (listener,)
            )
            return [LivePlay(key % _SIGN, track, value, from_micros(started)) for key, track, value, started in rows]

    def plays_of(self, listeners: Collection[str]) -> dict[str, list[LivePlay]]:
        """A look-up each."""
        return {listener: self.plays(listener) for listener in listeners}

    def put_vectors(self, release: str, vectors: Mapping[str, np.ndarray]) -> None:
        """One transaction."""
        with self._writing() as connection:
            gone = self._forgotten(connection, vectors)
            connection.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
                (
                    (listener, release, np.ascontiguousarray(vector, dtype="<f4").tobytes())
                    for listener, vector in vectors.items()
                    if listener not in gone
                ),
            )

    def vector(self, listener: str) -> LiveVector | None:
        """One look-up."""
        with _answering():
            row = self._connection().execute("SELECT release, vector FROM vectors WHERE listener = ?", (listener,)).fetchone()
        return LiveVector(row[0], np.frombuffer(row[1], dtype="<f4").astype(np.float32)) if row else None

    def forget(self, listeners: Collection[str], now: datetime) -> None:
        """Delete, then clear the files: deleted rows are overwritten and the write-ahead log is emptied."""
        with self._writing() as connection:
            for listener in listeners:
                connection.execute("DELETE FROM plays WHERE listener = ?", (listener,))
                connection.execute("DELETE FROM vectors WHERE listener = ?", (listener,))
            stones = [(tombstone(listener), int(now.timestamp())) for listener in listeners]
            connection.executemany("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", stones)
        if listeners:
            with _answering():
                # Splitting a page leaves copies in its unused part, which secure_delete does not reach.
                self._connection().execute("VACUUM")
                if self._connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    raise LiveError("the live store is in use; forget again to clear its write-ahead log")

    def forgotten(self, listeners: Iterable[str]) -> set[str]:
        """A look-up each."""
        with _answering():
            return self._forgotten(self._connection(), listeners)

    def expire(self, now: datetime) -> int:
        """One transaction."""
        with self._writing() as connection:
            oldest = int((now - KEEP).timestamp())
            removed = connection.execute("DELETE FROM plays WHERE put_s <= ?", (oldest,)).rowcount
            if removed:
                connection.execute("DELETE FROM vectors WHERE listener NOT IN (SELECT listener FROM plays)")
            connection.execute("DELETE FROM forgotten WHERE put_s <= ?", (int((now - KEEP_TOMBSTONES).timestamp()),))
            return removed

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._opened:
            connection.close()
        self._opened.clear()
        self._local = threading.local()

    def _forgotten(self, connection: sqlite3.Connection, listeners: Iterable[str]) -> set[str]:
        if not connection.execute("SELECT EXISTS (SELECT 1 FROM forgotten)").fetchone()[0]:
            return set()
        look = "SELECT 1 FROM forgotten WHERE digest = ?"
        return {listener for listener in listeners if connection.execute(look, (tombstone(listener),)).fetchone()}

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that takes SQLite's write lock before it reads."""
        with _answering():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:  # an interrupted transaction, too, must let go of the lock
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _connection(self) -> sqlite3.Connection:
        """The connection of this thread."""
        if (known := getattr(self._local, "connection", None)) is not None:
            return known
        with _answering():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {pragma}").close()
            connection.executescript(_TABLES)
        self._local.connection = connection
        self._opened.append(connection)
        return connection


@contextmanager
def _answering() -> Iterator[None]:
    """SQLite's failures as those of the store, without what was asked."""
    try:
        yield
    except sqlite3.OperationalError:
        raise LiveError("the live store does not answer") from None


def tombstone(listener: str) -> bytes:
    """What stands for a forgotten listener: 16 bytes that lead back to nobody."""
    return hashlib.blake2b(listener.encode(), digest_size=16, person=b"forgotten").digest()


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The moment, UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def _signed(key: int) -> int:
    """A key as SQLite's signed integers have it; ``key % 2**64`` undoes it."""
    return key - _SIGN if key >= _SIGN // 2 else key


def open_live(settings: Settings) -> Live:
    """The live store that the settings name; it connects when it is first used."""
    if not settings.stream_url:
        return SqliteLive(settings.data / "live" / "live.db")
    from spotify_ai_assets.recommendations.realtime.redis_live import RedisLive

    return RedisLive(settings.stream_url)
