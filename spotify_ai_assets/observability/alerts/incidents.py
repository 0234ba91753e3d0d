"""Which troubles are open, and what is still to be sent of them: the router's memory, one SQLite file.

A notice and what it makes due are written in one transaction, and only then is anything sent. Whoever is killed between the two
leaves it due; whoever is killed after sending and before noting it sends it again, under the same id, which Sentry and PagerDuty
know how to ignore.
No Dagster here. The file holds no secret: channels are kept by name, addresses are looked up when something is sent.
"""

import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.observability.alerts.notices import Notice, Route, Severity, routes_of, worst
from spotify_ai_assets.settings import Settings

Action = Literal["trigger", "resolve"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS incidents (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, subject TEXT NOT NULL, parts TEXT NOT NULL, owner TEXT NOT NULL,
    severity TEXT NOT NULL, title TEXT NOT NULL, failures INTEGER NOT NULL, opened_at REAL NOT NULL, last_at REAL NOT NULL, ended_at REAL
);
CREATE INDEX IF NOT EXISTS open_incidents ON incidents (subject) WHERE ended_at IS NULL;
CREATE TABLE IF NOT EXISTS occurrences (
    subject TEXT NOT NULL, occurrence TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (subject, occurrence)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, incident INTEGER NOT NULL, channel TEXT NOT NULL, action TEXT NOT NULL, key TEXT NOT NULL,
    severity TEXT NOT NULL, notice TEXT NOT NULL, told_at REAL NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',
    attempts INTEGER NOT NULL DEFAULT 0, next_at REAL NOT NULL, settled_at REAL, reason TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS waiting_deliveries ON deliveries (state, next_at);
CREATE TABLE IF NOT EXISTS missing (
    incident INTEGER NOT NULL, part TEXT NOT NULL, asset TEXT NOT NULL, PRIMARY KEY (incident, part, asset)
) WITHOUT ROWID;
"""
_WAIT_S = 30.0
_LEASE_S = 60.0
"""Nobody takes so long to send one; whoever holds it longer is dead."""
_KEY_LENGTH = 240
"""So that a number fits behind it."""

_KEPT_S = 30 * 86_400.0
_RUN = "run/"
"""Subjects that other runs can make good."""


@dataclass(frozen=True, slots=True)
class Incident:
    """A trouble.

    Attributes:
        key: Its dedupe key.
        subject: What it is about.
        parts: What of it still hurts.
        owner: Who answers for it.
        severity: The worst that was told of it.
        title: The newest one.
        failures: How often it failed in a row.
        opened_at: When it was told first, UTC.
        last_at: When it was told last, UTC.
    """

    key: str
    subject: str
    parts: tuple[str, ...]
    owner: str
    severity: Severity
    title: str
    failures: int
    opened_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something to be sent to one channel.

    Attributes:
        id: Its number.
        channel: Where to.
        action: Whether the trouble begins or ends.
        key: The dedupe key of the trouble.
        notice: What is told.
        told_at: When it was, UTC.
        attempts: How often sending it was tried.
    """

    id: int
    channel: str
    action: Action
    key: str
    notice: Notice
    told_at: datetime
    attempts: int

    @property
    def event_id(self) -> str:
        """An id that it has every time it is sent: 32 hexadecimal digits."""
        return hashlib.sha256(f"{self.key}\0{self.id}\0{self.told_at.timestamp()}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Figures:
    """How alerting does.

    Attributes:
        open: How many troubles are open.
        waiting: How many deliveries wait.
        oldest_waiting_at: When the oldest of them was told; ``None`` where none waits.
        given_up: How many were given up within the days that are remembered.
    """

    open: int
    waiting: int
    oldest_waiting_at: datetime | None
    given_up: int


class Incidents:
    """The memory of the router; safe to use from many processes.

    Args:
        path: The SQLite file, made when it is first used and readable by its owner alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, notice: Notice, routes: Sequence[Route], channels: Collection[str], now: datetime) -> list[Incident]:
        """Take up a notice, and make due what follows from it.

        Args:
            notice: What is told.
            routes: Who is told what.
            channels: Those that are set up; routes to others lead nowhere.
            now: The present.

        Returns:
            The incidents that it opened or ended; none where it was told before.
        """
        at = now.timestamp()
        with self._writing() as connection:
            if notice.occurrence and not _is_new(connection, notice, at):
                return []
            if notice.is_healthy:
                return _end(connection, notice, at)
            return _fail(connection, notice, routes, channels, at)

    def open(self) -> list[Incident]:
        """The troubles that are open, the oldest first."""
        if not self._path.is_file():
            return []
        with self._writing() as connection:
            return [_incident(row) for row in connection.execute("SELECT * FROM incidents WHERE ended_at IS NULL ORDER BY id")]

    def take_due(self, now: datetime, most: int) -> list[Delivery]:
        """Deliveries that are due, for this caller alone for a minute; of one trouble and channel never a later before an earlier one."""
        if not self._path.is_file():
            return []
        at = now.timestamp()
        with self._writing() as connection:
            rows = connection.execute(
                "SELECT * FROM deliveries AS due WHERE state = 'waiting' AND next_at <= ?"
                " AND NOT EXISTS (SELECT 1 FROM deliveries AS earlier WHERE earlier.channel = due.channel"
                " AND earlier.key = due.key AND earlier.state = 'waiting' AND earlier.id < due.id) ORDER BY id LIMIT ?",
                (at, most),
            ).fetchall()
            connection.executemany(
                "UPDATE deliveries SET attempts = attempts + 1, next_at = ? WHERE id = ?", [(at + _LEASE_S, row["id"]) for row in rows]
            )
        return [_delivery(row) for row in rows]

    def settle(self, delivery: Delivery, now: datetime, *, reason: str = "") -> None:
        """Note that a delivery was sent, or given up for a reason."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE deliveries SET state = ?, settled_at = ?, reason = ? WHERE id = ?",
                ("given_up" if reason else "sent", now.timestamp(), reason, delivery.id),
            )

    def postpone(self, delivery: Delivery, until: datetime, reason: str) -> None:
        """Note that a delivery failed and when it is due again."""
        with self._writing() as connection:
            connection.execute("UPDATE deliveries SET next_at = ?, reason = ? WHERE id = ?", (until.timestamp(), reason, delivery.id))

    def figures(self) -> Figures:
        """How alerting does."""
        if not self._path.is_file():
            return Figures(0, 0, None, 0)
        with self._writing() as connection:
            (open_,) = connection.execute("SELECT COUNT(*) FROM incidents WHERE ended_at IS NULL").fetchone()
            waiting, oldest = connection.execute("SELECT COUNT(*), MIN(told_at) FROM deliveries WHERE state = 'waiting'").fetchone()
            (given_up,) = connection.execute("SELECT COUNT(*) FROM deliveries WHERE state = 'given_up'").fetchone()
        return Figures(open_, waiting, _time(oldest) if waiting else None, given_up)

    def expire(self, now: datetime) -> None:
        """Forget what ended and was settled more than 30 days ago, and occurrences of before; of what has not ended nothing."""
        if not self._path.is_file():
            return
        oldest = now.timestamp() - _KEPT_S
        with self._writing() as connection:
            connection.execute("DELETE FROM incidents WHERE ended_at < ?", (oldest,))
            connection.execute("DELETE FROM occurrences WHERE at < ?", (oldest,))
            # Of a trouble that has not ended they say who is to be told of its end.
            still_open = "SELECT id FROM incidents WHERE ended_at IS NULL"
            connection.execute(
                f"DELETE FROM deliveries WHERE settled_at < ? AND (state != 'sent' OR incident NOT IN ({still_open}))", (oldest,)
            )
            connection.execute(f"DELETE FROM missing WHERE incident NOT IN ({still_open})")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that holds the file from its beginning: two that read first would both decide from the same state."""
        is_new = not self._path.exists()
        if is_new:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("BEGIN IMMEDIATE")
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'missing'").fetchone():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    connection.execute(statement)
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()  # which rolls back what was not committed


def open_incidents(settings: Settings) -> Incidents:
    """The router's memory below the data folder."""
    return Incidents(settings.data / "alerts" / "alerts.db")


def _is_new(connection: sqlite3.Connection, notice: Notice, at: float) -> bool:
    told = connection.execute(
        "INSERT OR IGNORE INTO occurrences VALUES (?, ?, ?)", (notice.subject, f"{notice.key} {notice.occurrence}", at)
    )
    return bool(told.rowcount)


def _open_of(connection: sqlite3.Connection, notice: Notice) -> list[sqlite3.Row]:
    """The open troubles of a notice's subject that share a part with it."""
    rows = connection.execute("SELECT * FROM incidents WHERE subject = ? AND ended_at IS NULL ORDER BY id", (notice.subject,))
    return [row for row in rows if set(json.loads(row["parts"])) & set(notice.parts)]


def _end(connection: sqlite3.Connection, notice: Notice, at: float) -> list[Incident]:
    """Take the parts that are well off every trouble; one without any left is over, and whoever was told of it is told."""
    ended = [_take_off(connection, row, set(notice.parts), notice, at) for row in _open_of(connection, notice)]
    if notice.subject.startswith(_RUN) and (notice.tables or notice.wholes):
        ended += [
            _take_off(connection, row, well, replace(notice, title=_("{job} is well again").format(job=row["key"].removeprefix(_RUN))), at)
            for row in connection.execute(
                "SELECT * FROM incidents WHERE subject GLOB ? AND subject != ? AND ended_at IS NULL ORDER BY id",
                (f"{_RUN}*", notice.subject),
            ).fetchall()
            if (well := _make_good(connection, row["id"], notice))
        ]
    return [each for each in ended if each]


def _take_off(connection: sqlite3.Connection, row: sqlite3.Row, well: set[str], notice: Notice, at: float) -> Incident | None:
    """Take parts off a trouble.

    Returns:
        The trouble, where it is over by that.
    """
    connection.executemany("DELETE FROM missing WHERE incident = ? AND part = ?", [(row["id"], part) for part in well])
    if left := [part for part in json.loads(row["parts"]) if part not in well]:
        connection.execute("UPDATE incidents SET parts = ?, last_at = ? WHERE id = ?", (json.dumps(left), at, row["id"]))
        return None
    connection.execute("UPDATE incidents SET ended_at = ?, last_at = ? WHERE id = ?", (at, at, row["id"]))
    told = connection.execute("SELECT DISTINCT channel FROM deliveries WHERE incident = ? AND action = 'trigger'", (row["id"],)).fetchall()
    for (channel,) in told:
        _make_due(connection, row["id"], channel, "resolve", row["key"], notice, row["severity"], at)
    return _incident(row)


def _make_good(connection: sqlite3.Connection, incident: int, notice: Notice) -> set[str]:
    """Note that a run made tables that a trouble of another one is about.

    Returns:
        The parts of the trouble of which nothing is missing any more.
    """
    made, wholes, parts = set(notice.tables), set(notice.wholes), set(notice.parts)
    missing: dict[str, set[str]] = {}
    for part, asset in connection.execute("SELECT part, asset FROM missing WHERE incident = ?", (incident,)):
        missing.setdefault(part, set()).add(asset)
    still = {part: tables - wholes - (made if part in parts else set()) for part, tables in missing.items()}
    gone = [(incident, part, asset) for part, tables in missing.items() for asset in tables - still[part]]
    connection.executemany("DELETE FROM missing WHERE incident = ? AND part = ? AND asset = ?", gone)
    return {part for part, tables in still.items() if not tables}


def _fail(connection: sqlite3.Connection, notice: Notice, routes: Sequence[Route], channels: Collection[str], at: float) -> list[Incident]:
    """Open a trouble or count another failure of it, and tell whoever is to be told now and was not told of the like yet."""
    known = _open_of(connection, notice)
    incident = known[0]["id"] if known else None
    if incident is None:
        incident = connection.execute(
            "INSERT INTO incidents (key, subject, parts, owner, severity, title, failures, opened_at, last_at)"
            " VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)",
            (_free_key(connection, notice), notice.subject, json.dumps(notice.parts), notice.owner, notice.severity, notice.title, at, at),
        ).lastrowid
    else:
        parts = list(dict.fromkeys([*json.loads(known[0]["parts"]), *notice.parts]))
        connection.execute(
            "UPDATE incidents SET parts = ?, severity = ?, title = ?, failures = failures + 1, last_at = ? WHERE id = ?",
            (json.dumps(parts), worst([known[0]["severity"], notice.severity]), notice.title, at, incident),
        )
    if notice.subject.startswith(_RUN):
        lacking = [(incident, part, asset) for part in notice.parts for asset in notice.tables or ("",)]
        connection.executemany("INSERT OR IGNORE INTO missing VALUES (?, ?, ?)", lacking)
    row = connection.execute("SELECT * FROM incidents WHERE id = ?", (incident,)).fetchone()
    for channel in dict.fromkeys(route.channel for route in routes_of(notice, routes, row["failures"])):
        if channel in channels and not _was_told(connection, row["id"], channel, notice.severity):
            _make_due(connection, row["id"], channel, "trigger", row["key"], notice, notice.severity, at)
    return [] if known else [_incident(row)]


def _free_key(connection: sqlite3.Connection, notice: Notice) -> str:
    """The key of a notice; with a number where another trouble has it that began with the same first and last part."""
    taken = {key for (key,) in connection.execute("SELECT key FROM incidents WHERE ended_at IS NULL")}
    keys = (notice.key, *(f"{notice.key[:_KEY_LENGTH]} ({number})" for number in range(2, len(taken) + 2)))
    return next(key for key in keys if key not in taken)


def _was_told(connection: sqlite3.Connection, incident: int, channel: str, severity: Severity) -> bool:
    """Whether a channel knows of a trouble, as bad as it is now or worse."""
    rows = connection.execute(
        "SELECT severity FROM deliveries WHERE incident = ? AND channel = ? AND action = 'trigger'", (incident, channel)
    ).fetchall()
    return bool(rows) and worst([severity, *(told for (told,) in rows)]) == worst(told for (told,) in rows)


def _make_due(
    connection: sqlite3.Connection, incident: int, channel: str, action: Action, key: str, notice: Notice, severity: Severity, at: float
) -> None:
    connection.execute(
        "INSERT INTO deliveries (incident, channel, action, key, severity, notice, told_at, next_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (incident, channel, action, key, severity, notice.to_json(), at, at),
    )


def _incident(row: sqlite3.Row) -> Incident:
    times = (_time(row["opened_at"]), _time(row["last_at"]))
    return Incident(
        row["key"], row["subject"], tuple(json.loads(row["parts"])), row["owner"], row["severity"], row["title"], row["failures"], *times
    )


def _delivery(row: sqlite3.Row) -> Delivery:
    notice = Notice.from_json(row["notice"])
    return Delivery(row["id"], row["channel"], row["action"], row["key"], notice, _time(row["told_at"]), row["attempts"] + 1)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
