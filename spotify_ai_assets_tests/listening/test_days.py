from collections import defaultdict

import polars as pl
import pytest
from hypothesis import given
from play_frames import FIRST, all_days, moment, play, plays_of, random_plays, unhurried

from spotify_ai_assets.listening.contracts import ARTIST_DAYS, COUNTRY_DAYS, LISTENER_TRACK_DAYS, TRACK_DAYS
from spotify_ai_assets.listening.days import count_artists, count_countries, count_listener_tracks, count_tracks

COUNTED = [
    (count_listener_tracks, LISTENER_TRACK_DAYS),
    (count_tracks, TRACK_DAYS),
    (count_artists, ARTIST_DAYS),
    (count_countries, COUNTRY_DAYS),
]


def brute_counts(plays: pl.DataFrame, day, table) -> list[dict]:
    groups = defaultdict(list)
    for row in plays.filter(pl.col("day") == day).iter_rows(named=True):
        groups[tuple(row[name] for name in table.primary_key)].append(row)
    rows = []
    for key, group in sorted(groups.items()):
        everything = dict(zip(table.primary_key, key, strict=True)) | {
            "day": day,
            "plays": len(group),
            "streams": sum(row["is_stream"] for row in group),
            "skips": sum(row["is_skipped"] for row in group),
            "completions": sum(row["is_completed"] for row in group),
            "played_ms": sum(row["played_ms"] for row in group),
            "listeners": len({row["listener_id"] for row in group}),
            "track_name": min(row["track_name"] for row in group),
            "artist_name": min(row["artist_name"] for row in group),
        }
        rows.append({name: everything[name] for name in table.schema})
    return rows


@pytest.mark.parametrize(("count", "table"), COUNTED, ids=lambda value: getattr(value, "key", ""))
@unhurried
@given(plays=random_plays())
def test_counts_equal_a_count_play_by_play(count, table, plays):
    for day in all_days()[:3]:
        counted = count(plays.lazy(), day)
        assert counted.schema == pl.Schema(table.schema)
        assert counted.sort(table.primary_key).rows(named=True) == brute_counts(plays, day, table)


@unhurried
@given(random_plays())
def test_every_table_of_a_day_adds_up_to_its_plays(plays):
    day = all_days()[0]
    expected = plays.filter(pl.col("day") == day)
    for count, _ in COUNTED:
        counted = count(plays, day)
        assert (counted["plays"].sum(), counted["streams"].sum()) == (expected.height, expected["is_stream"].sum())
        assert counted["played_ms"].sum() == expected["played_ms"].sum()


def test_the_smallest_spelling_names_a_track():
    plays = plays_of(play(moment(FIRST), track_name="b"), play(moment(FIRST, 1), track_name="a"))
    assert count_tracks(plays, FIRST)["track_name"].to_list() == ["a"]
