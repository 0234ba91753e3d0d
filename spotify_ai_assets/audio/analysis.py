"""The one pass over a file: it is decoded once, and everything that the platform measures is measured then.

The result is kept whole (``intake/store.py``), so that features, models, faults and duplicates are read from it and no file is
decoded again until the extractor changes. ``EXTRACTOR`` names what all numbers of an analysis depend on: the version of each
measure below, and every constant of its module. Another value of any of them is another extractor; a comment or a line break is not.
"""

import hashlib
import importlib
import io
import json
import math
import struct
import wave
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

_HERE = __name__.rpartition(".")[0]

VERSIONS = {
    "measures.containers": 1,
    "measures.decoding": 1,
    "measures.spectrum": 1,
    "measures.rhythm": 1,
    "measures.description": 1,
    "measures.loudness": 1,
    "measures.silence": 1,
    "measures.tonality": 1,
    "measures.meter": 1,
    "measures.danceability": 1,
    "measures.energy": 1,
    "faults.evidence": 1,
    "faults.fingerprints": 1,
    "models.mels": 1,
    "analysis": 1,
}
"""The measures of an analysis. Whoever changes what a measure or its kernels give, other than by a constant, raises its number."""

OUTLINE = 240
"""Parts of the outline of a wave."""

_ARRAYS = {"mel": np.uint8, "prints": np.uint32}
_VECTOR = "vector/"
_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint32), np.dtype(np.int32), np.dtype(np.float32))
_MOST_ENTRIES = 64
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
_PLAIN = (bool, int, float, str, bytes)


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that is measured of one file.

    Attributes:
        facts: ``container``, ``codec``, ``sample_rate`` (Hz), ``channels``, ``declared_ms`` (or ``None``), ``duration_ms`` (of all
            that can be decoded), ``analysed_ms`` (of what was measured), ``is_partial``, ``is_excerpt``, ``audio_digest`` (of the
            samples: the same sound in another container has the same).
        values: Scalars by the name of their column in ``audio/features``; ``None`` where a measure is not defined or not finite.
        vectors: Vectors by the name of their column, float32; ``beats_ms`` int32. ``wave`` is the outline of the
            wave, see ``outline``.
        evidence: What the detectors of faults judge by.
        prints: Landmarks, uint32 of shape (m, 2).
        mel: Packed mel of the models, uint8 of shape (64, at most 1292).
        extractor: Which extractor measured it.
    """

    facts: dict[str, Any]
    values: dict[str, float | int | None]
    vectors: dict[str, np.ndarray]
    evidence: dict[str, float]
    prints: np.ndarray
    mel: np.ndarray
    extractor: str

    def to_npz(self) -> bytes:
        """It as the bytes of an npz file; the same analysis gives the same bytes."""
        head = {"facts": self.facts, "values": self.values, "evidence": self.evidence, "extractor": self.extractor}
        text = json.dumps(head, sort_keys=True, allow_nan=False).encode()
        arrays = {"head": np.frombuffer(text, np.uint8), "mel": self.mel, "prints": self.prints}
        arrays |= {_VECTOR + name: vector for name, vector in self.vectors.items()}
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(arrays):
                entry = io.BytesIO()
                np.lib.format.write_array(entry, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy", _FIRST_DATE), entry.getvalue())
        return file.getvalue()


def from_npz(data: bytes) -> Analysis:
    """Read what ``Analysis.to_npz`` wrote; never more memory than the bytes themselves, whoever wrote them.

    Raises:
        ValueError: They are something else, or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > _MOST_ENTRIES or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("no analysis")
            arrays = {entry.filename.removesuffix(".npy"): _read_array(archive.read(entry)) for entry in entries}
        head = json.loads(arrays.pop("head").tobytes())
        fixed = {name: _of_type(arrays.pop(name), dtype) for name, dtype in _ARRAYS.items()}
        vectors = {name.removeprefix(_VECTOR): vector for name, vector in arrays.items()}
        return Analysis(
            facts=dict(head["facts"]),
            values=dict(head["values"]),
            vectors=vectors,
            evidence=dict(head["evidence"]),
            extractor=str(head["extractor"]),
            **fixed,
        )
    except (zipfile.BadZipFile, KeyError, TypeError, EOFError, NotImplementedError, RuntimeError, struct.error) as error:
        raise ValueError("no analysis") from error


