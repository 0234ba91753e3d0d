"""Looking for people in everything that the platform keeps: which folders and databases, which keys, and what a find means."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ai_assets.listening.landing import KEY_VARIABLE
from spotify_ai_assets.maintenance.erasure.cases import Person
from spotify_ai_assets.maintenance.erasure.targets import OUTSIDE
from spotify_ai_assets.settings import Settings, secret
from spotify_ai_assets.stores import STORES

if TYPE_CHECKING:
    from spotify_ai_assets.maintenance.erasure.scanning import Hit, ScanResult

Progress = Callable[[str, int, int | None], None]

_IDENTITIES = frozenset(store.name for store in STORES if store.personal == "identity")
_SERVERS = ("postgresql", "redis://", "rediss://", "unix://")


def roots_of(settings: Settings) -> dict[str, Path]:
    """Every folder that is read: all below the data folder but those outside of the platform, and the lake where it lies elsewhere."""
    from spotify_ai_assets.maintenance.erasure.scanning import data_roots

    roots = data_roots(settings.data, leave_out=OUTSIDE) if settings.data.exists() else {}
    lake = Path(settings.lake)
    if "://" not in settings.lake and not lake.is_relative_to(settings.data) and lake.exists():
        roots["lake"] = lake
    return roots


def databases_of(settings: Settings) -> dict[str, str]:
    """Every database server that is read, by what it holds."""
    named = {
        "vault": settings.vault_url,
        "ledger": settings.ledger_url,
        "mlflow": settings.tracking_url,
        "stream": settings.stream_url,
    }
    return {name: url for name, url in named.items() if url.startswith(_SERVERS)}


def look(
    settings: Settings,
    people: Mapping[str, Person],
    roots: Mapping[str, Path],
    progress: Progress = lambda store, done, total: None,
) -> "ScanResult":
    """Look for people; a lake in an object store is fetched to a private folder for that, and removed from there.

    Args:
        settings: Name databases and keys.
        people: Whom to look for, by request.
        roots: What to read, by store; the databases are read with the lake.
        progress: Told a store, bytes done and all of them.
    """
    from spotify_ai_assets.maintenance.erasure.forms import Needles
    from spotify_ai_assets.maintenance.erasure.scanning import scan

    values = {f"{request[:8]}:user": person.user for request, person in people.items() if person.user}
    values |= {f"{request[:8]}:pseudonym{n}": each for request, person in people.items() for n, each in enumerate(person.pseudonyms)}
    key = secret(KEY_VARIABLE)
    is_whole = "lake" in roots or "vault" in roots
    databases = databases_of(settings) if is_whole else {}
    keys = [key.encode()] if key else []
    with _fetched(settings, is_whole=is_whole) as fetched:
        found = scan({**roots, **fetched}, Needles.of_values(values), databases=databases, keys=keys, progress=progress)
    return settle(found)


@contextmanager
def _fetched(settings: Settings, *, is_whole: bool) -> Iterator[dict[str, Path]]:
    """The lake's objects as files, where it lies in an object store."""
    if "://" not in settings.lake or not is_whole:
        yield {}
        return
    from pyarrow.fs import FileSystem, copy_files

    place, path = FileSystem.from_uri(settings.lake)
    folder = Path(tempfile.mkdtemp(prefix="lake-"))
    try:
        copy_files(path, str(folder), source_filesystem=place)
        yield {"lake": folder}
    finally:
        shutil.rmtree(folder)


def settle(found: "ScanResult") -> "ScanResult":
    """A scan without what proves nothing: an id of a few letters is a word of its own in many texts that hold no ids.

    Such a find counts where real ids may be, and nowhere else; pseudonyms are never so short.
    """
    if not found.narrowed:
        return found
    kept = tuple(hit for hit in found.hits if not is_word(found, hit))
    by_store = {name: replace(count, hits=sum(hit.count for hit in kept if hit.store == name)) for name, count in found.by_store.items()}
    return replace(found, hits=kept, by_store=by_store)


def is_word(found: "ScanResult", hit: "Hit") -> bool:
    """Whether a find is no more than a word that equals a short id."""
    return hit.value in found.narrowed and hit.store not in _IDENTITIES


def places(found: "ScanResult") -> list[str]:
    """Where a scan was not clean, by store, in words."""
    hits = {name: count.hits for name, count in found.by_store.items() if count.hits}
    unread = {each.store: sum(other.store == each.store for other in found.undecodable) for each in found.undecodable}
    return [
        *(f"{store}: identifiers were found {count} times" for store, count in sorted(hits.items())),
        *(f"{store}: {count} files could not be read to their end" for store, count in sorted(unread.items())),
    ]
