"""Making one file of many: what was appended or streamed in small pieces costs every reader a file each.

The rows stay. The digest of a partition of several files is made of theirs, that of one file of its rows, so what is made from a
compacted day is made once more, comes out equal, and stops there. Days that may still be streamed into are left alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.errors import ContractError
from spotify_ai_assets.resources.lake import Lake, Origin


@dataclass(frozen=True, slots=True)
class Scattered:
    """A partition of many files.

    Attributes:
        key: The table.
        partition: Its name.
        files: How many.
        size: Bytes of them.
    """

    key: str
    partition: str
    files: int
    size: int


@dataclass(slots=True)
class Compacted:
    """What compaction did.

    Attributes:
        partitions: Partitions that are one file now.
        files: Files that they were before.
        saved: Bytes by which they became smaller.
        refused: Partitions whose files together break the contract, such as a key that is in two of them; they stay as they are.
    """

    partitions: int = 0
    files: int = 0
    saved: int = 0
    refused: list[str] = field(default_factory=list)


def find_scattered(lake: Lake, today: date, *, most_files: int, settled_days: int) -> list[Scattered]:
    """The partitions of more files than that, of tables that are filled from outside.

    Args:
        lake: Where.
        today: UTC.
        most_files: How many files a partition may have.
        settled_days: How old a day must be.
    """
    last = (today - timedelta(days=settled_days)).isoformat()
    return [
        Scattered(key, name, len(state.paths), state.size)
        for key, table in lake.tables.items()
        if not table.reads
        for name, state in lake.states(key).items()
        if len(state.paths) > most_files and _is_settled(table, name, last)
    ]


def compact(lake: Lake, found: Iterable[Scattered], origin: Origin | None = None) -> Compacted:
    """Make one file of each; partition by partition, so that no more than one is in memory."""
    done = Compacted()
    for each in found:
        partition = lake.tables[each.key].partition(each.partition)
        try:
            written = lake.update(each.key, [partition], lambda _, rows: rows, origin=origin)[partition]
        except ContractError:
            done.refused.append(f"{each.key}@{each.partition}")
            continue
        done.partitions += 1
        done.files += each.files
        done.saved += each.size - written.state.size
    return done


def _is_settled(table: Table, name: str, last: str) -> bool:
    return not table.is_daily or name <= last
