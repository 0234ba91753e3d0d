"""Landmarks and the copies that they find."""

import io
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ai_assets.audio.faults.duplicates import SCHEMA, find_duplicates
from spotify_ai_assets.audio.faults.fingerprints import LEAST_GAP, MOST_GAP, PITCHES, Landmarks, digest_audio, find_landmarks, pack, unpack

RATE = 22_050


def melody(seed: int, seconds: float = 12.0) -> np.ndarray:
    """Notes at random times and pitches with some partials, and a little noise."""
    rng = np.random.default_rng(seed)
    out = 0.002 * rng.normal(0, 1, int(seconds * RATE))
    for _ in range(int(6 * seconds)):
        begin = int(rng.uniform(0, seconds - 0.5) * RATE)
        t = np.arange(int(rng.uniform(0.2, 0.5) * RATE)) / RATE
        hz = 220 * 2 ** (rng.uniform(0, 30) / 12)
        tone = sum(np.sin(2 * np.pi * hz * partial * t) / partial for partial in (1, 2, 3)) * np.exp(-4 * t) * np.minimum(t / 0.01, 1)
        out[begin : begin + len(t)] += rng.uniform(0.1, 0.4) * tone
    return (0.6 * out / np.abs(out).max()).astype(np.float32)


def code(signal: np.ndarray, container: str) -> np.ndarray:
    buffer = io.BytesIO()
    soundfile.write(buffer, signal, RATE, format=container)
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32")[0]


@pytest.fixture(scope="module")
def prints() -> dict[str, np.ndarray]:
    return {f"melody-{seed}": find_landmarks(melody(seed)) for seed in range(6)}


def match(prints: dict[str, np.ndarray], copy: np.ndarray) -> dict[str, Any]:
    """The row of the only pair, which must be that of the first melody and the copy."""
    pairs = find_duplicates({**prints, "~copy": find_landmarks(copy)})
    assert [row[:2] for row in pairs.iter_rows()] == [("melody-0", "~copy")]
    return pairs.row(0, named=True)


def test_different_recordings_are_no_duplicates(prints: dict[str, np.ndarray]) -> None:
    assert find_duplicates(prints).is_empty()


def groove(tune: int, tempo: float, seconds: float = 10.0) -> np.ndarray:
    """One drum pattern at a tempo, in all tracks, under a tune of its own."""
    rng, drums = np.random.default_rng(tune), np.random.default_rng(99)
    out = 0.001 * rng.normal(0, 1, int(seconds * RATE))
    strokes = [drums.normal(0, 1, 2_000) * np.exp(-np.arange(2_000) / length) for length in (80, 300, 700)]
    step = 60 / tempo / 4
    for number in range(int((seconds - 0.6) / step)):
        begin = int(number * step * RATE)
        out[begin : begin + 2_000] += 0.5 * strokes[(2, 0, 1, 0, 2, 0, 1, 1)[number % 8]]
        if number % 2 == 0:
            t = np.arange(int(0.3 * RATE)) / RATE
            hz = 220 * 2 ** (int(rng.integers(0, 24)) / 12)
            out[begin : begin + len(t)] += 0.3 * np.sin(2 * np.pi * hz * t) * np.exp(-5 * t)
    return (0.6 * out / np.abs(out).max()).astype(np.float32)


def test_tracks_over_one_drum_pattern_at_unlike_tempos_are_no_duplicates() -> None:
    tempos = (112.0, 116.0, 120.0, 124.0, 128.0)
    assert find_duplicates({f"{tune}": find_landmarks(groove(tune, tempo)) for tune, tempo in enumerate(tempos)}).is_empty()


def test_a_copy_of_what_a_machine_repeats_is_found() -> None:
    bar = groove(7, 120.0, 2.6)[: 2 * RATE]
    loop = np.tile(bar, 5)
    pairs = find_duplicates({"loop": find_landmarks(loop), "~copy": find_landmarks(code(loop, "MP3"))})
    assert pairs.select("kind").to_series().to_list() == ["near"]


@pytest.mark.parametrize("container", ["MP3", "OGG"])
@pytest.mark.parametrize("gain", [0.5, 1.6])
def test_a_copy_in_another_encoding_and_gain_is_near(prints: dict[str, np.ndarray], container: str, gain: float) -> None:
    row = match(prints, code(melody(0) * np.float32(gain), container))
    assert row["kind"] == "near"
    assert row["score"] > 0.9
    assert (row["speed"], row["pitch_semitones"]) == (1.0, 0.0)
    assert abs(row["offset_ms"]) <= 60


def test_an_excerpt_is_found_with_its_place(prints: dict[str, np.ndarray]) -> None:
    row = match(prints, melody(0)[3 * RATE : 9 * RATE])
    assert row["kind"] == "near"
    assert row["offset_ms"] == pytest.approx(3_000, abs=60)
    assert row["overlap_ms"] == pytest.approx(6_000, abs=1_200)


@pytest.mark.parametrize("speed", [0.97, 1.03, 2 ** (1 / 12)])
def test_a_copy_at_another_speed_is_found_with_its_speed(prints: dict[str, np.ndarray], speed: float) -> None:
    row = match(prints, soxr.resample(melody(0), RATE * speed, RATE).astype(np.float32))
    assert row["kind"] == "speed"
    assert row["speed"] == pytest.approx(speed, rel=0.004)
    assert row["pitch_semitones"] == pytest.approx(12 * np.log2(speed), abs=0.05)


