"""A platform of three days and sixty listeners, with all tables and pages made and no recommender: what an erasure is tried on."""

import functools
import json
import re
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import taste_world

from spotify_ai_assets.backfill import run_backfill, select_tables
from spotify_ai_assets.definitions import defs
from spotify_ai_assets.listening.contracts import EVENTS, KEPT_FILES
from spotify_ai_assets.maintenance.erasure.machine import Tools
from spotify_ai_assets.recommendations.realtime.live import LivePlay, open_live
from spotify_ai_assets.recommendations.realtime.messages import encode
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.resources.identities import Vault
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.stream import open_stream
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

GROUP = pytest.mark.xdist_group("erasure_world")
"""All that uses these platforms runs in one process of a test run."""

DAYS = 3
PERSON, ONLY = 7, 61
"""A listener like the others, and one who alone listened on the day after all others."""


def user_of(number: int) -> str:
    """The real id of a numbered listener."""
    return f"user-of-number-{number}"


def pseudonym_of(number: int) -> str:
    """The pseudonym of a numbered listener, which is found nowhere by chance."""
    return f"{number:02}" + "9c41d07be5a2836f40b7d9e1c35a68"


def own_tables() -> list:
    """All tables that are made of others, but for those of recommendations."""
    return [table for table in select_tables([]) if table.domain != "recommendations"]


def events_of(number_of_day: int) -> pl.DataFrame:
    """A day's listens."""
    day = taste_world.FIRST + timedelta(days=number_of_day)
    rows = taste_world.play_day(day)
    names = {taste_world.listener_id(number): pseudonym_of(number) for number in range(taste_world.LISTENERS)}
    return rows.with_columns(pl.col("listener_id").replace_strict(names))


def events_after_all() -> tuple[datetime, pl.DataFrame]:
    """The listens of the one who alone listened on the last day."""
    day = taste_world.FIRST + timedelta(days=DAYS)
    rows = taste_world.play_day(day).filter(pl.col("listener_id") == taste_world.listener_id(0))
    return day, rows.with_columns(listener_id=pl.lit(pseudonym_of(ONLY)))


