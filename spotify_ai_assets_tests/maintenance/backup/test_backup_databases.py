"""SQLite is copied through its own interface, whatever its files are called and whoever writes to it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from spotify_ai_assets.maintenance.backup.databases import copy_sqlite, find_sqlite, sqlite_path
from spotify_ai_assets.maintenance.backup.places import BackupError


def numbers(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as database:
        return [number for (number,) in database.execute("SELECT n FROM t ORDER BY n")]


@pytest.fixture
def database(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "some.db")) as opened:
        opened.execute("PRAGMA journal_mode=WAL")
        opened.execute("CREATE TABLE t (n INTEGER)")
        opened.execute("INSERT INTO t VALUES (1)")
        opened.commit()
        yield opened


def test_what_is_committed_only_to_the_log_beside_is_in_the_copy_and_what_is_not_is_not(database, tmp_path: Path) -> None:
    database.execute("INSERT INTO t VALUES (2)")
    database.commit()
    database.execute("INSERT INTO t VALUES (3)")
    assert (tmp_path / "some.db-wal").stat().st_size
    copy_sqlite(tmp_path / "some.db", tmp_path / "deep" / "copy.db")
    assert numbers(tmp_path / "deep" / "copy.db") == [1, 2]
    assert (tmp_path / "deep" / "copy.db").stat().st_mode & 0o077 == 0
    database.commit()
    assert numbers(tmp_path / "some.db") == [1, 2, 3]


def test_databases_are_known_by_their_first_bytes(database, tmp_path: Path) -> None:
    (tmp_path / "named.db").write_text("no database")
    copy_sqlite(tmp_path / "some.db", tmp_path / "deep" / "without a suffix")
    (tmp_path / "link.db").symlink_to(tmp_path / "some.db")
    assert {path.name for path in find_sqlite(tmp_path)} == {"some.db", "without a suffix"}


def test_a_damaged_database_is_refused_by_name(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "bad.db")) as database, database:
        database.execute("CREATE TABLE t (n TEXT)")
        database.executemany("INSERT INTO t VALUES (?)", [("x" * 900,)] * 200)
    content = bytearray((tmp_path / "bad.db").read_bytes())
    content[4096 * 3 : 4096 * 6] = b"\xff" * 4096 * 3
    (tmp_path / "bad.db").write_bytes(content)
    with pytest.raises(BackupError, match=r"bad\.db is damaged"):
        copy_sqlite(tmp_path / "bad.db", tmp_path / "copy.db")


def test_only_addresses_of_sqlite_have_a_file() -> None:
    assert sqlite_path("sqlite:////a/b.db") == Path("/a/b.db")
    assert sqlite_path("postgresql+psycopg2://user:word@host/name") is None
