"""All that a server tells of itself: PostgreSQL's relations and Redis' keys as text, the objects of a bucket.

What a server does not tell is in its files: rows that were deleted but not cleared, and its log of changes. Those are read where
the server's data folder is among the folders that are scanned.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from spotify_ai_assets.errors import SettingsError

if TYPE_CHECKING:
    from redis import Redis

_PIECE = 1 << 20
_WAIT_S = 60
# Relations with bytes of their own: tables, partitioned ones' parts, materialised views, TOAST tables are read through theirs.
_RELATIONS = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_(toast|temp)' AND has_table_privilege(c.oid, 'SELECT')
ORDER BY 1
"""


def read_database(url: str) -> Iterator[tuple[str, Iterable[bytes]]]:
    """The contents of a database.

    Args:
        url: ``postgresql://…`` with any driver, ``redis://…``, ``rediss://…`` or ``unix://…``.

    Yields:
        Relations or kinds of keys by name, and their rows as text in pieces, to be read before the next is asked for.

    Raises:
        SettingsError: The address names neither; the message does not hold it.
        Exception: Whatever the driver raises where the server cannot be read.
    """
    if url.startswith("postgresql"):
        yield from _read_postgres(url)
    elif url.startswith(("redis://", "rediss://", "unix://")):
        yield from _read_redis(url)
    else:
        raise SettingsError("a scan reads databases at postgresql:// and redis:// addresses")


def _read_postgres(url: str) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Each relation of the database, those of the catalogue and its statistics too, seen in one snapshot."""
    import psycopg2
    from sqlalchemy import make_url

    parsed = make_url(url)
    given = {"host": parsed.host, "port": parsed.port, "user": parsed.username, "password": parsed.password, "dbname": parsed.database}
    options = {key: value for key, value in {**given, **parsed.query}.items() if value is not None}
    with closing(psycopg2.connect(**cast(Any, options))) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            cursor.execute(_RELATIONS)
            names = [name for (name,) in cursor.fetchall()]
            for name in names:
                yield name, _rows(connection, name)
            cursor.execute("SELECT oid FROM pg_catalog.pg_largeobject_metadata")
            objects = [number for (number,) in cursor.fetchall()]
        for number in objects:
            with closing(connection.lobject(number, "rb")) as large:
                yield f"large object {number}", iter(lambda large=large: cast(bytes, large.read(_PIECE)), b"")


def _rows(connection: Any, name: str) -> Iterator[bytes]:
    # Each row as one text: whatever types its columns have. The name was quoted by the server itself.
    with connection.cursor("scan") as cursor:
        cursor.itersize = 2000
        cursor.execute(f"SELECT r::text FROM {name} AS r")
        for (row,) in cursor:
            # In a row's text a backslash and a quote stand twice, and bytes as \x and digits.
            yield row.replace('""', '"').replace("\\\\", "\\").encode(errors="surrogateescape") + b"\n"


def _read_redis(url: str) -> Iterator[tuple[str, Iterable[bytes]]]:
    """All keys of all kinds, of the database that the address names."""
    import redis

    with closing(redis.Redis.from_url(url, socket_timeout=_WAIT_S)) as client:
        for kind in ("string", "list", "set", "zset", "hash", "stream"):
            yield kind, _keys(client, kind)


def _keys(client: "Redis", kind: str) -> Iterator[bytes]:
    read = _READERS[kind]
    for key in client.scan_iter(count=1000, _type=kind):
        yield cast(bytes, key) + b"\n"
        for cell in read(client, cast(bytes, key)):
            yield cell + b"\n"


def _pairs(found: Iterable[tuple[bytes, Any]]) -> Iterator[bytes]:
    for name, value in found:
        yield name
        if isinstance(value, bytes):
            yield value


def _list_cells(client: Any, key: bytes) -> Iterator[bytes]:
    for begin in range(0, client.llen(key), 1000):
        yield from client.lrange(key, begin, begin + 999)


def _stream_cells(client: Any, key: bytes) -> Iterator[bytes]:
    for group in client.xinfo_groups(key):
        yield group["name"]
        for consumer in client.xinfo_consumers(key, group["name"]):
            yield consumer["name"]
    begin = b"-"
    while entries := client.xrange(key, begin, count=1000):
        for _, fields in entries:
            yield from _pairs((fields or {}).items())
        begin = b"(" + entries[-1][0]


_READERS: dict[str, Any] = {
    "string": lambda client, key: [client.get(key) or b""],
    "list": _list_cells,
    "set": lambda client, key: client.sscan_iter(key, count=1000),
    "zset": lambda client, key: _pairs(client.zscan_iter(key, count=1000)),
    "hash": lambda client, key: _pairs(client.hscan_iter(key, count=1000)),
    "stream": _stream_cells,
}


def read_objects(url: str) -> Iterator[tuple[str, Callable[[], AbstractContextManager[BinaryIO]]]]:
    """The objects of a bucket below a prefix, in order; endpoint and credentials come from the ``AWS_…`` variables.

    Args:
        url: ``s3://bucket/prefix``.

    Yields:
        The rest of an object's name, and what copies it to a file without a name.

    Raises:
        OSError: The bucket cannot be read.
    """
    from pyarrow.fs import FileSelector, FileType, S3FileSystem

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    system = S3FileSystem(endpoint_override=os.environ.get("AWS_ENDPOINT_URL"), region=region)
    root = url.removeprefix("s3://").rstrip("/")

    @contextmanager
    def fetch(path: str) -> Iterator[BinaryIO]:
        with cast(BinaryIO, tempfile.SpooledTemporaryFile(64 * _PIECE)) as copy:
            with system.open_input_stream(path) as stream:
                while chunk := stream.read(_PIECE):
                    copy.write(chunk)
            copy.seek(0)
            yield copy

    for found in sorted(system.get_file_info(FileSelector(root, recursive=True, allow_not_found=True)), key=lambda each: each.path):
        if found.type == FileType.File:
            yield found.path.removeprefix(f"{root}/"), lambda path=found.path: fetch(path)
