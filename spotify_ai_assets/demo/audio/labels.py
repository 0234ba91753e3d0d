"""Labels for the models that learn from the files: genre, and what listeners would have said.

The perceptual labels are invented: a formula over how a song was made, and scatter of 0.04, so that there is something to learn and
a floor to the error. Nobody listened.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from spotify_ai_assets.demo.audio.composition import STYLES
from spotify_ai_assets.demo.audio.plan import Item, Work
from spotify_ai_assets.demo.names import draw_from

FOLDS = 4
PERCEPTUAL = ("valence", "acousticness", "speechiness", "liveness", "instrumentalness")
_SCATTER = 0.04


def write_labels(folder: Path, seed: int, items: Sequence[Item]) -> None:
    """Write ``track_links.csv``, ``labels.csv`` and ``perceptual_labels.csv`` beside the files.

    Labels are of clean music; one in seven files has none, for a model to tell. Folds share no artist, and each has every genre.
    """
    _write(folder / "track_links.csv", ("file", "track_id"), ((item.name, item.told.track_id) for item in items if item.link == "csv"))
    music = [item for number, item in enumerate(items) if item.kind == "music" and number % 7 != 6]
    folds = _fold(music)
    _write(
        folder / "labels.csv",
        ("file", "label", "artist", "fold"),
        ((item.name, item.heard.genre, item.heard.artist, folds[item.heard.artist]) for item in music),
    )
    _write(
        folder / "perceptual_labels.csv",
        ("file", "artist", *PERCEPTUAL),
        ((item.name, item.heard.artist, *judge(seed, item.heard)) for item in music),
    )


def judge(seed: int, work: Work) -> list[float]:
    """What listeners would have said of a track, in the order of ``PERCEPTUAL``, each from 0 to 1."""
    song, style = work.song, STYLES[work.genre]
    low, high = style.tempo
    pace = (song.tempo - low) / (high - low)
    speaks = work.genre == "hip hop"
    values = np.array(
        [
            0.55 * style.merry + 0.25 * song.mode + 0.15 * pace + 0.05 * (1 - song.sound.brightness),
            style.acoustic - 0.1 * song.sound.tilt_db * (style.acoustic > 0.3),
            0.6 if speaks else 0.04 + 0.1 * style.voice,
            0.08 + 22 * song.sound.live + 0.5 * song.sound.room,
            max(0.02, 0.95 - 2.2 * style.voice),
        ]
    )
    values += draw_from(seed, f"judgement of {work.track_id}").normal(0, _SCATTER, len(values))
    return np.round(values.clip(0, 1), 4).tolist()


def _fold(music: Sequence[Item]) -> dict[str, int]:
    """A fold for each artist, dealt out genre by genre."""
    folds: dict[str, int] = {}
    dealt: dict[str, int] = {}
    for item in music:
        if item.heard.artist not in folds:
            folds[item.heard.artist] = dealt.get(item.heard.genre, 0) % FOLDS + 1
            dealt[item.heard.genre] = dealt.get(item.heard.genre, 0) + 1
    return folds


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
