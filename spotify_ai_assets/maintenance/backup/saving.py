"""Making a backup: locks, pointers, data, manifest, release; and removing those whose time is over."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spotify_ai_assets.maintenance.backup.embedded import EmbeddedRepository
from spotify_ai_assets.maintenance.backup.ledgers import copy_ledger, ledger_mark, newest_at
from spotify_ai_assets.maintenance.backup.places import BackupError, Place, open_place
from spotify_ai_assets.maintenance.backup.restic import ResticRepository
from spotify_ai_assets.maintenance.backup.snapshots import STAGED, Manifest, Progress, Repository, Saved, Snapshot, new_id, quiet
from spotify_ai_assets.maintenance.backup.sources import mend_torn, read_heads, read_tables, stage
from spotify_ai_assets.resources import open_locks
from spotify_ai_assets.resources.keys import open_key
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import Settings

BACKUPS, ERASURE_LOCK, FORGETTING_LOCK = "backups", "erasure", "recommendations.forgetting"
"""Locks: of who writes to the repository, of an erasure at work, of the removal of what models and indices hold of a person."""

DAILY, WEEKLY, LONGEST = 7, 4, timedelta(days=30)
"""How many days and weeks have a backup, and how old any may be: after that, whom an erasure has forgotten is in none."""

WAIT_S = 4 * 3600.0
"""How long a lock is waited for: as long as an erasure may take, which makes again and trains again whatever the person was in."""

_REPOSITORY = "repository"

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made, and what it took.

    Attributes:
        snapshot: The backup.
        saved: Files and bytes.
        seconds: How long all of it took.
        locked_s: For how long nothing could be removed from the lake.
    """

    snapshot: Snapshot
    saved: Saved
    seconds: float
    locked_s: float

    @property
    def figures(self) -> dict[str, float]:
        """What the audit trail notes of it."""
        return {
            "seconds": round(self.seconds, 3),
            "locked_seconds": round(self.locked_s, 3),
            "files": self.saved.files,
            "bytes": self.saved.bytes,
            "added_bytes": self.saved.added_bytes,
            "vanished": self.saved.vanished,
            **self.snapshot.facts,
        }


def open_repository(settings: Settings, engine: str | None = None) -> Repository:
    """The repository of backups: the one that is there; for the first backup restic's where it is installed, else the embedded one.

    What is there decides, never what is installed: a second repository in the same place would hide the first one.

    Args:
        settings: Name the place, and the data folder where the key is kept unless the environment gives it.
        engine: ``restic`` or ``embedded``, for a first backup that shall not depend on what is installed.

    Raises:
        BackupError: The place is of an unknown kind, another engine's backups are there, or restic is needed and not installed.
        SettingsError: The key is none.
    """
    root = f"{settings.backups.rstrip('/')}/{_REPOSITORY}"
    place = open_place(root)
    chosen = _choose_engine(place, engine, settings.lake)
    key = open_key(settings, "backup")
    if chosen == EmbeddedRepository.engine:
        return EmbeddedRepository(place, key)
    if not ResticRepository.is_installed():
        raise BackupError("restic is not installed, and backups are kept by it here (Debian: restic)")
    return ResticRepository(root, key, settings.data / "scratch" / "restic")


def _choose_engine(place: Place, engine: str | None, lake: str) -> str:
    """The engine of the repository that is there, else the one that is asked for, else what is installed and can read the lake."""
    there = [kind.engine for kind in (EmbeddedRepository, ResticRepository) if kind.is_at(place)]
    if len(there) > 1:
        raise BackupError("two repositories of backups lie in one place, an embedded one and one of restic: move one of them elsewhere")
    if there:
        if engine not in (None, *there):
            raise BackupError(f"the backups that are there are kept by the engine {there[0]}: use that, or another place for {engine}")
        return there[0]
    if engine is not None:
        return engine
    can_restic = ResticRepository.is_installed() and "://" not in lake  # restic reads folders only
    return ResticRepository.engine if can_restic else EmbeddedRepository.engine


