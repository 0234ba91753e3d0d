import numpy as np
import pytest

from spotify_ai_assets.audio.measures.silence import find_silence

RATE = 44_100


def padded(start: float, end: float, *, floor: float = 0.0, channels: int = 2, rate: int = RATE) -> np.ndarray:
    """Two seconds of noise at -20 dB between a start and an end of so many seconds, over a floor of noise."""
    rng = np.random.default_rng(0)
    samples = floor * rng.normal(size=(round((start + 2 + end) * rate), channels))
    samples[round(start * rate) : round((start + 2) * rate)] += 0.1 * rng.normal(size=(round(2 * rate), channels))
    return samples.astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize(("start", "end"), [(0, 0), (0.5, 0), (0, 0.73), (1.25, 3.1)])
def test_silence_at_both_ends_is_found_to_a_window(start, end, rate):
    found = find_silence(padded(start, end, rate=rate), rate)
    assert found == pytest.approx((1000 * start, 1000 * end), abs=11)


def test_noise_below_sixty_db_is_silence_and_above_is_not():
    assert find_silence(padded(1, 1, floor=0.0005), RATE) == pytest.approx((1000, 1000), abs=11)
    assert find_silence(padded(1, 1, floor=0.003), RATE) == (0, 0)


def test_an_offset_is_silence():
    samples = padded(1, 1)
    samples[:, 1] += 0.2
    assert find_silence(samples, RATE) == pytest.approx((1000, 1000), abs=11)


def test_sound_in_one_channel_is_sound():
    samples = padded(1, 1)
    samples[:, 0] = 0
    samples[:RATE, 1] += (0.1 * np.sin(np.arange(RATE))).astype(np.float32)
    assert find_silence(samples, RATE) == pytest.approx((0, 1000), abs=11)


@pytest.mark.parametrize("seconds", [0, 0.001, 0.5, 7.003])
def test_a_silent_signal_is_silent_from_both_ends(seconds):
    samples = np.zeros((round(seconds * RATE), 2), np.float32)
    assert find_silence(samples, RATE) == pytest.approx((1000 * len(samples) / RATE,) * 2)


def test_a_pause_in_the_middle_is_none_at_the_ends():
    assert find_silence(np.concatenate([padded(0, 4), padded(0, 0)]), RATE) == (0, 0)


def test_a_gain_moves_nothing_that_stays_above_the_threshold():
    samples = padded(0.4, 0.2)
    assert find_silence(samples * np.float32(0.2), RATE) == find_silence(samples, RATE)
