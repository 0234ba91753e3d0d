"""Care of a Delta table on disk: finding and setting aside what a power cut tore, vacuum, forgetting history.

Everything here that changes a table expects its exclusive lock to be held. Readers never mend. Objects in an object store
appear whole or not at all, so only local tables can be torn.
"""

import json
import time
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from spotify_ai_assets.contracts import WHOLE, Table
from spotify_ai_assets.errors import PermanentError
from spotify_ai_assets.resources.lake_log import ERASED_BEFORE, HISTORY_DAYS, live_files, no_hooks, open_table, removal
from spotify_ai_assets.resources.storage import Storage

if TYPE_CHECKING:
    from deltalake import DeltaTable

_ASIDE = "_aside"
_MAGIC = b"PAR1"
_HINT = "_last_checkpoint"
_CHECKPOINT = ".checkpoint.parquet"
_DIGITS = 20
_FIRST = f"{0:020}.json"
_TAIL = 3
"""How many commits at the end of the log are looked at. A commit syncs the one below it first, so only the last can be torn."""


def is_torn(storage: Storage, key: str) -> bool:
    """Whether the end of the log, a checkpoint or the hint that names one is not whole. Costs less than a millisecond."""
    return storage.is_local and bool(_torn_log_files(storage, key))


def torn_files(storage: Storage, key: str, files: pl.DataFrame) -> list[str]:
    """Those of a table's live files that are not there, have another size than the log says or do not begin and end as parquet."""
    if not storage.is_local:
        return []
    return [path for path, size in files.select("path", "size").iter_rows() if not _is_data(Path(storage.uri(key, path)), size)]


def mend(storage: Storage, contract: Table) -> list[str]:
    """Move torn log files, checkpoints and hints aside, and take files that are not whole out of the table.

    Nothing is deleted: what is set aside lies under ``_aside`` of the table. A partition that loses its file is missing
    afterwards, so it counts as stale and is made again.

    Returns:
        One sentence for each thing set aside.
    """
    if not storage.is_local:
        return []
    root, done = Path(storage.uri(contract.key)), []
    while torn := _torn_log_files(storage, contract.key):
        aside = root / _ASIDE / str(time.time_ns())
        aside.mkdir(parents=True)
        for path in torn:
            path.rename(aside / path.name)
            done.append(f"{contract.key}: torn {path.name} was set aside")
        storage.sync_folders([aside, aside.parent, root, root / "_delta_log"])
    table = open_table(storage, contract.key)
    return done if table is None else done + _drop_torn_data(storage, contract, table)


def _torn_log_files(storage: Storage, key: str) -> list[Path]:
    """Log files that cannot be what a finished commit wrote, and those that stand on one.

    Raises:
        PermanentError: Nothing older is left that the table could be read from.
    """
    log = Path(storage.uri(key, "_delta_log"))
    names = sorted(path.name for path in log.iterdir()) if log.is_dir() else []
    commits = [name for name in names if name.endswith(".json") and name[:-5].isdigit()]
    checkpoints = [name for name in names if name.endswith(_CHECKPOINT)]
    broken = [name for name in commits[-_TAIL:] if not _is_commit(log / name)]
    torn = {name for name in checkpoints[-1:] if not _is_checkpoint(log / name)}
    if broken:  # Delta commits nothing on a checkpoint whose own log file is gone, so the checkpoint goes too
        torn |= {name for name in commits + checkpoints if name >= broken[0][:_DIGITS]}
    whole = [name for name in checkpoints if name not in torn]
    if torn and not whole and _FIRST not in commits:
        raise PermanentError(f"{key}: the log is not whole and nothing older is left to read it from; restore a backup")
    if _HINT in names and not _is_hint(log / _HINT, whole):
        torn.add(_HINT)
    return [log / name for name in sorted(torn)]


def _is_commit(path: Path) -> bool:
    try:
        lines = path.read_bytes().splitlines()
        return bool(lines) and all(isinstance(json.loads(line), dict) for line in lines)
    except ValueError:
        return False


