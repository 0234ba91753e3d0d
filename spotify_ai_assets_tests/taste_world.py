"""Listeners of four tastes and what they played for ten days, imported, with a recommender trained on it: once a process."""

import functools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from spotify_ai_assets.backfill import run_backfill, select_tables
from spotify_ai_assets.catalog.contracts import ALBUMS, ARTISTS, TRACKS
from spotify_ai_assets.definitions import defs
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.recommendation_runs import train_recommender
from spotify_ai_assets.recommendations.workshop import Workshop
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

GROUP = pytest.mark.xdist_group("taste_world")
"""All that uses the world runs in one process of a test run."""

FIRST, DAYS = date(2026, 3, 2), 10
TASTES, LISTENERS, TRACKS_EACH, PER_ARTIST = 4, 60, 60, 3
COLD = "spotify:" + "9" * 22
"""A track that came out on the last day and that nobody has played."""

OF_PLAYS = ("listening/plays", "listening/listener_track_days", "listening/suspicious_streams", "listening/track_days")


def listener_id(number: int) -> str:
    """The pseudonym of a numbered listener."""
    return f"{number:032x}"


def track_id(number: int) -> str:
    """The id of a numbered track."""
    return f"spotify:{number:022}"


def artist_id(number: int) -> str:
    """The id of the artist of a numbered track."""
    return f"artist:{number // PER_ARTIST:020x}"


def taste_of(number: int) -> int:
    """The taste of a numbered listener."""
    return number % TASTES


def play_day(day: date, seed: int = 0) -> pl.DataFrame:
    """Rows of ``listening/events`` of a day: six tracks each, seven in eight of them of the listener's own taste."""
    rng = np.random.default_rng([seed, day.toordinal()])
    rows = []
    begin = datetime(day.year, day.month, day.day, 8, tzinfo=UTC)
    for listener in range(LISTENERS):
        for place in range(6):
            taste = taste_of(listener) if rng.random() < 7 / 8 else int(rng.integers(TASTES))
            track = taste * TRACKS_EACH + int(TRACKS_EACH * rng.random() ** 1.5)
            is_skipped = rng.random() < 0.15
            rows.append(
                {
                    "day": day,
                    "listener_id": listener_id(listener),
                    "started_at": begin + timedelta(seconds=int(listener * 7 + place * 2400)),
                    "track_id": track_id(track),
                    "artist_id": artist_id(track),
                    "kind": "track",
                    "track_name": f"Track {track}",
                    "artist_name": f"Artist {track // PER_ARTIST}",
                    "played_ms": 20_000 if is_skipped else 180_000,
                    "duration_ms": 180_000,
                    "country": ("DE", "FR")[listener // TASTES % 2],
                    "platform": "android",
                    "reason_start": "trackdone",
                    "reason_end": "fwdbtn" if is_skipped else "trackdone",
                    "is_minute_grain": False,
                    "source": "native_jsonl",
                }
            )
    return pl.DataFrame(rows, schema=EVENTS.schema)


def catalogue() -> dict[str, pl.DataFrame]:
    """The rows of the catalogue, a track of the first taste that nobody has played yet among them."""
    numbers = range(TASTES * TRACKS_EACH)
    genres = [("techno", "jazz", "metal", "latin")[number // TRACKS_EACH] for number in numbers]
    artists = [
        {"artist_id": artist_id(number), "name": f"{genres[number]} band {number // PER_ARTIST}", "genre": genres[number]}
        for number in numbers[::PER_ARTIST]
    ]
    albums = [
        {
            "album_id": f"album{number}",
            "name": f"{genres[number]} {number}",
            "artist_id": artist_id(number),
            "released_on": date(2014 + 4 * (number % 4), 1, 1),
        }
        for number in numbers
    ]
    albums.append({"album_id": "new", "name": "techno new", "artist_id": artist_id(0), "released_on": FIRST + timedelta(days=DAYS - 1)})
    tracks = [
        {
            "track_id": track_id(number),
            "name": f"Track {number}",
            "artist_id": artist_id(number),
            "artist_name": f"{genres[number]} band {number // PER_ARTIST}",
            "album_id": f"album{number}",
            "duration_ms": 180_000,
            "is_explicit": number % 10 == 0,
        }
        for number in numbers
    ]
    tracks.append({**tracks[0], "track_id": COLD, "name": "Track new", "album_id": "new"})
    made = {ARTISTS: artists, ALBUMS: albums, TRACKS: tracks}
    return {table.key: pl.DataFrame(rows, schema=table.schema) for table, rows in made.items()}


@dataclass(frozen=True)
class TasteWorld:
    """A world on disk.

    Attributes:
        settings: Where everything lies.
        lake: Its lake.
    """

    settings: Settings
    lake: Lake

    @property
    def workshop(self) -> Workshop:
        """A workplace outside of Dagster."""
        return Workshop(self.settings)

    def land(self, day: date, events: pl.DataFrame | None = None) -> None:
        """Put a day's listens into the lake and make what recommendations read of it."""
        self.lake.write(EVENTS.key, play_day(day) if events is None else events, day)
        with dg.DagsterInstance.ephemeral() as instance:
            outcome = run_backfill(defs(), instance, self.lake, select_tables(OF_PLAYS), None, None)
        assert not outcome.refused

    def train(self, *, only_stale: bool = True) -> None:
        """Train the recommender and all that follows."""
        with dg.DagsterInstance.ephemeral() as instance:
            train_recommender(instance, self.lake, self.workshop, only_stale=only_stale)


def settings_in(folder: Path) -> Settings:
    """Settings of a world in a folder: small models, and texts embedded by their spelling."""
    found = Settings.from_environment({"SPOTIFY_AI_DATA": str(folder), "SPOTIFY_AI_TEXT_MODEL": "ngrams"})
    return replace(found, model_size="demo")


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("DATA", str(folder)), ("TEXT_MODEL", "ngrams"), ("MODEL_SIZE", "demo")):
            patch.setenv(f"SPOTIFY_AI_{name}", value)
        yield


@functools.cache
def _made(folder: Path) -> TasteWorld:
    with _environment(folder):
        settings = settings_in(folder)
        world = TasteWorld(settings, open_lake(settings, TABLES))
        for key, rows in catalogue().items():
            world.lake.write(key, rows)
        for number in range(DAYS):
            day = FIRST + timedelta(days=number)
            world.lake.write(EVENTS.key, play_day(day), day)
        with dg.DagsterInstance.ephemeral() as instance:
            assert not run_backfill(defs(), instance, world.lake, select_tables(OF_PLAYS), None, None).refused
        world.train()
        return world


@pytest.fixture(scope="session")
def taste_world(tmp_path_factory: pytest.TempPathFactory) -> TasteWorld:
    """The trained world; whoever changes it takes ``own_taste_world``."""
    return _made(tmp_path_factory.getbasetemp() / "taste_world")


@pytest.fixture
def own_taste_world(taste_world: TasteWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TasteWorld:
    """A copy of the trained world."""
    folder = tmp_path / "data"
    shutil.copytree(taste_world.settings.data, folder)
    for name, value in (("DATA", str(folder)), ("TEXT_MODEL", "ngrams"), ("MODEL_SIZE", "demo")):
        monkeypatch.setenv(f"SPOTIFY_AI_{name}", value)
    settings = settings_in(folder)
    return TasteWorld(settings, open_lake(settings, TABLES))
