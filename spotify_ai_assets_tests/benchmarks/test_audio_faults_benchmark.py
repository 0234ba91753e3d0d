"""The benchmark of audio faults on two synthetic clips: that it ends, that it counts right, and that it says what it missed."""

import numpy as np
import pytest

from benchmarks import audio_faults
from benchmarks.audio_clips import Clip, is_wide, prepare, synthesise_clips
from benchmarks.audio_planting import PLANTINGS, plant


@pytest.fixture(scope="module")
def clip() -> Clip:
    made = next(synthesise_clips(frozenset({3}), 1))
    return Clip(made.name, made.recording, made.kind, made.seed, made.samples[: 4 * made.rate], made.rate)


@pytest.mark.parametrize("name", PLANTINGS)
def test_a_fault_is_planted_the_same_way_each_time_and_changes_the_clip(name: str, clip: Clip) -> None:
    clean = prepare(clip)
    assert is_wide(clean, clip.rate)
    planting = PLANTINGS[name]
    heard = plant(clip, clean, planting, planting.audible)
    again = plant(clip, clean, planting, planting.audible)
    assert heard is not None
    assert again is not None
    assert np.array_equal(heard, again)
    assert heard.shape != clean.shape or np.abs(heard - clean).max() > 0.001


def test_planted_faults_are_scored_by_severity_with_real_and_synthetic_clips_apart(clip: Clip) -> None:
    prepared = {clip.name: prepare(clip)}
    clean, as_found = audio_faults._score_clean([clip], prepared, False)
    assert set(clean) == {clip.name}
    assert as_found["silence"] == 0
    row = audio_faults._score_planting("channel, lower", [clip], prepared, clean, False)
    assert row["recalls"] == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert (row["recall"], row["cases"], row["alarms"], row["clean"]) == (1.0, 3, 0, 1)
    assert row["synthetic"] == {"recall": 1.0, "interval": audio_faults.wilson(3, 3), "cases": 3, "clean": 1, "alarms": 0}
    assert row["real"] == {"recall": 0.0, "interval": [0.0, 1.0], "cases": 0, "clean": 0, "alarms": 0}


def test_clips_are_drawn_from_each_kind_in_turn(clip: Clip) -> None:
    clips = [Clip(f"{kind}/{n}", f"{n}", kind, 0, clip.samples, clip.rate) for kind in ("field", "music") for n in range(5)]
    drawn = audio_faults._draw(clips[:5] + clips[5:7], 6)
    assert sorted(drawn_clip.kind for drawn_clip in drawn) == ["field"] * 4 + ["music"] * 2


def test_the_interval_of_wilson_is_that_of_the_paper() -> None:
    assert audio_faults.wilson(0, 10) == [0.0, 0.2775]
    assert audio_faults.wilson(0, 0) == [0.0, 1.0]
    low, high = audio_faults.wilson(95, 100)
    assert low < 0.95 < high


def test_outliers_far_from_their_artist_are_found() -> None:
    row = audio_faults._score_outliers(frozenset({0}))
    assert row["recalls"][0] < row["recalls"][-1]  # pyright: ignore[reportIndexIssue, reportOperatorIssue]
    assert row["recalls"][-1] == 1.0  # pyright: ignore[reportIndexIssue]
