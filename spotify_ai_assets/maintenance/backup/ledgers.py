"""The ledger of erasures beside the backups: copied after each backup, and never lost to an older one by a restore.

A restored ledger forgets the erasures since its backup, and with them who must be erased again. So a restore takes the longest
ledger that is known: that of the backup, the copy beside the backups, or the running platform's. All of them must tell one story.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.maintenance.backup.databases import sqlite_path
from spotify_ai_assets.maintenance.backup.places import BackupError, open_place
from spotify_ai_assets.resources.audit import ERASURE, open_ledger
from spotify_ai_assets.resources.chain import Chain, ChainError, Head, Record, canonical
from spotify_ai_assets.settings import Settings

COPY = "erasure.jsonl"


def copy_ledger(settings: Settings) -> Head | None:
    """Copy the ledger beside the backups, in the place of the copy before; ``None`` where there is no ledger yet.

    Raises:
        TransientError: The ledger does not answer, or the place of backups takes nothing.
    """
    if not is_there(settings.ledger_url):
        return None
    records = list(open_ledger(settings).records())
    place = open_place(f"{settings.backups}/ledger")
    place.put(COPY, to_lines(records))
    place.sync()
    return Head(records[-1].sequence, records[-1].digest) if records else None


def take_longest(running: Settings, restored: Settings, exported: Path | None = None) -> list[str]:
    """Bring the ledger of a restored platform up to the longest that is known.

    Args:
        running: The platform whose backup was restored, as far as it still runs.
        restored: The restored platform; its ledger, if it has one, is that of the backup.
        exported: The ledger of the backup as JSON lines, where it was no SQLite database.

    Returns:
        A sentence for each ledger that is there and could not be heeded, since it is damaged.

    Raises:
        BackupError: Two ledgers tell different stories: somebody has to decide which one is true.
    """
    ledger, notes = open_ledger(restored), []
    sources: list[tuple[str, list[Record]]] = []
    if exported and exported.exists():
        sources.append(("the exported ledger of the backup", from_lines(exported.read_bytes())))
    try:
        copy = open_place(f"{running.backups}/ledger").get(COPY)
        sources.append(("the ledger's copy beside the backups", from_lines(copy)))
    except FileNotFoundError:
        pass
    if is_there(running.ledger_url):
        try:
            sources.append(("the running ledger", whole_records(open_ledger(running))))
        except PlatformError:
            notes.append("the running ledger is damaged and was not heeded")
    for name, records in sources:
        try:
            ledger.adopt(records)
        except ChainError as error:
            raise BackupError(f"{name} and the backup's tell different stories: {error}") from error
    return notes


def whole_records(chain: Chain) -> list[Record]:
    """All records of a chain.

    Raises:
        ChainError: It is damaged.
    """
    if found := chain.verify():
        raise ChainError(found[0])
    return list(chain.records())


def is_there(url: str) -> bool:
    """Whether a database is there, which asking it would make."""
    path = sqlite_path(url)
    return path is None or path.exists()


def to_lines(records: Iterable[Record]) -> bytes:
    """Records as JSON lines, as ``Chain.export`` writes them."""
    return b"".join(f"{canonical(record.as_json())}\n".encode() for record in records)


def from_lines(content: bytes) -> list[Record]:
    """The records of JSON lines; whether they are a chain is for ``Chain.adopt`` to see.

    Raises:
        BackupError: They are no records.
    """
    try:
        found = [json.loads(line) for line in content.splitlines()]
        return [
            Record(each["sequence"], datetime.fromisoformat(each["at"]), each["kind"], each["body"], each["previous"], each["digest"])
            for each in found
        ]
    except (ValueError, KeyError, TypeError):
        raise BackupError(f"a copy of the chain {ERASURE} cannot be read") from None
