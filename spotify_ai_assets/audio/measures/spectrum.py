"""The spectrogram that all measures share, and what follows from it: mel levels, chroma, tuning, tonnetz, contrast.

Definitions are those of librosa 0.11 with its defaults at 22,050 Hz (McFee et al., SciPy 2015): 2,048 points, hop 512, periodic Hann
window, frames centred with zeros around the signal. The transform is float64, as librosa's is; in float32 the valleys of the
contrast would drown in rounding. librosa itself is not loaded.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SAMPLE_RATE = 22_050
N_FFT = 2048
HOP = 512
BINS = 1 + N_FFT // 2
MEL_BANDS = 128
MODEL_BANDS = 64
LANES = 16
"""Frames that a kernel takes at a time."""

LOUDEST = 1e6
_TUNED = (150.0, 4000.0)
_FLOOR = np.float32(1e-10)
_TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The power spectrogram of a signal in the order of the kernels, and what each frame of it gives alone.

    Attributes:
        frames: Number of frames, 1 + samples // 512.
        width: Columns of the flat arrays below; those behind ``frames`` mean nothing.
        power: Flat, by tile of 16 frames, bin and frame; float32.
        mel: Mel power, flat (128, width).
        model_mel: Mel power in 64 bands, flat (64, width).
        peaks: Mean magnitude of the strongest bins of each band of the contrast, flat (7, width).
        valleys: That of the weakest.
        rolloff: Bin below which 85 % of the magnitude lies, (width,).
        sums: Per frame sums over bins, (5, width): magnitude, magnitude x bin, magnitude x bin squared, power floored at 1e-10,
            base-2 logarithm of the latter.
        hops: Per hop of the padded signal, (3, width): energy, sign changes, sign changes at its first sample.
        notes: Spectral peaks from 150 to 4,000 Hz that reach a tenth of their frame's maximum, as fractional bins, (m,).
        note_powers: Their power.
    """

    frames: int
    width: int
    power: np.ndarray
    mel: np.ndarray
    model_mel: np.ndarray
    peaks: np.ndarray
    valleys: np.ndarray
    rolloff: np.ndarray
    sums: np.ndarray
    hops: np.ndarray
    notes: np.ndarray
    note_powers: np.ndarray

    @property
    def tiles(self) -> int:
        """Blocks of 16 frames."""
        return self.width // LANES - 1

    def rows(self, values: np.ndarray) -> np.ndarray:
        """A flat array of this spectrum as (bands, frames)."""
        return values.reshape(-1, self.width)[:, : self.frames]

    def power_by_bin(self) -> np.ndarray:
        """The power spectrogram as (1025, frames), a copy."""
        return self.power.reshape(-1, BINS, LANES).transpose(1, 0, 2).reshape(BINS, -1)[:, : self.frames]


@dataclass(frozen=True, slots=True)
class _Bank:
    """Sparse filters: the first bin of each, where its weights begin, and all weights."""

    starts: np.ndarray
    offsets: np.ndarray
    weights: np.ndarray


def mel_filters(bands: int) -> np.ndarray:
    """Triangular filters on Slaney's mel scale up to half the sample rate, each of equal area (Auditory Toolbox, 1998).

    Args:
        bands: Their number.

    Returns:
        Shape (bands, 1025), float32, as ``librosa.filters.mel``.
    """
    step, knee = 200.0 / 3, 1000.0
    log_step = np.log(6.4) / 27.0
    top = knee / step + np.log(SAMPLE_RATE / 2 / knee) / log_step
    mels = np.linspace(0.0, top, bands + 2)
    hertz = np.where(mels >= knee / step, knee * np.exp(log_step * (mels - knee / step)), mels * step)
    ramps = hertz[:, None] - np.arange(BINS) * (SAMPLE_RATE / N_FFT)
    widths = np.diff(hertz)[:, None]
    weights = np.maximum(0, np.minimum(-ramps[:-2] / widths[:-1], ramps[2:] / widths[1:])).astype(np.float32)
    return (weights * (2.0 / (hertz[2:] - hertz[:-2]))[:, None]).astype(np.float32)


@lru_cache(maxsize=4)
def _mel_bank(bands: int) -> _Bank:
    starts, offsets, weights = [], [0], []
    for row in mel_filters(bands):
        used = np.flatnonzero(row)
        starts.append(int(used[0]))
        weights.append(row[used[0] : used[-1] + 1])
        offsets.append(offsets[-1] + len(weights[-1]))
    return _Bank(np.array(starts), np.array(offsets), np.concatenate(weights))


