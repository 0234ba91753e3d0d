"""What lies beside the lake: files that hold a person, messages on their way, tracked trainings, databases of runs, logs.

What is found by the byte scan is dealt with by the store that it lies in: whole files go where they are nobody's to keep, texts of logs
and databases lose the person's identifiers, databases are written anew so that deleted text leaves their free pages.
"""

import gzip
import os
import re
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.listening.landing import AUDIO, UNFINISHED, open_landing
from spotify_ai_assets.maintenance.erasure.cases import Person
from spotify_ai_assets.maintenance.erasure.evidence import look
from spotify_ai_assets.maintenance.erasure.places import database_elsewhere, places_of
from spotify_ai_assets.maintenance.erasure.targets import LEARNT
from spotify_ai_assets.maintenance.erasure.vocabulary import is_own_word
from spotify_ai_assets.resources.durable_file import replace_file
from spotify_ai_assets.resources.storage import sync_path
from spotify_ai_assets.resources.stream import SpoolStream, StreamError, open_stream
from spotify_ai_assets.settings import Settings

if TYPE_CHECKING:
    from spotify_ai_assets.maintenance.erasure.scanning import ScanResult
    from spotify_ai_assets.resources.redis_stream import RedisStream

ERASED = "[erased]"
"""What stands in the place of an identifier in texts."""

_REMOVED = ("quarantine", "kept", "landing", "scratch", "requests")
"""Stores whose files go where they hold a person."""
_UNREADABLE = ("quarantine", "kept")
"""Stores whose files go also where nobody can read them: nobody knows whose they are, and nobody could ever look. Kept files only where
their key is there and does not open them: without it nothing can be said of any of them."""
_STRUCK = ("logs", "dagster", "mlflow")
"""Stores whose texts lose the person's identifiers."""
_CLEARED = ("dagster", "mlflow")
"""Stores whose databases are written anew."""
_BESIDE = ("-wal", "-shm", "-journal")
_STRUCTURAL = re.compile(r"(?:^|_)(?:id|uuid|key|status|state|stage|type|kind|class)$", re.IGNORECASE)
"""Names of columns that say what a row is."""
_SQLITE_WAIT_S = 30.0
_SQLITE_MAGIC = b"SQLite format 3\0"
_FORGET_WAIT_S = 45.0
"""A worker commits and acknowledges what it has read within half a minute."""
_TRACKED = ("recommendations/evaluation", "recommendations/model")
"""Experiments of trainings that learn from listeners."""


def clear_stores(settings: Settings, people: Mapping[str, Person], values: Collection[str]) -> dict[str, int]:
    """Deal with what the byte scan finds beside the lake, by the store that it lies in.

    Args:
        settings: Where everything lies.
        people: Whom to look for, by request.
        values: Their ids and pseudonyms.

    Returns:
        How many files were removed, logs and rows of databases struck, databases cleared, and databases that were in use.

    Raises:
        TransientError: A database that holds a person was in use for too long.
    """
    roots = {name: settings.data / name for name in (*_REMOVED, *_STRUCK) if (settings.data / name).exists()}
    elsewhere = database_elsewhere(settings, settings.tracking_url)
    if elsewhere:  # its own files alone: whatever lies beside it in that folder is not the platform's to change
        beside = {f"mlflow elsewhere{end}": elsewhere.with_name(f"{elsewhere.name}{end}") for end in ("", *_BESIDE)}
        roots |= {name: path for name, path in beside.items() if path.exists()}
    found, pattern = look(settings, people, roots, databases={}), pattern_of(values)
    counts: dict[str, int] = dict.fromkeys(("files", "logs", "texts", "databases", "busy"), 0)
    for store in _REMOVED:
        counts["files"] += remove_files(roots[store], _doomed(settings, found, store)) if store in roots else 0
    hits = {_path_of(roots[each.store], each.path) for each in found.hits if each.store not in _REMOVED}
    for file in sorted(hits):
        if file.is_file() and not is_sqlite(file) and not file.name.endswith(_BESIDE):
            counts["logs"] += redact_log(file, pattern)
    for database in [*(each for store in _CLEARED for each in databases_below(settings.data / store)), *([elsewhere] if elsewhere else [])]:
        _clear(database, hits, pattern, counts)
    return counts


def has_locked_files(settings: Settings) -> bool:
    """Whether there are kept files and no key to read them: nobody can tell whose they are, and whoever has the key still can."""
    kept = settings.data / "kept"
    return not places_of(settings).keys and kept.exists() and any(path.is_file() for path in kept.rglob("*"))


def _path_of(root: Path, path: str) -> Path:
    """Where a find is: a root may be a file."""
    return root / path if root.is_dir() else root


