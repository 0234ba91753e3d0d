"""Signals become files, the same bytes for the same signal, and some of them broken ones."""

import io
from collections.abc import Mapping

import numpy as np

from spotify_ai_assets.demo.audio.tags import add_tags

SUFFIXES = {"wav": "wav", "flac": "flac", "ogg": "ogg", "mp3": "mp3", "aiff": "aiff"}
_FORMATS = {
    "wav": ("WAV", "PCM_16", {}),
    "flac": ("FLAC", "PCM_16", {"compression_level": 0.6}),
    "ogg": ("OGG", "VORBIS", {"compression_level": 0.4}),
    "mp3": ("MP3", "MPEG_LAYER_III", {"bitrate_mode": "VARIABLE", "compression_level": 0.1}),
    "aiff": ("AIFF", "PCM_16", {}),
}


def encode(samples: np.ndarray, rate: int, container: str, tags: Mapping[str, str]) -> bytes:
    """A file of audio.

    Args:
        samples: Shape (frames, channels), full scale 1.
        rate: Sample rate in Hz.
        container: A key of ``SUFFIXES``.
        tags: As ``add_tags`` takes them.
    """
    import soundfile as sf

    form, subtype, options = _FORMATS[container]
    packed = io.BytesIO()
    with sf.SoundFile(packed, "w", rate, samples.shape[1], subtype, format=form, **options) as out:
        # Rounded here: formats differ in how they would, and the same audio shall be the same in each without loss.
        out.write(samples if container in ("ogg", "mp3") else np.rint(samples * 32_767).astype(np.int16))
    return add_tags(packed.getvalue(), container, tags)


def break_file(kind: str, audio: bytes) -> bytes:
    """A file that is no good.

    Args:
        kind: ``truncated`` keeps four tenths of ``audio``; the others do not need it: ``text``, ``empty``, ``bomb`` (a WAV header that
            announces 65,535 channels and 4 GB), ``header_only`` (a WAV header with no sample), ``noise`` (bytes that are nothing).
        audio: A good file.
    """
    if kind == "truncated":
        return audio[: len(audio) * 4 // 10]
    return {
        "text": b"This is a note, not a recording.\n" * 40,
        "empty": b"",
        "bomb": _wav_header(65_535, 0xFFFFFFF0) + bytes(64),
        "header_only": _wav_header(2, 0),
        "noise": np.random.default_rng(len(audio)).bytes(4_096),
    }[kind]


def _wav_header(channels: int, size: int) -> bytes:
    def pack(number: int, length: int = 4) -> bytes:
        return (number & (256**length - 1)).to_bytes(length, "little")

    frame = channels * 2
    form = pack(1, 2) + pack(channels, 2) + pack(44_100) + pack(44_100 * frame) + pack(frame, 2) + pack(16, 2)
    return b"RIFF" + pack(size + 36) + b"WAVEfmt " + pack(16) + form + b"data" + pack(size)
