"""Clips for ``audio_faults``: parts of real recordings, and short pieces of synthesised music.

Real clips are mono; a copy of each 11 ms later and 8 dB lower, with opposite signs on the two sides, makes a stereo pair of it. Every clip
gets fades at both ends, since clips cut from recordings truly begin and end abruptly, and loses its mean, which some truly have.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".aiff"}
SEEDS = 10
_PART_S = 15
_SYNTHETIC_RATE, _SYNTHETIC_S = 44_100, 12


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip without a planted fault.

    Attributes:
        name: Unique among all.
        recording: What it is a part of; parts of one recording may be alike.
        kind: ``field``, ``music`` or ``synthetic``.
        seed: 0 to 9, by the recording.
        samples: Shape (frames, channels).
        rate: In Hz.
    """

    name: str
    recording: str
    kind: str
    seed: int
    samples: np.ndarray
    rate: int


def read_clips(folders: Sequence[Path], seeds: frozenset[int]) -> Iterator[Clip]:
    """The clips of folders that belong to seeds, as they are on disk but for a longest length of 15 s.

    The seed is a hash of the recording, the name without its last part, so takes of one recording are on one side.
    """
    import soundfile

    for folder in folders:
        for path in sorted(found for found in folder.rglob("*") if found.suffix.lower() in SUFFIXES):
            recording = path.stem.rpartition("-")[0] or path.stem
            # Takes of one Freesound recording differ in the last letter, and their fold comes first.
            recording = recording.partition("-")[2] or recording if path.stem[:2] in {"1-", "2-", "3-", "4-", "5-"} else path.stem
            seed = int(hashlib.sha256(recording.encode()).hexdigest(), 16) % SEEDS
            if seed not in seeds:
                continue
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
            length = _PART_S * rate
            for part, begin in enumerate(range(0, max(len(samples) - length // 2, 1), length)):
                kind = "field" if len(samples) < 10 * rate else "music"
                yield Clip(f"{path.parent.name}/{path.name}#{part}", recording, kind, seed, samples[begin : begin + length], rate)


def synthesise_clips(seeds: frozenset[int], each: int) -> Iterator[Clip]:
    """Short pieces of music, several a seed: chords, bass and drums with panned voices, full bandwidth, natural decay."""
    for seed in sorted(seeds):
        for number in range(each):
            rng = np.random.default_rng([seed, number, 44])
            yield Clip(f"synthetic/{seed}-{number}", f"{seed}-{number}", "synthetic", seed, _compose(rng), _SYNTHETIC_RATE)


def _compose(rng: np.random.Generator) -> np.ndarray:
    rate, frames = _SYNTHETIC_RATE, _SYNTHETIC_RATE * _SYNTHETIC_S
    out = np.zeros((frames, 2))
    beat = 60 / rng.uniform(70, 150)
    root, scale = rng.integers(45, 57), np.array([0, 2, 4, 5, 7, 9, 11] if rng.random() < 0.5 else [0, 2, 3, 5, 7, 8, 10])
    bright, pans = rng.uniform(1.0, 2.2), rng.uniform(-0.6, 0.6, 3)
    for step in range(int((_SYNTHETIC_S - 1.5) / (beat / 2))):
        start = step * beat / 2
        degree = int(rng.integers(7))
        if step % 4 == 0:
            for third in (0, 2, 4):
                note = root + 12 + scale[(degree + third) % 7]
                _add(out, start, _pluck(note, 1.4, bright, rng), 0.12, pans[0])
        if step % 2 == 0:
            _add(out, start, _pluck(root - 12 + scale[degree], 0.6, 2.0, rng), 0.3, 0.0)
            _add(out, start, _drum(rng, 0.12, low=step % 4 == 0), 0.25, 0.0)
        if rng.random() < 0.7:
            _add(out, start, _pluck(root + 24 + scale[int(rng.integers(7))], 0.5, bright, rng), 0.15, pans[1])
        _add(out, start, _drum(rng, 0.04, low=False), 0.08, pans[2])
    out += rng.normal(0, 10 ** (-78 / 20), out.shape)
    fade = np.minimum(1, (frames - np.arange(frames)) / (0.8 * rate))[:, None]
    return (0.7 * out * fade / np.abs(out).max()).astype(np.float32)


def _pluck(note: float, seconds: float, bright: float, rng: np.random.Generator) -> np.ndarray:
    t = np.arange(int(seconds * _SYNTHETIC_RATE)) / _SYNTHETIC_RATE
    hz = 440 * 2 ** ((note - 69) / 12)
    tone = np.zeros(len(t))
    for partial in range(1, min(int(0.45 * _SYNTHETIC_RATE / hz), 40)):
        tone += partial**-bright * np.sin(2 * np.pi * hz * partial * t + rng.uniform(0, 6.28)) * np.exp(-t * (3 + 0.8 * partial))
    return tone * np.minimum(t / 0.004, 1) * np.minimum((seconds - t) / 0.02, 1)


def _drum(rng: np.random.Generator, seconds: float, low: bool) -> np.ndarray:
    t = np.arange(int(4 * seconds * _SYNTHETIC_RATE)) / _SYNTHETIC_RATE
    body = np.sin(2 * np.pi * (50 * t + 4 * (1 - np.exp(-t * 30)))) if low else rng.normal(0, 0.5, len(t))
    return body * np.exp(-t / seconds * 2) * np.minimum(t / 0.002, 1)


def _add(out: np.ndarray, start: float, sound: np.ndarray, gain: float, pan: float) -> None:
    begin = int(start * _SYNTHETIC_RATE)
    part = sound[: max(len(out) - begin, 0)]
    out[begin : begin + len(part)] += gain * part[:, None] * np.sqrt(np.array([1 - pan, 1 + pan]) / 2)


def prepare(clip: Clip) -> np.ndarray:
    """A clip as the clean copy that faults are planted into: a stereo pair without offset and with fades at both ends."""
    samples = clip.samples - clip.samples.mean(axis=0, keepdims=True)
    if samples.shape[1] == 1:
        late = 0.4 * np.roll(samples, round(0.011 * clip.rate), axis=0)
        late[: round(0.011 * clip.rate)] = 0
        samples = 0.7 * np.concatenate([samples + late, samples - late], axis=1)
    rng = draw_from(clip, "ends")
    samples = samples.copy()
    for side in (samples, samples[::-1]):
        length = min(int(rng.uniform(0.05, 0.5) * clip.rate), len(side) // 3)
        side[:length] *= (0.5 - 0.5 * np.cos(np.pi * np.arange(length) / length)).astype(np.float32)[:, None]
    return samples.astype(np.float32)


def is_wide(samples: np.ndarray, rate: int) -> bool:
    """Whether there is sound near the top of the band: a millionth of the power lies from 0.90 to 0.95 of half the rate.

    A clip without has lost its bandwidth already or never had it; it is no clean clip for that fault, nor has it any to lose.
    """
    power = np.abs(np.fft.rfft(samples.mean(axis=1))) ** 2
    n = len(power)
    return bool(power[int(0.90 * n) : int(0.95 * n)].sum() > 1e-6 * power.sum())


def draw_from(clip: Clip, purpose: str) -> np.random.Generator:
    """Random numbers of a clip for a purpose."""
    return np.random.default_rng(list(hashlib.sha256(f"{clip.name}|{purpose}".encode()).digest()))
