"""An append-only chain of records, each bound to the one before by a hash, in SQLite or PostgreSQL.

``chain_records.py`` says what a record is and what breaks a chain. Who can write the database can also write a whole new chain, or
cut off the newest records; only a head that was witnessed elsewhere shows that, which is why heads are exported and ``verify``
takes them as anchors.

Appending is serialised by the database: SQLite's write lock, or an advisory lock of PostgreSQL. No Dagster here. Bodies hold no
personal value; nothing here can know that, so it is for who appends to see to.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.resources.chain_records import (
    SENTENCES,
    ChainError,
    Head,
    Record,
    Row,
    broken_links,
    canonical,
    digest_of,
    find_breaks,
    genesis,
    once_of,
    parts_of,
    to_text,
)
from spotify_ai_assets.resources.durable_file import replace_file
from spotify_ai_assets.resources.private_database import open_database, parse_url

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

BODY_BYTES = 1 << 20
"""The longest body in UTF-8."""

_KIND = re.compile(r"[a-z][a-z0-9_. -]{0,63}")
_BATCH = 1000
_TRIES = 8
_WAIT_S = 60
_COLUMNS = "sequence, at, kind, body, previous, digest, once"
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS chain_records (chain TEXT NOT NULL, sequence BIGINT NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL,"
    " body TEXT NOT NULL, previous TEXT NOT NULL, digest TEXT NOT NULL, once TEXT, PRIMARY KEY (chain, sequence))",
    "CREATE INDEX IF NOT EXISTS chain_kinds ON chain_records (chain, kind, sequence)",
    "CREATE UNIQUE INDEX IF NOT EXISTS chain_once ON chain_records (chain, once)",
)
# They keep a careless statement from the records, not whoever owns the database.
_SQLITE_GUARDS = tuple(
    f"CREATE TRIGGER IF NOT EXISTS chain_no_{verb.lower()} BEFORE {verb} ON chain_records BEGIN SELECT RAISE(ABORT, 'append-only'); END"
    for verb in ("UPDATE", "DELETE")
)
_POSTGRES_GUARDS = (
    "CREATE OR REPLACE FUNCTION chain_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'append-only'; END $$",
    "CREATE OR REPLACE TRIGGER chain_no_change BEFORE UPDATE OR DELETE ON chain_records FOR EACH ROW EXECUTE FUNCTION chain_refuse()",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be appended.

    Attributes:
        kind: What happened.
        body: Plain JSON without a personal value.
        once: Names what happened, such as an event of another log: a second entry of that name is left out. Part of the body, as
            ``once``.
    """

    kind: str
    body: Mapping[str, Any]
    once: str | None = None


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


