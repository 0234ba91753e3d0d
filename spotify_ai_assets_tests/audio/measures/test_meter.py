import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ai_assets.audio.measures.meter import FRAME_RATE, Meter, Tempo, autocorrelate, find_meter, weigh_tempo

TEMPI = st.floats(84, 150)  # outside, equal strokes are as well counted in half or in double time


def pulses(bpm: float, seconds: float = 25, accents: tuple[float, ...] = (1.0,), seed: int = 0, noise: float = 0.05) -> np.ndarray:
    """Onset strength of strokes at a tempo; each is spread over the frames on its sides by where it lies between them."""
    strength = noise * np.random.default_rng(seed).random(round(seconds * FRAME_RATE))
    for number, place in enumerate(np.arange(3, len(strength) - 2, 60 * FRAME_RATE / bpm)):
        low, share = int(place), place % 1
        strength[low] += accents[number % len(accents)] * (1 - share)
        strength[low + 1] += accents[number % len(accents)] * share
    return strength


def librosas_lag(bpm: float) -> float:
    """The tempo that librosa would give: that of the nearest whole lag."""
    return 60 * FRAME_RATE / round(60 * FRAME_RATE / bpm)


def bars(meter: int, beats: int = 48, seed: int = 0, slip: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Onset strength, beats and chroma of bars whose first beat is stressed and whose chord changes with the bar."""
    rng = np.random.default_rng(seed)
    places = np.arange(beats) * 20 + 4
    strength = 0.1 * rng.random(places[-1] + 30)
    chroma = np.full((12, len(strength)), 0.1)
    chord = 0
    for number, place in enumerate(places):
        at = number + (slip is not None and number > beats // 2) * (slip or 0)
        strength[place] += 1.6 if at % meter == 0 else 1 + 0.2 * rng.random()
        chord = int(rng.integers(12)) if at % meter == 0 else chord
        chroma[[chord, (chord + 4) % 12, (chord + 7) % 12], place : place + 20] = 1
    return strength, places, chroma


@settings(max_examples=80, deadline=None)
@given(TEMPI, st.integers(0, 1_000))
def test_a_tempo_is_refined_to_within_a_half_percent(bpm, seed):
    found = weigh_tempo(pulses(bpm, seed=seed), librosas_lag(bpm))
    assert found.tempo == pytest.approx(bpm, rel=0.005)
    assert found.confidence > 0.5


@settings(max_examples=40, deadline=None)
@given(st.floats(80, 115), st.floats(1.0, 1.4))
def test_what_is_played_faster_has_as_much_more_tempo(bpm, factor):
    slow, fast = (weigh_tempo(pulses(tempo), librosas_lag(tempo)) for tempo in (bpm, bpm * factor))
    assert fast.tempo / slow.tempo == pytest.approx(factor, rel=0.008)


@pytest.mark.parametrize("bpm", [60, 90, 120, 150])
def test_half_and_double_are_given_and_one_of_them_is_the_alternative(bpm):
    found = weigh_tempo(pulses(bpm), librosas_lag(bpm))
    assert found.half == pytest.approx(found.tempo / 2)
    assert found.double == pytest.approx(found.tempo * 2)
    assert found.alternative in (found.half, found.double)


def test_eighths_given_as_the_beat_are_halved_where_every_second_is_stressed():
    found = weigh_tempo(pulses(200, accents=(1.0, 0.3)), librosas_lag(200))
    assert found.tempo == pytest.approx(100, rel=0.005)
    assert found.alternative == pytest.approx(200, rel=0.005)


def test_half_of_the_beat_is_doubled():
    assert weigh_tempo(pulses(110, accents=(1.0, 0.9)), librosas_lag(55)).tempo == pytest.approx(110, rel=0.005)


def test_loudness_does_not_change_the_tempo():
    strength = pulses(97)
    assert weigh_tempo(strength * 1e-3 + 5, librosas_lag(97)).tempo == pytest.approx(
        weigh_tempo(strength, librosas_lag(97)).tempo, rel=1e-6
    )


def test_noise_has_little_confidence():
    confidences = [weigh_tempo(np.random.default_rng(seed).random(1_200), 120).confidence for seed in range(20)]
    assert max(confidences) < 0.25


@pytest.mark.parametrize(("strength", "tempo"), [(np.zeros(0), 120), (np.zeros(900), 120), (pulses(120), 0), (pulses(120, 1), 120)])
def test_without_a_pulse_there_is_no_tempo(strength, tempo):
    assert weigh_tempo(strength, tempo) == Tempo(0, 0, 0, 0, 0)


def test_the_autocorrelation_is_one_at_lag_zero_and_at_the_period():
    wave = np.sin(2 * np.pi * np.arange(2_000) / 50)
    correlation = autocorrelate(wave)
    assert correlation[0] == pytest.approx(1)
    assert correlation[50] == pytest.approx(1, abs=1e-3)
    assert correlation[25] == pytest.approx(-1, abs=1e-3)


@pytest.mark.parametrize("meter", [3, 4, 5, 7])
@pytest.mark.parametrize("seed", range(4))
def test_the_beats_in_a_bar_are_counted(meter, seed):
    strength, beats, chroma = bars(meter, seed=seed)
    for found in (find_meter(strength, beats, chroma), find_meter(strength, beats)):
        assert found.time_signature == meter
        assert found.confidence > 0.1


@pytest.mark.parametrize(("accents", "expected"), [(2, 4), (6, 3), (8, 4)])
def test_bars_of_two_and_eight_count_as_four_and_of_six_as_three(accents, expected):
    strength, beats, chroma = bars(accents, beats=64)
    assert find_meter(strength, beats, chroma).time_signature == expected


@pytest.mark.parametrize("meter", [3, 4])
def test_a_beat_that_the_tracker_lost_does_not_change_the_metre(meter):
    strength, beats, chroma = bars(meter, beats=64, slip=1)
    assert find_meter(strength, beats, chroma).time_signature == meter


def test_beats_without_accents_are_counted_in_four_without_much_confidence():
    found = []
    for seed in range(30):
        strength = np.random.default_rng(seed).random(1_200)
        found.append(find_meter(strength, np.arange(5, 1_190, 20)))
    assert sum(meter.time_signature == 4 for meter in found) >= 20
    assert np.median([meter.confidence for meter in found]) < 0.1


@pytest.mark.parametrize("beats", [[], [3, 20, 40], list(range(5, 4_000, 500))])
def test_too_few_beats_count_as_four_without_confidence(beats):
    assert find_meter(np.ones(1_000), np.array(beats, int)) == Meter(4, 0.0)


def test_nothing_that_differs_from_beat_to_beat_counts_as_four_without_confidence():
    assert find_meter(np.ones(1_000), np.arange(5, 900, 20), np.ones((12, 1_000))) == Meter(4, 0.0)