def _read_array(data: bytes) -> np.ndarray:
    """An array of a plain type whose header tells no more than is there, which numpy's own reader would believe."""
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("no analysis")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    rest = data[file.tell() :]
    if is_fortran or dtype not in _DTYPES or math.prod(shape) * dtype.itemsize != len(rest):
        raise ValueError("no analysis")
    return np.frombuffer(rest, dtype).reshape(shape)


def _of_type(array: np.ndarray, dtype: type) -> np.ndarray:
    if array.dtype != dtype or array.ndim != 2:
        raise ValueError("no analysis")
    return array


# Measuring -----------------------------------------------------------------------------------------------------------------


def analyse(path: str | Path) -> Analysis:
    """Decode a file and measure everything.

    Loudness, silence and faults are measured on the signal as it is, all else on its mean of channels at 22,050 Hz.

    Args:
        path: The file; its content decides the format.

    Raises:
        UnreadableFileError: It cannot be decoded, by the rules of ``measures.decoding.decode``.
        OSError: It cannot be read.
    """
    from spotify_ai_assets.audio.faults.evidence import gather_evidence
    from spotify_ai_assets.audio.faults.fingerprints import digest_audio, find_landmarks
    from spotify_ai_assets.audio.measures.decoding import decode, downmix, resample
    from spotify_ai_assets.audio.measures.description import describe, summarise
    from spotify_ai_assets.audio.models.mels import pack

    decoded = decode(path)
    samples, rate = decoded.samples, decoded.sample_rate
    facts = {
        "container": decoded.container,
        "codec": decoded.codec,
        "sample_rate": rate,
        "channels": samples.shape[1],
        "declared_ms": None if decoded.declared_frames is None else _milliseconds(decoded.declared_frames, rate),
        "duration_ms": _milliseconds(decoded.frames, rate),
        "analysed_ms": _milliseconds(len(samples), rate),
        "is_partial": decoded.is_partial,
        "is_excerpt": decoded.is_excerpt,
        "audio_digest": digest_audio(samples, rate),
    }
    del decoded
    native = _measure_native(samples, rate)
    evidence = gather_evidence(samples, rate)
    mono = downmix(samples)
    del samples  # the largest thing in memory, and all that follows needs a quarter of it
    mono = resample(mono, rate)
    description = describe(mono)
    scalars, vectors = summarise(description)
    values = {"duration_ms": facts["duration_ms"], **native, **scalars, **_measure_music(mono, description, {**scalars, **native})}
    return Analysis(
        facts=facts,
        values={name: _plain(value) for name, value in values.items()},
        vectors={name: _compact(vector) for name, vector in {**vectors, "wave": outline(mono)}.items()},
        evidence=evidence,
        prints=find_landmarks(mono),
        mel=pack(description.model_mel),
        extractor=EXTRACTOR,
    )


def outline(mono: np.ndarray) -> np.ndarray:
    """The wave as pictures show it: seconds, lowest and highest samples of ``OUTLINE`` equal parts, one after the other, float32."""
    from spotify_ai_assets.audio.measures.decoding import SAMPLE_RATE

    parts = np.array_split(mono, OUTLINE) if len(mono) else []
    filled = [part if len(part) else np.zeros(1, np.float32) for part in parts]
    seconds = np.cumsum([len(part) for part in parts]) / SAMPLE_RATE
    return np.concatenate([seconds, [part.min() for part in filled], [part.max() for part in filled]]).astype(np.float32)


def _milliseconds(frames: int, rate: int) -> int:
    return round(1000 * frames / rate)


def _measure_native(samples: np.ndarray, rate: int) -> dict[str, float | None]:
    """What depends on the rate and the channels of the file."""
    from spotify_ai_assets.audio.measures.loudness import measure_loudness
    from spotify_ai_assets.audio.measures.silence import find_silence

    loudness = measure_loudness(samples, rate)
    start, end = find_silence(samples, rate)
    return {
        "loudness": loudness.integrated_lufs,
        "loudness_short_term_max_lufs": loudness.short_term_max_lufs,
        "loudness_range_lu": loudness.range_lu,
        "true_peak_dbtp": loudness.true_peak_dbtp,
        "dynamic_range_db": loudness.dynamic_range_db,
        "silence_start_ms": start,
        "silence_end_ms": end,
    }


