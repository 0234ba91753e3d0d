"""Single sounds: tones from a table of one cycle, drums from sweeps and noise.

All are mono float32, full scale 1, and may be placed often: whoever plays keeps them.
"""

import numpy as np

from spotify_ai_assets.demo.audio.composition import Sound

TABLE = 2_048


def cycle(weights: np.ndarray, rate: int, frequency: float) -> np.ndarray:
    """One cycle of a tone.

    Args:
        weights: Amplitudes of the harmonics, the first first.
        rate: Sample rate in Hz.
        frequency: Of the first harmonic; harmonics above 0.45 of the rate are left out.

    Returns:
        ``TABLE`` samples, greatest value 1.
    """
    kept = weights[: max(1, min(len(weights), int(0.45 * rate / frequency)))]
    spectrum = np.zeros(TABLE // 2 + 1, dtype=np.complex128)
    # Phases that differ keep the crest of many harmonics low.
    spectrum[1 : len(kept) + 1] = kept * np.exp(-0.5j * np.pi * np.arange(len(kept)) ** 2 / max(len(kept), 4))
    table = np.fft.irfft(spectrum, TABLE)
    return (table / np.abs(table).max()).astype(np.float32)


def tone(table: np.ndarray, rate: int, frequency: float, seconds: float, attack: float, decay: float, vibrato: float = 0.0) -> np.ndarray:
    """A tone of a table: linear attack, exponential decay, 25 ms of release within its length.

    Args:
        table: One cycle.
        rate: Sample rate in Hz.
        frequency: Hz.
        seconds: Length.
        attack: Seconds.
        decay: Seconds to 1/e.
        vibrato: Depth as a share of the frequency, at 5.3 Hz.
    """
    time = np.arange(int(seconds * rate), dtype=np.float32) / np.float32(rate)
    phase = time * np.float32(frequency)
    if vibrato:
        phase += np.float32(vibrato * frequency / (2 * np.pi * 5.3)) * np.sin(np.float32(2 * np.pi * 5.3) * time)
    sound = table[((phase - np.floor(phase)) * TABLE).astype(np.int32) & (TABLE - 1)]
    shape = np.exp(time * np.float32(-1.0 / decay))
    ramp, fall = max(1, min(len(time), int(attack * rate))), max(1, min(len(time), int(0.025 * rate)))
    shape[:ramp] *= np.linspace(0, 1, ramp, dtype=np.float32)
    shape[-fall:] *= np.linspace(1, 0, fall, dtype=np.float32)
    return sound * shape


def harmonics(power: float, count: int = 48) -> np.ndarray:
    """Amplitudes that sink with a power of the harmonic's number."""
    return np.arange(1, count + 1, dtype=np.float64) ** -max(power, 0.6)


def sung(frequency: float, formants: tuple[float, float], glide: float = 1.0) -> np.ndarray:
    """Amplitudes of a voice's harmonics: a falling spectrum with two resonances, moved by ``glide``."""
    partials = frequency * np.arange(1, 41)
    peaks = sum(np.exp(-0.5 * ((partials - centre * glide) / (90 + 0.09 * centre)) ** 2) for centre in formants)
    return (0.12 + peaks) / np.arange(1, 41) ** 0.7


def drum(name: str, rate: int, rng: np.random.Generator, sound: Sound, tonic: float) -> np.ndarray:
    """One stroke of a drum.

    Args:
        name: A key of a style's kit.
        rate: Sample rate in Hz.
        rng: Where noise comes from.
        sound: The artist's.
        tonic: Frequency between 35 and 70 Hz in which kicks end, so that they support the key.
    """
    seconds, decay = _LENGTHS[name]
    time = np.arange(int(seconds * rate), dtype=np.float32) / np.float32(rate)
    fall = np.exp(-time / np.float32(decay))
    if name == "kick":
        phase = 2 * np.pi * (tonic * time + 3.0 * sound.drums * (1 - np.exp(-time / 0.025)))
        return (np.sin(phase) * fall + _hiss(rng, len(time), 1) * np.exp(-time / 0.004) * 0.15).astype(np.float32)
    if name == "conga":
        # Its pitch is the tonic: a drum out of tune would be heard as another key.
        return (np.sin(2 * np.pi * tonic * 4 * time) * fall + _hiss(rng, len(time), 1) * np.exp(-time / 0.01) * 0.2).astype(np.float32)
    noise = _hiss(rng, len(time), 0 if name in ("snare", "clap", "brush") else 2)
    if name == "clap":
        fall = fall * (1 + 0.8 * np.sign(np.sin(2 * np.pi * 90 * time)) * (time < 0.03))
    shape = fall * np.minimum(1, time / np.float32(0.02 if name in ("brush", "shaker") else 0.001))
    return (noise * shape * (1.0 + 0.3 * (sound.drums - 1))).astype(np.float32)


_LENGTHS = {
    **{"kick": (0.28, 0.09), "snare": (0.22, 0.06), "clap": (0.2, 0.05), "hat": (0.08, 0.018), "ride": (0.4, 0.1)},
    **{"crash": (1.2, 0.3), "brush": (0.25, 0.07), "conga": (0.25, 0.07), "shaker": (0.09, 0.025)},
}


def _hiss(rng: np.random.Generator, count: int, order: int) -> np.ndarray:
    """White noise, differentiated so often that its low end is gone, with a standard deviation of 0.3."""
    noise = rng.standard_normal(count + order, dtype=np.float32)
    for _ in range(order):
        noise = np.diff(noise)
    return noise * np.float32(0.3 / noise.std())