def pages_of(reports: Path) -> dict[str, bytes]:
    """Every file of reports, without the ids of runs."""
    run = re.compile(rb'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(">[0-9a-f]{8}<)?')
    return {str(path.relative_to(reports)): run.sub(b"RUN", path.read_bytes()) for path in reports.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class World:
    """A platform on disk.

    Attributes:
        settings: Where everything lies.
        lake: Its lake.
        vault: Its vault.
    """

    settings: Settings
    lake: Lake
    vault: Vault

    @contextmanager
    def tools(self, **more) -> Iterator[Tools]:
        """What an erasure works with."""
        with dg.DagsterInstance.ephemeral() as instance:
            yield Tools(self.settings, self.lake, self.vault, instance, **more)

    def digests(self) -> dict[str, dict[str, str]]:
        """The digest of every partition of every table."""
        found = {key: {name: state.digest for name, state in self.lake.states(key).items()} for key in TABLES}
        return {key: digests for key, digests in found.items() if digests}

    def pages(self) -> dict[str, bytes]:
        """Every file of reports, without the ids of runs."""
        return pages_of(self.settings.reports)

    def make(self) -> None:
        """Make every table that is out of date, but for those of recommendations."""
        with dg.DagsterInstance.ephemeral() as instance:
            assert not run_backfill(defs(), instance, self.lake, own_tables(), None, None).refused


def open_world(folder: Path) -> World:
    """The platform in a folder."""
    settings = taste_world.settings_in(folder)
    numbers = {user_of(number): pseudonym_of(number) for number in (*range(taste_world.LISTENERS), ONLY)}
    return World(settings, open_lake(settings, TABLES), Vault(settings.vault_url, numbers.__getitem__))


def make_world(folder: Path, *, without: int | None = None) -> World:
    """Make a platform; without one of its listeners, it is one that never saw them."""
    with taste_world._environment(folder):
        world = open_world(folder)
        for key, rows in taste_world.catalogue().items():
            world.lake.write(key, rows)
        gone = pseudonym_of(without) if without is not None else ""
        for number in range(DAYS):
            rows = events_of(number).filter(pl.col("listener_id") != gone)
            world.lake.write(EVENTS.key, rows, taste_world.FIRST + timedelta(days=number))
        if without != ONLY:
            day, rows = events_after_all()
            world.lake.write(EVENTS.key, rows, day)
        world.vault.swap(user_of(number) for number in (*range(taste_world.LISTENERS), ONLY) if number != without)
        world.make()
    return world


@functools.cache
def _made(folder: Path, without: int | None) -> World:
    return make_world(folder, without=without)


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A platform of the test's own."""
    made = _made(tmp_path_factory.getbasetemp() / "erasure_world", None)
    folder = tmp_path / "data"
    shutil.copytree(made.settings.data, folder)
    for name, value in (("DATA", str(folder)), ("TEXT_MODEL", "ngrams"), ("MODEL_SIZE", "demo")):
        monkeypatch.setenv(f"SPOTIFY_AI_{name}", value)
    return open_world(folder)


@pytest.fixture
def never(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A platform that never saw the one who alone listened on the last day; nobody changes it."""
    return _made(tmp_path_factory.getbasetemp() / "erasure_never", ONLY)


def plant(world: World, number: int) -> list[str]:
    """Put traces of a listener into every store that can have any; gives the stores."""
    data, user, pseudonym = world.settings.data, user_of(number), pseudonym_of(number)
    now = datetime(2026, 3, 20, tzinfo=UTC)
    listens = events_after_all()[1] if number == ONLY else events_of(0).filter(pl.col("listener_id") == pseudonym)
    listens = listens.head(3)
    open_stream(world.settings).append("listen", encode(pl.concat([listens, events_of(0).head(5)])))
    live = open_live(world.settings)
    live.put({pseudonym: [LivePlay(1, "spotify:x", 1.0, now)], pseudonym_of(1): [LivePlay(2, "spotify:x", 1.0, now)]}, now)
    live.close()
    for folder in ("quarantine", "kept", "requests", "scratch/recommendations", "logs", "dagster/storage/run", "mlflow/files", "landing"):
        (data / folder).mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(data / "quarantine" / ("a" * 64), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("history.json", json.dumps([{"user": user}] * 9))
    (data / "quarantine" / ("b" * 64)).write_text("somebody else's")
    (data / "kept" / f"{'c' * 64}.fernet").write_text("nobody has the key")
    kept = {"file_sha256": ["c" * 64, "d" * 64], "listener_id": [pseudonym, pseudonym_of(1)], "kept_at": [now, now]}
    world.lake.append(KEPT_FILES.key, pl.DataFrame(kept, schema=KEPT_FILES.schema), transaction="kept")
    listens.write_parquet(data / "scratch" / "recommendations" / "half.parquet")
    log = data / "logs" / "platform.jsonl"
    log.write_text("".join(json.dumps({"message": text}) + "\n" for text in (f"of {user}", "of nobody", f"of {pseudonym.upper()}")))
    (data / "dagster" / "storage" / "run" / "step.out").write_text(f"printed {pseudonym}\n")
    for name in ("dagster/runs.db", "mlflow/other.db"):
        with closing(sqlite3.connect(data / name)) as database:
            database.execute("create table told (what text)")
            database.executemany("insert into told values (?)", [(f"run of {user}",), ("x" * 4000,), (json.dumps({"who": pseudonym}),)])
            database.commit()
            database.execute("delete from told where rowid = 1")
            database.commit()
    landed = [
        {"user_id": who, "started_at": "2026-03-03T09:00:00Z", "track_name": f"Late {n}", "artist_name": "Late", "played_ms": 60_000}
        for n, who in enumerate((user, user_of(1), user_of(2)))
    ]
    (data / "landing" / "late.jsonl").write_text("".join(json.dumps(each) + "\n" for each in landed))
    return ["dagster", "kept", "lake", "landing", "live", "logs", "mlflow", "quarantine", "scratch", "stream", "vault"]
