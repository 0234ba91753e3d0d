"""Each feature against librosa's own function, on synthetic and on real audio; and what silence and a moment of sound give."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import librosa
import numpy as np
import pytest

from spotify_ai_assets.audio.measures.decoding import decode, downmix, resample
from spotify_ai_assets.audio.measures.description import Description, describe, find_delta, summarise

DATA = Path(__file__).resolve().parents[3] / "../shared/data"
RATE = 22_050
BIN = RATE / 2048
TIME = np.arange(4 * RATE) / RATE
RNG = np.random.default_rng(0)
SIGNALS = {
    "noise": RNG.normal(0, 0.1, len(TIME)),
    "tone": 0.5 * np.sin(2 * np.pi * 440 * TIME),
    "high tone": 0.5 * np.sin(2 * np.pi * 5003.3 * TIME),
    "square": np.sign(np.sin(2 * np.pi * 100 * TIME)),
    "constant": np.full(len(TIME), 0.5),
    "sound after silence": np.where(TIME < 2, 0, RNG.normal(0, 0.3, len(TIME))),
    "clicks in noise": RNG.normal(0, 1e-3, len(TIME)) + (np.arange(len(TIME)) % 9_000 < 40) * RNG.normal(0, 0.5, len(TIME)),
    "faint": RNG.normal(0, 1e-6, len(TIME)),
    "far above full scale": RNG.normal(0, 1e3, len(TIME)),
    "chord": sum(0.1 * np.sin(2 * np.pi * hertz * TIME) * np.exp(-(TIME % 0.5) * 4) for hertz in (220, 277.2, 329.6, 880)),
}
LENGTHS = (1, 2, 3, 100, 511, 512, 513, 1_023, 1_024, 1_025, 1_535, 1_536, 2_047, 2_048, 2_049, 4_095, 4_096, 4_097, 8_192)


def call_librosa(mono: np.ndarray) -> dict[str, np.ndarray]:
    """Every feature by librosa's plain calls; where a signal is too short for one, it is left out."""
    features = librosa.feature
    mfcc = features.mfcc(y=mono)
    mode = "interp" if mfcc.shape[1] >= 9 else "nearest"
    chroma = features.chroma_stft(y=mono)
    found = {
        "log_mel": librosa.power_to_db(features.melspectrogram(y=mono)),
        "mfcc": mfcc,
        "mfcc_delta": features.delta(mfcc, mode=mode),
        "mfcc_delta2": features.delta(mfcc, order=2, mode=mode),
        "chroma": chroma,
        "centroid": features.spectral_centroid(y=mono)[0],
        "bandwidth": features.spectral_bandwidth(y=mono)[0],
        "rolloff": features.spectral_rolloff(y=mono)[0],
        "flatness": features.spectral_flatness(y=mono)[0],
        "contrast": features.spectral_contrast(y=mono),
        "zcr": features.zero_crossing_rate(mono)[0],
        "rms": features.rms(y=mono)[0],
        "tonnetz": features.tonnetz(chroma=chroma),
        "model_mel": librosa.power_to_db(features.melspectrogram(y=mono, n_mels=64), top_db=None),
        "tuning": np.array([librosa.estimate_tuning(S=np.abs(librosa.stft(mono)) ** 2)]),
    }
    if mfcc.shape[1] > 1:
        found["onset_strength"] = librosa.onset.onset_strength(y=mono)
        tempo, found["beats"] = librosa.beat.beat_track(y=mono)
        found["tempo"] = np.atleast_1d(tempo)
    return found


def check_against(ours: Description, theirs: Mapping[str, np.ndarray]) -> None:
    """Rule: within 0.001 of the value or of the 99th percentile in 99.9 % of the cells, nowhere off by 2 % of the range."""
    for name, peer in theirs.items():
        mine = np.atleast_1d(getattr(ours, name)).astype(np.float64)
        assert mine.shape == peer.shape, name
        assert np.isfinite(mine).all(), name
        if name in ("beats", "tempo", "tuning"):
            assert np.allclose(mine, peer, rtol=1e-9, atol=1e-9), name
            continue
        error = np.abs(mine - peer)
        if name == "rolloff":
            assert error.max() <= BIN * 1.001, name
            assert (error > BIN / 2).sum() <= max(1, 1e-3 * error.size), name
            continue
        # Of what is constant, as in silence, both sides keep their rounding: that of MFCCs of some thousand is 1e-4.
        rounding = 1e-4 if name.startswith("mfcc") else 1e-5
        tolerance = 1e-3 * np.maximum(np.abs(peer), np.percentile(np.abs(peer), 99)) + rounding
        assert (error <= tolerance).mean() >= 0.999, name
        assert error.max() <= 0.02 * (np.ptp(peer) or np.abs(peer).max()) + rounding, name


