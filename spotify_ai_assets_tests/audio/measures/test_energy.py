import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.audio.measures.energy import measure_energy, measure_onset_rate

LOUDNESS, RANGE, RATE, CENTROID = st.floats(-70, 5), st.floats(0, 40), st.floats(0, 30), st.floats(0, 11_025)


@given(LOUDNESS, RANGE, RATE, CENTROID, st.floats(0, 10))
def test_energy_lies_between_zero_and_one_and_grows_with_what_sounds_intense(loudness, spread, rate, centroid, more):
    energy = measure_energy(loudness, spread, rate, centroid)
    assert 0 <= energy <= 1
    assert measure_energy(loudness + more, spread, rate, centroid) >= energy
    assert measure_energy(loudness, spread, rate + more, centroid) >= energy
    assert measure_energy(loudness, spread, rate, centroid + 100 * more) >= energy
    assert measure_energy(loudness, spread + more, rate, centroid) <= energy


def test_energy_uses_its_whole_range():
    assert measure_energy(-5, 1, 8, 5_000) > 0.9
    assert measure_energy(-45, 15, 0.2, 300) < 0.1


def test_silence_has_no_energy_and_a_short_sound_counts_as_moderately_dynamic():
    assert measure_energy(None, None, 0, 0) == 0
    assert measure_energy(-14, None, 2, 1_500) == measure_energy(-14, 4, 2, 1_500)


@pytest.mark.parametrize("every", [6, 11, 20, 43])
def test_onsets_are_counted(every):
    strength = np.full(43 * 20, 0.1)
    strength[5::every] += 3
    strength[6::every] += 1
    assert measure_onset_rate(strength, 43) == pytest.approx(43 / every, rel=0.05)


def test_small_ripples_and_nothing_are_no_onsets():
    strength = np.zeros(1_000)
    strength[500] = 10
    strength += 0.2 * np.random.default_rng(0).random(1_000)
    assert measure_onset_rate(strength, 43) == pytest.approx(43 / 1_000)
    assert measure_onset_rate(np.zeros(100), 43) == 0
    assert measure_onset_rate(np.zeros(0), 43) == 0


def test_onset_rates_are_close_to_librosas():
    import librosa

    rng = np.random.default_rng(3)
    mono = 0.001 * rng.normal(size=22_050 * 12)
    for start in rng.uniform(0, 11.5, 40):
        place = round(start * 22_050)
        mono[place : place + 2_000] += rng.uniform(0.1, 1) * rng.normal(size=2_000) * np.exp(-np.arange(2_000) / 400)
    strength = librosa.onset.onset_strength(y=mono, sr=22_050)
    assert measure_onset_rate(strength) == pytest.approx(len(librosa.onset.onset_detect(onset_envelope=strength, sr=22_050)) / 12, abs=0.3)
