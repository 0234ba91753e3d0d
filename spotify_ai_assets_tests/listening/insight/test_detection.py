import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ai_assets.listening.insight import detection
from spotify_ai_assets.listening.insight.detection import ALARM, LONG, Detector

DAY = 48
values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=150)


def daily(days: int, seed: int = 0) -> np.ndarray:
    """A series with a rhythm of ``DAY`` rows."""
    rows = np.arange(days * DAY)
    return 100 + 50 * np.sin(2 * np.pi * rows / DAY) + np.random.default_rng(seed).normal(0, 1, len(rows))


def alarms(series: np.ndarray, rest: int = 0) -> list[int]:
    return np.flatnonzero(Detector(rest).update(series) >= ALARM).tolist()


@settings(deadline=None)
@given(values, st.lists(st.integers(0, 150), max_size=4))
def test_rows_in_pieces_have_the_scores_of_all_at_once(series, cuts):
    detector = Detector(rest=3)
    pieces = [detector.update(piece) for piece in np.split(np.array(series), sorted(cuts))]
    assert np.concatenate(pieces).tolist() == Detector(rest=3).update(series).tolist()


@settings(deadline=None)
@given(values, values)
def test_a_score_hangs_on_nothing_that_comes_later(series, later):
    assert Detector().update([*series, *later])[: len(series)].tolist() == Detector().update(series).tolist()


@settings(deadline=None)
@given(values)
def test_scores_are_from_0_to_1_and_know_no_unit(series):
    scores = Detector().update(series)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert Detector().update([4 * value for value in series]).tolist() == scores.tolist()


@pytest.mark.parametrize("series", [[7.0] * 500, [1e9, 0.1, 3.3] * 200], ids=["flat", "periodic"])
def test_what_repeats_exactly_never_alarms(series):
    assert alarms(np.array(series)) == []


def test_a_value_never_seen_alarms():
    series = daily(20)
    series[700] = 400
    assert 700 in alarms(series)
    assert 700 not in alarms(daily(20))


def test_a_shape_never_seen_of_values_often_seen_alarms_far_more_often():
    series = daily(20)
    series[740:788] = 100
    odd, usual = (sum(740 <= row < 788 + LONG for row in alarms(each)) for each in (series, daily(20)))
    assert odd > 4 * usual
    assert odd > 20


def test_no_alarm_follows_another_within_the_rest():
    noise = np.random.default_rng(1).normal(0, 1, 1_000)
    close, apart = np.diff(alarms(noise)), np.diff(alarms(noise, rest=50))
    assert close.min() == 1
    assert apart.min() > 50


def test_the_memory_is_bounded_and_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr(detection, "MEMORY", 1024)
    series = daily(100)
    series[0] = series[-1] = 1_000
    detector = Detector()
    scores = detector.update(series)
    assert detector._distances._size <= 2 * 1024
    assert detector._distances._values.size == 2 * 1024
    assert scores[-1] > 0.99  # As the first value was forgotten, the last is new.


def test_distances_are_those_of_whole_stretches():
    series = np.random.default_rng(2).normal(0, 1, 200)
    distances = detection._Distances()
    for row, value in enumerate(series):
        nearest, nearest_long = distances.of_next(value)
        if row >= 2 * LONG - 1:
            newest = series[row - LONG + 1 : row + 1]
            ends = range(LONG - 1, row - LONG + 1)
            assert nearest_long == pytest.approx(min(np.square(newest - series[end - LONG + 1 : end + 1]).sum() for end in ends))
            assert nearest == np.square(series[:row] - value).min()
        else:
            assert nearest_long is None
