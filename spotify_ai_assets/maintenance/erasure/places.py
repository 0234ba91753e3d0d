"""Everywhere that the settings put something: what a byte scan has to read."""

import base64
import binascii
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from spotify_ai_assets.listening.landing import KEY_VARIABLE
from spotify_ai_assets.maintenance.erasure.scanning import data_roots
from spotify_ai_assets.settings import Settings, secret

_SQLITE = "sqlite:///"
_BESIDE = ("", "-wal", "-shm", "-journal")
_ELSEWHERE, _SERVER = " elsewhere", " server"
_SERVERS = ("postgresql", "redis://", "rediss://", "unix://", "s3://")


@dataclass(frozen=True, slots=True)
class Places:
    """What a scan has to read.

    Attributes:
        roots: Folders by store.
        databases: Addresses of servers by store; never for messages, since a password may be in them.
        keys: Fernet keys of files that are kept encrypted.
    """

    roots: Mapping[str, Path]
    databases: Mapping[str, str]
    keys: tuple[bytes, ...]


def places_of(
    settings: Settings,
    environment: Mapping[str, str] = os.environ,
    *,
    leave_out: Iterable[str] = ("demo",),
    more: Mapping[str, str] | None = None,
) -> Places:
    """Everywhere that the settings put something.

    Args:
        settings: They name folders and servers.
        environment: Holds the key of kept landing files.
        leave_out: Folders directly below the data folder that are left out.
        more: More folders or addresses by store, such as the data folder of a PostgreSQL server.
    """
    named = {
        "vault": settings.vault_url,
        "mlflow": settings.tracking_url,
        "ledger": settings.ledger_url,
        "stream": settings.stream_url,
        "lake": settings.lake,
        "backups": settings.backups,
        **(more or {}),
    }
    roots = data_roots(settings.data, leave_out=leave_out) if settings.data.is_dir() else {}
    databases = {}
    for name, place in named.items():
        if place.startswith(_SERVERS):
            databases[f"{name}{_SERVER}"] = place
        elif (path := _local(place)) and path.exists() and not path.resolve().is_relative_to(settings.data.resolve()):
            roots |= _elsewhere(name, path, place, settings.data)
    return Places(roots, databases, _keys(environment))


def store_of(name: str) -> str:
    """The store that a place of a scan belongs to, also where it lies elsewhere or on a server."""
    return name.partition(_ELSEWHERE)[0].removesuffix(_SERVER)


def database_elsewhere(settings: Settings, url: str) -> Path | None:
    """The file of a SQLite database that is there and does not lie below the data folder."""
    path = Path(url.removeprefix(_SQLITE))
    is_ours = not url.startswith(_SQLITE) or path.resolve().is_relative_to(settings.data.resolve())
    return None if is_ours or not path.exists() else path


def _elsewhere(name: str, path: Path, place: str, data: Path) -> dict[str, Path]:
    """A folder elsewhere; of a database in a folder above the data folder its own files alone, since all the rest would be read twice."""
    if not place.startswith(_SQLITE) or not data.resolve().is_relative_to(path.resolve()):
        return {f"{name}{_ELSEWHERE}": path}
    database = Path(place.removeprefix(_SQLITE))
    files = {f"{name}{_ELSEWHERE}{end}": database.with_name(f"{database.name}{end}") for end in _BESIDE}
    return {each: file for each, file in files.items() if file.exists()}


def _local(place: str) -> Path | None:
    if place.startswith(_SQLITE):
        return Path(place.removeprefix(_SQLITE)).parent
    return Path(place) if place and "://" not in place else None


def _keys(environment: Mapping[str, str]) -> tuple[bytes, ...]:
    key = (secret(KEY_VARIABLE, environment) or "").encode()
    try:
        return (key,) if len(base64.urlsafe_b64decode(key)) == 32 else ()
    except binascii.Error:
        return ()
