"""Integrated loudness and true peak for the truth, as ITU-R BS.1770-4 defines them.

Written apart from the platform's own measure and in another way: the standard's two filters of Annex 1 (tables 1 and 2, which hold
for 48 kHz) are applied as a frequency response, so that no coefficients are derived for other rates.
"""

from functools import lru_cache

import numpy as np

_SHELF = ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585))
_HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, -10.0


def integrated_loudness(samples: np.ndarray, rate: int) -> float:
    """Integrated loudness of mono or stereo.

    Args:
        samples: Shape (frames, channels), at most two channels, full scale 1.
        rate: Sample rate in Hz, at most 48,000.

    Returns:
        LUFS; minus infinity where no block of 400 ms is above -70 LUFS.
    """
    return gate(block_energies(samples, rate))


def block_energies(samples: np.ndarray, rate: int) -> np.ndarray:
    """Weighted mean square of each block of 400 ms, a block every 100 ms; arguments as of ``integrated_loudness``."""
    block, step = round(0.4 * rate), round(0.1 * rate)
    frames = len(samples)
    if frames < block:
        return np.zeros(0)
    size = fast_size(frames + rate // 2)
    power = np.zeros(frames)
    for channel in np.asarray(samples, dtype=np.float32).T:
        power += np.fft.irfft(np.fft.rfft(channel, size) * _weigh(size, rate), size)[:frames] ** 2
    total = np.r_[0.0, np.cumsum(power)]
    starts = np.arange(0, frames - block + 1, step)
    return (total[starts + block] - total[starts]) / block


def gate(energy: np.ndarray) -> float:
    """Integrated loudness in LUFS of blocks' energies, by the standard's two gates."""
    energy = energy[energy > _energy(_ABSOLUTE_GATE)]
    if not len(energy):
        return -np.inf
    energy = energy[energy > energy.mean() * 10 ** (_RELATIVE_GATE / 10)]
    return float(-0.691 + 10 * np.log10(energy.mean()))


def true_peak(samples: np.ndarray, neighbourhoods: int = 24) -> float:
    """True peak in dBTP, looked for by fourfold band-limited interpolation around the greatest samples of each channel.

    Args:
        samples: Shape (frames, channels).
        neighbourhoods: How many of the greatest samples are looked at.
    """
    offset = np.arange(-24, 24)
    fraction = np.arange(-4, 5)[:, None] / 4
    kernel = np.sinc(fraction - offset) * np.cos(np.pi * (fraction - offset) / 52).clip(0) ** 2
    peak = np.abs(samples).max(initial=0.0)
    for channel in np.asarray(samples, dtype=np.float64).T:
        padded = np.pad(channel, 32)
        count = min(neighbourhoods, len(channel))
        if count:
            places = np.argpartition(np.abs(channel), -count)[-count:] + 32
            peak = max(peak, np.abs(padded[places[:, None] + offset] @ kernel.T).max())
    return float(20 * np.log10(peak)) if peak > 0 else -np.inf


@lru_cache(maxsize=8)
def _weigh(size: int, rate: int) -> np.ndarray:
    """The standard's response at the frequencies of a transform."""
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) * rate / size / 48_000)
    stages = [np.polyval(top[::-1], z) / np.polyval(under[::-1], z) for top, under in (_SHELF, _HIGH_PASS)]
    return np.prod(stages, axis=0).astype(np.complex64)


def _energy(lufs: float) -> float:
    return 10 ** ((lufs + 0.691) / 10)


def fast_size(size: int) -> int:
    """The next number of the form 2^k, 3 * 2^k or 5 * 2^k, whose transforms are fast."""
    power = 1 << (size - 1).bit_length()
    return min(one for one in (power, power * 3 // 4, power * 5 // 8) if one >= size)