def _clear(database: Path, hits: Collection[Path], pattern: re.Pattern[str], counts: dict[str, int]) -> None:
    """Strike from a database what was found in it, and write it anew; one that is in use and holds nobody is told of only."""
    is_hit = any(each in hits for each in (database, *(database.with_name(f"{database.name}{end}") for end in _BESIDE)))
    if is_hit:
        counts["texts"] += strike_from_database(database, pattern)
    try:
        clear_database(database)
        counts["databases"] += 1
    except TransientError:
        if is_hit:
            raise
        counts["busy"] += 1


def _doomed(settings: Settings, found: "ScanResult", store: str) -> set[str]:
    """The files of a store that go.

    What has landed and could not be taken in yet stays, since others may be in it: it keeps the case open.
    """
    paths = {each.path for each in found.hits if each.store == store}
    if store in _UNREADABLE and (store != "kept" or places_of(settings).keys):
        paths |= {each.path for each in found.undecodable if each.store == store}
    if store == "landing":
        waiting = {file.relative_to(settings.landing).as_posix() for file in open_landing(settings).files()}
        paths = {each for each in paths - waiting if not each.endswith(UNFINISHED) and Path(each).parts[0] != AUDIO}
    return paths


# Files ---------------------------------------------------------------------------------------------------------------------


def remove_files(root: Path, paths: Iterable[str]) -> int:
    """Remove files below a folder, and folders that are empty then, whose names may be a person's; gives how many files."""
    removed = 0
    for path in sorted(set(paths)):
        file = root / path
        with suppress(FileNotFoundError):
            file.unlink()
            removed += 1
        for folder in file.parents:
            if folder == root or not folder.is_relative_to(root):
                break
            with suppress(OSError):  # it is not empty
                folder.rmdir()
    if removed:
        sync_path(root)
    return removed


def remove_kept(settings: Settings, digests: Iterable[str]) -> int:
    """Remove imported files that are kept encrypted, by their digests; gives how many."""
    return remove_files(settings.data / "kept", (f"{digest}.fernet" for digest in digests)) if (settings.data / "kept").exists() else 0


def pattern_of(values: Collection[str]) -> re.Pattern[str]:
    """Finds values as words of their own, however a text writes them: as they are, in JSON, in a URL; by upper and lower case alike.

    A value of fewer than six bytes, and one that is a word of the platform's own, is left out: it would be found in words that have
    nothing to do with it.
    """
    import json
    import urllib.parse

    told = [each for each in values if len(each.encode()) >= 6 and not is_own_word(each)]
    spellings = {form for each in told for form in (each, json.dumps(each)[1:-1], urllib.parse.quote(each, safe=""), each.encode().hex())}
    if not spellings:
        return re.compile(r"(?!)")
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, sorted(spellings, key=len, reverse=True))) + r")(?!\w)", re.IGNORECASE)


def redact_log(path: Path, pattern: re.Pattern[str]) -> bool:
    """Strike values from a log, packed or not; lines that come while it is written anew are kept. Whether anything was struck."""
    packed = path.suffix == ".gz"
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if packed else content).decode(errors="surrogateescape")
    except (OSError, EOFError):
        return False
    struck = pattern.sub(ERASED, text)
    if struck == text:
        return False
    fresh = struck.encode(errors="surrogateescape")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with replace_file(path, os.fstat(descriptor).st_mode & 0o777) as file:
            file.write(gzip.compress(fresh, mtime=0) if packed else fresh)
        # Whoever had it open may have added lines to the file that has no name any more.
        os.lseek(descriptor, len(content), os.SEEK_SET)
        late = os.read(descriptor, 1 << 20)
    finally:
        os.close(descriptor)
    if late and not packed:
        with path.open("ab") as file:
            file.write(pattern.sub(ERASED, late.decode(errors="surrogateescape")).encode(errors="surrogateescape"))
    return True


# SQLite --------------------------------------------------------------------------------------------------------------------


def databases_below(root: Path) -> list[Path]:
    """The SQLite databases below a folder, by what they begin with."""
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and is_sqlite(path)) if root.exists() else []