def compare(mono: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa warns of short and of silent signals
        peer = call_librosa(mono)
    check_against(describe(mono), peer)


@pytest.mark.parametrize("name", SIGNALS)
def test_features_of_synthetic_signals_are_those_of_librosa(name):
    compare(SIGNALS[name].astype(np.float32))


@pytest.mark.parametrize("length", LENGTHS)
def test_features_of_short_signals_are_those_of_librosa(length):
    compare(np.random.default_rng(length).normal(0, 0.2, length).astype(np.float32))


@pytest.mark.parametrize("length", [1, 700, 60_000])
def test_features_of_silence_are_those_of_librosa(length):
    compare(np.zeros(length, np.float32))


def read(path: Path, seconds: int) -> np.ndarray:
    decoded = decode(path)
    return np.ascontiguousarray(resample(downmix(decoded.samples), decoded.sample_rate)[: seconds * RATE])


@pytest.mark.parametrize("number", range(10))
def test_features_of_recordings_are_those_of_librosa(number):
    files = sorted((DATA / "audio-music").glob("*.ogg"))
    if not files:
        pytest.skip("the shared recordings audio-music are not here")
    compare(read(files[number], 20))


def test_features_of_sounds_are_those_of_librosa():
    files = sorted((DATA / "audio-esc10").rglob("*.ogg"))[::64]
    if not files:
        pytest.skip("the shared sounds audio-esc10 are not here")
    for path in files:
        compare(read(path, 5))


def test_silence_has_a_plain_description():
    found = describe(np.zeros(3 * RATE, np.float32))
    assert (found.centroid == 0).all()
    assert (found.rolloff == 0).all()
    assert (found.flatness == 1).all()
    assert (found.chroma == 0).all()
    assert np.allclose(found.model_mel, -100)
    assert (found.rms == 0).all()
    assert (found.zcr == 0).all()
    assert found.tempo == found.tuning == 0
    scalars, vectors = summarise(found)
    assert np.isfinite(list(scalars.values())).all()
    assert all(np.isfinite(vector).all() for vector in vectors.values())
    assert vectors["beats_ms"].shape == (0,)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("frames", [9, 10, 100])
def test_deltas_are_those_of_librosa_at_the_ends_too(order, frames):
    values = np.random.default_rng(frames).normal(0, 50, (20, frames)).astype(np.float32)
    assert np.abs(find_delta(values, order) - librosa.feature.delta(values, order=order)).max() < 1e-4


def test_frames_behind_the_end_change_nothing():
    # The kernels take sixteen frames at a time: what lies behind the last must not reach a limit or a mean.
    signal = np.zeros(40 * 512, np.float32)
    signal[:-3_000] = np.random.default_rng(5).normal(0, 0.1, len(signal) - 3_000)
    found = describe(signal)
    assert found.log_mel.shape == (128, 41)
    assert found.log_mel.max() - found.log_mel.min() == pytest.approx(80, abs=1e-4)


def test_each_array_has_a_row_for_each_frame():
    found = describe(np.random.default_rng(6).normal(0, 0.1, 5 * RATE).astype(np.float32))
    frames = 1 + 5 * RATE // 512
    tables = {"log_mel": 128, "mfcc": 20, "mfcc_delta": 20, "mfcc_delta2": 20, "chroma": 12, "contrast": 7, "tonnetz": 6, "model_mel": 64}
    for name, rows in tables.items():
        assert getattr(found, name).shape == (rows, frames), name
        assert getattr(found, name).dtype == np.float32, name
    for name in ("centroid", "bandwidth", "rolloff", "flatness", "zcr", "rms", "onset_strength"):
        assert getattr(found, name).shape == (frames,), name
        assert getattr(found, name).dtype == np.float32, name


def test_the_same_signal_has_the_same_description_in_any_float_type():
    signal = np.random.default_rng(7).normal(0, 0.1, 20_000).astype(np.float32)
    first, second = describe(signal), describe(signal.astype(np.float64))
    for name in ("log_mel", "mfcc", "chroma", "contrast", "onset_strength"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name


def test_a_summary_has_means_and_deviations_under_the_names_of_columns():
    found = describe(SIGNALS["chord"].astype(np.float32))
    scalars, vectors = summarise(found)
    assert set(scalars) == {
        "tempo", "tuning", "centroid_hz_mean", "centroid_hz_std", "bandwidth_hz_mean", "bandwidth_hz_std", "rolloff_hz_mean",
        "rolloff_hz_std", "flatness_mean", "flatness_std", "zcr_mean", "zcr_std", "rms_mean", "rms_std", "onset_strength_mean",
        "onset_strength_std",
    }  # fmt: skip
    bands = {"mfcc": 20, "chroma": 12, "contrast": 7, "tonnetz": 6, "log_mel": 128}
    lengths = {f"{name}_{measure}": count for name, count in bands.items() for measure in ("mean", "std")}
    lengths |= {"mfcc_delta_std": 20, "mfcc_delta2_std": 20}
    assert {name: len(vector) for name, vector in vectors.items() if name != "beats_ms"} == lengths
    assert all(vector.dtype == np.float32 for name, vector in vectors.items() if name != "beats_ms")
    assert vectors["beats_ms"].dtype == np.int32
    assert vectors["beats_ms"].tolist() == [round(int(frame) * 512 / 22.05) for frame in found.beats]
    assert scalars["centroid_hz_mean"] == pytest.approx(found.centroid.mean(), rel=1e-6)
    assert np.allclose(vectors["mfcc_std"], found.mfcc.std(axis=1))


def test_a_constant_q_tonnetz_is_had_on_demand_under_its_own_name():
    signal = SIGNALS["chord"].astype(np.float32)
    plain, found = describe(signal), describe(signal, with_cqt=True)
    assert plain.tonnetz_cqt is None
    assert found.tonnetz_cqt is not None
    assert np.abs(found.tonnetz_cqt - librosa.feature.tonnetz(y=signal)).max() < 1e-5
    assert np.array_equal(found.tonnetz, plain.tonnetz)
    assert "tonnetz_cqt_mean" in summarise(found)[1]
    assert "tonnetz_cqt_mean" not in summarise(plain)[1]
