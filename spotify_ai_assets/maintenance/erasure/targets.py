"""What an erasure must reach: every table with a personal column, every kind of artifact, every store. By contracts, not by memory.

A table says in its contract which columns are personal; a kind of artifact and a store say here and in ``stores.py`` what becomes of
them. What nobody registered keeps a test from passing, and a request from being closed.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.recommendations.manifests import MODEL, NOUNS, RELEASE, index_name
from spotify_ai_assets.stores import STORES

LISTENER = "listener_id"
"""The name of every column of pseudonyms."""

ArtifactFate = Literal["rebuilt", "kept"]
"""``rebuilt``: made again from what remains, and all former versions removed. ``kept``: made of audio and its labels, of no listener."""

ARTIFACT_KINDS: Mapping[str, ArtifactFate] = {
    "audio/encoder": "kept",
    "audio/sound_model": "kept",
    "audio/perceptual_model": "kept",
    "recommendations/recipe": "rebuilt",
    MODEL: "rebuilt",
    RELEASE: "rebuilt",
    **{index_name(noun): "rebuilt" for noun in NOUNS},
}
"""Every kind of artifact."""

LEARNT = tuple(name for name, fate in ARTIFACT_KINDS.items() if fate == "rebuilt")
"""The kinds that learn from listeners."""

OUTSIDE = ("demo", "backups")
"""Stores that the byte scan leaves out: the world outside of the demo, and backups, which are encrypted, expire, and are gone through
by the ledger whenever one is restored."""


def pseudonym_columns(table: Table) -> list[str]:
    """The columns of a table that stand for a person."""
    return [column.name for column in table.columns if column.personal == "pseudonym"]


def about_listeners(tables: Mapping[str, Table]) -> list[Table]:
    """The tables whose rows are about listeners."""
    return [table for table in tables.values() if pseudonym_columns(table)]


def touched_by_listeners(tables: Mapping[str, Table]) -> list[Table]:
    """The tables about listeners and all that is made of them: an erasure may change any of these."""
    found = {table.key for table in about_listeners(tables)}
    while True:
        more = {table.key for table in tables.values() if table.key not in found and any(reads.key in found for reads in table.reads)}
        if not more:
            return [table for key, table in tables.items() if key in found]
        found |= more


def unregistered(artifacts: Iterable[str], folders: Iterable[str]) -> list[str]:
    """What lies there and nobody registered, in words.

    Args:
        artifacts: Names of the artifacts that have a version.
        folders: Folders directly below the data folder.
    """
    stores = {store.name for store in STORES}
    return [
        *(f"the kind of artifact {name} is not registered" for name in sorted(set(artifacts) - ARTIFACT_KINDS.keys())),
        # A folder that nobody registered may be named after a person.
        *(f"{len(unknown)} folders below the data folder are not registered" for unknown in [set(folders) - stores] if unknown),
    ]
