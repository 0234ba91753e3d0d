"""The restore drill: a backup counts as one when it was restored, compared, opened, worked with and searched.

The newest backup is restored into scratch, each partition of the lake is digested again from its rows, the ledger is replayed. Then
one partition is made again and must have the digest that it had; and a listener of the copy is erased there: the byte scan finds
this canary before and must not find it after. The running platform is only read.
"""

import shutil
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

import polars as pl

from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.maintenance.backup.databases import scratch_database
from spotify_ai_assets.maintenance.backup.places import BackupError
from spotify_ai_assets.maintenance.backup.restoring import VAULT, Restored, restore, settings_in
from spotify_ai_assets.maintenance.backup.saving import Clock, list_snapshots, open_repository, utc_now
from spotify_ai_assets.maintenance.backup.snapshots import Progress, choose, quiet
from spotify_ai_assets.maintenance.backup.sources import ASIDE as STAGED_DUMPS
from spotify_ai_assets.resources import open_lake, open_vault
from spotify_ai_assets.resources.audit import open_ledger
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.staleness import Ledger, reasons
from spotify_ai_assets.tables import TABLES

Remake = Callable[[Settings, Lake, str, str], None]
"""Makes one partition of a table again, on the settings and the lake that it is given, by the job that always makes it."""

_SMALL_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Drill:
    """What came of a drill; the columns of ``maintenance/drills``.

    Attributes:
        began_at: When it began.
        snapshot: The backup.
        engine: What kept it.
        is_passed: Whether everything came out right.
        failure: What did not.
        rto_s: Seconds from the beginning until the restored platform could be opened.
        rpo_s: Seconds between the backup and the beginning.
        files: Files that were restored.
        tables: Tables of the lake.
        partitions: Partitions that were digested again.
        rows: Rows in them.
        erased: Listeners who were erased again.
        remade: The partition that was made again.
        canary_before: How often the scan found a listener of the copy.
        canary_after: How often after that one was erased there.
        seconds: How long all of it took.
    """

    began_at: datetime
    snapshot: str
    engine: str
    is_passed: bool
    failure: str | None
    rto_s: float
    rpo_s: float
    files: int = 0
    tables: int = 0
    partitions: int = 0
    rows: int = 0
    erased: int = 0
    remade: str | None = None
    canary_before: int = 0
    canary_after: int = 0
    seconds: float = 0.0

    @property
    def figures(self) -> dict[str, Any]:
        """What the audit trail notes of it."""
        known = asdict(self)
        return {name: known[name] for name in known if name not in ("began_at", "snapshot", "failure")}

    def as_row(self) -> dict[str, Any]:
        """The row of ``maintenance/drills``."""
        return asdict(self)


def drill(
    settings: Settings,
    remake: Remake,
    remakable: Collection[str],
    *,
    wanted: str = "latest",
    clock: Clock = utc_now,
    progress: Progress = quiet,
) -> Drill:
    """Restore a backup into scratch and prove it.

    Args:
        settings: Name everything; nothing that they name is changed but the scratch folder.
        remake: Makes a partition again.
        remakable: The tables that can be made from a lake and settings alone.
        wanted: Which backup, as for ``restore``.
        clock: Gives the time in UTC.
        progress: Told what is being done.

    Returns:
        What came of it, also where it failed.

    Raises:
        BackupError: There is no backup, or none can be listed.
    """
    at, started = clock(), time.perf_counter()
    snapshot = choose(list_snapshots(settings), wanted)
    folder = settings.data / "scratch" / "drill"
    shutil.rmtree(folder, ignore_errors=True)
    found: dict[str, Any] = {}
    failure = None
    try:
        with ExitStack() as held:
            databases = _scratch_databases(settings, snapshot.id, held)
            restored = restore(settings, snapshot.id, folder / "data", databases=databases, is_deep=True, is_told=False, progress=progress)
            found = _told(restored, time.perf_counter() - started)
            there = settings_in(folder / "data", settings)
            there = replace(there, vault_url=databases.get(VAULT, there.vault_url))
            progress("remaking", 0, None)
            found["remade"] = _remake_one(there, remake, remakable)
            progress("canary", 0, None)
            found["canary_before"], found["canary_after"] = _erase_canary(there)
    except PlatformError as error:
        failure = f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.perf_counter() - started
    told = {"rto_s": round(seconds, 3), **found, "rpo_s": (at - snapshot.at).total_seconds(), "seconds": round(seconds, 3)}
    return Drill(began_at=at, snapshot=snapshot.id, engine=snapshot.engine, is_passed=failure is None, failure=failure, **told)


