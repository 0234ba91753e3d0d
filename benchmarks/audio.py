"""CPU time from an encoded file to stored features, beside librosa.load and librosa's own calls for the same features.

``ours`` and ``peer`` are 30-second clips per CPU second, from mp3, ogg and flac in equal parts, decoding, features, summary and
parquet included; their ``ratio`` is the median over files of the pairs. ``ratio_features`` is without decoding, on the same samples;
``ratio_default`` the same where the peer's tonnetz is librosa's default, from a constant-Q transform, which is another feature.
``ratio_<format>`` is one format each, wav too. ``decode_ms`` is decoding alone: below it nothing here can come.

Both sides compute log-mel in 128 and 64 bands, MFCC with two deltas, chroma, centroid, bandwidth, roll-off, flatness, contrast, zero
crossings, RMS, tonnetz of the STFT chroma, onset strength, tempo and beats. ``differences`` compares them, the worst clip of each
feature: the share of cells within 0.001 of the value or of the feature's 99th percentile, and the largest difference as a part of
the range. ``sound_ms`` are measures that the peer lacks, timed apart.

Without ``--data`` the clips are synthesised: chords, a bass line and drums over noise. With it they are excerpts of the recordings in
that folder; of those shorter than 30 seconds two are repeated and mixed. All are encoded here, by libsndfile.
"""

import importlib
import multiprocessing
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import measuring
from benchmarks.measuring import main
from spotify_ai_assets.audio.measures import rhythm, spectrum
from spotify_ai_assets.audio.measures.decoding import decode, downmix, resample
from spotify_ai_assets.audio.measures.description import Description, describe, summarise

RATE, SECONDS = 44_100, 30
FORMATS = ("mp3", "ogg", "flac", "wav")
HEADLINE = ("mp3", "ogg", "flac")
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif"})
FRAMED = (
    "log_mel", "mfcc", "mfcc_delta", "mfcc_delta2", "chroma", "centroid", "bandwidth", "rolloff", "flatness", "contrast", "zcr",
    "rms", "tonnetz", "onset_strength", "model_mel",
)  # fmt: skip
BLOCK = 1 << 18


def synthesise(seed: int) -> np.ndarray:
    """Half a minute of something like music: chords, a bass line and drums over a noise floor, in stereo.

    Args:
        seed: Decides tempo, key, timbre and rhythm.

    Returns:
        Shape (1,323,000, 2), float32.
    """
    rng = np.random.default_rng(seed)
    frames = RATE * SECONDS
    beat = 60 / rng.uniform(70, 160)
    sound = rng.normal(0, 0.002, (frames, 2))
    root = 110 * 2 ** (rng.integers(12) / 12)
    partials = np.arange(1, 9)
    timbre = rng.uniform(0.2, 1, 8) / partials
    for number in range(int(SECONDS / beat)):
        start = int(number * beat * RATE)
        length = min(int(beat * RATE * 1.5), frames - start)
        moment = np.arange(length) / RATE
        fade = np.exp(-3 * moment)
        degree = rng.choice([0, 3, 5, 7, 10]) if number % 4 == 0 else 0
        for semitones in (degree, degree + 4, degree + 7, degree - 12):
            waves = np.sin(2 * np.pi * root * 2 ** (semitones / 12) * partials[:, None] * moment)
            sound[start : start + length] += 0.05 * ((timbre @ waves) * fade)[:, None] * rng.uniform(0.5, 1, 2)
        hit = rng.normal(0, 0.3 if number % 2 else 0.1, (length, 2)) * np.exp(-30 * moment)[:, None]
        sound[start : start + length] += hit + (0.5 * np.sin(2 * np.pi * 60 * moment) * np.exp(-15 * moment))[:, None]
    return (sound / np.abs(sound).max() * rng.uniform(0.3, 0.95)).astype(np.float32)


