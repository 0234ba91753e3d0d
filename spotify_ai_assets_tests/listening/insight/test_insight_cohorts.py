from datetime import timedelta

import polars as pl
from counted_days import SUNDAY, Counted, counted_days, week
from hypothesis import given
from play_frames import FIRST, all_days, listener, moment, play, plays_of, unhurried

from spotify_ai_assets.listening.insight.cohorts import count_cohorts, find_new_listeners
from spotify_ai_assets.listening.insight.contracts import COHORTS, NEW_LISTENERS, SUSPICIOUS_STREAMS
from spotify_ai_assets.listening.insight.recounting import differing_cohorts, misplaced_listeners
from spotify_ai_assets.validation import violations


def newcomers(plays: pl.DataFrame) -> pl.DataFrame:
    found = [NEW_LISTENERS.empty()]
    for day in all_days():
        found.append(find_new_listeners(plays, pl.concat(found), day))
    return pl.concat(found)


def cohorts_of(counted: Counted) -> pl.DataFrame:
    return count_cohorts(counted.listener_track_days, counted.suspicious, newcomers(counted.plays), SUNDAY)


@unhurried
@given(counted_days)
def test_everybody_comes_once_on_the_day_of_the_first_play(counted):
    found = newcomers(counted.plays)
    first = counted.plays.sort("started_at", "track_id").unique("listener_id", keep="first")
    assert found.sort("listener_id").equals(first.sort("listener_id").select(*NEW_LISTENERS.schema))
    assert misplaced_listeners(found, counted.plays).is_empty()


def test_plays_at_the_same_moment_give_one_country_whatever_their_order():
    start = moment(FIRST, 5)
    plays = plays_of(play(start, track_id="b", country="DE"), play(start, track_id="a", country="SE"), play(moment(FIRST, 9), country="FR"))
    for rows in (plays, plays.reverse()):
        assert find_new_listeners(rows, NEW_LISTENERS.empty(), FIRST)["country"].to_list() == ["SE"]


def test_a_listener_known_only_from_a_later_day_comes_now():
    plays = plays_of(play(moment(FIRST, 5)))
    later = find_new_listeners(plays_of(play(moment(FIRST + timedelta(days=2)))), NEW_LISTENERS.empty(), FIRST + timedelta(days=2))
    assert find_new_listeners(plays, later, FIRST).height == 1


@unhurried
@given(counted_days)
def test_cohorts_equal_a_count_listener_by_listener(counted):
    came = {row["listener_id"]: row for row in newcomers(counted.plays).iter_rows(named=True)}
    played = counted.listener_track_days.filter(pl.col("day").is_in(week(SUNDAY)))
    fake = counted.suspicious.filter(pl.col("day").is_in(week(SUNDAY)))
    made = cohorts_of(counted)
    assert violations(COHORTS, made) == []
    for row in made.iter_rows(named=True):
        members = [
            each
            for each, known in came.items()
            if row["cohort_on"] <= known["day"] <= row["cohort_on"] + timedelta(days=6)
            and known["day"] <= SUNDAY
            and row["item"] in ("all", known["country"], known["platform"])
        ]
        mine, faked = (frame.filter(pl.col("listener_id").is_in(members)) for frame in (played, fake))
        totals = dict(mine.group_by("listener_id").agg(pl.sum("plays")).iter_rows())
        fakes = dict(faked.group_by("listener_id").agg(pl.sum("plays")).iter_rows())
        only_fakes = sum(fakes.get(each) == plays for each, plays in totals.items())
        assert (row["size"], row["active"], row["suspicious_active"]) == (len(members), len(totals), only_fakes)
        assert (row["streams"], row["suspicious_streams"]) == (mine["streams"].sum(), faked["streams"].sum())
        assert row["retention"] == (len(totals) - only_fakes) / len(members)
    assert made.filter(dimension="all")["size"].sum() == sum(known["day"] <= SUNDAY for known in came.values())


@unhurried
@given(counted_days)
def test_cohorts_hold_the_whole_week(counted):
    in_week = [frame.filter(pl.col("day").is_in(week(SUNDAY))) for frame in (counted.listener_track_days, counted.suspicious)]
    made = cohorts_of(counted)
    assert differing_cohorts(made, *in_week).is_empty()
    if made["streams"].sum():
        assert not differing_cohorts(made.with_columns(streams=pl.lit(0, pl.Int64)), *in_week).is_empty()


def test_a_cohort_that_stays_away_is_still_told():
    plays = plays_of(play(moment(FIRST, 5)), play(moment(FIRST + timedelta(days=8)), listener_id=listener(2)))
    counted = Counted(plays)
    next_sunday = SUNDAY + timedelta(days=7)
    made = count_cohorts(counted.listener_track_days, SUSPICIOUS_STREAMS.empty(), newcomers(plays), next_sunday).filter(dimension="all")
    assert made.select("cohort_on", "weeks_since", "size", "active", "retention").rows() == [
        (FIRST, 1, 1, 0, 0.0),
        (FIRST + timedelta(days=7), 0, 1, 1, 1.0),
    ]


def test_nobody_makes_no_cohort():
    nobody = plays_of()
    made = count_cohorts(Counted(nobody).listener_track_days, SUSPICIOUS_STREAMS.empty(), NEW_LISTENERS.empty(), SUNDAY)
    assert made.equals(COHORTS.empty())
    assert find_new_listeners(nobody, NEW_LISTENERS.empty(), FIRST).equals(NEW_LISTENERS.empty())


def test_one_who_came_twice_or_never_is_found():
    plays = plays_of(play(moment(FIRST, 5)))
    came = find_new_listeners(plays, NEW_LISTENERS.empty(), FIRST)
    assert misplaced_listeners(pl.concat([came, came.with_columns(day=FIRST + timedelta(days=1))]), plays)["listeners"].to_list() == [1]
    assert misplaced_listeners(NEW_LISTENERS.empty(), plays)["day"].to_list() == [FIRST]
