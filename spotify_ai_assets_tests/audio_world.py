"""A catalogue of 26 short files of audio, imported, and its models trained: once a process, since it takes a while."""

import functools
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from spotify_ai_assets.audio import embedding
from spotify_ai_assets.audio.models import encoder, sound_classifier
from spotify_ai_assets.audio.studio import Studio
from spotify_ai_assets.contracts import Table
from spotify_ai_assets.making import Inputs
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.resources.lake import Lake, State
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.staleness import Ledger
from spotify_ai_assets.tables import TABLES
from spotify_ai_assets.training.fit import FitConfig

GROUP = pytest.mark.xdist_group("audio_world")
"""All that uses the world runs in one process of a test run."""

LABELS, ARTISTS, TAKES = ("hiss", "pulse", "song"), ("ann", "bob", "cid", "dee"), (1, 2)
RATE, SECONDS = 22_050, 2.8
HOSTILE = "\x1b[31m<b>secret|[x](javascript:1).wav"
"""Speaks to a terminal, to HTML and to Markdown."""

SHOWN = "\\x1b[31m<b>secret|[x](javascript:1).wav"
"""The same as it is kept."""

CLIPPED, COPY, ORIGINAL = "clipped.wav", "copy of a song.flac", "song dee 2.wav"
BROKEN = {"broken.flac": b"fLaC" + bytes(60), "broken.wav": b"RIFF\x24\x00\x00\x00WAVEfmt "}
FEATURE_TABLES = ("audio/features", "audio/spectrograms", "audio/fingerprints", "audio/evidence")
BY_MODELS = ("audio/embeddings", "audio/predictions", "audio/explanations")


def sound(label: str, seed: int, seconds: float = SECONDS) -> np.ndarray:
    """A recording of a class, shape (frames,): noise in bursts, clicks of a low drum, or a melody of a few partials."""
    rng = np.random.default_rng([LABELS.index(label), seed])
    time = np.arange(int(seconds * RATE)) / RATE
    ends = np.clip(np.minimum(time - 0.1, seconds - 0.3 - time) / 0.2, 0, 1) ** 2
    floor = 0.0005 * rng.standard_normal(len(time))
    if label == "hiss":
        heard = 0.1 * rng.standard_normal(len(time)) * (1 + 0.5 * np.sin(2 * np.pi * time * rng.uniform(1.5, 3)))
    elif label == "pulse":
        beat = np.mod(time, 60 / rng.uniform(90, 150))
        heard = np.exp(-12 * beat) * (1 - np.exp(-200 * beat)) * np.sin(2 * np.pi * (70 + 20 * rng.random()) * beat)
    else:
        note = 330 * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12], 40)[(time / 0.2).astype(int)] / 12)
        swell = np.sin(np.pi * np.mod(time, 0.2) / 0.2) ** 2 * rng.uniform(0.4, 1, 40)[(time / 0.2).astype(int)]
        heard = sum(swell * np.sin(2 * np.pi * number * 1.003**number * np.cumsum(note) / RATE) / number for number in (1, 2, 3, 4))
    return floor + 0.4 * ends * heard


def write(path: Path, samples: np.ndarray, **options: Any) -> Path:
    """A file in the format of its extension."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    # As whole numbers, so that each container without loss holds the same.
    soundfile.write(path, np.rint(samples * 32767).astype(np.int16), RATE, **options)
    return path


def digest(path: Path) -> str:
    """The id of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_files(folder: Path) -> None:
    """Three classes by four artists, a clipped file, a copy in another container, one with a hostile name, broken files and tables."""
    named = [(label, artist, take) for label in LABELS for artist in ARTISTS for take in TAKES]
    for label, artist, take in named:
        write(folder / label / f"{label} {artist} {take}.wav", sound(label, 10 * ARTISTS.index(artist) + take))
    shutil.move(folder / "hiss" / "hiss ann 1.wav", folder / HOSTILE)
    write(folder / COPY, sound("song", 10 * ARTISTS.index("dee") + 2))
    write(folder / CLIPPED, np.clip(8 * sound("song", 77), -1, 1))
    for name, content in BROKEN.items():
        (folder / name).write_bytes(content)
    (folder / "notes.txt").write_text("secret words about somebody\n")
    (folder / "labels.csv").write_text("\n".join(["file,label,artist", *(_label(folder, *each) for each in named)]) + "\n")
    links = [f"pulse {artist} 1.wav,track:{artist}" for artist in ARTISTS]
    (folder / "links.csv").write_text("\n".join(["file,track_id", *links]) + "\n")


def _label(folder: Path, label: str, artist: str, take: int) -> str:
    name = f"{label} {artist} {take}.wav"
    file = digest(folder / HOSTILE) if name == "hiss ann 1.wav" else name
    return f"{file},{label},{artist}"