def _scratch_databases(settings: Settings, snapshot: str, held: ExitStack) -> dict[str, str]:
    """A database for the vault of the copy, where the backup's was in PostgreSQL; the others are not needed to open it."""
    if f"{STAGED_DUMPS}/{VAULT}.dump" not in open_repository(settings).manifest(snapshot).databases:
        return {}
    return {VAULT: held.enter_context(scratch_database(settings.vault_url))}


def _told(restored: Restored, seconds: float) -> dict[str, Any]:
    names = {each.name for each in fields(Drill)} & {each.name for each in fields(Restored)} - {"snapshot", "seconds"}
    return {"rto_s": round(seconds, 3), **{name: getattr(restored, name) for name in names}}


def _remake_one(restored: Settings, remake: Remake, remakable: Collection[str]) -> str | None:
    """Make the newest up-to-date partition of a small table again, and hold its digest against the one that it had."""
    lake = open_lake(restored, TABLES)
    ledger = Ledger(lake.states)
    for key, name in _candidates(lake, remakable):
        table = lake.tables[key]
        if reasons(table, table.partition(name), lake.tables, ledger):
            continue
        before = lake.states(key)[name]
        lake.drop(key, [table.partition(name)])
        remake(restored, lake, key, name)
        after = open_lake(restored, TABLES).states(key).get(name)
        if after is None or after.digest != before.digest:
            raise BackupError(f"{key}@{name} came out otherwise when it was made again from what was restored")
        return f"{key}@{name}"
    return None


def _candidates(lake: Lake, remakable: Collection[str]) -> list[tuple[str, str]]:
    """The newest partition of each daily table that is made from others every day, the ones with fewest rows first."""
    found = []
    for key in sorted(remakable):
        table = lake.tables[key]
        if table.is_daily and table.reads and table.grain == "day" and (states := lake.states(key)):
            newest = max(states)
            if 0 < states[newest].rows <= _SMALL_ROWS:
                found.append((states[newest].rows, key, newest))
    return [(key, name) for _, key, name in sorted(found)]


def _erase_canary(restored: Settings) -> tuple[int, int]:
    """Erase a listener of the copy, and count what the byte scan finds of that one before and after.

    Raises:
        BackupError: The scan does not find what is there, or still finds what should be gone.
    """
    from spotify_ai_assets.maintenance.erasure.forms import Needles
    from spotify_ai_assets.maintenance.erasure.replaying import replay
    from spotify_ai_assets.maintenance.erasure.scanning import data_roots, scan
    from spotify_ai_assets.resources.suppression import REQUESTED, Suppression

    lake, vault = open_lake(restored, TABLES), open_vault(restored)
    if (pseudonym := _somebody(lake)) is None:
        return 0, 0
    user = vault.resolve(pseudonym)
    needles, roots = Needles.of(user_id=user, pseudonym=pseudonym), data_roots(restored.data)
    before = sum(hit.count for hit in scan(roots, needles).hits)
    if not before:
        raise BackupError("the byte scan does not find a listener who is there, so its silence would prove nothing")
    hashed = Suppression(restored)
    told = {"request": "drill", "user": hashed.hash("user", user or pseudonym), "pseudonyms": [hashed.hash("pseudonym", pseudonym)]}
    open_ledger(restored).append(REQUESTED, told)
    replayed = replay(restored, Suppression(restored))
    if replayed.left or not replayed.listeners:
        raise BackupError("a listener of the restored copy could not be erased there")
    after = sum(hit.count for hit in scan(data_roots(restored.data), needles).hits)
    if after:
        raise BackupError(f"the byte scan still finds an erased listener of the restored copy, {after} times")
    return before, after


def _somebody(lake: Lake) -> str | None:
    """The pseudonym of a listener: of the table with most rows, so that there is something to be found."""
    sizes = []
    for key, table in lake.tables.items():
        column = next((each.name for each in table.columns if each.personal == "pseudonym" and each.dtype == pl.String), None)
        if column and table.is_daily and (states := lake.states(key)):
            sizes.append((max(state.rows for state in states.values()), key, column))
    for _, key, column in sorted(sizes, reverse=True):
        found = lake.scan(key).select(pl.col(column).drop_nulls()).head(1).collect()
        if found.height:
            return str(found.item())
    return None