def test_a_copy_a_semitone_lower_at_the_same_tempo_is_found(prints: dict[str, np.ndarray]) -> None:
    import librosa

    row = match(prints, librosa.effects.pitch_shift(melody(0), sr=RATE, n_steps=-1))
    assert row["kind"] == "pitch"
    assert row["pitch_semitones"] == pytest.approx(-1, abs=0.1)
    assert row["speed"] == 1.0


def test_changed_copies_are_only_looked_for_when_asked(prints: dict[str, np.ndarray]) -> None:
    copy = find_landmarks(soxr.resample(melody(0), RATE * 1.0595, RATE).astype(np.float32))
    assert find_duplicates({**prints, "~copy": copy}, with_changed=False).is_empty()


def test_equal_samples_are_exact_whatever_the_container() -> None:
    signal = melody(1, 3.0)
    coded = np.rint(signal * 32_768).astype(np.int16)
    copies = []
    for container in ("WAV", "FLAC"):
        buffer = io.BytesIO()
        soundfile.write(buffer, coded, RATE, format=container)
        buffer.seek(0)
        copies.append(soundfile.read(buffer, dtype="float32", always_2d=True)[0])
    digests = {name: digest_audio(samples, RATE) for name, samples in zip("ab", copies, strict=True)}
    digests["c"] = digest_audio(copies[0][:-1], RATE)
    prints = {name: find_landmarks(samples[:, 0]) for name, samples in zip("ab", copies, strict=True)}
    pairs = find_duplicates(prints, digests)
    assert pairs.select("file_id", "other_file_id", "kind", "score").rows() == [("a", "b", "exact", 1.0)]
    assert digests["c"] != digests["a"] != digest_audio(copies[0], 44_100)


def test_many_copies_are_one_chain_and_not_all_pairs() -> None:
    copy = find_landmarks(melody(2, 5.0))
    pairs = find_duplicates({f"{number:03}": copy for number in range(60)}, with_changed=False, neighbours=3)
    assert len(pairs) <= 3 * 60
    reached = {"000"}
    for one, other in pairs.select("file_id", "other_file_id").sort("file_id").iter_rows():
        if one in reached:
            reached.add(other)
    assert len(reached) == 60


def test_a_share_of_the_keys_is_enough_for_whole_copies(prints: dict[str, np.ndarray]) -> None:
    rows = sum(map(len, prints.values()))
    pairs = find_duplicates({**prints, "~copy": find_landmarks(code(melody(0), "MP3"))}, budget=rows // 3)
    assert [row[:2] for row in pairs.iter_rows()] == [("melody-0", "~copy")]


def test_a_spectrogram_at_hand_gives_the_same_landmarks() -> None:
    import librosa

    signal = melody(3)
    spectrum = np.abs(librosa.stft(signal, n_fft=2048, hop_length=512))
    ours, theirs = find_landmarks(signal), find_landmarks(signal, spectrum)
    same = len({*map(tuple, ours.tolist())} & {*map(tuple, theirs.tolist())})
    assert same >= 0.98 * len(ours) > 100


def test_landmarks_do_not_depend_on_the_gain() -> None:
    signal = melody(4, 4.0)
    assert np.array_equal(find_landmarks(signal), find_landmarks(signal * np.float32(0.25)))


def test_landmarks_of_a_long_signal_continue_over_its_parts() -> None:
    signal = np.concatenate([melody(seed) for seed in range(3)])
    frames = unpack(find_landmarks(signal)).frame
    assert np.diff(np.unique(frames)).max() < 43
    assert frames.max() > 2 * 12 * 43


@pytest.mark.parametrize("frames", [0, 1, 2, 511, 512, 2_047, 2_048, 5_000])
def test_short_or_silent_signals_have_few_or_no_landmarks(frames: int) -> None:
    assert find_landmarks(np.zeros(frames, np.float32)).shape == (0, 2)
    stored = find_landmarks(np.random.default_rng(0).normal(0, 0.1, frames).astype(np.float32))
    assert stored.dtype == np.uint32
    assert stored.shape[1] == 2


def test_nothing_has_no_duplicates() -> None:
    empty = np.zeros((0, 2), np.uint32)
    for prints in ({}, {"a": empty}, {"a": empty, "b": empty}):
        found = find_duplicates(prints)
        assert found.is_empty()
        assert dict(found.schema) == SCHEMA


def test_values_that_are_not_finite_do_not_spread() -> None:
    signal = melody(5, 4.0)
    signal[100] = np.nan
    assert len(find_landmarks(signal)) > 50


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, PITCHES - 1), st.integers(0, PITCHES - 1), st.integers(LEAST_GAP, MOST_GAP), st.integers(0, 2**31)),
        min_size=1,
    )
)
def test_packed_landmarks_unpack_to_themselves(rows: list[tuple[int, int, int, int]]) -> None:
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    unpacked = unpack(pack(Landmarks(*columns)))
    for column, back in zip(columns, unpacked, strict=True):
        assert np.array_equal(column, back)


def test_landmarks_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="two columns"):
        unpack(np.zeros((3, 3), np.uint32))