class Chain:
    """One chain of a database; opens nothing until it is used, safe to use from many processes.

    Args:
        url: ``sqlite:///path`` or ``postgresql+psycopg2://…``. Several chains may share a database.
        name: Which chain, such as ``audit``.
        clock: Gives the time in UTC.

    Raises:
        SettingsError: The address names no SQLite file and no PostgreSQL database.
    """

    def __init__(self, url: str, name: str, clock: Callable[[], datetime] = now) -> None:
        self._url = parse_url(url, "SPOTIFY_AI_LEDGER_URL")
        self.name = name
        self._clock = clock

    def __repr__(self) -> str:
        return f"Chain({self._url.get_backend_name()}, {self.name})"

    # Appending ---------------------------------------------------------------------------------------------------------

    def append(self, kind: str, body: Mapping[str, Any]) -> Record:
        """Append a record; durable when this returns.

        Raises:
            ChainError: The body is not plain JSON, or longer than 1 MiB.
            TransientError: The database does not answer, is locked for a minute, or its disk is full; nothing was appended.
        """
        return self.append_all([Entry(kind, body)])[0]

    def append_all(self, entries: Iterable[Entry]) -> list[Record]:
        """Append several records at once, all of them or none; what was appended once before is left out.

        Returns:
            The new records.

        Raises:
            ChainError, TransientError: As for ``append``.
        """
        wanted = [(entry, _checked(entry)) for entry in entries]
        with self._transaction(writes=True) as connection:
            head, added, at = self._head(connection), [], self._clock()
            for entry, body in wanted:
                if entry.once is not None and self._has(connection, entry.once):
                    continue
                digest = digest_of(head.digest, head.sequence + 1, to_text(at), entry.kind, body)
                record = Record(head.sequence + 1, at.astimezone(UTC), entry.kind, json.loads(body), head.digest, digest)
                self._insert(connection, Row(*parts_of(record), entry.once))
                added.append(record)
                head = Head(record.sequence, digest)
        return added

    def adopt(self, records: Iterable[Record]) -> int:
        """Append the records of a copy of this chain that go beyond it, as after a restore of an older state.

        Args:
            records: All records of the copy, in order.

        Returns:
            How many were appended.

        Raises:
            ChainError: The copy is damaged, or says something else of a number that both have; nothing was appended.
            TransientError: The database does not answer.
        """
        copy = list(records)
        if find_breaks(self.name, copy):
            raise ChainError(f"the copy of the chain {self.name} is damaged")
        with self._transaction(writes=True) as connection:
            head = self._head(connection)
            shared = min(len(copy), head.sequence)
            mine = self._row(connection, shared)
            if mine and mine.digest != copy[shared - 1].digest:  # equal there means equal before: each digest covers all before it
                raise ChainError(f"the chain {self.name} and its copy tell different stories")
            for record in copy[head.sequence :]:
                self._insert(connection, Row(*parts_of(record), once_of(record.body)))
        return max(len(copy) - head.sequence, 0)

    # Reading -----------------------------------------------------------------------------------------------------------

    def head(self) -> Head:
        """The end of the chain.

        Raises:
            TransientError: The database does not answer.
        """
        with self._transaction() as connection:
            return self._head(connection)

    def known(self, names: Iterable[str]) -> set[str]:
        """Those of the names under which something was recorded once already.

        Raises:
            TransientError: The database does not answer.
        """
        from sqlalchemy import bindparam, text

        sought, found = sorted(set(names)), set()
        statement = text("SELECT once FROM chain_records WHERE chain = :chain AND once IN :names").bindparams(
            bindparam("names", expanding=True)
        )
        with self._transaction() as connection:
            for start in range(0, len(sought), _BATCH // 2):
                given = {"chain": self.name, "names": sought[start : start + _BATCH // 2]}
                found.update(connection.execute(statement, given).scalars())
        return found

    def newest(self, kind: str) -> Record | None:
        """The newest record of a kind, ``None`` where there is none."""
        return next(self.backwards(kind), None)

    def records(self, kind: str | None = None, after: int = 0) -> Iterator[Record]:
        """The records in order, a batch at a time: what is appended meanwhile is among them.

        Args:
            kind: Only of this kind.
            after: Only those with a greater number.

        Raises:
            ChainError: A record cannot be read; ``verify`` says which.
            TransientError: The database does not answer.
        """
        for row in self._rows(kind, after):
            yield _record(row, self.name)

    def backwards(self, kind: str | None = None) -> Iterator[Record]:
        """The records, the newest first; errors as of ``records``."""
        for row in self._rows(kind, None):
            yield _record(row, self.name)

    def verify(self, *anchors: Head) -> list[str]:
        """Count the chain again: every digest, every link, and each head that was witnessed.

        Args:
            anchors: Heads that were exported or noted elsewhere.

        Returns:
            A sentence for each break, at most 20 of them; none where the chain is whole.

        Raises:
            TransientError: The database does not answer.
        """
        try:
            found = broken_links(self.name, self._rows(None, 0), anchors)
            with self._transaction() as connection:
                return [*found, *self._damage(connection)][:SENTENCES]
        except ChainError as error:
            return [str(error)]

    def export(self, path: Path) -> Head:
        """Write all records as JSON lines, in the place of the file before in one step.

        Returns:
            The head of what was written.

        Raises:
            ChainError, TransientError: As for ``records``.
        """
        last = genesis(self.name)
        with replace_file(path) as file:
            for record in self.records():
                file.write(f"{canonical(record.as_json())}\n".encode())
                last = Head(record.sequence, record.digest)
        return last

    # Inside ------------------------------------------------------------------------------------------------------------

    def _rows(self, kind: str | None, after: int | None) -> Iterator[Row]:
        """Rows upwards from a number, or downwards from the newest where that is ``None``; short transactions, no long one."""
        from sqlalchemy import text

        order, compare, seen = ("DESC", "<", 1 << 62) if after is None else ("ASC", ">", after)
        only = "" if kind is None else "AND kind = :kind "
        statement = text(
            f"SELECT {_COLUMNS} FROM chain_records WHERE chain = :chain AND sequence {compare} :seen {only}"
            f"ORDER BY sequence {order} LIMIT :batch"
        )
        batch = 16 if after is None else _BATCH
        while True:
            with self._transaction() as connection:
                given = {"chain": self.name, "seen": seen, "batch": batch, **({} if kind is None else {"kind": kind})}
                rows = [Row(*row) for row in connection.execute(statement, given)]
            yield from rows
            if len(rows) < batch:
                return
            seen, batch = rows[-1].sequence, _BATCH

    def _head(self, connection: "Connection") -> Head:
        from sqlalchemy import text

        statement = text("SELECT sequence, digest FROM chain_records WHERE chain = :chain ORDER BY sequence DESC LIMIT 1")
        row = connection.execute(statement, {"chain": self.name}).one_or_none()
        return Head(*row) if row else genesis(self.name)

    def _row(self, connection: "Connection", sequence: int) -> Row | None:
        from sqlalchemy import text

        statement = text(f"SELECT {_COLUMNS} FROM chain_records WHERE chain = :chain AND sequence = :sequence")
        row = connection.execute(statement, {"chain": self.name, "sequence": sequence}).one_or_none()
        return Row(*row) if row else None

    def _has(self, connection: "Connection", once: str) -> bool:
        from sqlalchemy import text

        statement = text("SELECT 1 FROM chain_records WHERE chain = :chain AND once = :once")
        return connection.execute(statement, {"chain": self.name, "once": once}).first() is not None

    def _insert(self, connection: "Connection", row: Row) -> None:
        from sqlalchemy import text

        values = ", ".join(f":{name}" for name in Row._fields)
        statement = text(f"INSERT INTO chain_records (chain, {_COLUMNS}) VALUES (:chain, {values})")
        connection.execute(statement, {"chain": self.name, **row._asdict()})

    def _damage(self, connection: "Connection") -> list[str]:
        """What SQLite itself finds wrong with its file, beyond the records."""
        from sqlalchemy import text

        if connection.dialect.name != "sqlite":
            return []
        told = connection.execute(text("PRAGMA integrity_check(1)")).scalars().all()
        return [] if told == ["ok"] else ["the database of the chain is damaged"]

    @contextmanager
    def _transaction(self, *, writes: bool = False) -> "Iterator[Connection]":
        """A transaction; one that writes is alone from its beginning."""
        from sqlalchemy import text
        from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

        try:
            with self._engine.connect() as connection:
                is_sqlite = connection.dialect.name == "sqlite"
                if is_sqlite:
                    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
                elif writes:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _lock_number(self.name)})
                yield connection
                connection.commit()
        except OperationalError as error:
            raise TransientError(f"the database of the chain {self.name} does not answer{_reason(error)}") from None
        except DatabaseError as error:
            raise ChainError(f"the database of the chain {self.name} is damaged or refused a statement{_reason(error)}") from None
        except SQLAlchemyError as error:
            raise ChainError(f"the chain {self.name} cannot be read: {type(error).__name__}") from None

    @cached_property
    def _engine(self) -> "Engine":
        is_sqlite = self._url.get_backend_name() == "sqlite"
        prepare = partial(_create_tables, is_sqlite=is_sqlite)
        return open_database(self._url, prepare, wait_s=_WAIT_S, tries=_TRIES if is_sqlite else 1, configure=_configure_sqlite)


def _checked(entry: Entry) -> str:
    """The body of an entry as it is stored."""
    if not _KIND.fullmatch(entry.kind):
        raise ChainError("the kind of a record is at most 64 of a-z, 0-9, space and . _ -, a letter first")
    if "once" in entry.body:
        raise ChainError("the body of a record must not say `once` by itself")
    whole = canonical(dict(entry.body) if entry.once is None else {**entry.body, "once": entry.once})
    if len(whole.encode()) > BODY_BYTES:
        raise ChainError("a record's body is longer than 1 MiB")
    try:
        return canonical(json.loads(whole))  # keys that were no texts are texts by now, and no two are the same
    except ValueError:  # such as an integer of thousands of digits
        raise ChainError("a record's body is not plain JSON") from None


def _record(row: Row, name: str) -> Record:
    try:
        return Record(row.sequence, datetime.fromisoformat(row.at), row.kind, json.loads(row.body), row.previous, row.digest)
    except (ValueError, TypeError, RecursionError):
        raise ChainError(f"record {row.sequence} of the chain {name} cannot be read") from None


def _create_tables(engine: "Engine", *, is_sqlite: bool) -> None:
    from sqlalchemy import inspect, text

    with engine.connect() as connection:
        if is_sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            if inspect(connection).has_table("chain_records"):
                return
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _lock_number("")})
        for statement in (*_SCHEMA, *(_SQLITE_GUARDS if is_sqlite else _POSTGRES_GUARDS)):
            connection.exec_driver_sql(statement)
        connection.commit()


def _lock_number(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"chain {name}".encode(), digest_size=8).digest(), "big", signed=True)


def _reason(error: Any) -> str:
    """What SQLite calls its failure; what PostgreSQL says may name its host."""
    code = getattr(error.orig, "sqlite_errorname", "")
    words = {
        "SQLITE_FULL": "its disk is full",
        "SQLITE_BUSY": "another process held it for too long",
        "SQLITE_CORRUPT": "its file is damaged",
    }
    return f": {words.get(code, code)}" if code else ""


def _configure_sqlite(connection: Any) -> None:
    connection.isolation_level = None  # the driver would begin transactions by itself, and only at the first statement that writes
    connection.text_factory = lambda text: text.decode(errors="replace")  # a text that is none any more is a break, not a failure
