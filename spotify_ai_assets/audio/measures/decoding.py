"""From an encoded file to samples: any container that libsndfile reads, in blocks, with limits, whatever the header claims.

Memory follows what is decoded, never what a header announces. A file that breaks off yields what is there, marked as partial. Files
in front of which the decoder stumbles (tags, junk) are opened behind them.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from spotify_ai_assets.audio.measures.containers import READABLE, Container, declared_frames, identify, is_cut_ogg
from spotify_ai_assets.errors import UnreadableFileError

if TYPE_CHECKING:
    import soundfile

SAMPLE_RATE = 22_050
"""Rate at which everything but loudness and faults is measured, in Hz."""

MOST_SECONDS = 900.0
"""Length of the part that is kept, in seconds."""

LONGEST_SECONDS = 6 * 3600.0
"""Length above which a file is refused; up to it all of a file is decoded, to know how long it is."""

MOST_CHANNELS = 8
RATES = (1_000, 384_000)

MOST_VALUES = 80_000_000
"""Samples of all channels together that are kept: 320 MB, 15 minutes of stereo at 44.1 kHz."""

LOUDEST = 1e6
"""Float files may exceed full scale; beyond this factor the numbers are no audio."""

_BLOCK = 1 << 16
_SMALL_BLOCK = 1 << 10
_VALUES_PER_BYTE = 64  # no codec here packs music tighter, so this bounds the first buffer by what is in the file
_ABSURD = 1 << 40


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded file.

    Attributes:
        samples: Shape (frames, channels), float32, full scale is 1; at most the first part that was asked for.
        sample_rate: In Hz, as in the file.
        container: ``wav``, ``w64``, ``aiff``, ``flac``, ``ogg``, ``mp3``, ``au`` or ``caf``.
        codec: libsndfile's name of the encoding in lower case, as ``pcm_16``, ``vorbis``, ``opus`` or ``mpeg_layer_iii``.
        declared_frames: What the header promises; ``None`` where it says nothing of use.
        frames: Sample frames that could be decoded, also beyond ``samples``.
        is_partial: The file breaks off: less than declared, or the decoder failed after some audio.
        is_excerpt: The file is longer than ``samples``.
    """

    samples: np.ndarray
    sample_rate: int
    container: str
    codec: str
    declared_frames: int | None
    frames: int
    is_partial: bool
    is_excerpt: bool


@dataclass(frozen=True, slots=True)
class _Reading:
    """What came out of an open sound file."""

    samples: np.ndarray
    frames: int
    has_failed: bool


class _Behind(io.RawIOBase):
    """A file as if it began later, for a decoder that stumbles over what lies in front."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start = file, start
        file.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset + (self._start if whence == 0 else 0), whence) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start

    # The buffer is untyped, as soundfile hands over what ctypes made.
    def readinto(self, buffer) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def decode(
    path: str | Path,
    *,
    most_seconds: float = MOST_SECONDS,
    most_channels: int = MOST_CHANNELS,
    rates: tuple[int, int] = RATES,
    longest_seconds: float = LONGEST_SECONDS,
) -> Decoded:
    """Decode a file; its content decides the format.

    Args:
        path: The file.
        most_seconds: Keep so much from its start. Less is kept where all channels together exceed :data:`MOST_VALUES`.
        most_channels: Refuse more.
        rates: Lowest and highest sample rate.
        longest_seconds: Refuse a file that decodes to more.

    Raises:
        UnreadableFileError: By rule ``not_audio`` (no known sound), ``unsupported_format`` (a format without a decoder here),
            ``no_audio`` (a known container in which nothing can be decoded), ``too_many_channels``, ``bad_rate``, ``too_long``
            or ``not_finite`` (NaN, infinite or absurdly large samples).
        OSError: The file itself cannot be read.
    """
    with Path(path).open("rb") as file:
        container = identify(file)
        if container.name and container.name not in READABLE:
            raise _refuse(container)
        with _open(file, container) as sound:
            container = _settle(container, sound)
            rate, channels = sound.samplerate, sound.channels
            _check_shape(channels, rate, most_channels, rates)
            kept = min(int(most_seconds * rate), MOST_VALUES // channels)
            limit = int(longest_seconds * rate)
            size = os.fstat(file.fileno()).st_size
            declared, codec = sound.frames, sound.subtype.lower()
            reading = _read(sound, kept, limit, _BLOCK, size)
        if reading.has_failed:
            # The block in which a decoder fails is lost, so once more in small ones.
            with _open(file, container) as sound:
                reading = _read(sound, kept, limit, _SMALL_BLOCK, size)
        if not reading.frames:
            raise UnreadableFileError("no_audio", f"{container.name}, but nothing that can be decoded")
        promised = _promise(file, container, declared)
        return Decoded(
            samples=reading.samples,
            sample_rate=rate,
            container=container.name,
            codec=codec,
            declared_frames=promised,
            frames=reading.frames,
            is_partial=reading.has_failed or _falls_short(file, container, promised, reading.frames),
            is_excerpt=reading.frames > len(reading.samples),
        )


def _refuse(container: Container) -> UnreadableFileError:
    if container.name in ("iff", "riff"):
        return UnreadableFileError("not_audio", f"an {container.name.upper()} file without sound")
    codec = f" ({container.codec})" if container.codec not in ("", container.name) else ""
    return UnreadableFileError("unsupported_format", f"no decoder for {container.name}{codec}")


@contextmanager
def _open(file: BinaryIO, container: Container) -> Iterator["soundfile.SoundFile"]:
    """Open a sound file, first as it is, then behind what lies in front of it."""
    import soundfile

    message = ""
    for start in (0, container.start) if container.start else (0,):
        try:
            file.seek(0)
            # A descriptor of its own: libsndfile closes what it opened, and a path may have a name that it misreads.
            source: Any = _Behind(file, start) if start else os.dup(file.fileno())
            sound = soundfile.SoundFile(source)
        except (soundfile.LibsndfileError, TypeError, ValueError) as error:
            message = str(error)
            continue
        with sound:
            yield sound
        return
    if not container.name and not container.start:
        raise UnreadableFileError("not_audio", "no sound format is known that begins like this")
    is_foreign = "unimplemented" in message and container.codec != "flac"  # of FLAC, libsndfile says this of broken headers only
    if is_foreign or container.codec in ("speex", "theora"):
        raise UnreadableFileError("unsupported_format", f"no decoder for this kind of {container.name} {container.codec}".rstrip())
    raise UnreadableFileError("no_audio", f"{container.name or 'tags'}, but nothing that can be decoded")


def _settle(container: Container, sound: "soundfile.SoundFile") -> Container:
    """The container by the decoder's word where the bytes alone did not tell; other formats of the decoder stay closed."""
    if container.name:
        return container
    name = sound.format.lower()
    if name not in READABLE:
        raise UnreadableFileError("not_audio", "no sound format is known that begins like this")
    return Container(name, "", container.start)


