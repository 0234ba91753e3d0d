"""Scoring of the detectors: worlds are made, scored and thrown away."""

import os
from pathlib import Path

import pytest

from spotify_ai_assets.scoring import score_worlds, summarise


def world(*, clean: bool = False, **values: float | None) -> dict:
    return {"clean": clean, "flagged_plays": 0, "incidents": 0, "trend_false_alarms": 0, **values}


def test_the_summary_has_the_mean_and_the_worst_of_planted_worlds_and_what_clean_ones_were_blamed_for() -> None:
    worlds = [
        world(fraud_recall=1.0, trend_false_alarm_rate=0.0, trend_lead_days=None),
        world(fraud_recall=0.8, trend_false_alarm_rate=0.2, trend_lead_days=3.0),
        world(clean=True, fraud_recall=0.0, incidents=2),
    ]
    found = summarise(worlds)
    assert found["fraud_recall"] == {"mean": 0.9, "worst": 0.8}
    assert found["trend_false_alarm_rate"] == {"mean": 0.1, "worst": 0.2}, "more false alarms are worse"
    assert found["trend_lead_days"] == {"mean": 3.0, "worst": 3.0}, "a world in which nothing was found has no lead"
    assert (found["clean_incidents"], found["clean_flagged_plays"]) == (2, 0)


@pytest.mark.slow
def test_worlds_are_made_scored_and_thrown_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    found = score_worlds([0], scale=0.05, days=20, progress=lambda *_: None)
    planted, clean = found["worlds"]
    assert (planted["clean"], clean["clean"]) == (False, True)
    assert planted["planted_plays"] > 100
    assert planted["fraud_precision"] >= 0.95
    assert planted["fraud_recall"] >= 0.9
    assert (clean["planted_plays"], clean["flagged_plays"]) == (0, 0)
    assert os.environ["SPOTIFY_AI_DATA"] == str(tmp_path / "mine")
    assert not (tmp_path / "mine").exists(), "the lake of the settings is left alone"
