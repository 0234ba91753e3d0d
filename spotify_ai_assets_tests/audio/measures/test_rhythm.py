"""Onsets, tempo and beats: clicks of a known tempo, and librosa's own functions on many envelopes."""

import librosa
import numpy as np
import pytest

from spotify_ai_assets.audio.measures import rhythm
from spotify_ai_assets.audio.measures.description import describe

RATE = 22_050


def clicks(tempo: float, seconds: float = 20.0) -> np.ndarray:
    """Bursts of noise at a tempo over a quiet floor."""
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 1e-3, int(seconds * RATE))
    for start in np.arange(0.5, seconds - 0.2, 60 / tempo):
        place = int(start * RATE)
        signal[place : place + 1_000] += rng.normal(0, 0.3, 1_000) * np.exp(-np.arange(1_000) / 200)
    return signal.astype(np.float32)


def envelopes() -> list[np.ndarray]:
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        length = int(rng.integers(5, 1_500))
        envelope = rng.gamma(0.5, 1.0, length) * (1 + np.cos(np.arange(length) * rng.uniform(0.1, 0.6)))
        envelope[: length * seed // 30] = 0
        found.append(envelope.astype(np.float32))
    return found


@pytest.mark.parametrize("tempo", [80, 100, 120, 150])
def test_clicks_have_their_tempo_and_beats(tempo):
    found = describe(clicks(tempo))
    assert found.tempo == pytest.approx(tempo, rel=0.03)
    steps = np.diff(found.beats) / rhythm.FRAME_RATE
    assert np.median(steps) == pytest.approx(60 / tempo, rel=0.03)
    # librosa drops weak beats at both ends, and so do we.
    assert 0.85 * 19.5 * tempo / 60 <= len(found.beats) <= 20 * tempo / 60


def test_the_averaged_autocorrelation_is_the_mean_tempogram():
    for envelope in envelopes():
        theirs = librosa.feature.tempogram(onset_envelope=envelope, win_length=rhythm.TEMPO_WINDOW).mean(axis=1)
        assert np.abs(rhythm.mean_autocorrelation(envelope) - theirs).max() < 1e-9


def test_tempo_and_beats_of_envelopes_are_those_of_librosa():
    for envelope in envelopes():
        tempo, beats = librosa.beat.beat_track(onset_envelope=envelope)
        ours, frames = rhythm.find_beats(envelope)
        assert ours == pytest.approx(float(np.squeeze(tempo)), rel=1e-12)
        assert frames.tolist() == beats.tolist()


def test_nothing_gives_no_tempo():
    tempo, beats = rhythm.find_beats(np.zeros(500, np.float32))
    assert tempo == 0
    assert len(beats) == 0
    assert describe(np.zeros(50_000, np.float32)).tempo == 0


def test_onset_strengths_are_mean_and_median_of_the_rises():
    rng = np.random.default_rng(1)
    levels = rng.normal(0, 10, (128, 64)).astype(np.float32)
    mean, median = rhythm.find_onsets(levels, 40)
    for ours, aggregate in ((mean, np.mean), (median, np.median)):
        theirs = librosa.onset.onset_strength(S=levels[:, :40], aggregate=aggregate)
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 1e-5
    assert not rhythm.find_onsets(levels, 3)[0].any()