def is_sqlite(path: Path) -> bool:
    """Whether a file begins as a SQLite database."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    return False


def strike_from_database(path: Path, pattern: re.Pattern[str]) -> int:
    """Strike values from the texts of a SQLite database; gives how many rows were changed.

    Left alone are columns that say what a row is: keys, what refers to other rows, states and types, and whatever the database refuses
    to have changed. Who is in one of those is found by the byte scan afterwards, which a person must see to.

    Raises:
        TransientError: Another process held it for too long.
    """
    changed = 0
    with _opened(path) as connection:
        connection.create_function("strike", 1, lambda value: _struck(value, pattern), deterministic=True)
        connection.execute("BEGIN IMMEDIATE")
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall()
        for (table,) in tables:
            for column in _free_columns(connection, table):
                name = _quoted(column)
                with suppress(sqlite3.IntegrityError):  # the statement is undone, the others stand
                    changed += connection.execute(
                        f"UPDATE {_quoted(table)} SET {name} = strike({name})"
                        f" WHERE typeof({name}) IN ('text', 'blob') AND strike({name}) IS NOT {name}"
                    ).rowcount
        connection.execute("COMMIT")
    return changed


def _free_columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """The columns of a table that may be changed without changing what its rows are."""
    held = {row[3] for row in connection.execute(f"PRAGMA foreign_key_list({_quoted(table)})")}
    for index in connection.execute(f"PRAGMA index_list({_quoted(table)})").fetchall():
        if index[2]:  # unique
            held |= {row[2] for row in connection.execute(f"PRAGMA index_info({_quoted(index[1])})")}
    told = connection.execute(f"PRAGMA table_info({_quoted(table)})").fetchall()
    return [name for _, name, _, _, _, key in told if not key and name not in held and not _STRUCTURAL.search(name)]


def clear_database(path: Path) -> None:
    """Write a SQLite database anew and empty its write-ahead log, so that deleted text is in neither.

    Raises:
        TransientError: Another process held it for too long.
    """
    with _opened(path) as connection:
        connection.execute("VACUUM")
        if (
            connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            and connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        ):
            raise TransientError("a database is in use; try again to clear its write-ahead log")


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection without transactions of its own; SQLite's refusals in words without what was asked."""
    connection = sqlite3.connect(path, timeout=_SQLITE_WAIT_S, isolation_level=None)
    try:
        connection.execute("PRAGMA secure_delete = ON").close()
        yield connection
    except sqlite3.OperationalError:
        raise TransientError("a database is in use or cannot be written; try again") from None
    finally:
        connection.close()


def _struck(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return pattern.sub(ERASED, value)
    if isinstance(value, bytes):
        with suppress(UnicodeDecodeError):
            return pattern.sub(ERASED, value.decode()).encode()
    return value


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# The stream ----------------------------------------------------------------------------------------------------------------


def clear_stream(settings: Settings, pseudonyms: Collection[str], wait_s: float = _FORGET_WAIT_S) -> tuple[int, bool]:
    """Take the messages about people out of the stream.

    Returns:
        How many there were, and whether none is left.

    Raises:
        StreamError: The stream does not answer.
    """
    if not pseudonyms:
        return 0, True
    needles = [each.encode() for each in pseudonyms]
    if settings.stream_url:
        return _clear_redis(settings, needles), True
    return _clear_spool(settings, needles, pseudonyms, wait_s) if settings.stream.exists() else (0, True)


def _clear_redis(settings: Settings, needles: list[bytes]) -> int:
    from typing import cast

    stream = cast("RedisStream", open_stream(settings, "erasure"))
    removed = stream.remove(lambda body: any(needle in body for needle in needles))
    stream.scrub()
    stream.close()
    return removed


def _clear_spool(settings: Settings, needles: list[bytes], pseudonyms: Collection[str], wait_s: float) -> tuple[int, bool]:
    stream = SpoolStream(settings.stream)
    try:
        removed = stream.remove(lambda body: any(needle in body for needle in needles))
        stream.scrub()
        return removed, True
    except StreamError:  # a worker reads it: it is told, and lets go of them with its next commit
        from spotify_ai_assets.recommendations.realtime.messages import encode_forget

        held = len(list(_spooled(settings.stream, needles)))
        stream.append("forget", [encode_forget(each) for each in pseudonyms])
        end = time.monotonic() + wait_s
        while any(_spooled(settings.stream, needles)) and time.monotonic() < end:
            time.sleep(0.25)
        return held, not any(_spooled(settings.stream, needles))
    finally:
        stream.close()


def _spooled(folder: Path, needles: list[bytes]) -> Iterator[Path]:
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # it was acknowledged just now
            content = path.read_bytes() if path.is_file() else b""
            if any(needle in content for needle in needles):
                yield path


# Tracked trainings ---------------------------------------------------------------------------------------------------------


def forget_trainings(settings: Settings, wanted: Collection[str]) -> int:
    """Remove the tracked runs of trainings that learnt from listeners, with their files, but for those still wanted.

    What MLflow deletes stays in its store until that is swept, which is done here.

    Args:
        settings: Name the store.
        wanted: Ids of the runs whose versions serve.

    Returns:
        How many were removed.
    """
    from spotify_ai_assets.resources.locks import FileLocks
    from spotify_ai_assets.resources.tracking import Tracking

    url = settings.tracking_url
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return 0
    tracking = Tracking(url, settings.data / "mlflow" / "files", FileLocks(settings.data / "locks"))
    return sum(tracking.remove(experiment, wanted) for experiment in _TRACKED)


def wanted_trainings(settings: Settings) -> set[str]:
    """Ids of the tracked runs that made the versions that are there."""
    from spotify_ai_assets.resources.artifacts import open_artifacts

    artifacts = open_artifacts(settings)
    return {run for name in LEARNT for each in artifacts.versions(name) if (run := each.origin.get("mlflow_run_id"))}
