"""What assets work with: the lake, the warehouse over it, the identity vault, locks, plots."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.settings import Settings

if TYPE_CHECKING:
    from spotify_ai_assets.resources.identities import Vault
    from spotify_ai_assets.resources.lake import Lake
    from spotify_ai_assets.resources.locks import Locks


def open_lake(settings: Settings, tables: Mapping[str, Table]) -> "Lake":
    """The lake that the settings name, with the locks that fit the place of the vault."""
    from spotify_ai_assets.resources.lake import Lake

    return Lake(settings.lake, tables, open_locks(settings))


def open_locks(settings: Settings, timeout_s: float | None = None) -> "Locks":
    """The locks that fit the place of the vault: of PostgreSQL where it is shared by machines, else files.

    Args:
        settings: Name the vault.
        timeout_s: How long to wait for one; as long as tables are waited for unless given.
    """
    from spotify_ai_assets.resources.locks import TIMEOUT_S, FileLocks, PostgresLocks

    wait_s = TIMEOUT_S if timeout_s is None else timeout_s
    if settings.vault_url.startswith("postgresql"):
        return PostgresLocks(settings.vault_url, wait_s)
    return FileLocks(settings.data / "locks", wait_s)


def open_vault(settings: Settings) -> "Vault":
    """The identity vault that the settings name."""
    from spotify_ai_assets.resources.identities import Vault, random_pseudonym, seeded_pseudonyms

    source = seeded_pseudonyms(settings.pseudonym_seed) if settings.pseudonym_seed else random_pseudonym
    return Vault(settings.vault_url, source)
