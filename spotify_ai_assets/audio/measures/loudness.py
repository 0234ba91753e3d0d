"""Loudness and peaks of a signal: ITU-R BS.1770-4, EBU R 128, EBU Tech 3341 and EBU Tech 3342.

The two passes over samples, K-weighting and oversampling, are compiled (``kernels``): recursions are slow in arrays. The rest works
on one number for every 100 ms.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import log10, pi, tan
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ABSOLUTE_GATE = -70.0  # LUFS, BS.1770-4
RELATIVE_GATE = -10.0  # LU below the mean of what passed the absolute gate, BS.1770-4
RANGE_GATE = -20.0  # the same for the loudness range, EBU Tech 3342
OFFSET = -0.691  # cancels the K-weighting's gain at 997 Hz, BS.1770-4
MOMENTARY = 4  # steps of 100 ms: the gating block of BS.1770-4 and the momentary window of EBU Tech 3341
SHORT_TERM = 30  # steps of 100 ms: the short-term window of EBU Tech 3341
SURROUND = 1.41
LEAST_RATE = 8_000  # the shelf at 1,682 Hz needs room below Nyquist: a lower rate is raised first

SETTLING = 2  # steps of 100 ms: the high-pass has sunk by 400 dB
TAPS = 16  # per phase of the oversampling filter; annex 2 of BS.1770-4 has 12


@dataclass(frozen=True, slots=True)
class Loudness:
    """Loudness of one file. A measure is ``None`` where it is not defined.

    Attributes:
        integrated_lufs: Gated programme loudness (BS.1770-4); ``None`` below 400 ms and where no block passes the gate of -70 LUFS.
        short_term_max_lufs: Largest loudness of any 3 s; ``None`` below 3 s and where all of it is digital silence.
        momentary_max_lufs: Largest loudness of any 400 ms; ``None`` below 400 ms and where all of it is digital silence.
        range_lu: Loudness range (EBU Tech 3342); ``None`` below 3 s and where no 3 s pass the gate of -70 LUFS.
        true_peak_dbtp: Largest magnitude of the oversampled signal against full scale; ``None`` where every sample is zero.
        dynamic_range_db: Peak to loudness ratio, true peak minus integrated loudness (AES TD1004.1.15-10, "PLR"); ``None`` where one
            of the two is.
    """

    integrated_lufs: float | None
    short_term_max_lufs: float | None
    momentary_max_lufs: float | None
    range_lu: float | None
    true_peak_dbtp: float | None
    dynamic_range_db: float | None


def measure_loudness(samples: "NDArray[np.float32]", rate: int) -> Loudness:
    """All loudness measures of one signal.

    Args:
        samples: Shape (frames, channels), full scale is 1. The channels are in the order of WAVE files (see :func:`channel_weights`).
        rate: Frames per second.

    Returns:
        The measures; windows move in steps of 100 ms (a whole number of frames), incomplete windows do not count.
    """
    powers = step_powers(samples, rate)
    momentary = _window_means(powers, MOMENTARY)
    short = _window_means(powers, SHORT_TERM)
    integrated = _integrate(momentary)
    peak = measure_true_peak(samples, rate)
    return Loudness(
        integrated_lufs=integrated,
        short_term_max_lufs=_largest(short),
        momentary_max_lufs=_largest(momentary),
        range_lu=_measure_range(short),
        true_peak_dbtp=peak,
        dynamic_range_db=None if peak is None or integrated is None else peak - integrated,
    )


def channel_weights(channels: int) -> "NDArray[np.float64]":
    """Weights of the channels of a file (BS.1770-4, tables 3 and 4).

    The order is that of WAVE files: L R C LFE and then the surrounds. The low-frequency channel does not count. Surrounds between 60
    and 120 degrees count 1.41, those behind count 1. Three channels are L R C, four L R Ls Rs, five L R C Ls Rs, seven
    L R C LFE Cs Ls Rs, eight L R C LFE Lb Rb Ls Rs; more than eight have no standard order and count 1 each.

    Args:
        channels: Number of channels.

    Returns:
        Shape (channels,).
    """
    surround = SURROUND
    known = {
        4: (1.0, 1.0, surround, surround),
        5: (1.0, 1.0, 1.0, surround, surround),
        6: (1.0, 1.0, 1.0, 0.0, surround, surround),
        7: (1.0, 1.0, 1.0, 0.0, 1.0, surround, surround),
        8: (1.0, 1.0, 1.0, 0.0, 1.0, 1.0, surround, surround),
    }
    return np.array(known.get(channels, (1.0,) * channels))


def k_weighting(rate: int) -> "NDArray[np.float64]":
    """The two sections of the K-weighting at a sample rate.

    BS.1770-4 gives coefficients for 48 kHz only and asks for the same frequency response elsewhere. These are the analogue prototypes
    behind them (a shelf of +4 dB at 1,682 Hz and a high-pass at 38 Hz) under the bilinear transform, as in B. De Man, "Evaluation of
    Implementations of the EBU R128 Loudness Measurement", AES 145th Convention, 2018. At 48 kHz they equal the table.

    Args:
        rate: Frames per second, above 3,400.

    Returns:
        Shape (2, 6): second-order sections ``b0 b1 b2 1 a1 a2``.
    """
    k, q = tan(pi * 1681.974450955533 / rate), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    numerator = ((high + band * k / q + k * k) / a0, 2 * (k * k - high) / a0, (high - band * k / q + k * k) / a0)
    shelf = (*numerator, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0)
    k, q = tan(pi * 38.13547087602444 / rate), 0.5003270373238773
    a0 = 1 + k / q + k * k
    high_pass = (1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0)
    return np.array([shelf, high_pass])


def step_powers(samples: "NDArray[np.float32]", rate: int) -> "NDArray[np.float64]":
    """Channel-weighted mean squares of the K-weighted signal in steps of 100 ms.

    Args:
        samples: Shape (frames, channels).
        rate: Frames per second. Below 8 kHz the signal is raised to it first, by a whole factor.

    Returns:
        Shape (steps,): complete steps only. A step is the nearest whole number of frames to 100 ms.
    """
    from spotify_ai_assets.audio.measures.kernels import sum_filtered_squares

    if rate < LEAST_RATE:
        from scipy.signal import resample_poly

        factor = -(-LEAST_RATE // rate)
        samples, rate = resample_poly(samples, factor, 1, axis=0).astype(np.float32), rate * factor
    step = round(rate / 10)
    weights, sections = channel_weights(samples.shape[1]), k_weighting(rate)
    samples = np.ascontiguousarray(samples, np.float32)
    powers = np.zeros(len(samples) // step)
    for channel in np.flatnonzero(weights).tolist():
        powers += weights[channel] / step * sum_filtered_squares(samples, channel, step, SETTLING, sections)
    return powers


def measure_true_peak(samples: "NDArray[np.float32]", rate: int) -> float | None:
    """True peak of all channels in dBTP (BS.1770-4, annex 2): oversampled four times, twice from 96 kHz, not at all from 192 kHz.

    Args:
        samples: Shape (frames, channels).
        rate: Frames per second.

    Returns:
        20 log10 of the largest magnitude, ``None`` where every sample is zero.
    """
    from spotify_ai_assets.audio.measures.kernels import find_interpolated_peak

    factor = 4 if rate < 96_000 else 2 if rate < 192_000 else 1
    peak = find_interpolated_peak(np.ascontiguousarray(samples, np.float32), interpolation(factor))
    return 20 * log10(peak) if peak > 0 else None


@lru_cache(maxsize=4)
def interpolation(factor: int) -> "NDArray[np.float32]":
    """Weights of the oversampling filter: a sinc under a Kaiser window, 16 for each phase but that of the samples, where it is exact.

    Args:
        factor: Of the oversampling.

    Returns:
        Shape (factor - 1, 16): each phase's weights of the eight samples before and the eight after.
    """
    phases = np.arange(1, factor)[:, None] / factor
    offsets = np.arange(1 - TAPS // 2, TAPS // 2 + 1) - phases  # in samples
    taper = np.i0(6.0 * np.sqrt(np.clip(1 - (offsets / (TAPS / 2)) ** 2, 0, None))) / np.i0(6.0)
    taps = np.sinc(offsets) * taper
    return (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)


def _window_means(powers: "NDArray[np.float64]", length: int) -> "NDArray[np.float64]":
    """Means over ``length`` neighbouring steps, one for each complete window."""
    if len(powers) < length:
        return np.zeros(0)
    # A running sum keeps the rounding of the loudest passage, which lies far above what a silent one after it holds.
    return np.lib.stride_tricks.sliding_window_view(powers, length).mean(axis=1)


def _to_lufs(power: float) -> float:
    return OFFSET + 10 * log10(power)


def _to_power(lufs: float) -> float:
    return 10 ** ((lufs - OFFSET) / 10)


def _largest(powers: "NDArray[np.float64]") -> float | None:
    largest = float(powers.max()) if len(powers) else 0.0
    return _to_lufs(largest) if largest > 0 else None


def _integrate(powers: "NDArray[np.float64]") -> float | None:
    """Gated loudness of the powers of blocks of 400 ms."""
    loud = powers[powers > _to_power(ABSOLUTE_GATE)]
    if not len(loud):
        return None
    gate = float(loud.mean()) * 10 ** (RELATIVE_GATE / 10)
    return _to_lufs(float(loud[loud > gate].mean()))


def _measure_range(powers: "NDArray[np.float64]") -> float | None:
    """Loudness range of the powers of windows of 3 s: from the 10th to the 95th percentile of what passes both gates."""
    loud = powers[powers >= _to_power(ABSOLUTE_GATE)]
    if not len(loud):
        return None
    gate = float(loud.mean()) * 10 ** (RANGE_GATE / 10)
    low, high = np.percentile(10 * np.log10(loud[loud >= gate]), [10, 95])
    return float(high - low)
