"""All features of one recording from one pass over one spectrogram, and their summary as columns.

Each feature is librosa's of the same name (0.11, defaults, 22,050 Hz), tested against it; the tonnetz is that of the STFT chroma. A
signal too short for a feature gives what is said at the feature; nothing here fails for silence or for a single sample.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from spotify_ai_assets.audio.measures import rhythm, spectrum
from spotify_ai_assets.audio.measures.spectrum import BINS, HOP, LANES, MEL_BANDS, N_FFT, SAMPLE_RATE, Spectrum

MFCCS = 20
_DELTA_WIDTH = 9
_SIGN_FLOOR = np.float32(-1e-10)


@dataclass(frozen=True, slots=True)
class Description:
    """What one recording sounds like, frame by frame; a frame is 512 samples at 22,050 Hz, 23.2 ms. All arrays are float32.

    Attributes:
        log_mel: (128, n), dB: ``power_to_db(melspectrogram(y=y))`` with librosa's defaults: ref 1, floor 1e-10, 80 dB of range.
        mfcc: (20, n): ``mfcc(y=y)``.
        mfcc_delta: (20, n): ``delta(mfcc)``; with fewer than 9 frames with ``mode="nearest"``, as librosa advises.
        mfcc_delta2: (20, n): ``delta(mfcc, order=2)``; with fewer than 9 frames the same.
        chroma: (12, n), C first: ``chroma_stft(y=y)`` with its own tuning estimate.
        centroid: (n,), Hz: ``spectral_centroid``; 0 in silence.
        bandwidth: (n,), Hz: ``spectral_bandwidth``; 0 in silence.
        rolloff: (n,), Hz: ``spectral_rolloff``, 85 %.
        flatness: (n,), 0 to 1: ``spectral_flatness``; 1 in silence.
        contrast: (7, n), dB: ``spectral_contrast``.
        zcr: (n,), share of samples: ``zero_crossing_rate``.
        rms: (n,): ``rms(y=y)``.
        tonnetz: (6, n): ``tonnetz(chroma=chroma_stft(y=y))``, hence not librosa's default, which takes a CQT.
        onset_strength: (n,): ``onset_strength(y=y)``; 0 with three frames or fewer.
        tempo: Beats a minute: ``beat_track(y=y)``; 0 where there is no onset.
        beats: Frames of the beats, int64.
        tuning: Deviation from A440 in semitones: ``estimate_tuning`` inside ``chroma_stft``.
        model_mel: (64, n), dB re 1 floored at -100: what the models read.
        chroma_cqt: (12, n): ``chroma_cqt(y=y)``, only where asked for.
        tonnetz_cqt: (6, n): ``tonnetz(y=y)``, librosa's default, only where asked for.
    """

    log_mel: np.ndarray
    mfcc: np.ndarray
    mfcc_delta: np.ndarray
    mfcc_delta2: np.ndarray
    chroma: np.ndarray
    centroid: np.ndarray
    bandwidth: np.ndarray
    rolloff: np.ndarray
    flatness: np.ndarray
    contrast: np.ndarray
    zcr: np.ndarray
    rms: np.ndarray
    tonnetz: np.ndarray
    onset_strength: np.ndarray
    tempo: float
    beats: np.ndarray
    tuning: float
    model_mel: np.ndarray
    chroma_cqt: np.ndarray | None = None
    tonnetz_cqt: np.ndarray | None = None


def describe(mono: np.ndarray, *, with_cqt: bool = False) -> Description:
    """Measure a recording.

    Args:
        mono: Shape (n,), at 22,050 Hz; n at least 1.
        with_cqt: Chroma and tonnetz from a constant-Q transform too, by librosa itself; ten times the work of all the rest.

    Raises:
        ValueError: It is empty, not one row, or holds NaN, infinity or numbers beyond 1e6.
    """
    mono = spectrum.checked(mono)
    seen = spectrum.scan(mono)
    frames = seen.frames
    levels = _mel_levels(seen)
    mfcc = _find_mfcc(levels)[:, :frames]
    onsets, median_onsets = rhythm.find_onsets(levels, frames)
    tempo, beats = rhythm.find_beats(median_onsets)
    tuning = spectrum.estimate_tuning(seen)
    chroma = spectrum.find_chroma(seen, tuning)
    centroid, bandwidth = _find_centroid(seen)
    rms, zcr = _find_energy(mono, seen)
    chroma_cqt, tonnetz_cqt = _by_cqt(mono) if with_cqt else (None, None)
    return Description(
        log_mel=levels[:, :frames],
        mfcc=mfcc,
        mfcc_delta=find_delta(mfcc, 1),
        mfcc_delta2=find_delta(mfcc, 2),
        chroma=chroma,
        centroid=centroid,
        bandwidth=bandwidth,
        rolloff=seen.rolloff[:frames] * np.float32(SAMPLE_RATE / N_FFT),
        flatness=_find_flatness(seen),
        contrast=spectrum.find_contrast(seen),
        zcr=zcr,
        rms=rms,
        tonnetz=spectrum.find_tonnetz(chroma),
        onset_strength=onsets,
        tempo=tempo,
        beats=beats,
        tuning=tuning,
        model_mel=spectrum.to_decibels(seen.rows(seen.model_mel)),
        chroma_cqt=chroma_cqt,
        tonnetz_cqt=tonnetz_cqt,
    )


def _mel_levels(seen: Spectrum) -> np.ndarray:
    """Log-mel with 80 dB of range, columns behind the last frame included."""
    levels = spectrum.to_decibels(seen.mel).reshape(MEL_BANDS, seen.width)
    # Frames behind the last must not be the loudest.
    return np.maximum(levels, levels[:, : seen.frames].max() - np.float32(80), out=levels)


@lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    """The first 20 rows of the orthonormal DCT-II of 128 values."""
    rows = np.cos(np.pi / MEL_BANDS * np.outer(np.arange(MFCCS), np.arange(MEL_BANDS) + 0.5)) * np.sqrt(2 / MEL_BANDS)
    rows[0] /= np.sqrt(2)
    return rows.astype(np.float32)


def _find_mfcc(levels: np.ndarray) -> np.ndarray:
    from spotify_ai_assets.audio.measures.kernels import project

    width = levels.shape[1]
    return project(_cosines(), levels.reshape(MEL_BANDS * width), width // LANES - 1, width, LANES)


def find_delta(values: np.ndarray, order: int) -> np.ndarray:
    """First or second derivative by a polynomial of that order over 9 frames (Savitzky, Golay 1964): ``librosa.feature.delta``.

    The four frames at either end take the derivative of the polynomial at that end; with fewer than 9 frames the ends are held
    instead (``mode="nearest"``).

    Args:
        values: Shape (rows, frames).
        order: 1 or 2.

    Returns:
        The same shape, float32.
    """
    half = _DELTA_WIDTH // 2
    steps = np.arange(1, half + 1)
    is_short = values.shape[1] < _DELTA_WIDTH
    held = np.pad(values, ((0, 0), (half, half)), mode="edge") if is_short else values
    inner = held.shape[1] - 2 * half
    centre = held[:, half : half + inner]
    if order == 1:
        result = np.zeros(centre.shape, np.float32)
        for step in steps:
            result += np.float32(step / 60) * (held[:, half + step : half + step + inner] - held[:, half - step : half - step + inner])
    else:
        # Second derivative of the least-squares parabola: the weights are (3 x squared - 20) / 462 about the centre.
        result = np.float32(-20 / 462) * centre
        for step in steps:
            both = held[:, half + step : half + step + inner] + held[:, half - step : half - step + inner]
            result += np.float32((3 * step * step - 20) / 462) * both
    # The derivative of highest order of a polynomial is the same everywhere.
    return result if is_short else np.pad(result, ((0, 0), (half, half)), mode="edge")


def _find_centroid(seen: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of frequency under the magnitudes, in Hz."""
    total, first, second = seen.sums[:3, : seen.frames]
    total = np.where(total < np.finfo(np.float32).tiny, np.inf, total)
    mean = first / total
    deviation = np.sqrt(np.maximum(second / total - mean**2, 0))
    hertz = SAMPLE_RATE / N_FFT
    return (mean * hertz).astype(np.float32), (deviation * hertz).astype(np.float32)