def catalogue() -> pl.DataFrame:
    """Tracks of the artists, one of them by the name of a file."""
    rows = [
        {"track_id": f"track:{artist}", "name": f"One of {artist}", "artist_id": f"artist:{number:020x}", "artist_name": artist}
        for number, artist in enumerate(ARTISTS)
    ]
    return pl.DataFrame(rows, schema={name: dtype for name, dtype in TABLES["catalog/tracks"].schema.items()})


@dataclass(frozen=True)
class World:
    """A data folder, and the instance that has its history.

    Attributes:
        settings: Of the data folder, with small models.
        instance: Which runs there were.
        given: Where the files are that were imported.
        reports: What became of them when they were imported.
        told: What progress was told.
    """

    settings: Settings
    instance: dg.DagsterInstance
    given: Path
    reports: list = field(default_factory=list)
    told: list = field(default_factory=list)

    @functools.cached_property
    def lake(self) -> Lake:
        """Its lake."""
        return open_lake(self.settings, TABLES)

    @property
    def studio(self) -> Studio:
        """A new workplace."""
        return Studio(self.settings)

    def rows(self, key: str) -> pl.DataFrame:
        """All rows of a table."""
        return self.lake.scan(key).collect()

    def inputs(self, table: Table, partition: str | None = None, lake: Lake | None = None) -> Inputs:
        """What a partition of a table is made from."""
        return read_inputs(lake or self.lake, table, partition)

    def id_of(self, name: str) -> str:
        """The file of a name."""
        return self.rows("audio/files").filter(name=name)["file_id"].item()

    def copy(self, folder: Path, instance: dg.DagsterInstance) -> "World":
        """The same data in another folder, to change."""
        shutil.copytree(self.settings.data, folder)
        return World(settle(folder), instance, self.given)


def read_inputs(lake: Lake, table: Table, partition: str | None = None) -> Inputs:
    """What a partition of a table is made from."""
    return Inputs(table, partition, lake, Ledger(lake.states))


def settle(folder: Path, **changes: str) -> Settings:
    """Settings of a data folder for small models and one process that measures."""
    given = {"SPOTIFY_AI_DATA": str(folder), "SPOTIFY_AI_MODEL_SIZE": "demo", "SPOTIFY_AI_AUDIO_WORKERS": "1"}
    return Settings.from_environment({**given, "SPOTIFY_AI_PSEUDONYM_SEED": "test", **changes})


def states(lake: Lake, *keys: str) -> dict[tuple[str, str], State]:
    """The states of all partitions of tables, of audio's all unless named."""
    wanted = keys or [key for key in TABLES if key.startswith("audio/")]
    return {(key, name): state for key in wanted for name, state in lake.states(key).items()}


def digests(lake: Lake, *keys: str) -> dict[tuple[str, str], str]:
    """The digests of the same."""
    return {each: state.digest for each, state in states(lake, *keys).items()}


@contextmanager
def quick_recipes() -> Iterator[None]:
    """Trainings of a second: narrow networks, few steps, few recordings that are changed and found again."""
    fit = FitConfig(steps=30, batch_size=12, learning_rate=1e-2, warmup_share=0.1, ema_decay=0.8)
    narrow = {"fit": fit, "frames": 64, "width": 4, "shifts": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sound_classifier, "DEMO", replace(sound_classifier.DEMO, **narrow))
        patch.setattr(encoder, "DEMO", replace(encoder.DEMO, **narrow))
        patch.setattr(embedding, "_JUDGED", {"demo": 12})
        yield


_OPEN = ExitStack()
"""The instances; they live as long as the process."""


@functools.cache
def imported(folder: Path) -> World:
    """The world after its import, before any model; leave it as it is."""
    from spotify_ai_assets.importing import import_files

    given = folder / "given"
    write_files(given)
    world = World(settle(folder / "imported"), _OPEN.enter_context(dg.DagsterInstance.ephemeral()), given)
    world.lake.write("catalog/tracks", catalogue())
    listens, audio = import_files(world.instance, world.lake, world.settings, [given], lambda *told: world.told.append(told))
    world.reports.extend([listens, audio])
    return world


@functools.cache
def trained(folder: Path) -> World:
    """The world after its models were trained and have answered; leave it as it is."""
    from spotify_ai_assets.audio.intake.landing import GivenAudio
    from spotify_ai_assets.audio_runs import run_audio_intake, train_models

    world = imported(folder).copy(folder / "trained", _OPEN.enter_context(dg.DagsterInstance.ephemeral()))
    with quick_recipes():
        train_models(world.instance, world.lake, world.studio)
    run_audio_intake(world.instance, world.lake, world.studio, GivenAudio([]))
    return world


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """One folder of a process."""
    return factory.getbasetemp() / "audio_world"
