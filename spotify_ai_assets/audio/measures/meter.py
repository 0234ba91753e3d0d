"""Tempo and time signature from the onset strength.

librosa's tempo is one of the lags of an autocorrelation with 43 frames a second: near 120 BPM the next one is 5 BPM away. Here the
period is read between the lags, at whole multiples of it, where a small error of the period has grown large.
"""

from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME_RATE = 22_050 / 512
NEAR = 0.045  # how far a refined tempo may lie from librosa's lag: a little more than half the widest step between two lags
GRID = 0.001  # step of the search over periods
MULTIPLES = 16  # beats over which the period is refined
PRIOR_MIDDLE, PRIOR_SPREAD = 115.0, 0.7  # BPM and octaves of the prior over tempi
SLOWEST, FASTEST = 35.0, 260.0  # BPM; half and double may lie outside, but are then not chosen

# Bars that speak for a metre, in beats, and what its fit must exceed that of four by: how rare it is in recorded music.
BARS = {3: ((3, 1.0), (6, 0.9)), 4: ((4, 1.0), (2, 0.9), (8, 0.9)), 5: ((5, 1.0),), 7: ((7, 1.0),)}
HANDICAPS = {3: 0.1, 4: 0.0, 5: 0.2, 7: 0.2}
REPEATS = 4  # bars over which a metre must recur
LEAST_BEATS = 12


@dataclass(frozen=True, slots=True)
class Tempo:
    """Tempo of a track.

    Attributes:
        tempo: Beats per minute, 0 where there is no pulse at all.
        confidence: 0 to 1: the mean autocorrelation of the onset strength at the beat's first four multiples (its "pulse clarity",
            O. Lartillot et al., "Multi-feature modeling of pulse clarity", ISMIR 2008); noise has nearly none.
        half: Half of it.
        double: Twice it.
        alternative: Whichever of these two fits next best.
    """

    tempo: float
    confidence: float
    half: float
    double: float
    alternative: float


@dataclass(frozen=True, slots=True)
class Meter:
    """Time signature of a track.

    Attributes:
        time_signature: Beats in a bar: 3, 4, 5 or 7. Two beats are counted as 4, six as 3.
        confidence: 0 to 1: lead of its fit over the next best one's, both with their handicaps. 0 means that nothing tells a bar
            and 4 is only what most music has.
    """

    time_signature: int
    confidence: float


def weigh_tempo(onset_strength: "NDArray[np.floating]", tempo: float, frame_rate: float = FRAME_RATE) -> Tempo:
    """Refine a tempo, and choose between it, its half and its double.

    The period is that which makes the sum of the autocorrelation at its multiples largest, within 4.5 % of what was given. Then the
    candidates are weighed by that sum times a log-normal prior around 115 BPM with a standard deviation of .7 octaves, the form that M.
    McKinney and D. Moelants ("Ambiguity in tempo perception", Music Perception 24, 2006) found for tapping.

    Args:
        onset_strength: Shape (n,).
        tempo: Beats per minute as ``librosa.beat.beat_track`` gives them.
        frame_rate: Frames a second.

    Returns:
        The tempo. Without a pulse (too short, nothing moves, or no tempo given) all values are 0.
    """
    strength = np.asarray(onset_strength, np.float64)
    if not tempo > 0 or len(strength) < 4 * 60 * frame_rate / tempo or not np.ptp(strength) > 0:
        return Tempo(0.0, 0.0, 0.0, 0.0, 0.0)
    correlation = autocorrelate(strength)
    period = _refine(correlation, 60 * frame_rate / tempo)
    scores = {factor: _weigh(correlation, period * factor, frame_rate) for factor in (0.5, 1.0, 2.0)}
    best = max(scores, key=lambda factor: scores[factor])
    if best != 1.0:
        period = _refine(correlation, period * best)
    found = 60 * frame_rate / period
    half, double = found / 2, found * 2
    slower, faster = (_weigh(correlation, period * factor, frame_rate) for factor in (2.0, 0.5))
    return Tempo(found, _clarity(correlation, period), half, double, half if slower >= faster else double)