def _find_flatness(seen: Spectrum) -> np.ndarray:
    """Geometric over arithmetic mean of the power."""
    energy, logarithms = seen.sums[3:, : seen.frames]
    return (np.exp2(logarithms / BINS) / (energy / BINS)).astype(np.float32)


def _find_energy(mono: np.ndarray, seen: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square and rate of zero crossings of frames of four hops."""
    energies, changes, edges = seen.hops.astype(np.float64)
    # librosa pads with the first and last sample for this measure: their steps to and from the zeros around are none.
    for place, sample in ((N_FFT // 2, mono[0]), (N_FFT // 2 + len(mono), mono[-1])):
        hop, number = divmod(place, HOP)
        if sample < _SIGN_FLOOR and hop < seen.width:
            changes[hop] -= 1
            edges[hop] -= number == 0
    frames = seen.frames
    energy = sum(energies[hop : hop + frames] for hop in range(4))
    # A change from the last sample before a frame to its first is none of the frame's.
    crossed = sum(changes[hop : hop + frames] for hop in range(4)) - edges[:frames]
    return np.sqrt(energy / N_FFT).astype(np.float32), (crossed / N_FFT).astype(np.float32)


def _by_cqt(mono: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import librosa

    chroma = librosa.feature.chroma_cqt(y=mono, sr=SAMPLE_RATE)
    return chroma.astype(np.float32), spectrum.find_tonnetz(chroma.astype(np.float32))


def summarise(description: Description) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Means and standard deviations over frames, named as the columns that keep them.

    Args:
        description: Of a recording.

    Returns:
        Scalars by name; vectors by name, float32, but ``beats_ms``, which is int32.
    """
    scalars = {"tempo": description.tempo, "tuning": description.tuning}
    rows = {
        "centroid_hz": description.centroid,
        "bandwidth_hz": description.bandwidth,
        "rolloff_hz": description.rolloff,
        "flatness": description.flatness,
        "zcr": description.zcr,
        "rms": description.rms,
        "onset_strength": description.onset_strength,
    }
    for name, values in rows.items():
        scalars[f"{name}_mean"] = float(values.mean(dtype=np.float64))
        scalars[f"{name}_std"] = float(values.std(dtype=np.float64))
    tables = {
        "mfcc": description.mfcc,
        "chroma": description.chroma,
        "contrast": description.contrast,
        "tonnetz": description.tonnetz,
        "log_mel": description.log_mel,
        "chroma_cqt": description.chroma_cqt,
        "tonnetz_cqt": description.tonnetz_cqt,
    }
    vectors: dict[str, np.ndarray] = {}
    for name, table in tables.items():
        if table is not None:
            vectors[f"{name}_mean"], vectors[f"{name}_std"] = table.mean(axis=1), table.std(axis=1)
    vectors["mfcc_delta_std"] = description.mfcc_delta.std(axis=1)
    vectors["mfcc_delta2_std"] = description.mfcc_delta2.std(axis=1)
    vectors["beats_ms"] = np.round(description.beats * (1000 * HOP / SAMPLE_RATE)).astype(np.int32)
    return scalars, vectors
