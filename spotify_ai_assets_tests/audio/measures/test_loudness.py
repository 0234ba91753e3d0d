import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfilt, upfirdn
from threadpoolctl import threadpool_limits

from spotify_ai_assets.audio.measures.loudness import (
    Loudness,
    channel_weights,
    interpolation,
    k_weighting,
    measure_loudness,
    measure_true_peak,
    step_powers,
)

RATES = [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small products on several threads wait for each other where the machine is busy."""
    with threadpool_limits(1):
        yield


def sine(seconds: float, dbfs: float, *, rate: int = 48_000, hertz: float = 1_000.0, channels: int = 2, phase: float = 0.0) -> np.ndarray:
    wave = 10 ** (dbfs / 20) * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate + phase)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def steps(*parts: tuple[float, float]) -> np.ndarray:
    """A 1 kHz tone in stereo at 48 kHz that holds each level in dBFS for its seconds."""
    return np.concatenate([sine(seconds, dbfs) for seconds, dbfs in parts])


def noise(seed: int, frames: int, channels: int = 2, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).normal(size=(frames, channels))).astype(np.float32)


def filtered_powers(samples: np.ndarray, rate: int) -> np.ndarray:
    """What ``step_powers`` gives, by the recursion itself in double precision."""
    step = round(rate / 10)
    count = len(samples) // step
    filtered = sosfilt(k_weighting(rate), samples.astype(np.float64), axis=0)[: count * step]
    return (filtered**2).reshape(count, step, samples.shape[1]).mean(axis=1) @ channel_weights(samples.shape[1])


def interpolated_peak(samples: np.ndarray) -> float:
    """True peak in dBTP by a long interpolation of everything, eight times."""
    places = np.arange(-64 * 8, 64 * 8 + 1) / 8
    taps = np.sinc(places) * np.kaiser(len(places), 8)
    return 20 * np.log10(max(np.abs(upfirdn(taps, channel.astype(np.float64), up=8)).max() for channel in samples.T))


def test_the_filters_at_48_khz_are_those_of_the_standards_table():
    published = [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585],
        [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621],
    ]
    np.testing.assert_allclose(k_weighting(48_000), published, atol=1e-8)


@pytest.mark.parametrize("rate", RATES)
def test_a_full_scale_sine_in_one_channel_reads_minus_three_lufs(rate):
    mono = measure_loudness(sine(5, 0, rate=rate, hertz=997, channels=1), rate)
    assert mono.integrated_lufs == pytest.approx(-3.01, abs=0.1 if rate >= 16_000 else 0.3)
    stereo = sine(5, 0, rate=rate, hertz=997)
    stereo[:, 1] = 0
    assert measure_loudness(stereo, rate).integrated_lufs == pytest.approx(mono.integrated_lufs, abs=1e-3)


@pytest.mark.parametrize(
    ("case", "parts", "expected"),
    [
        (1, [(20, -23)], -23),
        (2, [(20, -33)], -33),
        (3, [(10, -36), (60, -23), (10, -36)], -23),
        (4, [(10, -72), (10, -36), (60, -23), (10, -36), (10, -72)], -23),
        (5, [(20, -26), (20.1, -20), (20, -26)], -23),
    ],
)
def test_programme_loudness_of_the_tones_of_tech_3341(case, parts, expected):
    assert measure_loudness(steps(*parts), 48_000).integrated_lufs == pytest.approx(expected, abs=0.1)


def test_programme_loudness_of_five_channels_of_tech_3341():
    levels = [-28, -28, -24, -30, -30]
    samples = np.hstack([sine(20, level, channels=1) for level in levels])
    assert measure_loudness(samples, 48_000).integrated_lufs == pytest.approx(-23, abs=0.1)


def test_short_term_and_momentary_loudness_of_the_tones_of_tech_3341():
    constant = measure_loudness(steps((20, -23)), 48_000)
    assert constant.short_term_max_lufs == pytest.approx(-23, abs=0.1)
    assert constant.momentary_max_lufs == pytest.approx(-23, abs=0.1)
    assert measure_loudness(steps(*[(1.34, -20), (1.66, -30)] * 5), 48_000).short_term_max_lufs == pytest.approx(-23, abs=0.1)  # case 9
    assert measure_loudness(steps(*[(0.18, -20), (0.22, -30)] * 25), 48_000).momentary_max_lufs == pytest.approx(-23, abs=0.1)  # case 12
    for number in (1, 7, 12, 19):  # of case 10: a burst of 3 s that starts later by 150 ms each time
        silence = np.zeros((round(0.15 * number * 48_000), 2), np.float32)
        burst = np.concatenate([silence, sine(3, -23), np.zeros((48_000, 2), np.float32)])
        assert measure_loudness(burst, 48_000).short_term_max_lufs == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize(
    ("case", "levels", "expected"),
    [(1, [-20, -30], 10), (2, [-20, -15], 5), (3, [-40, -20], 20), (4, [-50, -35, -20, -35, -50], 15)],
)
def test_loudness_range_of_the_tones_of_tech_3342(case, levels, expected):
    assert measure_loudness(steps(*[(20, level) for level in levels]), 48_000).range_lu == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    ("case", "divisor", "degrees", "amplitude", "expected"),
    [(15, 4, 0, 0.5, -6), (16, 4, 45, 0.5, -6), (17, 6, 60, 0.5, -6), (18, 8, 67.5, 0.5, -6), (19, 4, 45, 1.41, 3)],
)
def test_true_peaks_of_the_tones_of_tech_3341(case, divisor, degrees, amplitude, expected):
    wave = sine(1, 20 * np.log10(amplitude), hertz=48_000 / divisor, phase=np.radians(degrees))
    ramp = np.minimum(1, np.minimum(np.arange(48_000), np.arange(48_000)[::-1]) / 480)[:, None]  # the published files fade, too
    peak = measure_true_peak((wave * ramp).astype(np.float32), 48_000)
    assert expected - 0.4 <= peak <= expected + 0.2


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_the_filter_in_parts_is_the_recursion_over_the_whole(rate, channels):
    samples = noise(rate + channels, rate * 3 + 1_234, channels)
    samples[rate : rate * 2] *= 1e-3
    np.testing.assert_allclose(step_powers(samples, rate), filtered_powers(samples, rate), rtol=1e-9)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_a_large_offset_does_not_drown_what_is_soft(rate):
    samples = noise(5, rate * 4, 1, 1e-3)
    np.testing.assert_allclose(step_powers(samples + np.float32(0.7), rate)[5:], filtered_powers(samples, rate)[5:], rtol=1e-3)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-60, 12), st.sampled_from([8_000, 22_050, 44_100]))
def test_a_gain_in_db_moves_every_level_by_as_much(seed, gain, rate):
    rng = np.random.default_rng(seed)
    samples = noise(seed, rate * 4, 1 + seed % 2, 0.2) * (0.2 + rng.random((rate * 4, 1)).astype(np.float32))
    samples[: rate // 2] = 0
    before, after = (measure_loudness((samples * np.float32(factor)).astype(np.float32), rate) for factor in (1, 10 ** (gain / 20)))
    if after.short_term_max_lufs is None or after.short_term_max_lufs < -60:
        return  # the absolute gate does not move
    for name in ("integrated_lufs", "short_term_max_lufs", "momentary_max_lufs", "true_peak_dbtp"):
        assert getattr(after, name) - getattr(before, name) == pytest.approx(gain, abs=2e-3)
    assert after.range_lu == pytest.approx(before.range_lu, abs=2e-3)
    assert after.dynamic_range_db == pytest.approx(before.dynamic_range_db, abs=2e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5_000), st.sampled_from(["noise", "soft noise", "clipped", "impulses", "edges"]))
def test_interpolating_only_where_it_can_matter_finds_the_peak_of_interpolating_everywhere(seed, frames, kind):
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=(frames, 2)) * 0.2
    if kind == "soft noise":
        samples = np.cumsum(samples, axis=0) / 10
    elif kind == "clipped":
        samples = np.clip(samples * 10, -0.9, 0.9)
    elif kind == "impulses":
        samples[rng.random((frames, 2)) > 0.01] = 0
    elif kind == "edges":
        samples[1:-1] = 0
    samples = samples.astype(np.float32)
    if not samples.any():
        return
    taps = interpolation(4).astype(np.float64)
    everywhere = max(np.abs(np.convolve(channel, weights[::-1])).max() for channel in samples.T for weights in taps)
    expected = 20 * np.log10(max(everywhere, np.abs(samples).max()))
    assert measure_true_peak(samples, 44_100) == pytest.approx(expected, abs=1e-4)


def test_true_peaks_agree_with_a_longer_and_finer_interpolation():
    for seed in range(5):
        samples = np.cumsum(noise(seed, 20_000), axis=0) / 30 + noise(seed + 50, 20_000, 2, 0.05)
        assert measure_true_peak(samples.astype(np.float32), 44_100) == pytest.approx(interpolated_peak(samples), abs=0.25)


def test_the_peak_between_two_samples_counts_and_at_high_rates_the_samples_suffice():
    wave = sine(0.5, 0, hertz=12_000, phase=np.pi / 4)
    assert measure_true_peak(wave, 48_000) == pytest.approx(0, abs=0.4)
    assert measure_true_peak(wave, 192_000) == pytest.approx(-3.01, abs=0.01)


def test_the_low_frequency_channel_does_not_count_and_surrounds_count_half_as_much_again():
    tone = sine(4, -20, channels=1)
    silent = np.zeros_like(tone)
    alone = [measure_loudness(np.hstack([tone if at == place else silent for at in range(6)]), 48_000) for place in range(6)]
    assert alone[3].integrated_lufs is None
    assert alone[3].true_peak_dbtp == pytest.approx(-20, abs=0.1)
    assert alone[2].integrated_lufs == pytest.approx(alone[0].integrated_lufs, abs=1e-4)
    assert alone[4].integrated_lufs - alone[0].integrated_lufs == pytest.approx(10 * np.log10(1.41), abs=1e-3)


@pytest.mark.parametrize("channels", range(1, 10))
def test_every_number_of_channels_has_weights(channels):
    assert channel_weights(channels).shape == (channels,)
    assert measure_loudness(noise(1, 48_000, channels), 48_000).integrated_lufs is not None


def test_silence_and_nothing_have_no_loudness():
    nothing = Loudness(None, None, None, None, None, None)
    assert measure_loudness(np.zeros((0, 2), np.float32), 44_100) == nothing
    assert measure_loudness(np.zeros((44_100 * 5, 2), np.float32), 44_100) == nothing


def test_what_is_too_short_for_a_window_has_none_of_its_measures():
    just_below, second = (measure_loudness(sine(seconds, -20), 48_000) for seconds in (0.39, 1))
    assert (just_below.integrated_lufs, just_below.momentary_max_lufs, just_below.dynamic_range_db) == (None, None, None)
    assert just_below.true_peak_dbtp == pytest.approx(-20, abs=0.1)
    assert second.integrated_lufs == pytest.approx(-20, abs=0.1)
    assert (second.short_term_max_lufs, second.range_lu) == (None, None)


def test_what_stays_below_the_gate_has_windows_but_no_programme_loudness():
    soft = measure_loudness(sine(5, -80), 48_000)
    assert (soft.integrated_lufs, soft.range_lu, soft.dynamic_range_db) == (None, None, None)
    assert soft.short_term_max_lufs == pytest.approx(-80, abs=0.2)


@pytest.mark.parametrize("rate", [1_000, 3_000, 7_999, 44_101, 100_003, 384_000])
def test_every_rate_is_measured(rate):
    loudness = measure_loudness(noise(2, rate * 4, 1), rate)
    assert -25 < loudness.integrated_lufs < -10
    assert loudness.range_lu < 1


@pytest.mark.parametrize("extra", [-88_199, -83_790, -1, 0, 1, 4_409, 4_410, 100_000])
def test_a_length_that_is_no_whole_number_of_steps_loses_nothing(extra):
    samples = noise(3, 44_100 * 2 + extra, 2)
    np.testing.assert_allclose(step_powers(samples, 44_100), filtered_powers(samples, 44_100), rtol=1e-9)


def test_signals_that_may_not_be_written_are_measured_as_any_other():
    samples = noise(4, 44_100, 2)
    kept = np.frombuffer(samples.tobytes(), np.float32).reshape(samples.shape)
    assert measure_loudness(kept, 44_100) == measure_loudness(samples, 44_100) == measure_loudness(np.asfortranarray(samples), 44_100)


def test_a_filter_that_rings_out_in_silence_falls_silent():
    # Left to itself a state would sink to numbers on which processors are a hundred times slower, and stay there.
    samples = np.zeros((44_100 * 10, 1), np.float32)
    samples[:44_100] = 1
    powers = step_powers(samples, 44_100)
    assert powers[9] > 0
    assert not powers[60:].any()
