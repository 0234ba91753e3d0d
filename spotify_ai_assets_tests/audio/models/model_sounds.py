"""Sounds for the tests of the models: packed mels of classes that differ in the band of a tone, sung by several artists."""

from dataclasses import replace

import numpy as np

from spotify_ai_assets.audio.models.augmentation import Augmentation
from spotify_ai_assets.audio.models.mels import BANDS, pack
from spotify_ai_assets.audio.models.sound_classifier import DEMO
from spotify_ai_assets.training.fit import FitConfig

TINY = replace(
    DEMO,
    fit=FitConfig(steps=40, batch_size=12, learning_rate=1e-2, warmup_share=0.1, ema_decay=0.8),
    augmentation=Augmentation(tilt_db=0.0, shift_bands=1.0, band_masks=1, time_masks=1, mix_alpha=0.0),
    frames=48,
    width=4,
    shifts=2,
)
"""A recipe that learns such classes in less than a second."""

LABELS = ("high", "low", "noise")


def make_mel(label: str, seed: int, frames: int = 160) -> np.ndarray:
    """A packed mel: a wavering tone at a band of its class over noise."""
    rng = np.random.default_rng([LABELS.index(label), seed])
    level = rng.normal(-50, 4, (BANDS, frames))
    if label != "noise":
        band = {"low": 12, "high": 44}[label] + int(rng.integers(-2, 3))
        swell = 6 * np.sin(np.arange(frames) / rng.uniform(4, 9))
        level[band - 1 : band + 2] = -8 + swell
    return pack(level)


def make_clips(count: int, frames: int = 160) -> tuple[list[np.ndarray], list[str], list[str]]:
    """Mels, labels and artists: each label by every one of six artists."""
    mels, labels, artists = [], [], []
    for number in range(count):
        label = LABELS[number % 3]
        mels.append(make_mel(label, number, frames))
        labels.append(label)
        artists.append(f"artist {number // 3 % 6}")
    return mels, labels, artists


def make_songs(count: int, frames: int = 160) -> list[np.ndarray]:
    """Packed mels of recordings that each have a texture of their own: how loud, how rough, and how long their sounds last."""
    songs = []
    for seed in range(count):
        rng = np.random.default_rng([9, seed])
        last = int(rng.integers(1, 12))
        rough = np.stack([np.convolve(row, np.ones(last) / np.sqrt(last), mode="same") for row in rng.normal(size=(BANDS, frames))])
        comb = 10 * np.cos(np.arange(BANDS) * rng.uniform(0.3, 2.5))[:, None]
        songs.append(pack(-45 + rng.uniform(1, 9) * rough + comb))
    return songs