def _is_hint(path: Path, checkpoints: list[str]) -> bool:
    try:
        return f"{json.loads(path.read_bytes())['version']:020}{_CHECKPOINT}" in checkpoints
    except (ValueError, KeyError, TypeError):
        return False


def _is_checkpoint(path: Path) -> bool:
    status = path.stat()
    return _is_readable(path, status.st_size, status.st_mtime_ns)


@lru_cache(1024)
def _is_readable(path: Path, size: int, modified_ns: int) -> bool:
    """Whether all of a parquet file can be read; looked at once for each file that this process meets."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        return _is_parquet(path) and ParquetFile(path).read().num_rows > 0
    except (ArrowException, OSError):
        return False


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, 2) < 3 * len(_MAGIC):
            return False
        file.seek(-len(_MAGIC), 2)
        is_ended = file.read() == _MAGIC
        file.seek(0)
        return is_ended and file.read(len(_MAGIC)) == _MAGIC


def _is_data(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size and _is_parquet(path)


def _drop_torn_data(storage: Storage, contract: Table, table: "DeltaTable") -> list[str]:
    from deltalake import CommitProperties

    files = live_files(table, contract)
    torn = torn_files(storage, contract.key, files)
    if not torn:
        return []
    now = int(time.time() * 1000)
    storage.sync_log(contract.key, table.version())
    table.create_write_transaction(
        [removal(path, now) for path in torn],
        "append",
        table.schema(),
        table.metadata().partition_columns or None,
        commit_properties=CommitProperties({"mended": len(torn)}, max_commit_retries=0),
        post_commithook_properties=no_hooks(),
    )
    storage.sync_log(contract.key, table.version() + 1)
    lost = files.filter(pl.col("path").is_in(torn))["partition"]
    return [f"{contract.key}: {'the table' if name == WHOLE else name} lost a file that was not whole" for name in lost]


def vacuum(storage: Storage, key: str, table: "DeltaTable", keep: timedelta, *, dry_run: bool) -> list[str]:
    """Remove files that no version within ``keep`` needs, files that no commit ever named, and staging files.

    ``full`` also finds what killed writers left; staging files (``…#1``) are in neither list of Delta's own vacuum.

    Returns:
        The removed files, relative to the table.
    """
    hours = int(keep.total_seconds() // 3600)
    root = Path(storage.uri(key))
    staged = [path for path in root.rglob("*#*") if path.is_file()] if storage.is_local else []
    names = [str(path.relative_to(root)) for path in staged]
    if dry_run:
        return table.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=True) + names
    table.create_checkpoint()
    storage.sync_log(key, table.version())
    removed = table.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True, post_commithook_properties=no_hooks())
    for path in staged:
        path.unlink()
    for version in range(table.version() + 1, (newest := _newest(storage, key)).version() + 1):
        storage.sync_log(key, version)
    newest.cleanup_metadata()
    return removed + names


def forget_history(storage: Storage, key: str, table: "DeltaTable") -> None:
    """Leave nothing but the present rows and log; from then on the table says since which version it has a past."""
    storage.sync_log(key, table.version())
    forget = {ERASED_BEFORE: str(table.version() + 1), "delta.logRetentionDuration": "interval 0 seconds"}
    table.alter.set_table_properties(forget, raise_if_not_exists=False, post_commithook_properties=no_hooks())
    vacuum(storage, key, _newest(storage, key), timedelta(0), dry_run=False)
    keep = {"delta.logRetentionDuration": f"interval {HISTORY_DAYS} days"}
    newest = _newest(storage, key)
    newest.alter.set_table_properties(keep, post_commithook_properties=no_hooks())
    storage.sync_log(key, newest.version())


def _newest(storage: Storage, key: str) -> "DeltaTable":
    from deltalake import DeltaTable

    return DeltaTable(storage.uri(key))
