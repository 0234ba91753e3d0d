"""Each detector on small signals: with its fault, without, and beside its limit."""

import io
import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt

from spotify_ai_assets.audio.faults.evidence import gather_evidence
from spotify_ai_assets.audio.faults.judgement import FAULTS, FOUND, judge_file, score_file

RATE = 44_100


def music(seconds: float = 3.0, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Decaying tones over noise that fills the band, unlike on both sides, faded at both ends."""
    rng = np.random.default_rng(seed)
    frames = int(seconds * RATE)
    t = np.arange(frames) / RATE
    out = 0.001 * rng.normal(0, 1, (frames, channels))
    for start in np.arange(0, seconds - 0.2, 0.25):
        late = np.maximum(t - start, 0)
        sound = np.where(t >= start, np.exp(-3 * late) * np.minimum(late / 0.005, 1), 0)
        for partial in (1, 2, 3):
            tone = np.sin(2 * np.pi * rng.uniform(110, 880) * partial * late + rng.uniform(0, 6)) / partial
            out += 0.12 * (sound * tone)[:, None] * rng.uniform(0.5, 1, channels)
    fade = np.minimum(1, np.minimum(t, seconds - t) / 0.2)
    return (0.5 * out * fade[:, None] / np.abs(out).max()).astype(np.float32)


def found(samples: np.ndarray, rate: int = RATE, **how: bool) -> set[str]:
    return {fault.fault for fault in judge_file(gather_evidence(samples, rate), **how)}


def drop_out(samples: np.ndarray, seconds: float) -> np.ndarray:
    samples = samples.copy()
    samples[RATE : RATE + int(seconds * RATE)] = 0
    return samples


def low_pass(samples: np.ndarray, hz: float) -> np.ndarray:
    sections = butter(24, hz, fs=RATE, output="sos")
    return np.asarray(sosfilt(sections, sosfilt(sections, samples, axis=0), axis=0)).astype(np.float32)


def click(samples: np.ndarray, height: float) -> np.ndarray:
    samples = samples.copy()
    samples[60_000] += height
    return samples


def clip(samples: np.ndarray, share: float) -> np.ndarray:
    limit = np.quantile(np.abs(samples), 1 - share)
    return np.clip(samples, -limit, limit)


DAMAGES: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "zeros": ("silence", lambda x: np.zeros_like(x)),
    "a whisper": ("silence", lambda x: x * np.float32(1e-4)),
    "an interruption": ("dropout", lambda x: drop_out(x, 0.1)),
    "flat tops": ("clipping", lambda x: clip(x, 0.01)),
    "flat tops turned down afterwards": ("clipping", lambda x: np.float32(0.3) * clip(x, 0.01)),
    "an overdriven stage": ("clipping", lambda x: 0.5 * np.tanh(30 * x)),
    "an offset": ("dc_offset", lambda x: x + np.float32(0.05)),
    "an offset of one side": ("dc_offset", lambda x: x + np.array([0, -0.05], np.float32)),
    "a side that is missing": ("dropped_channel", lambda x: x * np.array([1, 0], np.float32)),
    "a side that is far too low": ("dropped_channel", lambda x: x * np.array([0.05, 1], np.float32)),
    "an inverted side": ("inverted_phase", lambda x: x[:, :1] * np.array([1, -1], np.float32)),
    "a low-pass at 16 kHz": ("bandwidth_cutoff", lambda x: low_pass(x, 15_500)),
    "a low-pass at 8 kHz": ("bandwidth_cutoff", lambda x: low_pass(x, 8_000)),
    "a start in the middle": ("truncated_start", lambda x: x[RATE + 2_000 :]),
    "an end in the middle": ("truncated_end", lambda x: x[: RATE + 2_000]),
    "a broken end before silence": ("truncated_end", lambda x: np.concatenate([x[: RATE + 2_000], np.zeros_like(x[:RATE])])),
    "a click": ("clicks", lambda x: click(x, 0.6)),
}


def test_a_clean_recording_has_no_fault() -> None:
    for seed in range(3):
        assert found(music(seed=seed)) == set()
        assert found(music(channels=1, seed=seed)) == set()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_is_found_and_shown_by_its_numbers(damage: str) -> None:
    fault, apply = DAMAGES[damage]
    evidence = gather_evidence(apply(music()), RATE)
    verdicts = {verdict.fault: verdict for verdict in judge_file(evidence)}
    assert fault in verdicts
    assert FOUND <= verdicts[fault].score <= 1
    assert verdicts[fault].evidence.items() <= evidence.items()


@pytest.mark.parametrize("damage", [name for name, (fault, _) in DAMAGES.items() if fault != "silence"])
@pytest.mark.parametrize("gain", [0.5, 0.05])
def test_a_verdict_does_not_depend_on_the_gain(damage: str, gain: float) -> None:
    fault, apply = DAMAGES[damage]
    damaged = apply(music())
    assert fault in found(damaged * np.float32(gain))


@pytest.mark.parametrize("damage", ["an interruption", "flat tops", "an offset", "a low-pass at 8 kHz", "an end in the middle", "a click"])
def test_one_channel_is_judged_as_two_equal_ones(damage: str) -> None:
    fault, apply = DAMAGES[damage]
    one = apply(music(channels=1))
    assert found(one) == found(np.repeat(one, 2, axis=1))
    assert fault in found(one)


@pytest.mark.parametrize(
    ("fault", "below"),
    [
        ("silence", lambda x: x * np.float32(0.02)),
        ("dropout", lambda x: drop_out(x, 0.002)),
        ("dc_offset", lambda x: x + np.float32(0.001)),
        ("dropped_channel", lambda x: x * np.array([0.4, 1], np.float32)),
        ("inverted_phase", lambda x: np.stack([x[:, 0], np.roll(x[:, 0], 4_000)], axis=1)),
        ("bandwidth_cutoff", lambda x: np.asarray(sosfilt(butter(1, 3_000, fs=RATE, output="sos"), x, axis=0))),
        ("clicks", lambda x: click(x, 0.03)),
        ("clipping", lambda x: np.tanh(x)),
    ],
)
def test_what_stays_below_a_limit_is_no_fault(fault: str, below: Callable[[np.ndarray], np.ndarray]) -> None:
    assert fault not in found(below(music()))


def test_a_pause_that_fades_is_no_dropout() -> None:
    samples = music()
    fade = np.ones(len(samples), np.float32)
    fade[RATE : RATE + 4_410] = np.linspace(1, 0, 4_410) ** 2
    fade[RATE + 4_410 : RATE + 22_050] = 0
    fade[RATE + 22_050 : RATE + 30_870] = np.linspace(0, 1, 8_820) ** 2
    assert "dropout" not in found(samples * fade[:, None])


def test_pure_tones_are_not_clipped_however_loud() -> None:
    t = np.arange(2 * RATE) / RATE
    for hz in (55, 440, 997.3, 5_000):
        for gain in (1.0, 0.3):
            tone = (gain * np.sin(2 * np.pi * hz * t)).astype(np.float32)[:, None]
            assert "clipping" not in found(tone)
            assert "clipping" in found(np.clip(1.5 * tone, -gain, gain))


def test_an_attack_that_rings_on_is_no_click() -> None:
    samples = music(channels=1)
    t = np.arange(4_410) / RATE
    rng = np.random.default_rng(1)
    samples[60_000:64_410, 0] += (0.4 * np.exp(-t * 60) * rng.normal(0, 0.5, len(t))).astype(np.float32)
    assert "clicks" not in found(samples)


def test_the_cut_of_a_low_pass_is_told_in_hertz() -> None:
    for hz in (8_000, 12_000, 15_500):
        measured = gather_evidence(low_pass(music(), hz), RATE)["cutoff_hz"]
        assert abs(measured - hz) < 1_200


def test_a_lossy_file_may_have_its_encoders_low_pass_but_no_lower_one() -> None:
    assert "bandwidth_cutoff" not in found(low_pass(music(), 15_500), is_lossy=True)
    assert "bandwidth_cutoff" in found(low_pass(music(), 8_000), is_lossy=True)


def test_a_cut_off_by_mp3_is_found_in_the_decoded_file() -> None:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, music(), RATE, format="MP3", subtype="MPEG_LAYER_III", compression_level=0.65, bitrate_mode="CONSTANT")
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32", always_2d=True)
    assert "bandwidth_cutoff" in found(decoded)
    assert "bandwidth_cutoff" not in found(music())


def test_the_end_of_an_excerpt_is_not_truncated() -> None:
    cut = music()[: RATE + 2_000]
    assert "truncated_end" in found(cut)
    assert "truncated_end" not in found(cut, is_excerpt=True)


@pytest.mark.parametrize("offset", [0.02, -0.12, 0.5])
def test_an_offset_makes_no_end_of_a_faded_recording_truncated(offset: float) -> None:
    assert found(music() + np.float32(offset)) == {"dc_offset"}
    cut = music()[: RATE + 2_000] + np.float32(offset)
    assert {"dc_offset", "truncated_end"} <= found(cut)


def test_the_edges_of_an_interruption_are_no_clicks_but_a_click_in_a_pause_is_one() -> None:
    samples = np.random.default_rng(2).normal(0, 0.1, (3 * RATE, 1)).astype(np.float32)
    samples *= np.minimum(1, np.minimum(np.arange(3 * RATE), np.arange(3 * RATE)[::-1]) / (0.2 * RATE))[:, None].astype(np.float32)
    assert found(drop_out(samples, 0.1)) == {"dropout"}
    paused = drop_out(samples, 0.5)
    paused[RATE + RATE // 4] = 0.3
    assert "clicks" in found(paused)


def test_a_silent_file_has_no_other_fault() -> None:
    assert found(np.zeros((RATE, 2), np.float32)) == {"silence"}


def test_a_channel_that_goes_for_a_second_is_dropped() -> None:
    samples = music()
    samples[RATE : 2 * RATE, 1] = 0
    assert "dropped_channel" in found(samples)


@pytest.mark.parametrize("frames", [0, 1, 2, 3, 7, 50, 511, 513, 4_095, 4_097])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_samples_of_any_number_give_finite_numbers(frames: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    for samples in (np.zeros((frames, channels), np.float32), rng.uniform(-1, 1, (frames, channels)).astype(np.float32)):
        for rate in (8_000, 44_100):
            evidence = gather_evidence(samples, rate)
            assert np.isfinite(list(evidence.values())).all()
            assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence
            assert all(0 <= score <= 1 for score in score_file(evidence).values())


def test_values_that_are_not_finite_count_as_zero() -> None:
    broken = music()
    mended = broken.copy()
    broken[1_000:1_003, 0], mended[1_000:1_003, 0] = [np.nan, np.inf, -np.inf], 0
    assert gather_evidence(broken, RATE) == gather_evidence(mended, RATE)


@settings(max_examples=40)
@given(
    st.integers(0, 2_000),
    st.integers(1, 3),
    st.integers(1, 192_000),
    st.floats(0, 2, width=32),
    st.integers(0, 2**32 - 1),
)
def test_any_noise_at_any_rate_is_judged(frames: int, channels: int, rate: int, gain: float, seed: int) -> None:
    samples = (gain * np.random.default_rng(seed).normal(0, 1, (frames, channels))).astype(np.float32)
    scores = score_file(gather_evidence(samples, rate))
    assert tuple(scores) == FAULTS
    assert all(0 <= score <= 1 for score in scores.values())


def test_a_signal_without_a_rate_or_with_three_dimensions_is_refused() -> None:
    with pytest.raises(ValueError, match="positive rate"):
        gather_evidence(np.zeros((4, 1), np.float32), 0)
    with pytest.raises(ValueError, match="dimensions"):
        gather_evidence(np.zeros((4, 1, 1), np.float32), RATE)


def test_verdicts_come_with_the_highest_first_and_a_severity() -> None:
    samples = clip(music(), 0.05) + np.float32(0.2)
    verdicts = judge_file(gather_evidence(samples, RATE))
    assert [verdict.score for verdict in verdicts] == sorted((verdict.score for verdict in verdicts), reverse=True)
    assert {"clipping", "dc_offset"} <= {verdict.fault for verdict in verdicts}
    for verdict in verdicts:
        assert verdict.severity == ("severe" if verdict.score >= 0.95 else "clear" if verdict.score >= 0.75 else "slight")
