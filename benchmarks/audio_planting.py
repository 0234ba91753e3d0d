"""Faults planted into the clips of ``audio_faults``: five severities each, drawn by the clip, the fault and the severity."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.audio_clips import Clip, draw_from, is_wide

_MP3_LEVELS = {320: 0.0, 192: 0.4, 128: 0.65, 96: 0.8, 64: 0.88}

Plant = Callable[[np.ndarray, int, int, np.random.Generator], np.ndarray | None]


@dataclass(frozen=True, slots=True)
class Planting:
    """One way to damage a clip.

    Attributes:
        fault: What should be found.
        levels: The five severities, as shown.
        audible: First severity that is clearly audible, by the reason below.
        reason: Why.
        plant: Samples, rate, severity and random numbers to damaged samples; nothing where the clip has no place for the fault.
    """

    fault: str
    levels: tuple[str, ...]
    audible: int
    reason: str
    plant: Plant


def plant(clip: Clip, clean: np.ndarray, planting: Planting, severity: int) -> np.ndarray | None:
    """A clean copy with a fault; drawn by the clip, the fault and the severity."""
    planted = planting.plant(clean.copy(), clip.rate, severity, draw_from(clip, f"{planting.fault}{planting.levels}{severity}"))
    return None if planted is None else planted.astype(np.float32)


def _active(samples: np.ndarray, rate: int) -> tuple[np.ndarray, float]:
    """Root mean square of each 10 ms, and that of the louder ones."""
    length = rate // 100
    blocks = samples[: len(samples) // length * length].reshape(-1, length, samples.shape[1])
    rms = np.sqrt(np.square(blocks, dtype=np.float64).mean(axis=(1, 2)))
    loud = rms[rms > 0.3 * np.sqrt(np.mean(rms**2))]
    return rms, float(np.sqrt(np.mean(loud**2))) if len(loud) else 0.0


def _find_loud(samples: np.ndarray, rate: int, rng: np.random.Generator, margin: float = 0.35, span: int = 2) -> int | None:
    """A frame around which the sound is at its level for 20 ms on both sides, away from the ends."""
    rms, active = _active(samples, rate)
    if active <= 0:
        return None
    loud = rms > active / 2
    steady = np.convolve(loud, np.ones(2 * span), mode="valid") == 2 * span
    places = np.flatnonzero(steady) + span
    edge = int(margin * 100)
    places = places[(places > edge) & (places < len(rms) - edge)]
    return int(rng.choice(places)) * (rate // 100) if len(places) else None


def _plant_silence(samples: np.ndarray, rate: int, severity: int, rng: np.random.Generator) -> np.ndarray:
    loud = np.quantile(_active(samples, rate)[0], 0.99)
    target = (10 ** (-40 / 20), 10 ** (-50 / 20), 10 ** (-65 / 20), 10 ** (-75 / 20), 0.0)[severity]
    return samples * (target / max(float(loud), 1e-9))


def _plant_dropout(samples: np.ndarray, rate: int, severity: int, rng: np.random.Generator) -> np.ndarray | None:
    length = round((0.002, 0.008, 0.025, 0.1, 0.5)[severity] * rate)
    rms, active = _active(samples, rate)
    loud = np.convolve(rms > active / 2, np.ones(2), mode="valid") == 2
    places = np.flatnonzero(loud)
    ends = places + 1 + -(-length // (rate // 100))
    places = places[(places > 35) & (ends + 1 < len(rms) - 35)]
    places = [p for p in places if loud[min(p + 1 + -(-length // (rate // 100)), len(loud) - 1)]]
    if not len(places) or active <= 0:
        return None
    begin = (int(rng.choice(places)) + 2) * (rate // 100)
    samples[begin : begin + length] = 0
    return samples


def _plant_hard(samples: np.ndarray, rate: int, severity: int, rng: np.random.Generator) -> np.ndarray:
    share = (0.0001, 0.001, 0.005, 0.02, 0.1)[severity]
    limit = max(float(np.quantile(np.abs(samples), 1 - share)), 1e-4)
    return np.clip(samples, -limit, limit) / limit * rng.uniform(0.3, 1)


def _plant_soft(samples: np.ndarray, rate: int, severity: int, rng: np.random.Generator) -> np.ndarray:
    drive = (1.5, 4, 10, 20, 40)[severity] / max(float(np.abs(samples).max()), 1e-4)
    return np.tanh(drive * samples) * rng.uniform(0.3, 1)


def _plant_offset(samples: np.ndarray, rate: int, severity: int, rng: np.random.Generator) -> np.ndarray:
    level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    return samples + rng.choice([-1, 1]) * (0.01, 0.03, 0.1, 0.3, 1.0)[severity] * level


def _plant_lost_channel(samples: np.ndarray, rate: int, severity: int, rng: np.random.Generator) -> np.ndarray:
    samples[:, int(rng.integers(2))] *= (0.5, 0.25, 0.1, 0.01, 0.0)[severity]
    return samples


def _plant_partly_lost(samples: np.ndarray, rate: int, severity: int, rng: np.random.Generator) -> np.ndarray | None:
    length = round((0.05, 0.2, 0.5, 1.0, 2.0)[severity] * rate)
    rms, active = _active(samples, rate)
    blocks = length // (rate // 100)
    loud = np.convolve(rms > active / 3, np.ones(max(blocks, 1)), mode="valid") >= 0.8 * blocks
    places = np.flatnonzero(loud & (rms[: len(loud)] > active / 2))
    places = places[(places > 20) & (places + blocks < len(rms) - 20)]
    if not len(places) or active <= 0:
        return None
    begin = (int(rng.choice(places)) + 1) * (rate // 100)
    samples[begin : begin + length, int(rng.integers(2))] = 0
    return samples


def _plant_inversion(samples: np.ndarray, rate: int, severity: int, rng: np.random.Generator) -> np.ndarray:
    wanted = (0.2, 0.4, 0.6, 0.8, 1.0)[severity]
    mid, side = samples.sum(axis=1) / 2, (samples[:, 0] - samples[:, 1]) / 2
    energy = float(np.square(mid).sum()), float(np.square(side).sum())
    # A pair of the wanted correlation from middle and sides, then one side upside down.
    if energy[1] > 0:
        side = side * np.sqrt(energy[0] / energy[1] * (1 - wanted) / (1 + wanted))
    return np.stack([mid + side, side - mid], axis=1) * 0.7


def _plant_upsampled(samples: np.ndarray, rate: int, severity: int, rng: np.random.Generator) -> np.ndarray | None:
    import soxr

    if not is_wide(samples, rate):
        return None
    lower = round((0.92, 0.84, 0.726, 0.5, 0.25)[severity] * rate)
    return soxr.resample(soxr.resample(samples, rate, lower), lower, rate)[: len(samples)]


def _plant_lossy(samples: np.ndarray, rate: int, severity: int, rng: np.random.Generator) -> np.ndarray | None:
    return code_mp3(samples, rate, (320, 192, 128, 96, 64)[severity]) if is_wide(samples, rate) and rate >= 44_100 else None


def code_mp3(samples: np.ndarray, rate: int, kilobits: int) -> np.ndarray:
    """Samples after an mp3 encoder of about that constant bit rate (of 44.1 kHz) and its decoder."""
    import soundfile

    buffer = io.BytesIO()
    level = _MP3_LEVELS[kilobits]
    soundfile.write(buffer, samples, rate, format="MP3", subtype="MPEG_LAYER_III", compression_level=level, bitrate_mode="CONSTANT")
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32", always_2d=samples.ndim == 2)[0]


def _plant_cut_end(samples: np.ndarray, rate: int, severity: int, rng: np.random.Generator) -> np.ndarray | None:
    place = _find_loud(samples, rate, rng)
    if place is None:
        return None
    left = 10 ** ((-40, -30, -20, -10, 0)[severity] / 20)
    # A decay that is broken off at what is left.
    length = min(round(0.3 * rate), place)
    samples[place - length : place] *= np.geomspace(1, left, length)[:, None]
    return samples[:place]


def _plant_cut_start(samples: np.ndarray, rate: int, severity: int, rng: np.random.Generator) -> np.ndarray | None:
    cut = _plant_cut_end(samples[::-1].copy(), rate, severity, rng)
    return None if cut is None else cut[::-1]


def _plant_clicks(samples: np.ndarray, rate: int, severity: int, rng: np.random.Generator) -> np.ndarray | None:
    from scipy.signal import butter, sosfilt

    high = butter(4, 2_000, "highpass", fs=rate, output="sos")
    background = sosfilt(high, samples.mean(axis=1).astype(np.float64))
    reach, wanted = round(0.005 * rate), 10 ** ((0, 6, 12, 18, 24)[severity] / 10)
    planted = 0
    for _ in range(3):
        place = _find_loud(samples, rate, rng)
        if place is None:
            return None
        shape = _click(int(rng.integers(3)), rng)
        heard = float(np.square(sosfilt(high, np.pad(shape, (0, 64)))).sum())
        around = float(np.square(background[place - reach : place + reach]).sum())
        height = np.sqrt(wanted * around / heard)
        # One that would leave full scale is another fault.
        if height > 1.2:
            continue
        samples[place : place + len(shape)] += (rng.choice([-1, 1]) * height * shape)[:, None]
        planted += 1
    return samples if planted else None


def _click(kind: int, rng: np.random.Generator) -> np.ndarray:
    if kind == 0:
        return np.ones(1)
    length = int(rng.integers(2, 9))
    return np.ones(length) if kind == 1 else np.exp(-np.arange(2 * length) / length * 2) * (-1.0) ** np.arange(2 * length)


PLANTINGS: dict[str, Planting] = {
    "silence": Planting(
        "silence",
        ("-40 dB", "-50 dB", "-65 dB", "-75 dB", "zeros"),
        2,
        "the loudest parts lie below -60 dB of full scale: not heard where others play at a usual volume",
        _plant_silence,
    ),
    "dropout": Planting(
        "dropout",
        ("2 ms", "8 ms", "25 ms", "100 ms", "500 ms"),
        2,
        "ten times the gap of 2 to 3 ms that listeners detect in noise (Plomp 1964)",
        _plant_dropout,
    ),
    "clipping, hard": Planting(
        "clipping",
        ("0.01 %", "0.1 %", "0.5 %", "2 %", "10 %"),
        2,
        "share of samples; from 0.5 % on each loud peak of music is flat",
        _plant_hard,
    ),
    "clipping, soft": Planting(
        "clipping",
        ("1.5 x", "4 x", "10 x", "20 x", "40 x"),
        2,
        "drive of tanh at the peak; from 10 x on what no gain explains is -7 dB of the signal or more (`distortion_db`)",
        _plant_soft,
    ),
    "dc offset": Planting(
        "dc_offset",
        ("0.01", "0.03", "0.1", "0.3", "1"),
        2,
        "relative to the signal's rms: starting and stopping makes a step 20 dB below the programme",
        _plant_offset,
    ),
    "channel, lower": Planting(
        "dropped_channel",
        ("-6 dB", "-12 dB", "-20 dB", "-40 dB", "zeros"),
        2,
        "from about 15 dB on, the image lies in one loudspeaker",
        _plant_lost_channel,
    ),
    "channel, partly": Planting(
        "dropped_channel",
        ("50 ms", "200 ms", "500 ms", "1 s", "2 s"),
        2,
        "half a second is longer than the attention that follows an event",
        _plant_partly_lost,
    ),
    "phase": Planting(
        "inverted_phase",
        ("0.2", "0.4", "0.6", "0.8", "1"),
        2,
        "correlation before; from 0.6 on the mono sum loses 6 dB or more",
        _plant_inversion,
    ),
    "bandwidth, upsampled": Planting(
        "bandwidth_cutoff",
        ("0.92", "0.84", "0.73", "0.5", "0.25"),
        2,
        "share of the rate it came from; 0.73 is 16 kHz at 44.1 kHz, within the hearing of the young",
        _plant_upsampled,
    ),
    "bandwidth, mp3": Planting(
        "bandwidth_cutoff",
        ("320 kb/s", "192", "128", "96", "64"),
        2,
        "128 kb/s cuts off near 16 kHz and is told from the original in listening tests",
        _plant_lossy,
    ),
    "truncated start": Planting(
        "truncated_start",
        ("-40 dB", "-30 dB", "-20 dB", "-10 dB", "0 dB"),
        2,
        "what is left of the level at the cut; a step 20 dB below the programme is heard",
        _plant_cut_start,
    ),
    "truncated end": Planting(
        "truncated_end",
        ("-40 dB", "-30 dB", "-20 dB", "-10 dB", "0 dB"),
        2,
        "likewise",
        _plant_cut_end,
    ),
    "clicks": Planting(
        "clicks",
        ("0 dB", "6 dB", "12 dB", "18 dB", "24 dB"),
        2,
        "energy of the click above 2 kHz to that of 10 ms around it; at 12 dB far beyond being masked",
        _plant_clicks,
    ),
}