def _measure_music(mono: np.ndarray, description: Any, known: Mapping[str, Any]) -> dict[str, float | int | None]:
    """What listeners hear in it: key, tempo, metre, energy, danceability."""
    from spotify_ai_assets.audio.measures.danceability import measure_danceability
    from spotify_ai_assets.audio.measures.energy import measure_energy, measure_onset_rate
    from spotify_ai_assets.audio.measures.meter import find_meter, weigh_tempo
    from spotify_ai_assets.audio.measures.tonality import hear_key

    key = hear_key(mono)
    tempo = weigh_tempo(description.onset_strength, description.tempo)
    meter = find_meter(description.onset_strength, description.beats, description.chroma)
    onset_rate = measure_onset_rate(description.onset_strength)
    return {
        "key": key.key,
        "mode": key.mode,
        "key_confidence": key.confidence,
        "tempo": tempo.tempo,
        "tempo_confidence": tempo.confidence,
        "tempo_alternative": tempo.alternative,
        "time_signature": meter.time_signature,
        "time_signature_confidence": meter.confidence,
        "onset_rate_hz": onset_rate,
        "energy": measure_energy(known["loudness"], known["loudness_range_lu"], onset_rate, known["centroid_hz_mean"]),
        "danceability": measure_danceability(mono),
    }


def _plain(value: Any) -> float | int | None:
    """A number of Python, or ``None`` for one that is not finite."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if value is None or not math.isfinite(value) else value


def _compact(vector: Any) -> np.ndarray:
    array = np.asarray(vector)
    return array.astype(np.int32 if array.dtype.kind in "iu" else np.float32)


def warm_up() -> None:
    """Import and compile all that ``analyse`` needs, by analysing short noise of several shapes."""
    import tempfile

    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for number, (rate, channels, seconds) in enumerate(((44_100, 2, 4.0), (22_050, 1, 4.0), (48_000, 3, 0.5), (8_000, 1, 0.05))):
            path = Path(folder, f"{number}.wav")
            with wave.open(str(path), "wb") as file:
                file.setparams((channels, 2, rate, 0, "NONE", ""))
                noise = random.normal(0, 3000, (int(rate * seconds), channels))
                noise *= 0.2 + (np.arange(len(noise)) % (rate // 2) < rate // 20)[:, None]  # something that beats
                file.writeframes(np.clip(noise, -32768, 32767).astype("<i2").tobytes())
            analyse(path)


# The extractor -------------------------------------------------------------------------------------------------------------


def name_extractor(versions: Mapping[str, int], constants: Mapping[str, Mapping[str, str]]) -> str:
    """The digest that names an extractor: 16 hexadecimal digits.

    Args:
        versions: Version of each measure.
        constants: Constants of each measure's module, as text.
    """
    declared = {"versions": dict(versions), "constants": {name: dict(each) for name, each in constants.items()}}
    return hashlib.sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest()[:16]


def read_constants(module: ModuleType) -> dict[str, str]:
    """The constants of a module: what has a name in capitals and is a plain value, or a tuple, set or mapping of such."""
    return {name: _spell(value) for name, value in vars(module).items() if name.lstrip("_").isupper() and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(each) for each in (*value.keys(), *value.values()))
    if isinstance(value, tuple | frozenset | set | list):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, _PLAIN)


def _spell(value: Any) -> str:
    """A value as text that does not depend on the order in which a set or a mapping was filled."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(sorted(f"{_spell(key)}: {_spell(each)}" for key, each in value.items())) + "}"
    if isinstance(value, frozenset | set):
        return "{" + ", ".join(sorted(map(_spell, value))) + "}"
    if isinstance(value, tuple | list):
        return "(" + ", ".join(map(_spell, value)) + ")"
    return repr(value)


EXTRACTOR = name_extractor(VERSIONS, {name: read_constants(importlib.import_module(f"{_HERE}.{name}")) for name in VERSIONS})
"""Names what every number of an analysis depends on."""
