"""Everywhere that the settings put something: what a byte scan has to read."""

import base64
import binascii
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from spotify_ai_assets.listening.landing import KEY_VARIABLE
from spotify_ai_assets.maintenance.erasure.scanning import data_roots
from spotify_ai_assets.settings import Settings

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
            databases[f"{name} server"] = place
        elif (path := _local(place)) and path.exists() and not path.resolve().is_relative_to(settings.data.resolve()):
            roots[f"{name} elsewhere"] = path
    return Places(roots, databases, _keys(environment))


def _local(place: str) -> Path | None:
    if place.startswith("sqlite:///"):
        return Path(place.removeprefix("sqlite:///")).parent
    return Path(place) if place and "://" not in place else None


def _keys(environment: Mapping[str, str]) -> tuple[bytes, ...]:
    key = environment.get(KEY_VARIABLE, "").encode()
    try:
        return (key,) if len(base64.urlsafe_b64decode(key)) == 32 else ()
    except binascii.Error:
        return ()
