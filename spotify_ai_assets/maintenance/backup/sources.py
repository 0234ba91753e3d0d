"""What a backup takes, and the order in which it does: pointers first, data second.

Databases are copied through their engines, and small files that name others are copied as they are, before anything they could
name is read; so all they name is there. Newer data that comes with it is harmless, and a restore cuts it off.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.maintenance.backup.databases import BESIDE, copy_sqlite, dump_postgres, find_sqlite, sqlite_path, sum_of
from spotify_ai_assets.maintenance.backup.ledgers import is_there, to_lines
from spotify_ai_assets.maintenance.backup.snapshots import STAGED, TableState
from spotify_ai_assets.maintenance.backup.trees import LEFT_OUT, Tree
from spotify_ai_assets.resources import lake_care
from spotify_ai_assets.resources.artifacts import POINTERS
from spotify_ai_assets.resources.audit import AUDIT, ERASURE
from spotify_ai_assets.resources.chain import Chain
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import ROOT, Settings
from spotify_ai_assets.stores import STORES, Store

PLACED, ASIDE = "placed", "aside"
"""Of the staged files those that a restore puts into their stores, and those for a person to decide on."""

CHAINS = (ERASURE, AUDIT)
LAKE = "lake"
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Sources:
    """What is to be backed up.

    Attributes:
        trees: Staged files first, then every store.
        databases: Size and SHA-256 of each copied database, by its path among the staged files.
    """

    trees: tuple[Tree, ...]
    databases: Mapping[str, tuple[int, str]]


def stage(settings: Settings, staged: Path, dagster_url: str = "") -> Sources:
    """Copy databases, pointers and configuration into a folder, and list what else is to be backed up.

    Args:
        settings: Name everything.
        staged: A folder of the name ``staged`` that does not exist yet.
        dagster_url: Of Dagster's PostgreSQL, where it has one.

    Raises:
        BackupError: A database is damaged.
        TransientError: A database does not answer.
    """
    placed, aside = staged / PLACED, staged / ASIDE
    aside.mkdir(mode=0o700, parents=True)
    without: dict[str, set[str]] = {}
    for store in STORES:
        folder = settings.data / store.name
        if store.backup == "no" or not folder.is_dir():
            continue
        left = without.setdefault(store.name, set())
        for path in find_sqlite(folder) if store.backup == "databases" else ():
            relative = path.relative_to(folder).as_posix()
            copy_sqlite(path, placed / store.name / relative)
            left.update((relative, *(relative + suffix for suffix in BESIDE)))
    _stage_databases(settings, placed, aside, dagster_url)
    _stage_pointers(settings.data / "artifacts", placed / "artifacts")
    _stage_configuration(settings, aside / "configuration")
    databases = {path.relative_to(staged).as_posix(): sum_of(path) for path in sorted(staged.rglob("*")) if _is_database(path)}
    trees = [Tree(STAGED, str(staged))]
    trees += [Tree(store.name, _root_of(store.name, settings), frozenset(without.get(store.name, ()))) for store in _saved(settings)]
    return Sources(tuple(trees), databases)


def _saved(settings: Settings) -> Iterator[Store]:
    for store in STORES:
        if store.backup != "no" and ((settings.data / store.name).is_dir() or (store.name == LAKE and "://" in settings.lake)):
            yield store


def _root_of(name: str, settings: Settings) -> str:
    return settings.lake if name == LAKE else str(settings.data / name)


def _stage_databases(settings: Settings, placed: Path, aside: Path, dagster_url: str) -> None:
    """Databases that the settings name elsewhere: SQLite to where it would be, PostgreSQL as dumps, chains as lines."""
    named = {
        "vault": (settings.vault_url, "vault/identities.db"),
        "mlflow": (settings.tracking_url, "mlflow/mlflow.db"),
        "ledger": (settings.ledger_url, "ledger/ledger.db"),
        "dagster": (dagster_url, ""),
    }
    for name, (url, usual) in named.items():
        if url.startswith("postgresql"):
            if name == "ledger":
                for chain in CHAINS:
                    (aside / f"{chain}.jsonl").write_bytes(to_lines(Chain(url, chain).records()))
            else:
                dump_postgres(url, aside / f"{name}.dump")
        elif url.startswith("sqlite") and (path := sqlite_path(url)) and path.exists() and not (placed / usual).exists():
            copy_sqlite(path, placed / usual)


def _stage_pointers(artifacts: Path, target: Path) -> None:
    for folder, names, files in os.walk(artifacts):
        names[:] = [name for name in names if name not in LEFT_OUT]
        if POINTERS in files:
            copy = target / Path(folder).relative_to(artifacts) / POINTERS
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(folder) / POINTERS, copy)


def _stage_configuration(settings: Settings, target: Path) -> None:
    """The instance's files, and the settings without their secrets."""
    target.mkdir()
    home = Path(os.environ.get("DAGSTER_HOME") or ROOT)
    for path in (home / "dagster.yaml", home / "workspace.yaml"):
        with suppress(FileNotFoundError):
            shutil.copyfile(path, target / path.name)
    told = {field.name: str(getattr(settings, field.name)) for field in fields(settings) if field.repr}
    (target / "settings.json").write_text(json.dumps(told, indent=1))


def _is_database(path: Path) -> bool:
    is_pointer = path.name == POINTERS or "configuration" in path.parts
    return path.is_file() and not is_pointer


def read_tables(lake: Lake) -> dict[str, TableState]:
    """Every table of the lake that was ever written to: its version, and rows and digest of each partition of that version.

    Raises:
        TransientError: A table is not whole, or was written to at every look.
    """
    found = {}
    for key in lake.tables:
        for _ in range(_TRIES):
            if (table := lake.table(key)) is None:
                break
            states = lake.states(key)
            after = lake.table(key)
            if after and after.version() == table.version():
                found[key] = TableState(table.version(), {name: (state.rows, state.digest) for name, state in states.items()})
                break
        else:
            raise TransientError(f"{key}: it was written to at each of {_TRIES} looks")
    return found


def mend_torn(lake: Lake) -> list[str]:
    """Mend what a power cut tore, as the next write would: a torn table cannot be read.

    Returns:
        A sentence for each thing set aside.
    """
    return [sentence for key in lake.tables if lake_care.is_torn(lake.storage, key) for sentence in lake.mend(key)]


def read_heads(settings: Settings) -> dict[str, tuple[int, str]]:
    """The end of each chain that is there."""
    if not is_there(settings.ledger_url):
        return {}
    heads = {name: Chain(settings.ledger_url, name).head() for name in CHAINS}
    return {name: (head.sequence, head.digest) for name, head in heads.items()}
