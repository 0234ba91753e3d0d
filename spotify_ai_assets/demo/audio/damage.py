"""What goes wrong with recordings, done to a signal on purpose and clearly audible.

Each function takes samples of shape (frames, channels) and gives new ones; names are those under which the platform reports faults.
"""

import io
from collections.abc import Callable

import numpy as np


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Play faster and higher by a factor, by resampling with a Fourier transform."""
    frames = len(samples)
    made = round(frames / factor)
    spectrum = np.fft.rfft(samples, axis=0)
    kept = np.zeros((made // 2 + 1, samples.shape[1]), dtype=spectrum.dtype)
    both = min(len(kept), len(spectrum)) - 1
    kept[:both] = spectrum[:both]
    return (np.fft.irfft(kept, made, axis=0) * (made / frames)).astype(np.float32)


def cut_band(samples: np.ndarray, rate: int, hertz: float) -> np.ndarray:
    """Take away all above a frequency, as upsampling from twice that rate leaves it."""
    spectrum = np.fft.rfft(samples, axis=0)
    place = np.fft.rfftfreq(len(samples), 1 / rate)
    slope = np.clip((hertz - place) / (0.04 * hertz) + 1, 0, 1)
    return np.fft.irfft(spectrum * slope[:, None], len(samples), axis=0).astype(np.float32)


def transcode(samples: np.ndarray, rate: int) -> np.ndarray:
    """Through a small MP3 and back, frame for frame as far as both reach."""
    import soundfile as sf

    packed = io.BytesIO()
    sf.write(packed, samples, rate, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=0.9)
    packed.seek(0)
    back, _ = sf.read(packed, dtype="float32", always_2d=True)
    return back[: len(samples)]


def _silence(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    # Either digital silence or the noise of a line with nothing connected.
    level = float(rng.choice((0.0, 10 ** (-84 / 20))))
    return rng.standard_normal(samples.shape, dtype=np.float32) * np.float32(level)


def _dropout(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    spoiled = samples.copy()
    for second in (0.2, 0.4, 0.6):
        begin = _loudest(samples, rate, int(second * len(samples)))
        spoiled[begin : begin + int(rng.uniform(0.06, 0.2) * rate)] = 0.0
    return spoiled


def _clipping(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    # Gain until two samples in a hundred are at the limit.
    return np.clip(samples * (0.99 / np.quantile(np.abs(samples), 0.98)), -0.99, 0.99).astype(np.float32)


def _dc_offset(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    return (0.8 * samples + rng.choice((-0.12, 0.12))).astype(np.float32)


def _dropped_channel(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    return samples * (np.arange(2) == rng.integers(2)).astype(np.float32)


def _inverted_phase(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    return samples * np.array([1, -1], dtype=np.float32)


def _bandwidth_cutoff(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    return cut_band(samples, rate, float(rng.choice((5_512.5, 8_000.0))))


def _truncated_end(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    return samples[: _loudest(samples, rate, int(rng.uniform(0.5, 0.75) * len(samples)))]


def _clicks(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    spoiled = samples.copy()
    for place in rng.integers(rate, len(samples) - rate, 14):
        spoiled[place : place + 2] = rng.choice((-0.85, 0.85))
    return spoiled


def _loudest(samples: np.ndarray, rate: int, around: int) -> int:
    """The loudest frame within a second of one: where a cut is heard."""
    begin = max(0, around - rate // 2)
    return begin + int(np.abs(samples[begin : around + rate // 2]).sum(1).argmax())


Damage = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]

FAULTS: dict[str, Damage] = {
    "silence": _silence,
    "dropout": _dropout,
    "clipping": _clipping,
    "dc_offset": _dc_offset,
    "dropped_channel": _dropped_channel,
    "inverted_phase": _inverted_phase,
    "bandwidth_cutoff": _bandwidth_cutoff,
    "truncated_end": _truncated_end,
    "clicks": _clicks,
}
"""What is done to a file by itself: ``FAULTS[name](samples, rate, rng)``. A transcoded file has the fault ``bandwidth_cutoff`` too."""

IN_STEREO = frozenset({"dropped_channel", "inverted_phase"})
