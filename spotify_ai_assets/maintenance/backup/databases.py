"""Copies of databases through their engines: SQLite by its backup interface, PostgreSQL by ``pg_dump``; never as files."""

import hashlib
import os
import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.maintenance.backup.places import BackupError

if TYPE_CHECKING:
    from sqlalchemy import URL

SQLITE_MAGIC = b"SQLite format 3\x00"
BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database; a copy by its own interface has what is in there."""

_WAIT_S = 60.0
_LIMIT_S = 6 * 3600


def find_sqlite(folder: Path) -> Iterator[Path]:
    """The SQLite databases below a folder, by their first bytes, whatever they are called."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not path.name.endswith(BESIDE):
            try:
                with path.open("rb") as file:
                    if file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC:
                        yield path
            except FileNotFoundError:
                continue


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a database while others write to it: all of one moment.

    Raises:
        BackupError: The database is damaged.
        TransientError: Another process held it for a minute.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    try:
        address = f"{source.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_WAIT_S)) as read, closing(sqlite3.connect(target)) as written:
            read.backup(written)
            is_whole = written.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    except sqlite3.OperationalError as error:
        raise TransientError(f"{source.name} could not be copied: {error.sqlite_errorname}") from None
    except sqlite3.DatabaseError:
        is_whole = False
    if not is_whole:
        raise BackupError(f"{source.name} is damaged: restore it from an earlier backup, or set it aside")


def sum_of(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite address; ``None`` where it is one of another engine."""
    from sqlalchemy import make_url

    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def dump_postgres(url: str, target: Path) -> None:
    """Dump a PostgreSQL database in pg_dump's own format, which ``load_postgres`` reads.

    Raises:
        BackupError: There is no pg_dump.
        TransientError: pg_dump failed.
    """
    parsed = _parsed(url)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    _call("pg_dump", parsed, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")


def load_postgres(url: str, dump: Path) -> None:
    """Load a dump into an empty PostgreSQL database, all of it or nothing.

    Raises:
        BackupError: The database is not empty, or there is no pg_restore.
        TransientError: pg_restore failed.
    """
    from sqlalchemy import NullPool, create_engine, inspect

    parsed = _parsed(url)
    engine = create_engine(parsed, poolclass=NullPool)
    if inspect(engine).get_table_names():
        raise BackupError("a dump is loaded into an empty database only; this one has tables")
    _call("pg_restore", parsed, "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", str(dump))


def empty_postgres(url: str) -> None:
    """Drop every table, view and sequence of a PostgreSQL database, whatever its schema.

    Raises:
        TransientError: The database does not answer, or refuses.
    """
    from sqlalchemy import NullPool, create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    engine = create_engine(_parsed(url), poolclass=NullPool, hide_parameters=True)
    quote = engine.dialect.identifier_preparer.quote_identifier
    try:
        with engine.begin() as connection:
            found = inspect(connection)
            for schema in found.get_schema_names():
                if schema == "information_schema" or schema.startswith("pg_"):
                    continue
                for kind, names in (("TABLE", found.get_table_names), ("SEQUENCE", found.get_sequence_names)):
                    for name in names(schema):
                        connection.exec_driver_sql(f"DROP {kind} IF EXISTS {quote(schema)}.{quote(name)} CASCADE")
    except SQLAlchemyError as error:
        raise TransientError(f"a database could not be emptied: {type(error).__name__}") from None


@contextmanager
def scratch_database(url: str) -> Iterator[str]:
    """An empty database beside the one of an address, on the same server, until the block ends.

    Raises:
        BackupError: The server does not let this user make one.
    """
    from sqlalchemy import NullPool, create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    parsed, name = _parsed(url), f"spotify_ai_drill_{uuid.uuid4().hex}"  # the name is made here, so it needs no quoting
    engine = create_engine(parsed, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except SQLAlchemyError:
        raise BackupError("a drill needs a scratch database: let the user of SPOTIFY_AI_VAULT_URL create databases") from None
    try:
        yield parsed.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


def _parsed(url: str) -> "URL":
    from sqlalchemy import make_url

    return make_url(url).set(drivername="postgresql+psycopg2")


def _call(program: str, url: "URL", *arguments: str) -> None:
    """Run a program of PostgreSQL on a database; the password goes by environment."""
    host = url.host or url.query.get("host")
    given = {"--host": host, "--port": url.port, "--username": url.username, "--dbname": url.database}
    options = [f"{name}={value}" for name, value in given.items() if value]
    secret = {"PGPASSWORD": str(url.password)} if url.password else {}
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PGPASSFILE", "PGSSLMODE", "PGSSLROOTCERT") if name in os.environ}
    command = [_find(program, url), "--no-password", *options, *arguments]
    done = subprocess.run(command, env={**kept, **secret, "LC_ALL": "C"}, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    if done.returncode:
        raise TransientError(f"{program} failed with status {done.returncode}; what it says may name hosts, so look by hand")


def _find(program: str, url: "URL") -> str:
    """A program of PostgreSQL: that of the server where it runs here, since an older pg_dump refuses a newer server; else that on PATH."""
    from sqlalchemy import NullPool, create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with create_engine(url, poolclass=NullPool).connect() as connection:
            folder = connection.execute(text("SELECT setting FROM pg_config WHERE name = 'BINDIR'")).scalar()
    except SQLAlchemyError:
        folder = None  # only a superuser is told
    beside = Path(folder) / program if folder else None
    found = str(beside) if beside and os.access(beside, os.X_OK) else shutil.which(program)
    if found is None:
        raise BackupError(f"{program} is not installed (Debian: postgresql-client)")
    return found
