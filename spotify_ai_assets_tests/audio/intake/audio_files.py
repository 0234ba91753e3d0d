"""Small files of audio, and bytes that only look like some; shared by the tests of intake."""

import struct
import wave
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
"""Where the worker of accidents is."""

DATA = Path(__file__).resolve().parents[3] / "../shared/data"


def noise(seed: int = 0, *, seconds: float = 0.5, rate: int = 22_050, channels: int = 1) -> np.ndarray:
    """Noise with a beat, shape (frames, channels), full scale is 1."""
    frames = int(seconds * rate)
    loud = 0.05 + 0.3 * (np.arange(frames) % (rate // 3) < rate // 30)
    return (np.random.default_rng(seed).uniform(-1, 1, (frames, channels)) * loud[:, None]).astype(np.float32)


def write_wav(path: Path, samples: np.ndarray, rate: int = 22_050) -> Path:
    """A wav file of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((samples.shape[1], 2, rate, 0, "NONE", ""))
        file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
    return path


def write_sound(path: Path, samples: np.ndarray, rate: int = 22_050, **options) -> Path:
    """A file in the format of its extension, or in one that is named."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


def mpeg_frames(count: int, *, seed: int = 0) -> bytes:
    """Frames of an MPEG stream of 128 kbit/s at 44.1 kHz whose content is not music: 417 bytes each."""
    body = np.random.default_rng(seed)
    return b"".join(b"\xff\xfb\x90\x00" + body.integers(0, 255, 413, np.uint8).tobytes() for _ in range(count))


def id3(*frames: tuple[bytes, bytes]) -> bytes:
    """An ID3v2.3 tag of frames."""
    body = b"".join(name + struct.pack(">IH", len(data), 0) + data for name, data in frames)
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + body
