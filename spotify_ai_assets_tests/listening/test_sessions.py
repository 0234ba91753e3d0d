from datetime import datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from play_frames import DAYS, FIRST, all_days, listener, moment, play, plays_of, random_plays, unhurried
from polars.testing import assert_frame_equal

from spotify_ai_assets.listening.contracts import SESSIONS
from spotify_ai_assets.listening.sessions import settle_sessions

GAP = timedelta(minutes=30)
SUMS = ["plays", "streams", "skips", "completions", "played_ms"]


def settle_days(plays: pl.DataFrame) -> pl.DataFrame:
    """The sessions of all days, one day after the other."""
    settled = [SESSIONS.empty()]
    for day in all_days():
        settled.append(settle_sessions(plays, settled[-1], day))
    return pl.concat(settled)


def brute_sessions(plays: pl.DataFrame) -> list[tuple]:
    """Sessions over the whole of time at once, play by play."""
    sessions: list[list] = []
    for row in plays.sort("listener_id", "started_at", "track_id").iter_rows(named=True):
        end = row["started_at"] + timedelta(milliseconds=row["played_ms"])
        counts = [1, int(row["is_stream"]), int(row["is_skipped"]), int(row["is_completed"]), row["played_ms"]]
        last = sessions[-1] if sessions else None
        if last and last[0] == row["listener_id"] and row["started_at"] - last[2] <= GAP:
            last[2] = max(last[2], end)
            last[5:] = [sum(pair) for pair in zip(last[5:], counts, strict=True)]
        else:
            sessions.append([row["listener_id"], row["started_at"], end, row["country"], row["platform"], *counts])
    return [tuple(session) for session in sessions]


@unhurried
@given(random_plays())
def test_days_settle_to_the_sessions_of_all_time(plays):
    settled = settle_days(plays)
    final = settled.filter(~pl.col("is_open") | (pl.col("day") == all_days()[-1])).drop("day", "is_open")
    assert final.sort("listener_id", "started_at").rows() == brute_sessions(plays)
    assert final["plays"].sum() == plays.height
    assert final["played_ms"].sum() == plays["played_ms"].sum()


@unhurried
@given(random_plays())
def test_a_session_is_open_exactly_while_a_play_at_midnight_would_join_it(plays):
    for row in settle_days(plays).iter_rows(named=True):
        assert row["is_open"] == (moment(row["day"] + timedelta(days=1)) - row["ended_at"] <= GAP)


@unhurried
@given(random_plays(), st.randoms())
def test_the_order_of_rows_makes_no_difference(plays, random):
    order = random.sample(range(plays.height), plays.height)
    assert_frame_equal(settle_days(plays), settle_days(plays[order]))


def sessions_of(*plays: dict[str, object]) -> list[tuple[datetime, datetime, int, bool]]:
    return settle_days(plays_of(*plays)).select("started_at", "ended_at", "plays", "is_open").rows()


def test_a_silence_of_half_an_hour_joins_and_a_longer_one_parts():
    first = play(moment(FIRST, 600))
    assert [row[2] for row in sessions_of(first, play(moment(FIRST, 633)))] == [2]
    assert [row[2] for row in sessions_of(first, play(moment(FIRST, 633) + timedelta(microseconds=1)))] == [1, 1]


def test_a_play_that_outlasts_later_ones_keeps_the_session():
    album = play(moment(FIRST, 0), played_ms=7_200_000)
    assert sessions_of(album, play(moment(FIRST, 10)), play(moment(FIRST, 149))) == [(moment(FIRST), moment(FIRST, 152), 3, False)]


def test_a_session_crosses_midnight():
    midnight = 24 * 60
    assert sessions_of(play(moment(FIRST, midnight - 20)), play(moment(FIRST, midnight + 5))) == [
        (moment(FIRST, midnight - 20), moment(FIRST, midnight - 17), 1, True),
        (moment(FIRST, midnight - 20), moment(FIRST, midnight + 8), 2, False),
    ]


def test_a_carried_session_that_nothing_follows_is_closed_on_a_day_without_plays():
    late = play(moment(FIRST, 24 * 60 - 20))
    assert [(row[2], row[3]) for row in sessions_of(late)] == [(1, True), (1, False)]


def test_a_carried_session_swallows_several_of_the_day():
    concert = play(moment(FIRST, 23 * 60), played_ms=6 * 3_600_000)
    morning = [play(moment(FIRST, 24 * 60 + 60 * hour)) for hour in (2, 4)]
    assert [row[2] for row in sessions_of(concert, *morning)] == [1, 3]


def test_a_session_may_stay_open_over_several_midnights():
    endless = [play(moment(FIRST, 24 * 60 * day + 5), played_ms=86_400_000) for day in range(DAYS)]
    assert [row[2] for row in sessions_of(*endless)] == list(range(1, DAYS + 1))


def test_country_and_device_are_those_of_the_first_play():
    late = play(moment(FIRST, 24 * 60 - 5), country="SE", platform="car")
    home = play(moment(FIRST, 24 * 60 + 5), country="NO", platform="speaker")
    assert settle_days(plays_of(home, late)).select("country", "platform").unique().rows() == [("SE", "car")]


def test_sessions_follow_the_contract_and_come_in_the_order_of_their_key():
    rows = [play(moment(FIRST, minutes), listener_id=listener(number)) for number, minutes in ((2, 5), (1, 500), (1, 5))]
    settled = settle_sessions(plays_of(*rows).lazy(), SESSIONS.empty().lazy(), FIRST)
    assert settled.schema == pl.Schema(SESSIONS.schema)
    assert settled.is_sorted(["listener_id", "started_at"]) and settled.height == 3
