import numpy as np
import pytest

from spotify_ai_assets.demo.audio.reference import integrated_loudness, true_peak


def sine(rate: int, hertz: float, seconds: float = 5.0, phase: float = 0.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate + phase)[:, None]


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_a_full_scale_sine_of_997_hz_reads_minus_three_lufs(rate: int) -> None:
    # ITU-R BS.1770-4, annex 1: a 997 Hz sine of 0 dBFS in one channel reads -3.01.
    assert integrated_loudness(sine(rate, 997), rate) == pytest.approx(-3.01, abs=0.02)


def test_the_same_in_two_channels_is_three_units_louder() -> None:
    both = np.repeat(sine(44_100, 997), 2, axis=1)
    assert integrated_loudness(both, 44_100) == pytest.approx(0.0, abs=0.02)


def test_pauses_do_not_count() -> None:
    loud = sine(44_100, 997, 10) * 10 ** (-20 / 20)
    paused = np.concatenate([loud, np.zeros((10 * 44_100, 1))])
    assert integrated_loudness(paused, 44_100) == pytest.approx(integrated_loudness(loud, 44_100), abs=0.15)
    assert integrated_loudness(np.zeros((44_100, 1)), 44_100) == -np.inf
    assert integrated_loudness(np.ones((100, 1)), 44_100) == -np.inf


def test_low_frequencies_weigh_less_than_high_ones() -> None:
    low, middle, high = (integrated_loudness(sine(44_100, hertz), 44_100) for hertz in (30, 997, 4_000))
    assert low < middle - 5
    assert high == pytest.approx(middle + 3.3, abs=0.2)


def test_a_peak_between_samples_is_found() -> None:
    # A quarter of the sampling rate with a phase of 45 degrees: samples at -3 dB, the wave at 0.
    between = sine(48_000, 12_000, 1.0, np.pi / 4)
    assert 20 * np.log10(np.abs(between).max()) == pytest.approx(-3.01, abs=0.01)
    assert true_peak(between[1_000:-1_000]) == pytest.approx(0.0, abs=0.2)
    assert true_peak(np.zeros((100, 2))) == -np.inf
