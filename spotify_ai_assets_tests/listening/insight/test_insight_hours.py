import polars as pl
from counted_days import KEY, Counted, counted_days
from hypothesis import given
from play_frames import FIRST, all_days, moment, play, plays_of, unhurried

from spotify_ai_assets.listening.contracts import PLAYS
from spotify_ai_assets.listening.insight.contracts import COUNTRY_HOURS, SUSPICIOUS_STREAMS
from spotify_ai_assets.listening.insight.hours import count_hours, differing_hours
from spotify_ai_assets.validation import violations


@unhurried
@given(counted_days)
def test_hours_add_up_to_the_days_and_their_suspicious_part_to_what_is_flagged(counted: Counted):
    hours = pl.concat([count_hours(counted.plays, counted.suspicious, day) for day in all_days()])
    assert all(violations(COUNTRY_HOURS, rows) == [] for rows in hours.partition_by("day"))
    assert differing_hours(hours, counted.plays, counted.suspicious).is_empty()
    genuine = counted.plays.join(counted.suspicious, on=KEY, how="anti")
    people = genuine.group_by(pl.col("started_at").dt.truncate("1h"), "country", "platform").agg(pl.col("listener_id").n_unique())
    left = hours.filter(pl.col("listeners") > pl.col("suspicious_listeners"))
    assert left.height == people.height
    assert (left["listeners"] - left["suspicious_listeners"]).sum() == people["listener_id"].sum()
    if hours.height:
        assert differing_hours(hours[1:], counted.plays, counted.suspicious).height == 1


def test_a_play_counts_in_the_hour_in_which_it_starts():
    plays = plays_of(play(moment(FIRST, 59.9)), play(moment(FIRST, 60)), play(moment(FIRST, 1439)))
    made = count_hours(plays, SUSPICIOUS_STREAMS.empty(), FIRST)
    assert made.select(pl.col("started_at").dt.hour(), "plays", "listeners").rows() == [(0, 1, 1), (1, 1, 1), (23, 1, 1)]


def test_no_play_gives_no_hour():
    assert count_hours(PLAYS.empty(), SUSPICIOUS_STREAMS.empty(), FIRST).equals(COUNTRY_HOURS.empty())
