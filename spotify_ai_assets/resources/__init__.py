"""What assets work with: the lake, the warehouse over it, the identity vault, locks, plots."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.settings import Settings

if TYPE_CHECKING:
    from spotify_ai_assets.resources.identities import Vault
    from spotify_ai_assets.resources.lake import Lake


def open_lake(settings: Settings, tables: Mapping[str, Table]) -> "Lake":
    """The lake that the settings name, with the locks that fit the place of the vault."""
    from spotify_ai_assets.resources.lake import Lake
    from spotify_ai_assets.resources.locks import FileLocks, PostgresLocks

    is_shared = settings.vault_url.startswith("postgresql")
    locks = PostgresLocks(settings.vault_url) if is_shared else FileLocks(settings.data / "locks")
    return Lake(settings.lake, tables, locks)


def open_vault(settings: Settings) -> "Vault":
    """The identity vault that the settings name."""
    from spotify_ai_assets.resources.identities import Vault, random_pseudonym, seeded_pseudonyms

    source = seeded_pseudonyms(settings.pseudonym_seed) if settings.pseudonym_seed else random_pseudonym
    return Vault(settings.vault_url, source)
