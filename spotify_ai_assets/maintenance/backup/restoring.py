"""Restoring a backup into an empty folder: nothing opens there before everybody was erased again whom the ledger names.

All work is done in a folder beside the target, which takes the target's name when it is finished: a killed restore leaves no
platform that could be opened, and the next one removes what it left. What is newer in the backup than its manifest is cut off.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.maintenance.backup.databases import empty_postgres, load_postgres, sum_of
from spotify_ai_assets.maintenance.backup.ledgers import ANOTHER_KEY, from_lines, is_there, ledger_mark, require_key, take_longest
from spotify_ai_assets.maintenance.backup.places import BackupError, Folder
from spotify_ai_assets.maintenance.backup.saving import BACKUPS, WAIT_S, open_repository
from spotify_ai_assets.maintenance.backup.snapshots import STAGED, Manifest, Progress, Snapshot, choose, quiet
from spotify_ai_assets.maintenance.backup.sources import ASIDE, CHAINS, PLACED
from spotify_ai_assets.resources import open_lake, open_locks
from spotify_ai_assets.resources.audit import AUDIT, ERASURE, open_audit, who_asks
from spotify_ai_assets.resources.chain import Chain, Head
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.storage import sync_path
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

if TYPE_CHECKING:
    from spotify_ai_assets.maintenance.erasure.replaying import Replayed

VAULT, MLFLOW, DAGSTER = "vault", "mlflow", "dagster"
_HINT = "_last_checkpoint"
_MLFLOW_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@dataclass(frozen=True, slots=True)
class Restored:
    """A platform that was restored and may be opened.

    Attributes:
        snapshot: The backup.
        folder: Its data folder.
        files: Files that were written.
        tables: Tables of the lake.
        partitions: Partitions that were held against the manifest.
        rows: Rows in them.
        erased: Listeners who were erased again.
        files_removed: Files that went with them.
        seconds: From the beginning until it could be opened.
        notes: What a person should know, in sentences.
    """

    snapshot: Snapshot
    folder: Path
    files: int
    tables: int
    partitions: int
    rows: int
    erased: int
    files_removed: int
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def figures(self) -> dict[str, float]:
        """What the audit trail notes of it."""
        names = ("files", "tables", "partitions", "rows", "erased", "files_removed")
        return {"seconds": round(self.seconds, 3), **{name: getattr(self, name) for name in names}}


def settings_in(folder: Path, settings: Settings) -> Settings:
    """Settings of a platform whose state is all below a folder, and that shares nothing with the running one."""
    return replace(
        settings,
        data=folder,
        lake=str(folder / "lake"),
        vault_url=f"sqlite:///{folder / 'vault' / 'identities.db'}",
        tracking_url=f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}",
        ledger_url=f"sqlite:///{folder / 'ledger' / 'ledger.db'}",
        backups=str(folder / "backups"),
        stream_url="",
    )


def restore(
    settings: Settings,
    wanted: str,
    target: Path,
    *,
    databases: Mapping[str, str] | None = None,
    is_deep: bool = False,
    is_told: bool = True,
    progress: Progress = quiet,
) -> Restored:
    """Restore a backup, bring its ledger up to the longest that is known, and erase again whom that names.

    The keys that are kept below the running platform's data folder come along, since no backup holds them.

    Args:
        settings: Name the place of backups, and the running platform as far as there is one.
        wanted: A backup's name, the beginning of it, ``latest``, or a moment: the newest backup as of then.
        target: A folder that does not exist or is empty.
        databases: Empty PostgreSQL databases by what they are to hold, ``vault``, ``mlflow`` or ``dagster``, for what was in such. They
            are empty again where the restore fails. That of Dagster stays empty where somebody was erased again, since nobody can be
            looked for in it.
        is_deep: Also compute each partition's digest again from its rows.
        is_told: Whether the running platform's audit trail is told of it.
        progress: Told what is being done.

    Raises:
        BackupError: There is no such backup, it is not whole, the target is not empty, a key is another one, two ledgers tell
            different stories, or somebody who is to be erased could not be erased: then there is nothing at the target.
        TransientError: The disk of the target is full, or a database or lock does not answer; nothing is at the target either.
    """
    started = time.perf_counter()
    target = target.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError("a backup is restored into an empty folder only")
    with open_locks(settings, WAIT_S).shared(BACKUPS):
        repository = open_repository(settings)
        snapshot = choose(repository.snapshots(), wanted)
        manifest = repository.manifest(snapshot.id)
        _require_keys(settings, manifest)
        _require_databases(manifest, databases or {})
        work, history = target.with_name(f".{target.name}.restoring"), target.with_name(f".{target.name}.history")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700, parents=True)
        loaded, place = _Loaded(databases or {}), work
        try:
            files = repository.extract(snapshot.id, work, progress)
            progress("checks", 0, None)
            restored, notes = _assemble(settings, manifest, work, history, loaded)
            lake = open_lake(restored, TABLES)
            if differing := compare(lake, manifest, is_deep=is_deep):
                raise BackupError(f"{len(differing)} of the restored partitions are not what was backed up, such as {differing[0]}")
            progress("ledger", 0, None)
            replayed = _replay(restored)
            notes += _load_history(history, loaded, replayed.listeners)
            _move_mlflow(restored, str(work), str(target))
            found = Restored(
                snapshot,
                target,
                files,
                len(manifest.tables),
                snapshot.facts["partitions"],
                snapshot.facts["rows"],
                replayed.listeners,
                replayed.files,
                time.perf_counter() - started,
                tuple(notes),
            )
            _record(restored, found)
            Folder(work).sync()
            place = work.replace(target)
            sync_path(target.parent)
        except BaseException as error:
            shutil.rmtree(place, ignore_errors=True)
            history.unlink(missing_ok=True)
            loaded.empty(error)
            if isinstance(error, OSError):
                raise TransientError(f"what was restored could not be written: {error.strerror}") from error
            raise
    if is_told and settings.data != target and is_there(settings.ledger_url):
        _record(settings, found)
    return found


def compare(lake: Lake, manifest: Manifest, *, is_deep: bool = False) -> list[str]:
    """Hold a lake against a manifest: versions, counts and digests of all partitions.

    Args:
        lake: The restored lake.
        manifest: Of the backup.
        is_deep: Compute the digests again from the rows on disk.

    Returns:
        The partitions that differ, as ``table@partition``; a table whose version differs by its key.
    """
    differing = []
    for key, known in manifest.tables.items():
        if key not in lake.tables:  # a contract that is declared no more; its files are there
            continue
        table = lake.table(key)
        if table is None or table.version() != known.version:
            differing.append(key)
            continue
        states = lake.states(key)
        for name in sorted(states.keys() | known.partitions.keys()):
            state = states.get(name)
            is_same = state is not None and known.partitions.get(name) == (state.rows, state.digest)
            if not is_same or (is_deep and state and not _is_counted_again(lake, key, state.paths, state.rows)):
                differing.append(f"{key}@{name}")
    return differing


def _is_counted_again(lake: Lake, key: str, paths: Sequence[str], rows: int) -> bool:
    """Whether the rows of each file have the digest that its footer states, and all of them the right number."""
    import polars as pl

    from spotify_ai_assets.resources.digests import digest
    from spotify_ai_assets.resources.lake_states import from_footer

    counted = 0
    for path, footer in zip(paths, lake.storage.footers(key, list(paths)), strict=True):
        frame = pl.read_parquet(lake.storage.uri(key, path), hive_partitioning=False)
        counted += frame.height
        if digest(frame) != from_footer(path, frame.height, 0, footer).digest:
            return False
    return counted == rows


def _require_keys(settings: Settings, manifest: Manifest) -> None:
    if manifest.ledger_key and ledger_mark(settings) != manifest.ledger_key:
        raise BackupError(ANOTHER_KEY)


def _require_databases(manifest: Manifest, databases: Mapping[str, str]) -> None:
    dumps = {Path(name).stem for name in manifest.databases if name.endswith(".dump")}
    if VAULT in dumps and VAULT not in databases:
        raise BackupError("the vault was in PostgreSQL: name an empty database for it, such as --database vault=postgresql+psycopg2://…")
    if unknown := set(databases) - dumps:
        raise BackupError(f"the backup has no dump of {', '.join(sorted(unknown))}")


class _Loaded:
    """The databases that a restore may load dumps into, and those that it did.

    Args:
        named: Empty ones, by what they are to hold.
    """

    def __init__(self, named: Mapping[str, str]) -> None:
        self.named = named
        self._done: list[str] = []

    def load(self, name: str, dump: Path) -> None:
        """Load a dump into the database that was named for it."""
        load_postgres(self.named[name], dump)
        self._done.append(name)

    def empty(self, error: BaseException) -> None:
        """Empty again what was loaded, since the restore failed: nobody was erased there, or not everybody.

        Raises:
            BackupError: One could not be emptied.
        """
        left = []
        for name in self._done:
            try:
                empty_postgres(self.named[name])
            except TransientError:
                left.append(name)
        if left:
            raise BackupError(
                f"the restore failed, and what it had loaded into PostgreSQL could not be dropped again: empty the databases of "
                f"{', '.join(left)} by hand, since somebody may be in them whom the ledger names"
            ) from error


def _load_history(history: Path, loaded: _Loaded, erased: int) -> list[str]:
    """Load Dagster's history, unless somebody was erased again: the replay cannot look for them in there."""
    if not history.exists():
        return []
    notes = [f"{DAGSTER} was in PostgreSQL and was not loaded, since {erased} listeners were erased again whom its runs may name"]
    if not erased:
        loaded.load(DAGSTER, history)
    history.unlink()
    return notes if erased else []


