"""Changes to log-mels that leave what is heard the same: roll, speed, pitch, gain, tilt, masks, mixing.

All of it is drawn from one numpy generator, so a batch is a function of its indices and seed.

* Roll and speed: a clip read as a ring from a random frame, up to ``stretch`` faster or slower (no change of pitch).
* Pitch: the bands moved by a fraction of a band or more. Above 1 kHz mel bands lie at equal ratios, so it is a transposition there.
* Tilt: another microphone or room, as a line over the bands with two random corners (FilterAugment, Nam et al. 2022).
* Masks: SpecAugment (Park et al. 2019) without time warping; a masked cell holds the mean.
* Mixing: mixup (Zhang et al. 2018) of decibels and of labels.
"""

from dataclasses import dataclass

import numpy as np

from spotify_ai_assets.audio.models.mels import FLOOR_DB, crop


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much is changed.

    Attributes:
        gain_db: Louder or softer by up to so much.
        tilt_db: Bands louder or softer along a random bent line by up to so much.
        stretch: Speeds are exp(-stretch) to exp(stretch).
        shift_bands: Up or down by up to so many mel bands.
        band_masks: How many.
        band_width: The widest, in bands.
        time_masks: How many.
        time_width: The longest, in frames.
        mix_alpha: Of the beta distribution of a share; 0 for no mixing.
        mix_share: Share of the clips that are mixed with another.
    """

    gain_db: float = 6.0
    tilt_db: float = 10.0
    stretch: float = 0.2
    shift_bands: float = 3.0
    band_masks: int = 2
    band_width: int = 8
    time_masks: int = 2
    time_width: int = 24
    mix_alpha: float = 0.3
    mix_share: float = 0.5


def vary(packed: np.ndarray, frames: int, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """A random piece of a clip at a random speed, pitch, gain and tilt.

    Args:
        packed: A packed mel, uint8, shape (bands, length).
        frames: How many frames to give.
        how: The most that is changed.
        rng: Draws.

    Returns:
        Decibels, float32, shape (bands, frames), nowhere below the floor of packed mels.
    """
    rate = float(np.exp(rng.uniform(-how.stretch, how.stretch))) if how.stretch else 1.0
    piece = crop(packed, int(rng.integers(packed.shape[1])), frames, rate)
    if how.shift_bands:
        piece = shift_bands(piece, rng.uniform(-how.shift_bands, how.shift_bands))
    piece = piece + np.float32(rng.uniform(-how.gain_db, how.gain_db))
    if how.tilt_db:
        piece += _tilt(len(piece), how.tilt_db, rng)[:, None]
    return np.maximum(piece, np.float32(FLOOR_DB))


def _tilt(bands: int, most_db: float, rng: np.random.Generator) -> np.ndarray:
    """Changes by band, in dB: a line from the lowest to the highest with two random corners; float32, shape (bands,)."""
    corners = np.sort(np.concatenate([[0.0, bands - 1.0], rng.uniform(0, bands - 1, 2)]))
    return np.interp(np.arange(bands), corners, rng.uniform(-most_db, most_db, 4)).astype(np.float32)


def shift_bands(mel_db: np.ndarray, bands: float) -> np.ndarray:
    """Move all bands up by ``bands``, linearly interpolated; at the edge the outermost band is repeated."""
    last = mel_db.shape[0] - 1
    places = np.clip(np.arange(last + 1) - bands, 0, last)
    below = np.floor(places).astype(np.int64)
    share = (places - below).astype(np.float32)[:, None]
    return mel_db[below] * (1 - share) + mel_db[np.minimum(below + 1, last)] * share


def mask(scaled: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Set random bands and stretches of time to 0, the mean of a scaled mel; works in place.

    Args:
        scaled: Shape (bands, frames).
        how: Number and width of the masks.
        rng: Draws.
    """
    bands, frames = scaled.shape
    for number, widest, length, axis in ((how.band_masks, how.band_width, bands, 0), (how.time_masks, how.time_width, frames, 1)):
        for _ in range(number):
            width = int(rng.integers(min(widest, length) + 1))
            begin = int(rng.integers(length - width + 1))
            scaled[(slice(begin, begin + width), slice(None)) if axis == 0 else (slice(None), slice(begin, begin + width))] = 0
    return scaled


def mix(pieces: np.ndarray, labels: np.ndarray, how: Augmentation, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mix each piece of a batch with another one, and their labels likewise.

    Args:
        pieces: float32, shape (batch, bands, frames).
        labels: float32 shares of the classes, shape (batch, classes).
        how: How much and how often.
        rng: Draws.

    Returns:
        Both, mixed.
    """
    if not how.mix_alpha:
        return pieces, labels
    count = len(pieces)
    share = np.where(rng.random(count) < how.mix_share, rng.beta(how.mix_alpha, how.mix_alpha, count), 1.0).astype(np.float32)
    other = rng.permutation(count)
    cells, shares = share[:, None, None], share[:, None]
    return pieces * cells + pieces[other] * (1 - cells), labels * shares + labels[other] * (1 - shares)
