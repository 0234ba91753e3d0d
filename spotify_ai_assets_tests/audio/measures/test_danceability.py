from itertools import pairwise

import numpy as np
import pytest

from spotify_ai_assets.audio.measures.danceability import _fluctuate, frame_levels, measure_danceability, segment_lengths

RATE = 22_050


def beats(bpm: float, seconds: float = 20, wander: float = 0.0, seed: int = 0) -> np.ndarray:
    """Bursts of noise on a beat; each level wanders by so much from beat to beat."""
    rng = np.random.default_rng(seed)
    mono = 0.001 * rng.normal(size=round(seconds * RATE))
    level = 1.0
    for start in np.arange(0, seconds - 0.2, 60 / bpm):
        place = round(start * RATE)
        mono[place : place + 3_000] += level * 0.3 * rng.normal(size=3_000) * np.exp(-np.arange(3_000) / 800)
        level *= np.exp(wander * rng.normal())
    return mono.astype(np.float32)


def test_levels_are_the_standard_deviations_of_ten_milliseconds():
    mono = np.random.default_rng(1).normal(size=22_050).astype(np.float32)
    mono[:5_000] *= 0.01
    levels = frame_levels(mono, RATE)
    starts = np.rint(np.arange(101) * 220.5).astype(int)
    np.testing.assert_allclose(levels, [mono[a:b].std() for a, b in pairwise(starts)], rtol=1e-4)


@pytest.mark.parametrize("length", [31, 97, 400])
def test_the_fluctuation_is_that_of_fitted_lines(length):
    levels = frame_levels(beats(111), RATE)
    walk = np.cumsum(levels - levels.mean())
    starts = range(0, len(walk) - length + 1, max(1, length // 50))
    residuals = []
    for start in starts:
        piece, place = walk[start : start + length], np.arange(length)
        residuals.append(((piece - np.polyval(np.polyfit(place, piece, 1), place)) ** 2).mean())
    assert _fluctuate(levels, np.array([length]))[0] == pytest.approx(np.sqrt(np.mean(residuals)), rel=1e-9)


def test_segments_grow_by_a_tenth_from_310_ms_to_8_8_seconds():
    lengths = segment_lengths(10_000)
    assert lengths[0] == 31
    assert 800 < lengths[-1] <= 880
    np.testing.assert_allclose(lengths[1:] / lengths[:-1], 1.1, atol=0.04)


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.4])
def test_the_exponent_of_a_self_similar_level_is_found(exponent):
    rng = np.random.default_rng(7)
    frequency = np.fft.rfftfreq(1 << 13)
    spectrum = (rng.normal(size=len(frequency)) + 1j * rng.normal(size=len(frequency))) * np.append(0, frequency[1:] ** (0.5 - exponent))
    levels = np.fft.irfft(spectrum)
    levels = 1 + 0.2 * levels / np.abs(levels).max()
    wave = np.tile([1.0, -1.0], 110)
    mono = (levels[:, None] * wave).ravel().astype(np.float32) * np.float32(0.1)
    assert measure_danceability(mono, 22_000) == pytest.approx(1 / (3 * exponent), rel=0.15)


def test_a_steady_beat_is_more_danceable_than_a_level_that_wanders():
    steady = [measure_danceability(beats(bpm)) for bpm in (90, 120, 140)]
    wandering = [measure_danceability(beats(120, wander=0.4, seed=seed)) for seed in range(3)]
    assert min(steady) > max(wandering)


def test_loudness_does_not_change_it():
    mono = beats(100, wander=0.1)
    assert measure_danceability(mono * np.float32(0.05)) == pytest.approx(measure_danceability(mono), rel=1e-4)


@pytest.mark.parametrize("mono", [np.zeros(0), np.zeros(RATE * 10), np.ones(RATE * 10), np.ones(3_000)])
def test_what_does_not_move_has_none(mono):
    assert measure_danceability(mono.astype(np.float32)) is None


def test_it_lies_between_zero_and_one():
    for seed in range(5):
        mono = np.random.default_rng(seed).normal(size=RATE * (1 + seed)).astype(np.float32)
        assert 0 <= measure_danceability(mono) <= 1
