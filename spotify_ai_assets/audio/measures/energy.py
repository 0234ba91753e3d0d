"""Energy: how intense and busy a track is, from 0 to 1."""

from math import exp, log2
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOUDNESS_MIDDLE, LOUDNESS_SPREAD = -16.0, 5.0  # LUFS, LU: -23 LUFS of broadcasting gives .2, -9 of a loud master .8
DENSITY_SCALE = 4.0  # LU: the range of a programme that halves the share of density and more
RATE_SCALE = 3.0  # onsets a second
DARK, BRIGHT = 250.0, 4_000.0  # Hz: spectral centroids of a bass line and of cymbals
SHARES = (0.5, 0.2, 0.2, 0.1)  # loudness, onset rate, brightness, density


def measure_energy(loudness_lufs: float | None, range_lu: float | None, onset_rate_hz: float, centroid_hz: float) -> float:
    """Energy from four things that make music sound intense.

    Spotify names perceived loudness, onset rate, timbre and dynamic range as what its own ``energy`` rests on and keeps the formula to
    itself. This one is open: half logistic loudness, a fifth ``1 - exp(-onsets a second / 3)``, a fifth the spectral centroid's place on an
    octave scale between 250 and 4,000 Hz, a tenth ``exp(-loudness range / 4 LU)``. It grows with loudness, with onsets and with
    brightness and falls with the loudness range.

    Args:
        loudness_lufs: Integrated loudness, ``None`` of silence: the energy is then 0.
        range_lu: Loudness range; ``None`` of a short signal counts as 4 LU.
        onset_rate_hz: Onsets a second (:func:`measure_onset_rate`).
        centroid_hz: Mean spectral centroid.

    Returns:
        0 to 1.
    """
    if loudness_lufs is None:
        return 0.0
    loudness = 1 / (1 + exp(-(loudness_lufs - LOUDNESS_MIDDLE) / LOUDNESS_SPREAD))
    rate = 1 - exp(-max(0.0, onset_rate_hz) / RATE_SCALE)
    brightness = min(1.0, max(0.0, log2(max(centroid_hz, 1.0) / DARK) / log2(BRIGHT / DARK)))
    density = exp(-(DENSITY_SCALE if range_lu is None else max(0.0, range_lu)) / DENSITY_SCALE)
    return float(np.dot(SHARES, (loudness, rate, brightness, density)))


def measure_onset_rate(onset_strength: "NDArray[np.floating]", frame_rate: float = 22_050 / 512) -> float:
    """Onsets a second: peaks of the onset strength.

    The rule is that of S. Boeck, F. Krebs and M. Schedl, "Evaluating the Online Capabilities of Onset Detection Methods", ISMIR 2012, with
    librosa's default widths: a frame is an onset where the strength, scaled to 0 to 1, is the largest among its neighbours and
    exceeds the mean of the 100 ms on both sides by .07. librosa compares with the frame before only, here both neighbours count.

    Args:
        onset_strength: Shape (n,).
        frame_rate: Frames a second.

    Returns:
        Onsets a second, 0 where the strength does not move.
    """
    strength = np.asarray(onset_strength, np.float64)
    if len(strength) < 3 or not np.ptp(strength) > 0:
        return 0.0
    strength = (strength - strength.min()) / np.ptp(strength)
    reach = max(1, round(0.1 * frame_rate))
    running = np.concatenate([[0.0], np.cumsum(strength)])
    places = np.arange(len(strength))
    low, high = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(strength))
    means = (running[high] - running[low]) / (high - low)
    edged = np.concatenate([[-1.0], strength, [-1.0]])
    peaks = (strength > edged[:-2]) & (strength >= edged[2:]) & (strength >= means + 0.07)
    return float(peaks.sum() * frame_rate / len(strength))