def autocorrelate(strength: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Normalised autocorrelation, shape (n,): each lag divided by the number of its products, lag 0 is 1."""
    from scipy.fft import next_fast_len

    centred = strength - strength.mean()
    length = next_fast_len(2 * len(centred), real=True)
    raw = np.fft.irfft(np.abs(np.fft.rfft(centred, length)) ** 2, length)[: len(centred)]
    even = raw / (len(centred) - np.arange(len(centred)))
    return even / even[0]


def _comb(correlation: "NDArray[np.float64]", periods: "NDArray[np.float64]", count: int) -> "NDArray[np.float64]":
    """Means of the autocorrelation at up to ``count`` multiples of each period, as far as half the signal reaches."""
    reach = len(correlation) // 2
    used = max(1, min(count, int(reach / periods.max())))
    lags = periods[:, None] * np.arange(1, used + 1)
    return np.interp(lags, np.arange(len(correlation)), correlation).mean(axis=1)


def _refine(correlation: "NDArray[np.float64]", period: float) -> float:
    """The period near one where the comb is largest; first over few multiples, then over many, so that no neighbouring tooth is caught."""
    near = NEAR
    for count in (4, MULTIPLES):
        grid = period * np.exp(np.arange(-near, near + GRID / 2, GRID))
        heights = _comb(correlation, grid, count)
        top = int(heights.argmax())
        shift = 0.0
        if 0 < top < len(grid) - 1:
            left, middle, right = heights[top - 1 : top + 2]
            bend = left - 2 * middle + right
            shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
        period, near = float(grid[top] * np.exp(GRID * shift)), NEAR / 3
    return period


def _weigh(correlation: "NDArray[np.float64]", period: float, frame_rate: float) -> float:
    """How well a period serves as the beat: the comb's height times the prior of its tempo."""
    tempo = 60 * frame_rate / period
    if not SLOWEST <= tempo <= FASTEST:
        return 0.0
    prior = np.exp(-0.5 * (log2(tempo / PRIOR_MIDDLE) / PRIOR_SPREAD) ** 2)
    return float(max(0.0, _clarity(correlation, period)) * prior)


def _clarity(correlation: "NDArray[np.float64]", period: float) -> float:
    """Mean autocorrelation at the first four multiples, each the largest of the lags around it."""
    around = period * np.arange(1, 5)[:, None] + np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    around = around[around[:, -1] < len(correlation)]
    if not len(around):
        return 0.0
    return float(np.clip(np.interp(around, np.arange(len(correlation)), correlation).max(axis=1).mean(), 0, 1))


def find_meter(onset_strength: "NDArray[np.floating]", beats: "NDArray[np.integer]", chroma: "NDArray[np.floating] | None" = None) -> Meter:
    """Beats in a bar, from what recurs with it: accents and changes of harmony.

    After the beat similarity of M. Gainza and E. Coyle ("Time signature detection by using a multi-resolution audio similarity matrix",
    AES 122nd Convention, 2007) in its simplest form: two values are taken for each beat, the onset strength there and how much the
    chroma differs from the beat before. Their autocorrelations are added; a metre's fit is its mean at the first four multiples of the bar
    minus the mean at the lags between. Three must lead four by .1, five and seven by .2.

    Args:
        onset_strength: Shape (n,).
        beats: Frame numbers of the beats, ascending. Where these are twice or half the beat that people tap, so is the answer's unit.
        chroma: Shape (12, n); without it accents alone decide, which is less certain.

    Returns:
        The metre; 4 with confidence 0 below 12 beats or where nothing differs from beat to beat.
    """
    strength = np.asarray(onset_strength, np.float64)
    places = np.asarray(beats, np.intp)
    places = places[(places >= 0) & (places < len(strength))]
    if len(places) < LEAST_BEATS:
        return Meter(4, 0.0)
    around = np.clip(places[:, None] + np.arange(-2, 3), 0, len(strength) - 1)
    told = [strength[around].max(axis=1)]
    if chroma is not None:
        told.append(_change(np.asarray(chroma, np.float64), places))
    told = [values for values in told if np.ptp(values) > 1e-9]
    if not told:
        return Meter(4, 0.0)
    correlation = np.mean([autocorrelate(values) for values in told], axis=0)
    fits = {meter: max(share * _recur(correlation, bar) for bar, share in bars) - HANDICAPS[meter] for meter, bars in BARS.items()}
    best, second = sorted(fits, key=lambda meter: fits[meter], reverse=True)[:2]
    if fits[best] <= 0:
        return Meter(4, 0.0)
    return Meter(best, float(np.clip(fits[best] - fits[second], 0, 1)))


def _change(chroma: "NDArray[np.float64]", beats: "NDArray[np.intp]") -> "NDArray[np.float64]":
    """How much the chroma of each beat differs from that of the beat before: 1 minus their correlation; the first has the mean."""
    edges = np.append(beats, min(chroma.shape[1], 2 * beats[-1] - beats[-2]))
    running = np.concatenate([np.zeros((1, 12)), np.cumsum(np.sqrt(chroma), axis=1).T])
    held = np.diff(running[np.minimum(edges, chroma.shape[1])], axis=0)
    held -= held.mean(axis=1, keepdims=True)
    held /= np.maximum(np.linalg.norm(held, axis=1, keepdims=True), 1e-9)
    change = 1 - (held[1:] * held[:-1]).sum(axis=1)
    return np.concatenate([[change.mean()], change])


def _recur(correlation: "NDArray[np.float64]", bar: int) -> float:
    """Mean autocorrelation at multiples of a bar minus that between them, as far as two thirds of the signal and 28 beats reach."""
    lags = np.arange(1, min(len(correlation) * 2 // 3, 28, REPEATS * bar) + 1)
    on = lags % bar == 0
    return float(correlation[lags[on]].mean() - correlation[lags[~on]].mean()) if on.any() else -1.0
