"""Databases that hold what is private: a file of SQLite that its owner alone reads, or PostgreSQL. No message names an address."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_ai_assets.errors import SettingsError

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine


def parse_url(url: str, variable: str) -> "URL":
    """The address of a database.

    Args:
        url: ``sqlite:///path`` or ``postgresql+psycopg2://…``.
        variable: The setting that it comes from.

    Raises:
        SettingsError: It names no SQLite file and no PostgreSQL database.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    refusal = SettingsError(f"{variable} must be sqlite:///<file> or postgresql+psycopg2://<user>:<password>@<host>/<database>")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise refusal from None
    if parsed.drivername == "postgresql":
        # SQLAlchemy 2.1 reads it as psycopg 3, Dagster installs psycopg 2.
        parsed = parsed.set(drivername="postgresql+psycopg2")
    is_file = parsed.drivername in ("sqlite", "sqlite+pysqlite") and parsed.database not in (None, "", ":memory:")
    if not is_file and parsed.drivername != "postgresql+psycopg2":
        raise refusal
    return parsed


def open_database(
    url: "URL",
    prepare: "Callable[[Engine], None]",
    *,
    wait_s: float,
    tries: int,
    configure: Callable[[Any], None] = lambda connection: None,
) -> "Engine":
    """Open a database; what is deleted in SQLite is overwritten, and what is committed is on the disk.

    Args:
        url: Its address.
        prepare: Makes its tables where they are missing.
        wait_s: How long a lock of SQLite is waited for.
        tries: How often making the tables is tried: processes that open a new database at once trip over each other's switch to WAL
            or CREATE TABLE.
        configure: Told each new connection of SQLite's driver.
    """
    from sqlalchemy import NullPool, create_engine, event
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    is_sqlite = url.get_backend_name() == "sqlite"
    # No pool: a forked process must not share a connection.
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args={"timeout": wait_s} if is_sqlite else {})
    if is_sqlite:
        _create_private_file(Path(str(url.database)))

        def connected(connection: Any, _record: object) -> None:
            configure(connection)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {pragma}").close()

        event.listen(engine, "connect", connected)
    for attempt in range(tries):
        try:
            prepare(engine)
            break
        except (IntegrityError, OperationalError, ProgrammingError):
            if attempt == tries - 1:
                raise
            time.sleep(0.05 * 2**attempt)
    return engine


def _create_private_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
