"""A platform small enough to be backed up again and again: two days of listens, a vault, a model, databases, a page."""

import hashlib
import shutil
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from invented import day, listens

from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.maintenance.backup.saving import Backup, make_backup
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.resources.artifacts import Artifacts, Pointers, open_artifacts
from spotify_ai_assets.resources.audit import open_audit, open_ledger, who_asks
from spotify_ai_assets.resources.identities import Vault
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.suppression import REQUESTED, Suppression
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

AT = datetime(2026, 3, 9, 3, 30, tzinfo=UTC)
MODEL = "audio/sound_model"


def pseudonym_of(user: str) -> str:
    """A pseudonym that is found nowhere by chance."""
    return hashlib.blake2b(user.encode(), digest_size=16).hexdigest()


def rows_of(number: int, count: int = 60) -> pl.DataFrame:
    """The listens of a numbered day, of ``listener-0`` to ``listener-5``."""
    names = {f"{each:032x}": pseudonym_of(f"listener-{each}") for each in range(6)}
    return listens(day(number), count).with_columns(pl.col("listener_id").replace_strict(names))


@dataclass(frozen=True)
class World:
    """A platform on disk."""

    settings: Settings

    @property
    def lake(self) -> Lake:
        """Its lake, opened anew."""
        return open_lake(self.settings, TABLES)

    @property
    def artifacts(self) -> Artifacts:
        """Its artifacts."""
        return open_artifacts(self.settings)

    @property
    def vault(self) -> Vault:
        """Its vault."""
        return Vault(self.settings.vault_url, pseudonym_of)

    def back_up(self, at: datetime = AT, **options) -> Backup:
        """Back it up by the embedded repository, unless told otherwise."""
        return make_backup(self.settings, self.lake, **{"engine": "embedded", "clock": lambda: at, **options})

    def request_erasure(self, user: str) -> None:
        """Note in the ledger that somebody is to be forgotten."""
        hashed = Suppression(self.settings)
        told = {
            "request": uuid.uuid4().hex,
            "user": hashed.hash("user", user),
            "pseudonyms": [hashed.hash("pseudonym", pseudonym_of(user))],
            "key_mark": hashed.mark,
        }
        open_ledger(self.settings).append(REQUESTED, told)

    def copy_to(self, folder: Path) -> "World":
        """The same in another folder."""
        shutil.copytree(self.settings.data, folder)
        note_mlflow(folder)
        return World(settings_of(folder))


def settings_of(folder: Path) -> Settings:
    """Settings of a platform in a folder."""
    return Settings.from_environment({"SPOTIFY_AI_DATA": str(folder), "SPOTIFY_AI_TEXT_MODEL": "ngrams"})


def publish(artifacts: Artifacts, content: bytes) -> str:
    """Publish a model of one file and let it serve."""
    version = artifacts.publish(MODEL, {"weights": content}, {"size": len(content)}).version
    artifacts.change(MODEL, lambda now: (Pointers({"serving": version}, now.former, now.history), {"event": "flipped", "version": version}))
    return version


def note_mlflow(folder: Path) -> None:
    """Let MLflow's database, or what looks like one, name its files as MLflow does."""
    with closing(sqlite3.connect(folder / "mlflow" / "mlflow.db")) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS experiments (artifact_location TEXT)")
        database.execute("DELETE FROM experiments")
        database.execute("INSERT INTO experiments VALUES (?)", (f"file://{folder}/mlflow/artifacts/1",))


def make_world(folder: Path) -> World:
    """A new one."""
    world = World(settings_of(folder))
    for number in range(2):
        world.lake.write(EVENTS.key, rows_of(number), day(number))
    world.vault.swap([f"listener-{number}" for number in range(6)])
    publish(world.artifacts, b"first")
    (folder / "mlflow").mkdir()
    note_mlflow(folder)
    (folder / "mlflow" / "artifacts").mkdir()
    (folder / "mlflow" / "artifacts" / "card.md").write_text("a card")
    (folder / "reports").mkdir()
    (folder / "reports" / "index.html").write_text("<p>a page</p>")
    (folder / "landing").mkdir()
    (folder / "landing" / "later.json").write_text("[]")
    (folder / "logs").mkdir()
    (folder / "logs" / "platform.jsonl").write_text("{}\n")
    open_audit(world.settings).record("configured", subject="settings", who=who_asks())
    return world
