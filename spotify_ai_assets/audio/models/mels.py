"""Log-mel spectrograms as the models see them: packed into bytes, read in pieces, scaled band by band.

Audio analysis stores a packed mel per file and every model here is trained and asked with those same bytes, so what serves is what
was trained. A mel has 64 bands (librosa's defaults at 22,050 Hz, 2,048 points, hop 512, decibels re 1 without a lower limit of the
file's own) and at most 1,292 frames: the 30 seconds around the middle.

A clip has no natural beginning, so it is read as a ring: what runs past the end goes on at the beginning. Any clip then fills any
number of frames, and a shift in time is a place to start at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAMPLE_RATE, HOP, BANDS = 22_050, 512, 64
MOST_FRAMES = 1_292
"""30 seconds."""

FLOOR_DB, STEP_DB = -80.0, 0.5
"""A byte b stands for FLOOR_DB + b * STEP_DB: -80 to 47.5 dB, where a full-scale sine reaches about 40."""


def pack(mel_db: np.ndarray) -> np.ndarray:
    """A log-mel as bytes, cut to the 30 seconds around its middle.

    Args:
        mel_db: Decibels, shape (64, frames); finite.

    Returns:
        uint8, shape (64, at most 1292). Levels outside -80..47.5 dB become the nearest of these; else the error is at most 0.25 dB.

    Raises:
        ValueError: Another shape, no frame, or a value that is not a number.
    """
    if mel_db.ndim != 2 or mel_db.shape[0] != BANDS or not mel_db.shape[1]:
        raise ValueError(f"a mel has {BANDS} bands and at least one frame, not the shape {mel_db.shape}")
    begin = max(0, (mel_db.shape[1] - MOST_FRAMES) // 2)
    steps = (mel_db[:, begin : begin + MOST_FRAMES] - FLOOR_DB) / STEP_DB
    if not np.isfinite(steps).all():
        raise ValueError("a mel holds finite decibels")
    return np.clip(np.rint(steps), 0, 255).astype(np.uint8)


def unpack(packed: np.ndarray) -> np.ndarray:
    """The decibels of a packed mel, or of one between two steps: float32, of the same shape."""
    return packed.astype(np.float32) * np.float32(STEP_DB) + np.float32(FLOOR_DB)


def crop(packed: np.ndarray, start: float, frames: int, rate: float = 1.0) -> np.ndarray:
    """The decibels of a piece of a packed mel, read as a ring, faster or slower, with linear interpolation between frames.

    Args:
        packed: uint8, shape (bands, length).
        start: Frame to start at; any number.
        frames: How many to read.
        rate: Frames that each step goes on; 1 reads them as they are.

    Returns:
        float32, shape (bands, frames).
    """
    length = packed.shape[1]
    places = np.mod(start + rate * np.arange(frames), length)
    before = np.floor(places).astype(np.int64) % length
    if rate == 1 and float(start).is_integer():
        return unpack(packed[:, before])
    share = (places - np.floor(places)).astype(np.float32)
    return unpack(packed[:, before] * (1 - share) + packed[:, (before + 1) % length] * share)


def spread_pieces(packed: np.ndarray, frames: int, count: int) -> np.ndarray:
    """Pieces of a packed mel that start at equal distances around the ring: uint8, shape (count, bands, frames).

    The first starts at frame 0, so one piece is the beginning of the clip.
    """
    length = packed.shape[1]
    starts = np.arange(count)[:, None] * length // count
    return np.ascontiguousarray(packed[:, (starts + np.arange(frames)) % length].swapaxes(0, 1))


def stack_pieces(packed: Sequence[np.ndarray], frames: int, count: int) -> np.ndarray:
    """What a served model takes of clips: uint8, shape (clips, count, bands, frames)."""
    if not packed:
        return np.empty((0, count, BANDS, frames), np.uint8)
    return np.stack([spread_pieces(mel, frames, count) for mel in packed])


def trim_silence(packed: np.ndarray) -> np.ndarray:
    """Drop frames at both ends that lie at the floor in every band: padding with digital silence is no part of a sound.

    A mel of nothing else stays as it is.
    """
    heard = np.flatnonzero(packed.any(axis=0))
    return packed[:, heard[0] : heard[-1] + 1] if len(heard) else packed


def level(mel_db: np.ndarray, mean_db: float) -> np.ndarray:
    """Make a piece louder or softer as a whole, so that its mean over all cells is ``mean_db``: float32, of the same shape."""
    return (mel_db - (mel_db.mean(dtype=np.float64) - mean_db)).astype(np.float32)


MEANING = "pieces of packed log-mels: 64 bands at 22,050 Hz, 2,048 points, hop 512; a byte b is -80 + b / 2 dB"
"""What a served model takes, in words."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What makes decibels comparable across bands.

    Attributes:
        mean: dB, float32, shape (64,).
        spread: Standard deviation in dB, at least 1, float32, shape (64,).
    """

    mean: np.ndarray
    spread: np.ndarray

    def apply(self, mel_db: np.ndarray) -> np.ndarray:
        """Scale decibels of shape (..., 64, frames): float32, each band of mean 0 and deviation 1 on what the scale was made of."""
        return ((mel_db - self.mean[:, None]) / self.spread[:, None]).astype(np.float32, copy=False)


def fit_scale(packed: Sequence[np.ndarray]) -> Scale:
    """The mean and deviation of each band over all frames of packed mels.

    Counted, not summed frame by frame: a byte has 256 values, so the result does not depend on the order of the clips.

    Raises:
        ValueError: There are no mels.
    """
    if not packed:
        raise ValueError("a scale needs at least one mel")
    counts = np.zeros((BANDS, 256), np.int64)
    offsets = np.arange(BANDS)[:, None] * 256
    for mel in packed:
        counts += np.bincount((mel + offsets).ravel(), minlength=BANDS * 256).reshape(BANDS, 256)
    levels = FLOOR_DB + STEP_DB * np.arange(256)
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ levels
    variance = (share * (levels - mean[:, None]) ** 2).sum(axis=1)
    return Scale(mean.astype(np.float32), np.maximum(np.sqrt(variance), 1.0).astype(np.float32))