@lru_cache(maxsize=101)
def chroma_filters(tuning: float) -> np.ndarray:
    """Filters from bins to pitch classes: Gaussian bumps, weighted by octave around 5 (Ellis, Chroma Feature Analysis, 2007).

    Args:
        tuning: Deviation from A440 in semitones.

    Returns:
        Shape (12, 1025), float32, C first, as ``librosa.filters.chroma``.
    """
    hertz = np.arange(1, N_FFT) * (SAMPLE_RATE / N_FFT)
    places = 12 * np.log2(hertz / (440.0 * 2.0 ** (tuning / 12) / 16))
    places = np.concatenate(([places[0] - 18], places))
    widths = np.concatenate((np.maximum(np.diff(places), 1.0), [1]))
    distances = np.remainder(places[None, :] - np.arange(12)[:, None] + 126, 12) - 6
    weights = np.exp(-0.5 * (2 * distances / widths) ** 2)
    weights /= np.sqrt((weights**2).sum(axis=0))
    weights *= np.exp(-0.5 * ((places / 12 - 5.0) / 2) ** 2)
    return np.ascontiguousarray(np.roll(weights, -3, axis=0)[:, :BINS], dtype=np.float32)


@lru_cache(maxsize=1)
def _contrast_bands() -> np.ndarray:
    """First bin, end and number of strongest bins of each octave band, as ``librosa.feature.spectral_contrast`` cuts them."""
    hertz = np.arange(BINS) * (SAMPLE_RATE / N_FFT)
    edges = [0.0, *(200.0 * 2.0 ** np.arange(7))]
    bands = []
    for number in range(7):
        inside = np.flatnonzero((hertz >= edges[number]) & (hertz <= edges[number + 1]))
        start = int(inside[0]) - (number > 0)
        is_last = number == 6
        end = BINS if is_last else int(inside[-1]) + 1
        # librosa counts the bins before it drops the highest one of all bands but the last.
        bands.append((start, end if is_last else end - 1, max(1, round(0.02 * (end - start)))))
    return np.array(bands)


@lru_cache(maxsize=1)
def turns() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The window, and real and imaginary part of the twiddle factors of the transform."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    angles = 2 * np.pi * np.arange(N_FFT // 2) / N_FFT
    return window, np.cos(angles), -np.sin(angles)