def cut_excerpts(data: Path, clips: int) -> list[np.ndarray]:
    """Excerpts of 30 seconds, stereo at 44.1 kHz, of the recordings in a folder.

    Args:
        data: Searched at any depth.
        clips: How many.

    Raises:
        FileNotFoundError: It has no recordings.
    """
    files = sorted(path for path in data.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(f"no recordings in {data}")
    rng = np.random.default_rng(0)
    # Spread over the folder, whose order may be one of classes.
    chosen = [files[number] for number in np.linspace(0, len(files) - 1, min(clips, len(files))).astype(int)]
    recordings = [_as_stereo(path) for path in chosen]
    return [_excerpt(recordings, number, rng) for number in range(clips)]


def _as_stereo(path: Path) -> np.ndarray:
    decoded = decode(path)
    sides = [resample(np.ascontiguousarray(side), decoded.sample_rate, RATE) for side in decoded.samples.T[:2]]
    return np.stack([sides[0], sides[-1]], axis=1)


def _excerpt(recordings: Sequence[np.ndarray], number: int, rng: np.random.Generator) -> np.ndarray:
    frames = RATE * SECONDS
    recording = recordings[number % len(recordings)]
    if len(recording) >= frames:
        start = int(rng.integers(len(recording) - frames + 1))
        return recording[start : start + frames]
    other = recordings[int(rng.integers(len(recordings)))]
    return (np.resize(recording, (frames, 2)) + np.resize(np.roll(other, len(other) // 3, axis=0), (frames, 2))) / 2


def encode(clips: Sequence[np.ndarray], folder: Path) -> None:
    """Write clips in all formats, as ``0.mp3``, ``0.ogg`` and so on.

    Args:
        clips: Each of shape (frames, 2).
        folder: Gets the files.
    """
    import soundfile

    for number, clip in enumerate(clips):
        for suffix in FORMATS:
            with soundfile.SoundFile(folder / f"{number}.{suffix}", "w", RATE, 2) as file:
                # libsndfile's Vorbis encoder overruns its stack with more at once.
                for start in range(0, len(clip), BLOCK):
                    file.write(clip[start : start + BLOCK])


def call_librosa(mono: np.ndarray) -> Description:
    """The features by librosa's own calls, each from the samples, as its documentation shows them."""
    import librosa

    features = librosa.feature
    mfcc = features.mfcc(y=mono)
    chroma = features.chroma_stft(y=mono)
    tempo, beats = librosa.beat.beat_track(y=mono)
    return Description(
        log_mel=librosa.power_to_db(features.melspectrogram(y=mono)),
        mfcc=mfcc,
        mfcc_delta=features.delta(mfcc),
        mfcc_delta2=features.delta(mfcc, order=2),
        chroma=chroma,
        centroid=features.spectral_centroid(y=mono)[0],
        bandwidth=features.spectral_bandwidth(y=mono)[0],
        rolloff=features.spectral_rolloff(y=mono)[0],
        flatness=features.spectral_flatness(y=mono)[0],
        contrast=features.spectral_contrast(y=mono),
        zcr=features.zero_crossing_rate(mono)[0],
        rms=features.rms(y=mono)[0],
        tonnetz=features.tonnetz(chroma=chroma),
        onset_strength=librosa.onset.onset_strength(y=mono),
        tempo=float(np.squeeze(tempo)),
        beats=beats,
        tuning=0.0,  # the estimate stays inside chroma_stft
        model_mel=librosa.power_to_db(features.melspectrogram(y=mono, n_mels=64), top_db=None),
    )


def compare_values(ours: Description, peer: Description) -> dict[str, dict[str, float]]:
    """How far each feature is from the peer's: the share of cells within tolerance, and the largest difference over the range."""
    found: dict[str, dict[str, float]] = {}
    for name in FRAMED:
        mine, theirs = getattr(ours, name).astype(np.float64), getattr(peer, name).astype(np.float64)
        error = np.abs(mine - theirs)
        tolerance = 1e-3 * np.maximum(np.abs(theirs), np.percentile(np.abs(theirs), 99))
        extent = float(np.ptp(theirs)) or 1.0
        found[name] = {"share": float((error <= tolerance).mean()), "largest": float(error.max()) / extent}
        if name == "rolloff":
            found[name]["bins"] = float(np.round(error.max() / (spectrum.SAMPLE_RATE / spectrum.N_FFT)))
    same_beats = float(np.array_equal(ours.beats, peer.beats))
    tempo_error = abs(ours.tempo - peer.tempo) / (peer.tempo or 1.0)
    found["tempo"] = {"share": float(tempo_error < 1e-9), "largest": tempo_error}
    found["beats"] = {"share": same_beats, "largest": 1 - same_beats}
    return found


class Stages:
    """CPU milliseconds of named stages, one list each."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}

    def time(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function, note its CPU time and give what it gives."""
        started = time.process_time()
        result = function(*arguments)
        self.spent.setdefault(name, []).append(1000 * (time.process_time() - started))
        return result

    def median(self, name: str) -> float:
        """The median of a stage."""
        return statistics.median(self.spent[name])


def make_row(description: Description) -> dict[str, object]:
    """The stored columns of one file."""
    scalars, vectors = summarise(description)
    return {**scalars, **{name: [vector.tolist()] for name, vector in vectors.items()}}


def store(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """Write rows as one parquet file, as a shard's commit does."""
    pl.concat([pl.DataFrame(row) for row in rows]).write_parquet(path)


def _load(path: Path) -> np.ndarray:
    import librosa

    return librosa.load(path, sr=22_050)[0]


def _load_ours(path: Path) -> np.ndarray:
    decoded = decode(path)
    return resample(downmix(decoded.samples), decoded.sample_rate)


def compare(folder: str, clips: int) -> dict[str, Any]:
    """Time both sides on the clips of a folder, file by file in turn, in this process.

    Args:
        folder: As :func:`encode` leaves it.
        clips: How many.

    Returns:
        CPU milliseconds by stage, ratios by file, and the differences.
    """
    warnings.simplefilter("ignore")
    import librosa

    home = Path(folder)
    for path in (home / "0.mp3", home / "0.ogg"):
        describe(_load_ours(path))
        call_librosa(_load(path))
    librosa.feature.tonnetz(y=_load_ours(home / "0.wav"))
    stages, rows = Stages(), {"ours": [], "peer": []}
    worst: dict[str, dict[str, float]] = {}
    for number in range(clips):
        for suffix in FORMATS:
            path = home / f"{number}.{suffix}"
            mono = stages.time(f"ours_load_{suffix}", _load_ours, path)
            described = stages.time("ours_features", describe, mono)
            rows["ours"].append(stages.time("ours_summary", make_row, described))
            loaded = stages.time(f"peer_load_{suffix}", _load, path)
            called = stages.time("peer_features", call_librosa, loaded)
            rows["peer"].append(stages.time("peer_summary", make_row, called))
            stages.time(f"decode_{suffix}", decode, path)
        mono = _load_ours(home / f"{number}.mp3")
        _take_worst(worst, compare_values(describe(mono), call_librosa(mono)))
        chroma = librosa.feature.chroma_stft(y=mono)
        stages.time("tonnetz_stft", lambda given=chroma: librosa.feature.tonnetz(chroma=given))
        stages.time("tonnetz_cqt", lambda given=mono: librosa.feature.tonnetz(y=given))
        _time_parts(stages, home / f"{number}.mp3")
    for side, made in rows.items():
        stages.time(f"{side}_store", store, made, home / f"{side}.parquet")
        stages.spent[f"{side}_store"] = [spent / len(made) for spent in stages.spent[f"{side}_store"]]
    return {"spent": stages.spent, "worst": worst}


def _take_worst(worst: dict[str, dict[str, float]], found: Mapping[str, Mapping[str, float]]) -> None:
    for name, measures in found.items():
        so_far = worst.setdefault(name, dict(measures))
        for measure, value in measures.items():
            so_far[measure] = (min if measure == "share" else max)(so_far[measure], value)


def _time_parts(stages: Stages, path: Path) -> None:
    """Where the time of our side goes, part by part, on one mp3."""
    decoded = stages.time("part_decode", decode, path)
    wide = stages.time("part_downmix", downmix, decoded.samples)
    mono = stages.time("part_resample", resample, wide, decoded.sample_rate)
    seen = stages.time("part_spectrum", spectrum.scan, mono)
    levels = spectrum.to_decibels(seen.mel).reshape(spectrum.MEL_BANDS, seen.width)
    _, median = stages.time("part_onsets", rhythm.find_onsets, levels, seen.frames)
    stages.time("part_beats", rhythm.find_beats, median)
    tuning = stages.time("part_tuning", spectrum.estimate_tuning, seen)
    chroma = stages.time("part_chroma", spectrum.find_chroma, seen, tuning)
    stages.time("part_tonnetz", spectrum.find_tonnetz, chroma)
    described = stages.time("part_all_features", describe, mono)
    stages.time("part_summary", make_row, described)
    _time_sound(stages, decoded.samples, decoded.sample_rate, mono, described)


def _time_sound(stages: Stages, samples: np.ndarray, rate: int, mono: np.ndarray, described: Description) -> None:
    """What the peer lacks, as far as it is there."""
    calls: dict[str, tuple[str, tuple[object, ...]]] = {
        "loudness": ("measure_loudness", (samples, rate)),
        "silence": ("find_silence", (samples, rate)),
        "tonality": ("hear_key", (mono,)),
        "meter": ("find_meter", (described.onset_strength, described.beats, described.chroma)),
        "danceability": ("measure_danceability", (mono,)),
    }
    for name, (function, arguments) in calls.items():
        try:
            module = importlib.import_module(f"spotify_ai_assets.audio.measures.{name}")
        except ModuleNotFoundError:
            continue
        if f"sound_{name}" not in stages.spent:
            getattr(module, function)(*arguments)  # compiled before it is timed
        stages.time(f"sound_{name}", getattr(module, function), *arguments)


def analyse(path: str) -> float:
    """One file from bytes to a row; gives its tempo, so that nothing is left out."""
    return float(str(make_row(describe(_load_ours(Path(path))))["tempo"]))


def pace(folder: str, clips: int, workers: int) -> dict[str, float]:
    """Clips a second of wall time with so many processes, after each has started.

    Args:
        folder: As :func:`encode` leaves it.
        clips: How many, each in the compressed formats.
        workers: Processes.
    """
    paths = [str(Path(folder) / f"{number}.{suffix}") for number in range(clips) for suffix in HEADLINE]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(analyse, paths[: 4 * workers]))
        started = time.perf_counter()
        list(pool.map(analyse, paths))
        return {"clips_per_second": len(paths) / (time.perf_counter() - started)}


def start() -> dict[str, float]:
    """CPU seconds until a fresh process has described its first signal."""
    describe(np.zeros(22_050, np.float32))
    return {"cpu_seconds": time.process_time()}


def _pair(spent: Mapping[str, Sequence[float]], suffix: str) -> tuple[list[float], list[float]]:
    """CPU milliseconds of each file of a format, both sides."""
    place = FORMATS.index(suffix)

    def total(side: str) -> list[float]:
        parts = (spent[f"{side}_load_{suffix}"], spent[f"{side}_features"][place :: len(FORMATS)])
        summaries = spent[f"{side}_summary"][place :: len(FORMATS)]
        return [sum(row) + spent[f"{side}_store"][0] for row in zip(*parts, summaries, strict=True)]

    return total("ours"), total("peer")


def _median_ratio(peer: Sequence[float], ours: Sequence[float]) -> float:
    return statistics.median(theirs / mine for theirs, mine in zip(peer, ours, strict=True))


def measure(data: Path | None = None, clips: int = 12, warm: bool = False) -> dict[str, object]:
    """Time both sides.

    Args:
        data: A folder with recordings; without it clips are synthesised.
        clips: How many, each in four formats.
        warm: Leave out the time that compiling takes.
    """
    # A fresh process imports the functions by the name of this module, which a script does not have.
    here = importlib.import_module("benchmarks.audio")
    with tempfile.TemporaryDirectory() as temporary:
        _tell(f"making {clips} clips")
        encode(cut_excerpts(data, clips) if data else [synthesise(seed) for seed in range(clips)], Path(temporary))
        _tell("comparing")
        told = measuring.call(here.compare, temporary, clips, OMP_NUM_THREADS="1").told
        paces = {
            workers: measuring.call(here.pace, temporary, clips, workers, OMP_NUM_THREADS="1").told["clips_per_second"]
            for workers in (1, 2)
        }
        started = measuring.call(here.start).told["cpu_seconds"]
        cold = None if warm else measuring.call(here.start, NUMBA_CACHE_DIR=Path(temporary) / "cache").told["cpu_seconds"]
    document = _conclude(told["spent"], clips)
    document.update(
        {
            "data": "synthesised" if data is None else "recordings",
            "clips_per_second": {str(workers): round(value, 1) for workers, value in paces.items()},
            "start_cpu_seconds": round(started, 2),
            "compile_cpu_seconds": None if cold is None else round(cold - started, 1),
            "differences": {name: {key: float(f"{value:.3g}") for key, value in found.items()} for name, found in told["worst"].items()},
        }
    )
    for name, found in told["worst"].items():
        _tell(f"{name:16} within tolerance {found['share']:8.5f}, largest difference {found['largest']:.2g} of the range")
    return document


def _conclude(spent: Mapping[str, list[float]], clips: int) -> dict[str, Any]:
    """The document's figures of time."""
    pairs = {suffix: _pair(spent, suffix) for suffix in FORMATS}
    ours = [value for suffix in HEADLINE for value in pairs[suffix][0]]
    peer = [value for suffix in HEADLINE for value in pairs[suffix][1]]
    medians = {name: statistics.median(values) for name, values in spent.items()}
    extra = [cqt - stft for cqt, stft in zip(spent["tonnetz_cqt"], spent["tonnetz_stft"], strict=True) for _ in FORMATS]
    default = [features + more for features, more in zip(spent["peer_features"], extra, strict=True)]
    parts = {name[5:]: round(value, 2) for name, value in medians.items() if name.startswith("part_")}
    sound = {name[6:]: round(value, 2) for name, value in medians.items() if name.startswith("sound_")}
    for name, value in {**parts, **sound}.items():
        _tell(f"{name:16} {value:7.2f} ms CPU")
    return {
        "name": "audio",
        "ours": round(1000 / statistics.median(ours), 2),
        "peer": round(1000 / statistics.median(peer), 2),
        "ratio": round(_median_ratio(peer, ours), 2),
        "better": "higher",
        "unit": "30-second clips per CPU second",
        "rounds": clips * len(HEADLINE),
        "ratio_features": round(_median_ratio(spent["peer_features"], spent["ours_features"]), 2),
        "ratio_default": round(_median_ratio(default, spent["ours_features"]), 2),
        **{f"ratio_{suffix}": round(_median_ratio(peer, ours), 2) for suffix, (ours, peer) in pairs.items()},
        "ours_ms": {suffix: round(statistics.median(ours), 2) for suffix, (ours, _) in pairs.items()},
        "peer_ms": {suffix: round(statistics.median(peer), 2) for suffix, (_, peer) in pairs.items()},
        "features_ms": [round(medians["ours_features"], 2), round(medians["peer_features"], 2)],
        "decode_ms": {suffix: round(medians[f"decode_{suffix}"], 2) for suffix in FORMATS},
        "store_ms": round(medians["ours_store"], 2),
        "parts_ms": parts,
        "sound_ms": sound,
        "sound_ms_total": round(sum(sound.values()), 2),
    }


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(measure, __doc__, data=None, clips=12, warm=False)
