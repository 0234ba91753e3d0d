"""What lies below the data folder: every folder by its name, what it holds of people, and how it is kept safe.

Backups, erasure, the byte scan and health go by this list. A folder that is not in it fails a test and keeps an erasure open:
nobody would know what is in it.
"""

from dataclasses import dataclass
from typing import Literal

from spotify_ai_assets.contracts import Personal

Backup = Literal["files", "databases", "no"]
"""``files``: copied as they are. ``databases``: through the engine's own backup, never as files. ``no``: made again, or of no worth."""

Forgetting = Literal["rewritten", "rebuilt", "removed", "cleared", "kept"]
"""``rewritten``: without the person's rows. ``rebuilt``: made again from what remains. ``removed``: whole files that hold the person.
``cleared``: emptied of what was deleted. ``kept``: it never holds a person, which the byte scan confirms."""


@dataclass(frozen=True, slots=True)
class Store:
    """A folder below the data folder.

    Attributes:
        name: The folder's name.
        holds: What it says.
        personal: The strongest personal-data class in it; ``identity`` where real ids may be.
        backup: How it is backed up.
        forgetting: What an erasure does to it.
    """

    name: str
    holds: str
    personal: Personal | Literal["identity"]
    backup: Backup
    forgetting: Forgetting


STORES = (
    Store("lake", "All tables.", "pseudonym", "files", "rewritten"),
    Store("artifacts", "Audio, analyses, models, indices and releases.", "pseudonym", "files", "rebuilt"),
    Store("reports", "Published pages and files.", "derived", "files", "rebuilt"),
    Store("vault", "Real ids and their pseudonyms.", "identity", "databases", "removed"),
    Store("ledger", "The erasure ledger and the audit trail, by keyed hashes.", "none", "databases", "kept"),
    Store("dagster", "Runs, events and ticks.", "none", "databases", "cleared"),
    Store("mlflow", "Tracked trainings.", "none", "databases", "cleared"),
    Store("live", "What was played since the last release.", "pseudonym", "databases", "removed"),
    Store("alerts", "Which alerts are open.", "none", "databases", "kept"),
    Store("stream", "Listens on their way, where no Redis carries them.", "pseudonym", "files", "removed"),
    Store("landing", "Files that were not imported yet.", "identity", "files", "removed"),
    Store("kept", "Imported files, encrypted, for some days.", "identity", "no", "removed"),
    Store("quarantine", "Files that could not be imported.", "identity", "files", "removed"),
    Store("requests", "Requests of people that were not taken up yet.", "identity", "no", "removed"),
    Store("erasure", "Receipts of erasures, by keyed hashes.", "none", "files", "kept"),
    Store("backups", "Encrypted backups, where they are kept below the data folder.", "identity", "no", "kept"),
    Store("keys", "Keys that nobody gave by environment; to be kept apart from backups.", "none", "no", "kept"),
    Store("logs", "Lines of the platform's log.", "none", "no", "cleared"),
    Store("scratch", "Work in progress.", "derived", "no", "cleared"),
    Store("locks", "Lock files.", "none", "no", "kept"),
    Store("demo", "The world outside of the demo: its sources and its truth.", "identity", "no", "kept"),
)
"""Every folder below the data folder."""
