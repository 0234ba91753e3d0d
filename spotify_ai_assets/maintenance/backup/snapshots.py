"""What a backup says of itself: its name and moment, the tables with their versions, counts and digests, the heads of its chains."""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from spotify_ai_assets.maintenance.backup.places import BackupError
from spotify_ai_assets.maintenance.backup.trees import Tree

FORMAT = 1
STAGED = "staged"
"""The tree of what was copied for the backup: databases, pointers, configuration."""

_ID = re.compile(r"(\d{8}T\d{6})Z-[0-9a-f]{8}")
_TIME = "%Y%m%dT%H%M%S"

Progress = Callable[[str, int, int | None], None]
"""Told what is done, how far it is, and of how much."""


def quiet(_text: str, _done: int, _total: int | None) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A backup.

    Attributes:
        id: Its name, which begins with its moment.
        at: When its pointers were copied, UTC, to the second.
        engine: ``restic`` or ``embedded``.
        facts: Figures of it: tables, partitions, rows, databases, ledger records.
    """

    id: str
    at: datetime
    engine: str
    facts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableState:
    """A table of the lake in a backup.

    Attributes:
        version: Of the Delta table.
        partitions: Number of rows and digest of each partition, by its name.
    """

    version: int
    partitions: Mapping[str, tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a backup promises.

    Attributes:
        id: The backup.
        at: When its pointers were copied, ISO 8601 in UTC.
        data: The data folder that was backed up.
        roots: Where each tree was, by its name.
        tables: The lake's tables, by key.
        databases: Size and SHA-256 of each copied database, by its path among the staged files.
        chains: Number of records and newest digest of the erasure ledger and the audit trail.
        ledger_key: What tells the key of the ledger's hashes from another; empty where none was ever made.
        format: Of this document.
    """

    id: str
    at: str
    data: str
    roots: Mapping[str, str]
    tables: Mapping[str, TableState]
    databases: Mapping[str, tuple[int, str]]
    chains: Mapping[str, tuple[int, str]]
    ledger_key: str
    format: int = FORMAT

    @property
    def facts(self) -> dict[str, int]:
        """Figures of the backup."""
        partitions = [rows for table in self.tables.values() for rows, _ in table.partitions.values()]
        return {
            "tables": len(self.tables),
            "partitions": len(partitions),
            "rows": sum(partitions),
            "databases": len(self.databases),
            "ledger": self.chains.get("erasure", (0, ""))[0],
        }

    def as_json(self) -> dict[str, Any]:
        """The manifest as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Manifest":
        """The manifest that a document holds.

        Raises:
            BackupError: It is none of this format.
        """
        try:
            if document["format"] != FORMAT:
                raise BackupError("the backup has a format that this version of the platform does not know")
            tables = {key: TableState(int(table["version"]), _pairs(table["partitions"])) for key, table in document["tables"].items()}
            return cls(
                id=str(document["id"]),
                at=str(document["at"]),
                data=str(document["data"]),
                roots=dict(document["roots"]),
                tables=tables,
                databases=_pairs(document["databases"]),
                chains=_pairs(document["chains"]),
                ledger_key=str(document["ledger_key"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BackupError("the manifest of the backup cannot be read") from None


@dataclass(frozen=True, slots=True)
class Saved:
    """What saving a backup took.

    Attributes:
        files: Files in it.
        bytes: Their length.
        added_bytes: How much the place of backups grew.
        vanished: Files that were there when they were listed and gone when they were read.
    """

    files: int
    bytes: int
    added_bytes: int
    vanished: int


class Repository(Protocol):
    """Keeps backups, encrypted and each piece once. Who writes to it is alone: ``saving.py`` sees to that."""

    engine: str

    def save(self, manifest: Manifest, trees: Sequence[Tree], progress: Progress) -> Saved:
        """Keep the files of these trees as a backup, which exists from the moment when all of it is durable."""
        ...

    def snapshots(self) -> list[Snapshot]:
        """All backups, the oldest first."""
        ...

    def manifest(self, snapshot: str) -> Manifest:
        """What a backup promises."""
        ...

    def extract(self, snapshot: str, target: Path, progress: Progress) -> int:
        """Write the files of a backup below a folder, each tree under its name, and give their number."""
        ...

    def forget(self, snapshots: Iterable[str]) -> None:
        """Remove backups and every piece that no other one needs."""
        ...

    def check(self, progress: Progress) -> list[str]:
        """Read everything that is kept; a sentence for each thing that is not whole."""
        ...


def _pairs(document: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    return {name: (int(number), str(text)) for name, (number, text) in document.items()}


def new_id(at: datetime) -> str:
    """The name of a backup of a moment."""
    return f"{at.astimezone(UTC):{_TIME}}Z-{secrets.token_hex(4)}"


def moment_of(snapshot: str) -> datetime:
    """When a backup was made, by its name.

    Raises:
        BackupError: It is no name of a backup.
    """
    if not (match := _ID.fullmatch(snapshot)):
        raise BackupError("a backup is called by its moment and eight hexadecimal digits, such as 20260102T030405Z-0123abcd")
    return datetime.strptime(match[1], _TIME).replace(tzinfo=UTC)


def choose(found: Sequence[Snapshot], wanted: str) -> Snapshot:
    """A backup by its name or the beginning of it, ``latest``, or the newest one as of a moment.

    Args:
        found: All backups, the oldest first.
        wanted: Such as ``latest``, ``20260102T030405Z-0123abcd`` or ``2026-01-02T04:00:00+00:00``; without a zone the moment is in UTC.

    Raises:
        BackupError: There is none, or several.
    """
    if wanted == "latest":
        named = list(found[-1:])
    elif not (named := [each for each in found if wanted and each.id.startswith(wanted)]) and (moment := _moment(wanted)):
        named = [each for each in found if each.at <= moment][-1:]
    if len(named) != 1:
        raise BackupError("several backups are called so" if named else "there is no such backup")
    return named[0]


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