def make_backup(
    settings: Settings,
    lake: Lake,
    *,
    dagster_url: str = "",
    engine: str | None = None,
    clock: Clock = utc_now,
    progress: Progress = quiet,
) -> Backup:
    """Back everything up, consistently and without stopping anybody who writes.

    While it lasts no table loses a file, no model or index is removed and no erasure is at work. Databases and pointers are copied
    first, what they name second. The backup exists when all of it is durable; a killed one leaves nothing that counts.

    Args:
        settings: Name everything.
        lake: What they name as the lake.
        dagster_url: Of Dagster's PostgreSQL, where it has one.
        engine: As for ``open_repository``.
        clock: Gives the time in UTC.
        progress: Told what is being done.

    Raises:
        BackupError: A database is damaged, or the place of backups is for another key.
        TransientError: A lock, a database or the place could not be had in time.
    """
    started = time.perf_counter()
    mend_torn(lake)
    with open_locks(settings, WAIT_S).exclusive(BACKUPS):
        repository = open_repository(settings, engine)
        with _nothing_is_removed(settings, lake), _scratch(settings) as scratch:
            locked = time.perf_counter()
            at = clock()
            progress("pointers", 0, None)
            heads = read_heads(settings)
            sources = stage(settings, scratch / STAGED, dagster_url)
            tables = read_tables(lake)
            manifest = Manifest(
                id=new_id(at),
                at=at.astimezone(UTC).isoformat(timespec="seconds"),
                data=str(settings.data),
                roots={tree.name: tree.root for tree in sources.trees},
                tables=tables,
                databases=sources.databases,
                chains=heads,
                ledger_key=ledger_mark(settings),
            )
            saved = repository.save(manifest, sources.trees, progress)
            locked_s = time.perf_counter() - locked
        copy_ledger(settings)
    snapshot = Snapshot(manifest.id, at.replace(microsecond=0), repository.engine, manifest.facts)
    return Backup(snapshot, saved, time.perf_counter() - started, locked_s)


def list_snapshots(settings: Settings) -> list[Snapshot]:
    """All backups, the oldest first.

    Raises:
        BackupError: The key is another one, or a backup is damaged.
    """
    return open_repository(settings).snapshots()


def kept(snapshots: Sequence[Snapshot], now: datetime, erased_at: datetime | None = None) -> set[str]:
    """The backups to keep: the newest of each of the last seven days and of the last four weeks that have one, none older than 30 days.

    The newest of all stays even if it is older, until there is another, as long as nobody was erased since it was made: no backup at
    all is worse. Whoever was erased since was promised that they are in none for longer. One from the future, as a clock that went
    wrong leaves it, stays and counts for no day.

    Args:
        snapshots: All of them.
        now: The time.
        erased_at: When the ledger was written to last; ``None`` where it never was.

    Returns:
        Their names.
    """
    past = sorted((each for each in snapshots if each.at <= now), key=lambda each: each.at, reverse=True)
    young = [each for each in past if now - each.at <= LONGEST]
    days: dict[str, str] = {}
    weeks: dict[str, str] = {}
    for each in young:
        days.setdefault(f"{each.at.astimezone(UTC):%Y-%m-%d}", each.id)
        weeks.setdefault(f"{each.at.astimezone(UTC):%G-%V}", each.id)
    newest = {each.id for each in past[:1] if erased_at is None or erased_at <= each.at or now - each.at <= LONGEST}
    future = {each.id for each in snapshots if each.at > now}
    return newest | future | set(list(days.values())[:DAILY]) | set(list(weeks.values())[:WEEKLY])


def forget_old(settings: Settings, *, now: datetime, dry_run: bool = True) -> list[Snapshot]:
    """Remove the backups whose time is over, with every piece that no other one needs.

    Args:
        settings: Name the place.
        now: The time.
        dry_run: Only say which.

    Returns:
        The removed, or removable, backups.

    Raises:
        BackupError: One of those that stay is damaged; then nothing that it may need is removed.
    """
    with open_locks(settings, WAIT_S).exclusive(BACKUPS):
        repository = open_repository(settings)
        found = repository.snapshots()
        stay = kept(found, now, newest_at(settings))
        doomed = [each for each in found if each.id not in stay]
        if not dry_run and found:
            repository.forget(each.id for each in doomed)
        return doomed


@contextmanager
def _nothing_is_removed(settings: Settings, lake: Lake) -> Iterator[None]:
    """Hold off vacuum, erasure and the removal of models; writers go on."""
    locks = open_locks(settings, WAIT_S)
    with ExitStack() as held:
        for name in (ERASURE_LOCK, FORGETTING_LOCK):
            held.enter_context(locks.shared(name))
        for key in lake.tables:
            held.enter_context(lake.locks.shared(key))
        yield


@contextmanager
def _scratch(settings: Settings) -> Iterator[Path]:
    """A private folder, emptied of what a killed backup left."""
    folder = settings.data / "scratch" / "backup"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
