from datetime import UTC, date, datetime

import polars as pl
import pytest

from spotify_ai_assets.demo.scoring_anomalies import score_anomalies
from spotify_ai_assets.listening.insight.contracts import ANOMALIES

OUTAGE = {"day": "2026-06-01", "hour": None, "country": "DE", "platform": None, "kind": "outage", "factor": 0.2}
HOUR = {"day": "2026-06-02", "hour": 9, "country": None, "platform": None, "kind": "outage", "factor": 0.2}
SPIKE = {"day": "2026-06-03", "hour": None, "country": None, "platform": "ios", "kind": "spike", "factor": 2.0}
TRUTH = {"volume_anomalies": [OUTAGE, HOUR, SPIKE]}


def incident(day: int, country: str, platform: str, direction: str, hour: int | None = None, *, is_cause: bool = True) -> dict[str, object]:
    return {
        "day": date(2026, 6, day),
        "resolution": "day" if hour is None else "hour",
        "started_at": datetime(2026, 6, day, hour or 0, tzinfo=UTC),
        "country": country,
        "platform": platform,
        "direction": direction,
        "is_cause": is_cause,
    }


EXACT = [
    incident(1, "DE", "all", "down"),
    incident(2, "global", "all", "down", 9),
    incident(3, "global", "ios", "up"),
    incident(1, "global", "all", "down", is_cause=False),
]


def score(*rows: dict[str, object], truth: dict[str, list] = TRUTH) -> dict:
    return score_anomalies(pl.DataFrame(rows, schema=ANOMALIES.schema), truth)


def test_causes_in_the_same_place_are_hits_and_what_they_explain_does_not_count():
    assert score(*EXACT) == {"planted": 3, "incidents": 3, "hits": 3, "precision": 1.0, "recall": 1.0, "false": [], "missed": []}


@pytest.mark.parametrize(
    "wrong",
    [
        incident(1, "FR", "all", "down"),
        incident(1, "DE", "ios", "down"),
        incident(1, "DE", "all", "up"),
        incident(1, "DE", "all", "down", 0),
        incident(4, "DE", "all", "down"),
        incident(1, "global", "all", "down"),
    ],
    ids=["country", "platform", "direction", "hour", "day", "world"],
)
def test_a_cause_elsewhere_is_false_and_leaves_the_planted_one_missed(wrong):
    found = score(wrong, *EXACT[1:])
    assert (found["hits"], found["precision"], found["recall"]) == (2, 2 / 3, 2 / 3)
    assert found["missed"] == ["2026-06-01 day DE all down"]
    assert len(found["false"]) == 1


def test_nothing_is_never_wrong_and_nothing_planted_never_missed():
    assert (score()["precision"], score()["recall"]) == (1.0, 0.0)
    clean = {"volume_anomalies": []}
    assert score(truth=clean)["recall"] == 1.0
    assert score(EXACT[0], truth=clean)["precision"] == 0.0
