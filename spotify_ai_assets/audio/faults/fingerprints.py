"""Landmark fingerprints: pairs of spectral peaks (Wang 2003, "An industrial-strength audio search algorithm").

A landmark is a peak, a later one near it, and the time between. Its code keeps both pitches to 1/192 octave, by a parabola through
the three bins of a peak, so that ``duplicates`` can move it to another pitch or speed; quantisation for the look-up is done there.
Gain does not matter: only the order of magnitudes does, and a floor relative to the loudest peak.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

RATE = 22_050
HOP = 512
_FFT = 2048
STEPS = 192
"""Steps of pitch in an octave."""
PITCHES = 1024
LOWEST_HZ = 120.0
_FIRST_BIN, _LAST_BIN = 11, 445
_TIME_SPAN, _BIN_SPAN = 7, 10
_BLOCK = 1024
_SECOND = 43
_PEAKS_A_SECOND = 14
_FAN, LEAST_GAP, MOST_GAP = 4, 2, 62
_REACH = STEPS
_FLOOR = 10 ** (-60 / 20)


class Landmarks(NamedTuple):
    """Landmarks, unpacked: shape (m,) each.

    Attributes:
        pitch: Of the first peak, in steps of 1/192 octave above ``LOWEST_HZ``.
        other: Pitch of the second.
        gap: Frames between them.
        frame: Frame of the first; a frame is 512 samples of 22,050 Hz.
    """

    pitch: np.ndarray
    other: np.ndarray
    gap: np.ndarray
    frame: np.ndarray


class Slice(NamedTuple):
    """A part of a spectrogram with its context.

    Attributes:
        begin: Its first frame.
        lead: Frames of context before it.
        frames: Its frames.
        magnitudes: Shape (frames and context, bins), the bins of the fingerprint and one more on either side.
    """

    begin: int
    lead: int
    frames: int
    magnitudes: np.ndarray


def find_landmarks(mono: np.ndarray, spectrum: np.ndarray | None = None) -> np.ndarray:
    """The landmarks of a recording.

    Args:
        mono: Samples at 22,050 Hz, shape (n,); values that are not finite count as zero.
        spectrum: Its magnitudes, shape (1025, frames), where they are there already: 2048 points, hop 512, Hann, centred on zeros
            beyond the ends, as librosa's ``stft``. Then ``mono`` is not read.

    Returns:
        uint32 of shape (m, 2): packed pitches and gap, frame. About 45 a second of music; none for silence.
    """
    from spotify_ai_assets.audio.faults.kernels import pair_peaks

    frames, pitches, strengths = _find_peaks(_slice_signal(mono) if spectrum is None else _slice_spectrum(spectrum))
    kept = _thin(frames, strengths)
    frames, pitches = frames[kept], pitches[kept]
    pairs = pair_peaks(frames, pitches, _FAN, LEAST_GAP, MOST_GAP, _REACH)
    first, second = pairs[:, 0], pairs[:, 1]
    return pack(Landmarks(pitches[first], pitches[second], frames[second] - frames[first], frames[first]))


def pack(landmarks: Landmarks) -> np.ndarray:
    """Landmarks as they are stored: uint32 of shape (m, 2)."""
    code = (landmarks.pitch.astype(np.uint32) << 16) | (landmarks.other.astype(np.uint32) << 6) | landmarks.gap.astype(np.uint32)
    return np.stack([code, landmarks.frame.astype(np.uint32)], axis=1)


def unpack(stored: np.ndarray) -> Landmarks:
    """Landmarks from their stored form.

    Raises:
        ValueError: The array does not have two columns.
    """
    if stored.ndim != 2 or stored.shape[1] != 2:
        raise ValueError("stored landmarks have two columns")
    code = stored[:, 0].astype(np.int64)
    return Landmarks(code >> 16, (code >> 6) & 1023, code & 63, stored[:, 1].astype(np.int64))


def digest_audio(samples: np.ndarray, rate: int) -> str:
    """A digest of what a file sounds like, whatever its container: equal for the same decoded samples at 16 bits.

    Args:
        samples: Native-rate signal, shape (frames, channels), finite.
        rate: Its sampling rate in Hz.
    """
    from blake3 import blake3

    digest = blake3(f"{rate}/{1 if samples.ndim == 1 else samples.shape[1]}/{len(samples)}".encode())
    for begin in range(0, len(samples), 1 << 18):
        part = np.clip(np.rint(samples[begin : begin + (1 << 18)] * np.float32(32768)), -32768, 32767)
        digest.update(np.ascontiguousarray(part, dtype="<i2").tobytes())
    return digest.hexdigest()


def _slice_signal(mono: np.ndarray) -> Iterator[Slice]:
    """Magnitudes of a signal, part by part, so that memory does not grow with its length."""
    from scipy.fft import rfft

    signal = np.asarray(mono, dtype=np.float32)
    if not signal.size:
        return
    if not np.isfinite(signal.sum()):
        signal = np.nan_to_num(signal, nan=0.0, posinf=0.0, neginf=0.0)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)).astype(np.float32)
    frames = 1 + len(signal) // HOP
    for begin in range(0, frames, _BLOCK):
        first, last = max(begin - _TIME_SPAN, 0), min(begin + _BLOCK + _TIME_SPAN, frames)
        start, stop = first * HOP - _FFT // 2, (last - 1) * HOP + _FFT // 2
        part = np.pad(signal[max(start, 0) : max(stop, 0)], (max(-start, 0), max(stop - len(signal), 0)))
        views = np.lib.stride_tricks.sliding_window_view(part, _FFT)[::HOP]
        bins = np.asarray(rfft(views * window, axis=1))[:, _FIRST_BIN - 1 : _LAST_BIN + 1]
        yield Slice(begin, begin - first, min(_BLOCK, frames - begin), np.abs(bins))


def _slice_spectrum(spectrum: np.ndarray) -> Iterator[Slice]:
    frames = spectrum.shape[1]
    for begin in range(0, frames, _BLOCK):
        first, last = max(begin - _TIME_SPAN, 0), min(begin + _BLOCK + _TIME_SPAN, frames)
        part = np.ascontiguousarray(spectrum[_FIRST_BIN - 1 : _LAST_BIN + 1, first:last].T, dtype=np.float32)
        yield Slice(begin, begin - first, min(_BLOCK, frames - begin), part)


def _find_peaks(slices: Iterator[Slice]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frame, pitch and prominence of each peak, by frame and then by pitch."""
    from spotify_ai_assets.audio.faults.kernels import pick_peaks

    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for part in slices:
        magnitudes = part.magnitudes
        peaks = pick_peaks(magnitudes, part.lead, part.lead + part.frames, 1e-9, _TIME_SPAN, _BIN_SPAN)
        row, place = peaks[:, 0], peaks[:, 1]
        around = np.log(np.stack([magnitudes[row, place + step] for step in (-1, 0, 1)]).astype(np.float64) + 1e-12)
        bend = around[0] - 2 * around[1] + around[2]
        shift = np.where(bend < -1e-9, 0.5 * (around[0] - around[2]) / np.minimum(bend, -1e-9), 0)
        hz = (_FIRST_BIN - 1 + place + np.clip(shift, -0.5, 0.5)) * RATE / _FFT
        pitch = np.rint(STEPS * np.log2(hz / LOWEST_HZ)).astype(np.int64)
        found.append((part.begin - part.lead + row, np.clip(pitch, 0, PITCHES - 1), around[1]))
    frames, pitches, strengths = (np.concatenate(column) for column in zip(*found, strict=True))
    audible = strengths >= strengths.max(initial=-np.inf) + np.log(_FLOOR)
    return frames[audible], pitches[audible], strengths[audible]


def _thin(frames: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """Which peaks are among the strongest of their half second."""
    half = frames // (_SECOND // 2)
    order = np.lexsort((-strengths, half))
    group = half[order]
    rank = np.arange(len(group)) - np.searchsorted(group, group)
    kept = np.zeros(len(frames), bool)
    kept[order[rank < _PEAKS_A_SECOND // 2]] = True
    return kept
