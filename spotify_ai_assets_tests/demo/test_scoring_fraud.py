import datetime as dt

import polars as pl
import pytest
from demo_worlds import FIRST, World

from spotify_ai_assets.demo.scoring_fraud import fraudsters, score_fraud

TRACKS = [f"spotify:track:{number:022d}" for number in range(4)]
TRUTH = {
    "artificial_streaming": {
        "looping": [{"listener": "ann", "track": TRACKS[0], "days": ["2026-06-01", "2026-06-02"], "plays_per_day": 50}],
        "farms": [{"listeners": ["bob", "cyd"], "tracks": TRACKS[1:3], "days": ["2026-06-01"], "plays_per_day": 20}],
        "night_bursts": [
            {"listener": "dan", "artist": "X", "tracks": TRACKS[3:], "days": ["2026-06-02"], "hour": 0, "plays_per_night": 9},
        ],
    }
}
CLEAN = {"artificial_streaming": {"looping": [], "farms": [], "night_bursts": []}}
NAMES = {name: f"p-{name}" for name in ("ann", "bob", "cyd", "eve")}


def counts(*rows: tuple[str, int, int, int]) -> pl.DataFrame:
    """Plays by name, day of June and number of the track."""
    return pl.DataFrame(
        [(dt.date(2026, 6, day), f"p-{name}", f"spotify:{track:022d}", "SE", plays) for name, day, track, plays in rows],
        schema={"day": pl.Date, "listener_id": pl.String, "track_id": pl.String, "country": pl.String, "plays": pl.Int64},
        orient="row",
    )


PLAYED = counts(
    ("ann", 1, 0, 50), ("ann", 2, 0, 30), ("ann", 3, 0, 7), ("bob", 1, 1, 10), ("bob", 1, 2, 10), ("eve", 1, 1, 5), ("cyd", 2, 1, 3)
)


def test_precision_and_recall_count_plays_as_planted():
    score = score_fraud(counts(("ann", 1, 0, 50), ("bob", 1, 1, 10), ("eve", 1, 1, 5), ("ann", 3, 0, 7)), TRUTH, PLAYED, NAMES)
    assert (score["planted"], score["flagged"], score["caught"]) == (100, 72, 60)
    assert (score["precision"], score["recall"]) == (pytest.approx(60 / 72), 0.6)
    assert score["kinds"] == {
        "looping": {"planted": 80, "caught": 50},
        "farms": {"planted": 20, "caught": 10},
        "night_bursts": {"planted": 0, "caught": 0},
    }


def test_everything_found_and_nothing_else_is_perfect():
    planted = PLAYED.filter(pl.col("plays") >= 10)
    score = score_fraud(planted, TRUTH, PLAYED, NAMES)
    assert (score["precision"], score["recall"]) == (1.0, 1.0)


def test_nothing_flagged_is_not_wrong_but_misses_all():
    score = score_fraud(PLAYED.clear(), TRUTH, PLAYED, NAMES)
    assert (score["precision"], score["recall"]) == (1.0, 0.0)


def test_in_a_clean_world_every_flag_is_wrong():
    assert score_fraud(PLAYED, CLEAN, PLAYED, {}) | {"kinds": 0} == {
        "planted": 0,
        "flagged": 115,
        "caught": 0,
        "precision": 0.0,
        "recall": 1.0,
        "kinds": 0,
    }
    assert score_fraud(PLAYED.clear(), CLEAN, PLAYED, {})["precision"] == 1.0


def test_the_truth_of_a_world_names_its_fraudsters(world: World, clean_world: World):
    schemes = world.truth["artificial_streaming"]
    users = fraudsters(world.truth)
    assert len(users) == len(schemes["looping"]) + sum(len(farm["listeners"]) for farm in schemes["farms"]) + len(schemes["night_bursts"])
    assert fraudsters(clean_world.truth) == []
    one = schemes["night_bursts"][0]
    days = [dt.date.fromisoformat(day) for day in one["days"]]
    assert min(days) >= FIRST
    played = pl.DataFrame({"day": days}).select(
        "day",
        listener_id=pl.lit("p"),
        track_id="spotify:" + pl.lit(one["tracks"][0]).str.split(":").list.last(),
        plays=pl.lit(5, pl.Int64),
    )
    assert score_fraud(played, world.truth, played, {one["listener"]: "p"})["kinds"]["night_bursts"] == {
        "planted": 5 * len(days),
        "caught": 5 * len(days),
    }