def _assemble(settings: Settings, manifest: Manifest, work: Path, history: Path, loaded: _Loaded) -> tuple[Settings, list[str]]:
    """Put everything in its place: staged files, the lake as of the manifest, keys, databases, the longest ledger.

    Dagster's dump is set aside as ``history``, apart from what is searched, until it is known whether anybody was erased again.
    """
    history.unlink(missing_ok=True)  # of a killed restore
    staged = work / STAGED
    for name, known in manifest.databases.items():
        if not (staged / name).is_file() or sum_of(staged / name) != known:
            raise BackupError(f"{Path(name).name} of the backup is not whole")
    for path in sorted((staged / PLACED).rglob("*")):
        if path.is_file():
            place = work / path.relative_to(staged / PLACED)
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.replace(place)
    _cut(work / "lake", manifest)
    _copy_keys(settings.data / "keys", work / "keys")
    restored = settings_in(work, settings)
    # Where the replay looks for people.
    restored = replace(
        restored, vault_url=loaded.named.get(VAULT, restored.vault_url), tracking_url=loaded.named.get(MLFLOW, restored.tracking_url)
    )
    notes = []
    for dump in sorted((staged / ASIDE).glob("*.dump")):
        if dump.stem == DAGSTER and DAGSTER in loaded.named:
            dump.replace(history)
        elif dump.stem in loaded.named:
            loaded.load(dump.stem, dump)
        else:
            notes.append(f"{dump.stem} was in PostgreSQL and was not loaded, since no database was named for it")
    notes += take_longest(settings, restored, staged / ASIDE / f"{ERASURE}.jsonl")
    require_key(restored)
    _adopt_audit(restored, staged / ASIDE / f"{AUDIT}.jsonl")
    _require_chains(restored, manifest)
    if (configuration := staged / ASIDE / "configuration").is_dir():
        shutil.copytree(configuration, work / "backups" / "restored" / manifest.id)
    shutil.rmtree(staged)
    _move_mlflow(restored, manifest.data, str(work))
    return restored, notes


