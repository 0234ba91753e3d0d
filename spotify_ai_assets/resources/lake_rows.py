"""The rows of a partition as they are stored: exactly the contract's columns, of one day, sorted by a key that is unique.

Types are compared, never cast. Which values a column may hold is the blocking check's business, not the lake's.
"""

import threading
from collections.abc import Sequence

import polars as pl

from spotify_ai_assets.contracts import Partition, Table
from spotify_ai_assets.errors import ContractError


class RecentRows:
    """Rows of files that were written just now: the assets of a run read what the ones before have made.

    A file never changes, so its rows in memory are as good as those on disk. Of each table the last file is remembered, and
    earlier ones as long as they are small: a day of many tables reads weeks of others.

    Args:
        limit: Bytes to hold at most; the oldest rows go first.
        small: Bytes of a small file.
        small_limit: Bytes to hold of small files at most.
    """

    def __init__(self, limit: int, small: int = 2**22, small_limit: int = 2**28) -> None:
        self._limit = limit
        self._small = small
        self._small_limit = small_limit
        self._last: dict[str, tuple[str, pl.DataFrame]] = {}
        self._earlier: dict[str, pl.DataFrame] = {}
        self._earlier_bytes = 0
        self._lock = threading.Lock()

    def keep(self, contract: Table, path: str, rows: pl.DataFrame) -> None:
        """Remember the rows of a file, without the day or shard that its path names."""
        by = contract.partitioned_by
        named = {by: pl.lit(contract.partition(path[len(by) + 1 :].partition("/")[0]))} if by else {}
        whole = rows.with_columns(**named).select(list(contract.schema))
        with self._lock:
            if before := self._last.pop(contract.key, None):
                self._keep_small(contract.key, *before)
            self._last[contract.key] = path, whole
            while sum(each.estimated_size() for _, each in self._last.values()) > self._limit:
                self._last.pop(next(iter(self._last)))

    def _keep_small(self, key: str, path: str, rows: pl.DataFrame) -> None:
        if (size := rows.estimated_size()) > self._small:
            return
        self._earlier[f"{key}/{path}"] = rows
        self._earlier_bytes += size
        while self._earlier_bytes > self._small_limit:
            self._earlier_bytes -= self._earlier.pop(next(iter(self._earlier))).estimated_size()

    def get(self, contract: Table, paths: Sequence[str]) -> pl.LazyFrame | None:
        """The rows of files, one after the other, or ``None`` where not all of them are remembered."""
        with self._lock:
            last, rows = self._last.get(contract.key, ("", None))
            found = [rows if path == last else self._earlier.get(f"{contract.key}/{path}") for path in paths]
        known = [each for each in found if each is not None]
        if not known or len(known) < len(found):
            return None
        return (known[0] if len(known) == 1 else pl.concat(known, rechunk=True)).lazy()


def checked(contract: Table, frame: pl.DataFrame, partition: Partition) -> pl.DataFrame:
    """The rows in the contract's column order, sorted by key; without the day or shard, which is the name of the folder.

    Raises:
        ContractError: Columns, types, the day or shard, or the keys differ from the contract.
    """
    _check_columns(contract, frame)
    _check_partition(contract, frame, partition)
    rows = frame.select([name for name in contract.schema if name != contract.partitioned_by])
    keys = frame.select(contract.primary_key)
    if any(column.null_count() for column in keys):
        raise ContractError(f"{contract.key}: a key column has missing values")
    repeated = _repeated(keys)
    if repeated is None:
        ordered = frame.sort(contract.primary_key)
        rows, repeated = ordered.select(rows.columns), _repeated(ordered.select(contract.primary_key))
    if repeated:
        raise ContractError(f"{contract.key}: {repeated} rows repeat the key {', '.join(contract.primary_key)}")
    return rows


def _check_columns(contract: Table, frame: pl.DataFrame) -> None:
    if dict(frame.schema) != contract.schema:
        wrong = {name: str(dtype) for name, dtype in frame.schema.items() if contract.schema.get(name) != dtype}
        missing = sorted(contract.schema.keys() - frame.schema.keys())
        raise ContractError(f"{contract.key}: columns differ from the contract; wrong {wrong}, missing {missing}")


def _check_partition(contract: Table, frame: pl.DataFrame, partition: Partition) -> None:
    by = contract.partitioned_by
    if (by is None) != (partition is None) or contract.is_sharded != isinstance(partition, str):
        raise ContractError(f"{contract.key}: is written " + (f"by {by}" if by else "as a whole"))
    if by is None or frame.is_empty():
        return
    found = frame[by]
    if found.null_count() or found.min() != partition or found.max() != partition:
        raise ContractError(f"{contract.key}: rows of another {by} than {partition}")


def _repeated(keys: pl.DataFrame) -> int | None:
    """How many rows have the key of the row before; ``None`` where the rows are not in order.

    Looking costs a tenth of sorting: a column is compared only where all columns before it are equal.
    """
    ties: pl.Series | None = None
    for column in keys:
        earlier, later = column.head(-1), column.tail(-1)
        if len(column) < 2:
            return 0
        if ties is not None:
            earlier, later = earlier.gather(ties), later.gather(ties)
        if not (earlier <= later).all():
            return None
        equal = (earlier == later).arg_true()
        ties = equal if ties is None else ties.gather(equal)
    return 0 if ties is None else len(ties)