def _check_shape(channels: int, rate: int, most_channels: int, rates: tuple[int, int]) -> None:
    if not 1 <= channels <= most_channels:
        raise UnreadableFileError("too_many_channels", f"{channels} channels; at most {most_channels} are read")
    if not rates[0] <= rate <= rates[1]:
        raise UnreadableFileError("bad_rate", f"a sample rate of {rate} Hz; {rates[0]} to {rates[1]} are read")


def _read(sound: "soundfile.SoundFile", kept: int, limit: int, block: int, size: int) -> _Reading:
    """Decode to the end; keep the first ``kept`` frames, count the rest."""
    import soundfile

    channels = sound.channels
    plausible = min(max(sound.frames, 0), size * _VALUES_PER_BYTE // channels)
    samples = np.empty((min(kept, plausible) + block, channels), np.float32)
    spare = np.empty((block, channels), np.float32)
    frames = stored = 0
    has_failed = False
    while True:
        is_kept = stored < kept
        if is_kept and stored + block > len(samples):
            samples = np.concatenate([samples[:stored], np.empty((max(stored, block), channels), np.float32)])
        target = samples[stored : stored + block] if is_kept else spare
        try:
            count = sound.buffer_read_into(memoryview(cast(Any, target)).cast("B"), "float32")
        except soundfile.LibsndfileError:
            has_failed = True
            break
        if not count:
            break
        _check_level(target[:count])
        frames += count
        stored += count if is_kept else 0
        if frames > limit:
            raise UnreadableFileError("too_long", f"more than {limit / sound.samplerate / 3600:g} hours of audio")
    return _Reading(samples[: min(stored, kept)], frames, has_failed)


def _check_level(block: np.ndarray) -> None:
    # A comparison with NaN is false, so NaN is caught too.
    if not (block.max() <= LOUDEST and block.min() >= -LOUDEST):
        raise UnreadableFileError("not_finite", "samples that are no numbers, infinite or absurdly large")


def _promise(file: BinaryIO, container: Container, estimate: int) -> int | None:
    """Frames that the header declares: the decoder's word but where it only estimates or corrects."""
    if container.name in ("wav", "aiff", "mp3"):
        return declared_frames(file, container) or (estimate if container.name != "mp3" else None)
    # Ogg has no length in its head: the decoder takes it from the last page that it finds.
    return estimate if container.name != "ogg" and 0 < estimate < _ABSURD else None


def _falls_short(file: BinaryIO, container: Container, promised: int | None, frames: int) -> bool:
    if container.name == "ogg":
        return is_cut_ogg(file)
    if promised is None:
        return False
    # A decoder drops encoder delay, padding and the header's own frame of an mp3: up to 4,608 sample frames.
    return frames < promised - (4_608 if container.name == "mp3" else 0)


def downmix(samples: np.ndarray) -> np.ndarray:
    """The mean of the channels, as float32.

    Args:
        samples: Shape (frames, channels), float32.

    Returns:
        Shape (frames,); of one channel the samples themselves, not a copy.
    """
    if samples.shape[1] == 1:
        return samples[:, 0]
    from spotify_ai_assets.audio.measures.kernels import mix

    return mix(np.ascontiguousarray(samples))


def resample(mono: np.ndarray, rate: int, target: int = SAMPLE_RATE) -> np.ndarray:
    """Change the sample rate with soxr's high quality, to ceil(n x target / rate) samples, as ``librosa.load`` does.

    Args:
        mono: Shape (n,), float32.
        rate: Its rate in Hz.
        target: The rate wanted, in Hz.
    """
    if rate == target:
        return mono
    import soxr

    length = -(-len(mono) * target // rate)
    made = soxr.resample(mono, rate, target, quality="HQ")
    return made[:length] if len(made) >= length else np.concatenate([made, np.zeros(length - len(made), np.float32)])
