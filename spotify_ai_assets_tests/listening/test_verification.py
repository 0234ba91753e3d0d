"""Recounting: each kind of disagreement is found, and agreement is not disturbed."""

from datetime import date, timedelta

import polars as pl
import pytest
from invented import day, land

from spotify_ai_assets.listening.contracts import CHARTS, PLAYS, SESSIONS, TRACK_DAYS
from spotify_ai_assets.listening.verification import (
    differing_sums,
    differs_from_rebuild,
    lost_plays,
    rebuild_day,
    sample_days,
    sparse_ranks,
    unusual_days,
)
from spotify_ai_assets.resources.lake import Lake


@pytest.fixture
def made(lake: Lake) -> Lake:
    """Seven days, a whole week, made from their listens."""
    land(lake, range(7))
    for number in range(7):
        for key, rows in rebuild_day(lake, day(number)).items():
            lake.write(key, rows, day(number))
    return lake


def test_tables_of_the_same_plays_agree(made: Lake) -> None:
    days = [day(number) for number in range(7)]
    assert differing_sums(made.scan(TRACK_DAYS.key), made.scan(PLAYS.key)).is_empty()
    assert lost_plays(made.scan(SESSIONS.key), made.scan(PLAYS.key), days).is_empty()
    assert sparse_ranks(made.scan(CHARTS.key), ["period", "country"]).is_empty()
    assert [differs_from_rebuild(made, on) for on in days] == [[]] * 7


def test_a_lost_play_is_found_by_sums_and_by_sessions(made: Lake) -> None:
    fewer = made.scan(PLAYS.key).filter(~((pl.col("day") == day(3)) & (pl.int_range(pl.len()).over("day") == 0)))
    assert differing_sums(made.scan(TRACK_DAYS.key), fewer)["day"].to_list() == [day(3)]
    assert lost_plays(made.scan(SESSIONS.key), fewer, [day(3)])["day"].to_list() == [day(3)]


def test_a_day_that_only_one_side_has_is_found(made: Lake) -> None:
    rows = made.scan(TRACK_DAYS.key).filter(pl.col("day") != day(2))
    assert differing_sums(rows, made.scan(PLAYS.key))["day"].to_list() == [day(2)]


def test_a_missing_and_a_repeated_rank_are_found(made: Lake) -> None:
    entries = made.scan(CHARTS.key).filter(pl.col("day") == day(1), pl.col("country") == "DE")
    gap = entries.filter(pl.col("rank") != 2)
    twice = entries.with_columns(rank=pl.when(pl.col("rank") == 2).then(1).otherwise("rank"))
    assert sparse_ranks(gap, ["period", "country"]).height == 1
    assert sparse_ranks(twice, ["period", "country"]).height == 1


def test_a_table_that_is_not_what_its_listens_give_is_named(made: Lake) -> None:
    rows = made.scan(TRACK_DAYS.key, first=day(4), last=day(4)).collect()
    made.write(TRACK_DAYS.key, rows.with_columns(pl.col("plays") + 1), day(4))
    assert differs_from_rebuild(made, day(4)) == [TRACK_DAYS.key]


@pytest.mark.parametrize(("count", "is_unusual"), [(1000, False), (1150, False), (1300, True), (400, True), (0, True)])
def test_a_day_far_from_its_past_is_unusual(count: int, is_unusual: bool) -> None:
    today = date(2026, 5, 1)
    counts = {today - timedelta(days=ago): 1000 + ago % 3 for ago in range(1, 29)} | {today: count}
    assert (not unusual_days(counts, [today]).is_empty()) == is_unusual


def test_a_day_without_a_week_of_past_is_usual() -> None:
    today = date(2026, 5, 1)
    assert unusual_days({today - timedelta(days=1): 1000, today: 1}, [today]).is_empty()


def test_samples_are_the_newest_day_and_one_that_wanders() -> None:
    days = [str(day(number)) for number in range(100)]
    samples = [sample_days(days, [day(number)]) for number in range(100)]
    assert all(day(number) in sample for number, sample in enumerate(samples))
    assert len({other for number, sample in enumerate(samples) for other in sample if other != day(number)}) > 30
    assert sample_days(days, [day(7)]) == sample_days(days, [day(7)])
    assert sample_days([], []) == []
