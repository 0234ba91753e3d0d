"""The ledger of erasures beside the backups: copied after each backup, and never lost to an older one by a restore.

A restored ledger forgets the erasures since its backup, and with them who must be erased again. So a restore takes the longest
ledger that is known: that of the backup, the copy beside the backups, or the running platform's. All of them must tell one story.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.maintenance.backup.databases import sqlite_path
from spotify_ai_assets.maintenance.backup.places import BackupError, Place, open_place
from spotify_ai_assets.resources import open_locks
from spotify_ai_assets.resources.audit import ERASURE, open_ledger
from spotify_ai_assets.resources.chain import Chain, ChainError, Head, Record, canonical
from spotify_ai_assets.resources.chain_records import find_breaks
from spotify_ai_assets.resources.keys import has_key, mark_key, open_key
from spotify_ai_assets.resources.suppression import REQUESTED
from spotify_ai_assets.settings import Settings

COPY = "erasure.jsonl"

ANOTHER_KEY = (
    "the key of the ledger is another one than the one that made its hashes, so that nobody erased could be found by it: "
    "give it as SPOTIFY_AI_LEDGER_KEY, or put keys/ledger.key back"
)
_LOCK = "ledger.copy"


def copy_ledger(settings: Settings) -> Head | None:
    """Bring the copy of the ledger beside the backups up to the ledger; ``None`` where there is no record yet.

    The copy may be all that is left of a ledger. So nothing of it is ever replaced: what is there must be how the ledger begins.

    Raises:
        BackupError: The copy cannot be read, or has records that the ledger has lost or tells otherwise; it stays as it is.
        ChainError: The ledger is damaged; the copy stays as it is.
        TransientError: The ledger does not answer, or the place of backups takes nothing.
    """
    if not is_there(settings.ledger_url):
        return None
    place = open_place(_place_of(settings))
    with open_locks(settings).exclusive(_LOCK):
        records = list(open_ledger(settings).records())
        copied = _read_copy(place)
        if records[: len(copied)] != copied:
            raise BackupError(_refusal(records, copied))
        if found := find_breaks(ERASURE, records):
            raise ChainError(found[0])
        if len(records) > len(copied):
            place.put(COPY, to_lines(records))
            place.sync()
    return Head(records[-1].sequence, records[-1].digest) if records else None


def _refusal(records: Sequence[Record], copied: Sequence[Record]) -> str:
    if records == copied[: len(records)]:
        what = f"the copy of the erasure ledger beside the backups has {len(copied)} records, the ledger itself only {len(records)}"
    else:
        what = "the erasure ledger and its copy beside the backups tell different stories"
    return f"{what}: the copy stays as it is; restore a backup, which takes the longest ledger, or move the copy elsewhere"


def _place_of(settings: Settings) -> str:
    return f"{settings.backups.rstrip('/')}/ledger"


def _read_copy(place: Place) -> list[Record]:
    try:
        return from_lines(place.get(COPY))
    except FileNotFoundError:
        return []


def ledger_mark(settings: Settings) -> str:
    """What tells the key of the ledger from another; empty where none was made, which asking for it would do."""
    return mark_key(open_key(settings, "ledger")) if has_key(settings, "ledger") else ""


def require_key(restored: Settings) -> None:
    """See to it that whoever the restored ledger names can be found: by the key that made its hashes, and by no other.

    Args:
        restored: The restored platform, which has the longest ledger and the keys.

    Raises:
        BackupError: There is no key, so that a fresh one would be made, which finds nobody; or it is another one.
    """
    requests = list(open_ledger(restored).records(REQUESTED)) if is_there(restored.ledger_url) else []
    if not requests:
        return
    marks = {each.body["key_mark"] for each in requests if "key_mark" in each.body}
    if not has_key(restored, "ledger") or marks - {mark_key(open_key(restored, "ledger"))}:
        raise BackupError(ANOTHER_KEY)


def newest_at(settings: Settings) -> datetime | None:
    """When the ledger was written to last; ``None`` where it never was.

    Raises:
        ChainError: Its newest record cannot be read.
        TransientError: It does not answer.
    """
    newest = next(open_ledger(settings).backwards(), None) if is_there(settings.ledger_url) else None
    return newest.at if newest else None


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
        copy = open_place(_place_of(running)).get(COPY)
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
