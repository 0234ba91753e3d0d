"""Onsets, tempo and beats, as librosa 0.11 defines them with its defaults at 22,050 Hz and hop 512."""

import numpy as np

from spotify_ai_assets.audio.measures.spectrum import HOP, LANES, MEL_BANDS, N_FFT, SAMPLE_RATE

FRAME_RATE = SAMPLE_RATE / HOP
TEMPO_WINDOW = 344
"""Frames in 8 seconds, the window of the tempo estimate."""

ONSET_SHIFT = 1 + N_FFT // (2 * HOP)
"""Frames by which onsets are moved to the frame that first sees them whole."""

_MOST_BPM = 320.0
_PRIOR_BPM = 120.0
_TIGHTNESS = 100.0


def find_onsets(levels: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Onset strength: the rise in level from frame to frame over 128 mel bands, its mean and its median.

    The mean is ``librosa.onset.onset_strength``, the median what ``librosa.beat.beat_track`` uses inside.

    Args:
        levels: Log-mel in dB with 80 dB of range, shape (128, width), contiguous; at least 16 columns more than the frames.
        frames: Frames that mean something.

    Returns:
        Two arrays of shape (frames,), float32; the first three are 0.
    """
    from spotify_ai_assets.audio.measures.kernels import weigh_onsets

    mean, median = np.zeros(frames, np.float32), np.zeros(frames, np.float32)
    if frames > ONSET_SHIFT:
        means, medians = weigh_onsets(levels.reshape(MEL_BANDS * levels.shape[1]), levels.shape[1], frames)
        mean[ONSET_SHIFT:] = means[: frames - ONSET_SHIFT]
        median[ONSET_SHIFT:] = medians[: frames - ONSET_SHIFT]
    return mean, median


def mean_autocorrelation(onsets: np.ndarray) -> np.ndarray:
    """The tempogram (Grosche, Mueller, Kurth 2010) averaged over time: autocorrelation in windows of 8 seconds.

    Only the mean over frames is made: the scaled power spectra of all windows are summed and transformed back once.

    Args:
        onsets: Shape (frames,).

    Returns:
        Shape (344,), float64, the mean over frames of ``librosa.feature.tempogram``; 1 at lag 0 where no window is empty.
    """
    from spotify_ai_assets.audio.measures.kernels import sum_autocorrelation_spectra
    from spotify_ai_assets.audio.measures.spectrum import turns

    frames = len(onsets)
    half = TEMPO_WINDOW // 2
    padded = np.zeros(frames + TEMPO_WINDOW + 2 * LANES)
    padded[: frames + 2 * half] = np.pad(onsets, half, mode="linear_ramp", end_values=0)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(TEMPO_WINDOW) / TEMPO_WINDOW)
    energies = np.correlate(padded[: frames + TEMPO_WINDOW - 1] ** 2, window**2)
    scales = np.zeros(frames + 2 * LANES)
    scales[:frames] = 1 / np.sqrt(np.where(energies < np.finfo(float).tiny, 1.0, energies))
    spectrum = sum_autocorrelation_spectra(padded, frames, window, scales, *turns()[1:])
    return np.fft.irfft(spectrum[:513], 1024)[:TEMPO_WINDOW] / frames


def estimate_tempo(onsets: np.ndarray) -> float:
    """Tempo in beats a minute: the lag of the strongest mean autocorrelation, weighed by a log-normal around 120 (Ellis 2007).

    Args:
        onsets: Shape (frames,).
    """
    strength = mean_autocorrelation(onsets)
    tempi = 60 * FRAME_RATE / np.arange(1, TEMPO_WINDOW)
    prior = -0.5 * (np.log2(tempi) - np.log2(_PRIOR_BPM)) ** 2
    prior[tempi >= _MOST_BPM] = -np.inf
    return float(tempi[np.argmax(np.log1p(1e6 * np.maximum(strength[1:], 0)) + prior)])


def find_beats(onsets: np.ndarray) -> tuple[float, np.ndarray]:
    """Tempo and beats by dynamic programming (Ellis, Beat Tracking by Dynamic Programming, JNMR 2007).

    Args:
        onsets: Median onset strength, shape (frames,), float32.

    Returns:
        Beats a minute, and the frames of the beats, int64; 0 and none where there is no onset: ``librosa.beat.beat_track``.
    """
    from spotify_ai_assets.audio.measures.kernels import link_beats

    if not onsets.any():
        return 0.0, np.empty(0, np.int64)
    tempo = estimate_tempo(onsets)
    period = max(1, int(np.round(FRAME_RATE * 60 / tempo)))
    normal = onsets / (onsets.std(ddof=1) + np.finfo(onsets.dtype).tiny)
    local, links, scores = link_beats(normal.astype(np.float64), period, _TIGHTNESS)
    beats = []
    frame = _last_beat(scores)
    while frame >= 0:
        beats.append(frame)
        frame = int(links[frame])
    return tempo, _trim(local, np.array(beats[::-1], np.int64))


def _last_beat(scores: np.ndarray) -> int:
    """The last local maximum that reaches half the median of all; the last frame where none does."""
    is_peak = np.zeros(len(scores), bool)
    is_peak[1:-1] = (scores[1:-1] > scores[:-2]) & (scores[1:-1] >= scores[2:])
    is_peak[-1] = len(scores) > 1 and scores[-1] > scores[-2]
    peaks = np.flatnonzero(is_peak)
    high = peaks[scores[peaks] >= 0.5 * np.median(scores[peaks])] if len(peaks) else peaks
    return int(high[-1]) if len(high) else len(scores) - 1


def _trim(local: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """Without the beats before and after which everything is weak."""
    smooth = np.convolve(local[beats], np.hanning(5))[2 : len(local) + 2]
    strong = np.flatnonzero(local > 0.5 * np.sqrt((smooth**2).mean()))
    if not len(strong):
        return beats[:0]
    return beats[(beats >= strong[0]) & (beats <= strong[-1])]