def _cut(lake: Path, manifest: Manifest) -> None:
    """Remove commits that are newer than the manifest: what they name may have come after the files were listed."""
    for log in lake.rglob("_delta_log"):
        key = log.parent.relative_to(lake).as_posix()
        known = manifest.tables.get(key)
        if known is None:
            shutil.rmtree(log.parent)
            continue
        for path in log.iterdir():
            number = path.name.partition(".")[0]
            if path.name == _HINT or (number.isdigit() and int(number) > known.version):
                path.unlink()


def _copy_keys(source: Path, target: Path) -> None:
    for path in source.glob("*.key"):
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(target / path.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(path.read_bytes())


def _adopt_audit(restored: Settings, exported: Path) -> None:
    if exported.exists():
        Chain(restored.ledger_url, AUDIT).adopt(from_lines(exported.read_bytes()))


def _require_chains(restored: Settings, manifest: Manifest) -> None:
    """Both chains are whole and hold the heads that the manifest witnessed."""
    for name in CHAINS:
        anchors = [Head(*manifest.chains[name])] if name in manifest.chains else []
        if (anchors or is_there(restored.ledger_url)) and (found := Chain(restored.ledger_url, name).verify(*anchors)):
            raise BackupError(f"the restored chain {name} is not whole: {found[0]}")


def _replay(restored: Settings) -> "Replayed":
    from spotify_ai_assets.maintenance.erasure.replaying import replay
    from spotify_ai_assets.resources.suppression import Suppression

    replayed = replay(restored, Suppression(restored))
    if replayed.left:
        raise BackupError(f"somebody whom the ledger names could not be erased again: {replayed.left[0]}")
    return replayed


def _move_mlflow(restored: Settings, before: str, after: str) -> None:
    """Let MLflow's database name its files where they are now: it knows them by whole addresses."""
    path = restored.data / "mlflow" / "mlflow.db"
    if not path.exists():
        return
    with closing(sqlite3.connect(path)) as database, database:
        for table, column in _columns(database):
            for scheme in ("file://", ""):
                old, new = f"{scheme}{before}/", f"{scheme}{after}/"
                statement = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
                database.execute(statement, (new, len(old) + 1, len(old), old))


def _columns(database: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    for table, column in _MLFLOW_PLACES:
        if any(row[1] == column for row in database.execute(f"PRAGMA table_info({table})")):
            yield table, column


def _record(settings: Settings, found: Restored) -> None:
    open_audit(settings).record("restored", subject=found.snapshot.id, who=who_asks(), figures=found.figures)
