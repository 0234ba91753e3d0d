"""Key and mode of a track from its chroma.

The chroma of librosa's default spectrum smears: its bins are 11 Hz wide, a semitone of a bass line is 4. ``trace_chroma`` makes one for
this purpose from the peaks of a spectrum four times as fine; ``find_key`` reads either.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import exp
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# How often each degree of the chromatic scale occurs in major and in minor: J. Albrecht and D. Shanahan, "The Use of Large Corpora to
# Train a New Type of Key-Finding Algorithm", Music Perception 31, 2013, table 1.
MAJOR = (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081)
MINOR = (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052)

TRIADS = ((1.0, 0, 0, 1.0, 0, 0, 0, 1.0, 0, 0, 0, 0), (1.0, 0, 0, 0, 1.0, 0, 0, 1.0, 0, 0, 0, 0))
END, ENDS = 2.0, 0.2  # seconds of the first and of the last chord, and the weight of each

OVERTONES, FADE = 8, 0.35  # each note also sounds at its overtones, each weaker than the one below by this factor
QUIET = 0.1  # of the loudest frame: what is softer at the ends is not yet, or no longer, music
FLAT = 0.08  # least spread of the mean chroma over its mean: noise has less
WINDOW = 8_192  # samples of the fine spectrum, 2.7 Hz a bin at 22,050 Hz
LOWEST, HIGHEST = 110.0, 2_000.0  # Hz: below, a semitone is hardly resolved; above are mostly overtones
FAINTEST = 0.01  # of a frame's largest peak
MARGIN = 0.08  # lead over the next best key that gives a confidence of 1 - 1/e


@dataclass(frozen=True, slots=True)
class Key:
    """Key of a track.

    Attributes:
        key: Pitch class of the tonic, 0 is C; ``None`` where no pitch class stands out.
        mode: 1 for major, 0 for minor; ``None`` with the key.
        confidence: 0 to 1: ``1 - exp(-lead / .08)`` with the lead of the best key's score over that of the next best.
    """

    key: int | None
    mode: int | None
    confidence: float


@dataclass(frozen=True, slots=True)
class TracedChroma:
    """Chroma from spectral peaks.

    Attributes:
        chroma: Shape (12, frames): amplitude of each pitch class, each frame's largest is 1, a silent frame is all zero.
        level: Shape (frames,): RMS of each frame.
    """

    chroma: "NDArray[np.float64]"
    level: "NDArray[np.float64]"


def trace_chroma(mono: "NDArray[np.float32]", rate: int = 22_050) -> TracedChroma:
    """Chroma of the peaks of a fine spectrum, after E. Gomez's harmonic pitch class profile (see :func:`find_key`).

    Frames of 8,192 samples follow each other without overlap; what is left at the end is filled up with zeros if nothing else is
    there. The peaks between 110 and 2,000 Hz are placed between the bins by a parabola through logarithms; their mean distance
    from the tempered scale, weighted by amplitude, is taken off as the tuning; each counts for its nearest pitch class.

    Args:
        mono: Shape (n,).
        rate: Samples per second.

    Returns:
        The chroma.
    """
    from scipy.fft import rfft

    frames = max(1, len(mono) // WINDOW)
    cut = np.zeros((frames, WINDOW), np.float32)
    cut.ravel()[: min(len(mono), cut.size)] = mono[: cut.size]
    first, last = int(LOWEST * WINDOW / rate), int(HIGHEST * WINDOW / rate)
    spectrum = np.abs(np.asarray(rfft(cut * np.hanning(WINDOW).astype(np.float32), axis=1))[:, first - 1 : last + 1])
    middle = spectrum[:, 1:-1]
    limit = np.maximum(FAINTEST * middle.max(axis=1, keepdims=True), 1e-9)
    frame, place = np.nonzero((middle > spectrum[:, :-2]) & (middle >= spectrum[:, 2:]) & (middle > limit))
    amplitude = middle[frame, place].astype(np.float64)
    left, top, right = np.log(np.maximum([spectrum[frame, place + step] for step in range(3)], 1e-12))
    bins = first + place + 0.5 * (left - right) / np.minimum(left - 2 * top + right, -1e-9)
    pitch = 12 * np.log2(bins * rate / WINDOW / 440) + 9
    tuning = np.angle((amplitude * np.exp(2j * np.pi * pitch)).sum()) / (2 * np.pi)
    pitch_class = np.rint(pitch - tuning).astype(np.intp) % 12
    chroma = np.sqrt(np.bincount(frame * 12 + pitch_class, amplitude**2, frames * 12)).reshape(frames, 12).T
    level = np.sqrt(np.vecdot(cut, cut) / WINDOW).astype(np.float64)
    return TracedChroma(chroma / np.maximum(chroma.max(axis=0), 1e-9), level)


def hear_key(mono: "NDArray[np.float32]", rate: int = 22_050) -> Key:
    """Key of a signal: :func:`find_key` of its :func:`trace_chroma`.

    Args:
        mono: Shape (n,).
        rate: Samples per second.

    Returns:
        The key.
    """
    traced = trace_chroma(mono, rate)
    return find_key(traced.chroma, traced.level, rate / WINDOW)


def find_key(chroma: "NDArray[np.floating]", level: "NDArray[np.floating] | None" = None, frame_rate: float = 22_050 / 512) -> Key:
    """Key by correlation with the pitch-class profiles of all 24 keys.

    The profiles are those of Albrecht and Shanahan, spread over the overtones that each note brings with it (E. Gomez, "Tonal Description
    of Polyphonic Audio for Music Content Processing", INFORMS Journal on Computing 18, 2006). What they are compared with is the mean
    over time of the square root of the chroma: a root keeps a loud bass from hiding the chord above it. Music tends to open and to close
    on its tonic chord, so the fit of each key's tonic triad to the first and to the last two seconds is added with a weight of .2 each.

    Args:
        chroma: Shape (12, frames), tuning removed, each frame's largest value 1: of :func:`trace_chroma`, which is the more certain, or
            of ``librosa.feature.chroma_stft``.
        level: Shape (frames,): the RMS of each frame; tells where music begins and ends. Without it every frame from the first to the last
            that is not all zero counts.
        frame_rate: Frames a second.

    Returns:
        The key.
    """
    roots = np.sqrt(np.asarray(chroma, np.float64))
    sounding = np.flatnonzero(roots.any(axis=0) if level is None else np.asarray(level) > QUIET * np.max(level, initial=0))
    if not len(sounding):
        return Key(None, None, 0.0)
    roots = roots[:, sounding[0] : sounding[-1] + 1]
    mean = roots.mean(axis=1)
    if mean.std() < FLAT * mean.mean():
        return Key(None, None, 0.0)
    tonics, end = _templates(TRIADS), max(1, round(END * frame_rate))
    scores = _templates((MINOR, MAJOR)) @ _standardise(mean)
    scores += ENDS * (tonics @ (_standardise(roots[:, :end].mean(axis=1)) + _standardise(roots[:, -end:].mean(axis=1))))
    best, second = np.argsort(-scores, kind="stable")[:2]
    return Key(int(best % 12), int(best // 12), 1 - exp(-float(scores[best] - scores[second]) / MARGIN))


@lru_cache(maxsize=2)
def _templates(profiles: tuple[tuple[float, ...], tuple[float, ...]]) -> "NDArray[np.float64]":
    """Standardised profiles of the 12 minor and the 12 major keys with their overtones, shape (24, 12)."""
    rows = []
    for profile in profiles:
        sounding = sum(
            FADE**number * np.roll(np.array(profile) / sum(profile), round(12 * np.log2(number + 1)) % 12) for number in range(OVERTONES)
        )
        rows += [np.roll(sounding, tonic) for tonic in range(12)]
    return _standardise(np.array(rows).T).T


def _standardise(columns: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Columns without their means and of unit length, so that a product of two is their correlation; a flat one becomes zero."""
    centred = columns - columns.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    return centred / np.where(length > 1e-9, length, 1.0)
