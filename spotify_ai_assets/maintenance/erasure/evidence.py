"""Looking for people in everything that the platform keeps: which folders and databases, which keys, and what a find means."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_ai_assets.maintenance.erasure.cases import Person
from spotify_ai_assets.maintenance.erasure.places import places_of, store_of
from spotify_ai_assets.maintenance.erasure.targets import OUTSIDE
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.stores import STORES

if TYPE_CHECKING:
    from spotify_ai_assets.maintenance.erasure.scanning import Hit, ScanResult

Progress = Callable[[str, int, int | None], None]

_IDENTITIES = frozenset(store.name for store in STORES if store.personal == "identity")


def roots_of(settings: Settings) -> dict[str, Path]:
    """Every folder that is read: all below the data folder, and what the settings put elsewhere, but those outside of the platform."""
    roots = places_of(settings, leave_out=OUTSIDE).roots
    return {name: path for name, path in roots.items() if store_of(name) not in OUTSIDE}


def databases_of(settings: Settings, instance: Any = None) -> dict[str, str]:
    """Every server that is read, by what it holds.

    Args:
        settings: Name servers.
        instance: Dagster's instance, where its PostgreSQL is to be read too.
    """
    found = {name: url for name, url in places_of(settings).databases.items() if store_of(name) not in OUTSIDE}
    url = str(getattr(getattr(instance, "run_storage", None), "postgres_url", "") or "")
    return {**found, **({"dagster server": url} if url else {})}


def look(
    settings: Settings,
    people: Mapping[str, Person],
    roots: Mapping[str, Path],
    progress: Progress = lambda store, done, total: None,
    *,
    databases: Mapping[str, str] | None = None,
) -> "ScanResult":
    """Look for people.

    Args:
        settings: Name servers.
        people: Whom to look for, by request.
        roots: What to read, by store.
        progress: Told a store, bytes done and all of them.
        databases: The servers to read, by store; all that the settings name unless given.
    """
    from spotify_ai_assets.maintenance.erasure.forms import Needles
    from spotify_ai_assets.maintenance.erasure.scanning import scan
    from spotify_ai_assets.maintenance.erasure.vocabulary import is_own_word

    values = {f"{request[:8]}:user": person.user for request, person in people.items() if person.user}
    values |= {f"{request[:8]}:pseudonym{n}": each for request, person in people.items() for n, each in enumerate(person.pseudonyms)}
    servers = databases_of(settings) if databases is None else databases
    keys = places_of(settings).keys
    return settle(scan(roots, Needles.of_values(values, is_own_word), databases=servers, keys=keys, progress=progress))


def settle(found: "ScanResult") -> "ScanResult":
    """A scan without what proves nothing: an id of a few letters, or one that is a word of the platform, is in many texts without ids.

    Such a find counts where real ids may be, and nowhere else; pseudonyms are never so short.
    """
    if not found.narrowed:
        return found
    kept = tuple(hit for hit in found.hits if not is_word(found, hit))
    by_store = {name: replace(count, hits=sum(hit.count for hit in kept if hit.store == name)) for name, count in found.by_store.items()}
    return replace(found, hits=kept, by_store=by_store)


def is_word(found: "ScanResult", hit: "Hit") -> bool:
    """Whether a find is no more than a word that equals an id which is short or a word of the platform."""
    return hit.value in found.narrowed and store_of(hit.store) not in _IDENTITIES


def places(found: "ScanResult") -> list[str]:
    """Where a scan was not clean, by store, in words."""
    hits = {name: count.hits for name, count in found.by_store.items() if count.hits}
    unread = {each.store: sum(other.store == each.store for other in found.undecodable) for each in found.undecodable}
    return [
        *(f"{store}: identifiers were found {count} times" for store, count in sorted(hits.items())),
        *(f"{store}: {count} files could not be read to their end" for store, count in sorted(unread.items())),
    ]
