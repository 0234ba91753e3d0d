"""Filters, levels, tuning and chroma against librosa, and what a known tone must give."""

import librosa
import numpy as np
import pytest

from spotify_ai_assets.audio.measures import spectrum
from spotify_ai_assets.audio.measures.decoding import downmix
from spotify_ai_assets.audio.measures.description import describe

RATE = spectrum.SAMPLE_RATE


def tone(hertz: float, seconds: float = 2.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.mark.parametrize("bands", [64, 128])
def test_mel_filters_are_those_of_librosa(bands):
    theirs = librosa.filters.mel(sr=RATE, n_fft=2048, n_mels=bands)
    assert np.abs(spectrum.mel_filters(bands) - theirs).max() <= 1e-6 * theirs.max()


@pytest.mark.parametrize("tuning", [0.0, -0.5, 0.37])
def test_chroma_filters_are_those_of_librosa(tuning):
    theirs = librosa.filters.chroma(sr=RATE, n_fft=2048, tuning=tuning)
    assert np.abs(spectrum.chroma_filters(tuning) - theirs).max() < 1e-6


@pytest.mark.filterwarnings("ignore:n_fft=2048 is too large")
@pytest.mark.parametrize("length", [1, 300, 2_048, 20_000, 8_192])
def test_the_spectrogram_is_that_of_librosa(length):
    noise = np.random.default_rng(length).normal(0, 0.2, length).astype(np.float32)
    theirs = np.abs(librosa.stft(noise)) ** 2
    ours = spectrum.scan(noise).power_by_bin()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-6 * theirs.max()


def test_a_full_scale_tone_has_the_level_of_its_window():
    # A sine on a bin gives amplitude x sum of the Hann window / 2 = 512.
    power = spectrum.scan(tone(100 * RATE / 2048, level=1.0)).power_by_bin()
    assert power[100, 20] == pytest.approx(512.0**2, rel=1e-5)
    assert power[110, 20] < 1e-6


def test_weak_bins_are_not_drowned_by_rounding():
    # In float32 the floor beside a full-scale tone would be about 1e-7 of it.
    power = spectrum.scan(tone(100 * RATE / 2048, level=1.0)).power_by_bin()
    assert power[600, 20] < 1e-12 * power[100, 20]


@pytest.mark.parametrize(("cents", "tuning"), [(0, 0.0), (30, 0.3), (-20, -0.2)])
def test_tuning_is_how_far_a_tone_is_from_its_note(cents, tuning):
    seen = spectrum.scan(tone(880 * 2 ** (cents / 1200)))
    # A parabola through three bins is up to a tenth of a bin off, here 2 cents.
    assert spectrum.estimate_tuning(seen) == pytest.approx(tuning, abs=0.04)
    assert spectrum.estimate_tuning(seen) == pytest.approx(librosa.estimate_tuning(S=seen.power_by_bin()))


@pytest.mark.parametrize(("hertz", "pitch"), [(261.63, 0), (440.0, 9), (493.88, 11)])
def test_a_tone_has_the_chroma_of_its_note(hertz, pitch):
    chroma = describe(tone(hertz)).chroma
    assert (chroma[:, 10:-10].argmax(axis=0) == pitch).all()
    assert chroma.max() == 1


def test_the_tonnetz_of_fifths_lies_close_and_of_a_tritone_opposite():
    single = np.eye(12, dtype=np.float32)
    places = spectrum.find_tonnetz(single)[:2].T
    distance = np.linalg.norm(places[0] - places, axis=1)
    assert distance.argsort()[1:3].tolist() in ([5, 7], [7, 5])
    assert distance.argmax() == 6
    assert np.allclose(spectrum.find_tonnetz(single), librosa.feature.tonnetz(chroma=single), atol=1e-6)


def test_levels_are_floored():
    power = np.array([0.0, 1e-12, 1.0, 100.0], np.float32)
    assert spectrum.to_decibels(power) == pytest.approx([-100, -100, 0, 20])
    assert spectrum.to_decibels(power, 80) == pytest.approx([-60, -60, 0, 20])


def test_the_models_read_the_same_mel_alone():
    noise = np.random.default_rng(4).normal(0, 0.1, 30_000).astype(np.float32)
    alone = spectrum.model_mel(noise)
    assert alone.dtype == np.float32
    assert alone.shape == (64, 59)
    assert np.array_equal(alone, describe(noise).model_mel)


@pytest.mark.parametrize("wrong", [np.zeros(0), np.zeros((3, 2)), np.array([0.0, np.nan]), np.array([np.inf, 0.0]), np.array([0.0, 2e6])])
def test_what_is_no_signal_is_refused(wrong):
    with pytest.raises(ValueError, match="a signal"):
        spectrum.scan(wrong)


def test_signals_that_may_not_be_written_are_read_as_any_other():
    noise = np.random.default_rng(5).normal(0, 0.1, 30_000).astype(np.float32)
    kept = np.frombuffer(noise.tobytes(), np.float32)
    assert not kept.flags.writeable
    assert np.array_equal(spectrum.model_mel(kept), spectrum.model_mel(noise))
    pairs = noise.reshape(-1, 2)
    assert np.array_equal(downmix(np.frombuffer(noise.tobytes(), np.float32).reshape(-1, 2)), downmix(pairs))
