from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ai_assets.audio.measures.tonality import MAJOR, MINOR, Key, find_key, hear_key, trace_chroma

MUSIC = Path(__file__).resolve().parents[4] / "shared" / "data" / "audio-music"
SCALES = {1: (0, 2, 4, 5, 7, 9, 11), 0: (0, 2, 3, 5, 7, 8, 11)}
RATE = 22_050


def chord(key: int, mode: int, degree: int) -> np.ndarray:
    """Strengths of the twelve pitch classes while the triad of a degree of a scale sounds over its root."""
    scale = SCALES[mode]
    notes = [(key + scale[(degree + step) % 7]) % 12 for step in (0, 2, 4)]
    strengths = np.full(12, 0.02)
    strengths[notes] = (1, 0.7, 0.8)
    return strengths


def progression(key: int, mode: int, degrees: tuple[int, ...] = (0, 3, 4, 0, 5, 3, 4, 0), frames: int = 90) -> np.ndarray:
    return np.repeat(np.stack([chord(key, mode, degree) for degree in degrees], axis=1), frames, axis=1)


def play(key: int, mode: int, degrees: tuple[int, ...], cents: float = 0.0) -> np.ndarray:
    """Chords of tones with eight overtones and a bass, a second each."""
    time = np.arange(RATE) / RATE
    bars = []
    for degree in degrees:
        notes = [key + SCALES[mode][(degree + step) % 7] + 12 * ((degree + step) // 7) for step in (0, 2, 4)]
        bar = np.zeros(RATE)
        for note in (notes[0] - 12, *(note + 12 for note in notes)):
            pitch = 440 * 2 ** ((48 + note - 69 + cents / 100) / 12)
            bar += sum(np.sin(2 * np.pi * pitch * number * time) / number**1.5 for number in range(1, 9))
        bars.append(bar * np.exp(-time))
    return np.concatenate(bars)


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("key", range(12))
def test_a_progression_in_each_key_is_found(key, mode):
    found = find_key(progression(key, mode))
    assert (found.key, found.mode) == (key, mode)
    assert found.confidence > 0.5


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("cents", [-30, 0, 40])
def test_music_that_sounds_is_heard_in_its_key_whatever_its_tuning(mode, cents):
    for key in range(12):
        found = hear_key(play(key, mode, (0, 3, 4, 0, 5, 3, 4, 0), cents).astype(np.float32))
        assert (found.key, found.mode) == (key, mode)
        assert found.confidence > 0.3


def test_librosas_chroma_is_read_as_well():
    import librosa

    for mode in (0, 1):
        mono = play(4, mode, (0, 3, 4, 0, 5, 3, 4, 0))
        found = find_key(librosa.feature.chroma_stft(y=mono, sr=RATE), librosa.feature.rms(y=mono)[0])
        assert (found.key, found.mode) == (4, mode)


@pytest.mark.parametrize("cents", [-40, 0, 25])
def test_peaks_are_traced_to_their_pitch_class_and_the_tuning_is_taken_off(cents):
    time = np.arange(3 * RATE) / RATE
    mono = sum(0.1 * np.sin(2 * np.pi * 440 * 2 ** ((note + cents / 100) / 12) * time) for note in (-9, -2, 6)).astype(np.float32)
    traced = trace_chroma(mono)
    assert set(np.flatnonzero(traced.chroma.mean(axis=1) > 0.8)) == {0, 7, 3}
    assert np.delete(traced.chroma, [0, 7, 3], axis=0).max() < 0.05
    np.testing.assert_allclose(traced.level, 0.1 * np.sqrt(1.5), rtol=0.02)


@pytest.mark.parametrize("length", [0, 1, 100, 8_191, 8_192, 30_000])
def test_a_signal_of_any_length_is_traced(length):
    traced = trace_chroma(0.1 * np.random.default_rng(0).normal(size=length).astype(np.float32))
    assert traced.chroma.shape == (12, max(1, length // 8_192))
    assert np.isfinite(traced.chroma).all()
    assert hear_key(np.zeros(length, np.float32)) == Key(None, None, 0.0)


@pytest.mark.parametrize(("mode", "profile"), [(0, MINOR), (1, MAJOR)])
def test_notes_as_often_as_in_the_profiles_are_found(mode, profile):
    for key in range(12):
        found = find_key(np.repeat((np.roll(profile, key)[:, None] * 4) ** 2, 50, axis=1))
        assert (found.key, found.mode) == (key, mode)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 11))
def test_transposing_rotates_the_key_and_nothing_else(seed, semitones):
    rng = np.random.default_rng(seed)
    chroma = rng.random((12, 400)) * rng.random((12, 1))
    before, after = find_key(chroma), find_key(np.roll(chroma, semitones, axis=0))
    assert after.mode == before.mode
    assert after.key == (None if before.key is None else (before.key + semitones) % 12)
    assert after.confidence == pytest.approx(before.confidence, abs=1e-9)


def test_a_cadence_is_more_certain_than_two_chords_that_major_and_its_relative_minor_share():
    clear, open_to_both = find_key(progression(2, 1)), find_key(progression(2, 1, (0, 5, 0, 5)))
    assert 0 <= open_to_both.confidence < 0.8 * clear.confidence <= 1


@pytest.mark.parametrize("chroma", [np.zeros((12, 0)), np.zeros((12, 100)), np.ones((12, 100))])
def test_without_a_pitch_class_that_stands_out_there_is_no_key(chroma):
    assert find_key(chroma) == Key(None, None, 0.0)


def test_noise_has_no_key():
    assert hear_key(np.random.default_rng(1).normal(size=RATE * 30).astype(np.float32)).key is None


def test_softness_before_and_after_the_music_does_not_count():
    music = progression(5, 1)
    hiss = np.repeat(chord(11, 0, 0)[:, None], 100, axis=1)
    chroma = np.hstack([hiss, music, hiss])
    level = np.concatenate([np.full(100, 0.001), np.full(music.shape[1], 0.2), np.full(100, 0.001)])
    assert find_key(chroma, level) == find_key(music)


# The trumpet's loop is in F, in scales between major and minor.
# The string orchestra plays Brahms's dance in G minor, whatever the file's title says: its bass opens on G (98 Hz) at a = 440 Hz.
@pytest.mark.parametrize(("name", "key", "mode"), [("Hungarian", 7, 0), ("Sugar_Plum", 4, 0), ("solo-trumpet", 5, None)])
def test_real_recordings_are_heard_in_their_key(name, key, mode):
    if not MUSIC.is_dir():
        pytest.skip("the shared data are not here")
    import soundfile

    samples, rate = soundfile.read(next(MUSIC.glob(f"*{name}*.ogg")), dtype="float32", always_2d=True)
    found = hear_key(samples.mean(axis=1), rate)
    assert found.key == key
    assert mode is None or found.mode == mode