def scan(mono: np.ndarray) -> Spectrum:
    """Make the spectrogram of a signal.

    Args:
        mono: Shape (n,), at 22,050 Hz, any float type; n at least 1.

    Raises:
        ValueError: It is empty, has another shape, or holds NaN, infinity or numbers beyond 1e6.
    """
    from spotify_ai_assets.audio.measures import kernels

    mono = checked(mono)
    frames = 1 + len(mono) // HOP
    width = -(-frames // LANES) * LANES + LANES
    power = np.empty((width - LANES) * BINS, np.float32)
    mel, model = np.zeros(MEL_BANDS * width, np.float32), np.zeros(MODEL_BANDS * width, np.float32)
    peaks, valleys = np.zeros(7 * width, np.float32), np.zeros(7 * width, np.float32)
    rolloff, sums, hops = np.zeros(width, np.float32), np.zeros((5, width)), np.zeros(3 * width, np.float32)
    fine, coarse = _mel_bank(MEL_BANDS), _mel_bank(MODEL_BANDS)
    lowest, highest = (int(np.ceil(hertz / (SAMPLE_RATE / N_FFT))) for hertz in _TUNED)
    places = np.empty(frames * (highest - lowest + 1) // 2, np.float32)
    heights = np.empty_like(places)
    found = kernels.scan(
        mono, frames, width, *turns(),
        fine.starts, fine.offsets, fine.weights, coarse.starts, coarse.offsets, coarse.weights,
        _contrast_bands(), lowest, highest, power, mel, model, peaks, valleys, rolloff, sums, hops, places, heights,
    )  # fmt: skip
    return Spectrum(
        frames=frames,
        width=width,
        power=power,
        mel=mel,
        model_mel=model,
        peaks=peaks,
        valleys=valleys,
        rolloff=rolloff,
        sums=sums,
        hops=hops.reshape(3, width),
        notes=places[:found].copy(),
        note_powers=heights[:found].copy(),
    )


def checked(mono: np.ndarray) -> np.ndarray:
    """A signal as contiguous float32, refused where it is unusable.

    Raises:
        ValueError: As :func:`scan`.
    """
    mono = np.ascontiguousarray(mono, dtype=np.float32)
    if mono.ndim != 1 or not len(mono):
        raise ValueError(f"a signal is one row of at least one sample, not of shape {mono.shape}")
    if not (mono.max() <= LOUDEST and mono.min() >= -LOUDEST):
        raise ValueError("a signal has finite samples of at most 1e6")
    return mono


def to_decibels(power: np.ndarray, most_below: float | None = None) -> np.ndarray:
    """10 log10 of power, floored at 1e-10, as ``librosa.power_to_db`` with ``ref=1``.

    Args:
        power: Any shape.
        most_below: Raise everything to so many dB below the loudest (librosa's ``top_db``).
    """
    levels = np.log10(np.maximum(_FLOOR, power))
    levels *= np.float32(10)
    if most_below is not None:
        np.maximum(levels, levels.max() - np.float32(most_below), out=levels)
    return levels


def model_mel(mono: np.ndarray) -> np.ndarray:
    """Log-mel spectrogram that the models read: 64 bands, dB re 1, floored at -100 dB, no other limit.

    Args:
        mono: Shape (n,), 22,050 Hz.

    Returns:
        Shape (64, 1 + n // 512), float32: the same as ``describe(mono).model_mel``.

    Raises:
        ValueError: As :func:`scan`.
    """
    spectrum = scan(mono)
    return to_decibels(spectrum.rows(spectrum.model_mel))


def estimate_tuning(spectrum: Spectrum) -> float:
    """Deviation of the notes from A440 in semitones, -0.5 to 0.49 by 0.01: the commonest among peaks from 150 to 4,000 Hz.

    As ``librosa.estimate_tuning`` on a power spectrogram, which is what its ``chroma_stft`` does: peaks that reach a tenth of their
    frame's maximum and the median of all. 0 where there is none.
    """
    if not len(spectrum.notes):
        return 0.0
    hertz = spectrum.notes[spectrum.note_powers >= np.median(spectrum.note_powers)] * np.float32(SAMPLE_RATE / N_FFT)
    residual = np.mod(12 * np.log2(hertz / np.float32(27.5)), np.float32(1))
    residual[residual >= 0.5] -= 1
    edges = np.linspace(-0.5, 0.5, 101)
    return float(edges[np.histogram(residual, edges)[0].argmax()])


def find_chroma(spectrum: Spectrum, tuning: float) -> np.ndarray:
    """Energy by pitch class, each frame divided by its largest: ``librosa.feature.chroma_stft``.

    Returns:
        Shape (12, frames), float32, C first; all 0 where a frame is silent.
    """
    from spotify_ai_assets.audio.measures.kernels import project

    raw = project(chroma_filters(tuning), spectrum.power, spectrum.tiles, LANES, BINS * LANES)[:, : spectrum.frames]
    largest = raw.max(axis=0)
    return raw / np.where(largest < _TINY, np.float32(1), largest)


def find_tonnetz(chroma: np.ndarray) -> np.ndarray:
    """Tonal centroids of chroma: sine and cosine on the circles of fifths, minor and major thirds (Harte, Sandler, Gasser 2006).

    Args:
        chroma: Shape (12, frames); ``librosa.feature.tonnetz(chroma=...)`` is the same.

    Returns:
        Shape (6, frames), float32.
    """
    scale = np.array([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3])
    angles = scale[:, None] * np.arange(12)
    angles[::2] -= 0.5
    matrix = np.array([1, 1, 1, 1, 0.5, 0.5])[:, None] * np.cos(np.pi * angles)
    total = chroma.sum(axis=0)
    return (matrix.astype(np.float32) @ chroma) / np.where(total < _TINY, np.float32(1), total)


def find_contrast(spectrum: Spectrum) -> np.ndarray:
    """Level of the strongest over that of the weakest bins in seven octave bands (Jiang et al., ICME 2002), in dB.

    As ``librosa.feature.spectral_contrast``: of magnitudes, the mean of 2 % at either end, both with 80 dB of range.

    Returns:
        Shape (7, frames), float32.
    """
    return to_decibels(spectrum.rows(spectrum.peaks), 80) - to_decibels(spectrum.rows(spectrum.valleys), 80)
