from datetime import timedelta
from fractions import Fraction

import numpy as np
import polars as pl
from counted_days import SUNDAY, Counted, counted_days, week
from hypothesis import given
from hypothesis import strategies as st
from play_frames import listener, moment, play, plays_of, unhurried

from spotify_ai_assets.listening.contracts import ARTIST_DAYS, LISTENER_TRACK_DAYS
from spotify_ai_assets.listening.insight.contracts import STREAM_SHARE, SUSPICIOUS_STREAMS
from spotify_ai_assets.listening.insight.recounting import differing_shares
from spotify_ai_assets.listening.insight.shares import MILLION, apportion, share_streams
from spotify_ai_assets.validation import violations

groups = st.lists(st.tuples(st.lists(st.integers(1, 10_000), min_size=1, max_size=8), st.integers(1, 300_000)), min_size=1, max_size=6)


def shares_of(counted: Counted) -> pl.DataFrame:
    return share_streams(counted.listener_track_days, counted.suspicious, counted.artist_days, SUNDAY)


@given(groups)
def test_units_are_the_largest_remainders_in_exact_fractions(drawn):
    group = np.repeat(np.arange(len(drawn)), [len(weights) for weights, _ in drawn])
    units = apportion(group, np.array([weight for weights, _ in drawn for weight in weights]), np.array([pool for _, pool in drawn]))
    for number, (weights, millions) in enumerate(drawn):
        pool = millions * MILLION
        exact = [Fraction(pool * weight, sum(weights)) for weight in weights]
        whole = [int(each) for each in exact]
        order = sorted(range(len(weights)), key=lambda place: (whole[place] - exact[place], place))
        for place in order[: pool - sum(whole)]:
            whole[place] += 1
        assert units[group == number].tolist() == whole
        assert sum(whole) == pool


@unhurried
@given(counted_days)
def test_units_reconcile_with_the_pool_to_the_unit(counted):
    made = shares_of(counted)
    tracks = counted.listener_track_days.filter(pl.col("day").is_in(week(SUNDAY)), pl.col("kind") == "track", pl.col("streams") > 0)
    pools = {("global",): tracks["listener_id"].n_unique()}
    pools |= {(row[0],): row[1] for row in tracks.group_by("country").agg(pl.n_unique("listener_id")).iter_rows()}
    assert violations(STREAM_SHARE, made) == []
    assert {(model, country) for model, country in made.select("model", "country").unique().iter_rows()} == {
        (model, country) for model in ("pro_rata", "user_centric") for (country,) in pools if tracks.height
    }
    for (_, country), rows in made.group_by("model", "country"):
        assert rows["units"].sum() == pools[(country,)] * MILLION
        assert (rows["suspicious_units"] <= rows["units"]).all()
        assert abs(rows["share"].sum() - 1) < 1e-12
    assert (
        made.filter(model="pro_rata")["streams"].sum() == made.filter(model="user_centric")["streams"].sum() == 2 * tracks["streams"].sum()
    )


@unhurried
@given(counted_days)
def test_the_order_of_rows_changes_nothing(counted):
    counts, fakes, names = (frame.reverse() for frame in (counted.listener_track_days, counted.suspicious, counted.artist_days))
    assert share_streams(counts, fakes, names, SUNDAY).equals(shares_of(counted))


@unhurried
@given(counted_days)
def test_what_does_not_reconcile_is_found(counted):
    in_week = [frame.filter(pl.col("day").is_in(week(SUNDAY))) for frame in (counted.listener_track_days, counted.suspicious)]
    made = shares_of(counted)
    assert differing_shares(made, *in_week).is_empty()
    if made.height:
        one_more = made.with_columns(pl.col("units") + (pl.int_range(pl.len()) == 0))
        assert differing_shares(one_more, *in_week).height == 1
        assert differing_shares(made.filter(model="pro_rata"), *in_week)["model"].unique().to_list() == ["user_centric"]


def test_one_who_streams_one_artist_gives_that_artist_a_million():
    fan = [play(moment(SUNDAY, 5 * number), artist_id="small") for number in range(2)]
    crowd = [play(moment(SUNDAY, 5 * number), listener_id=listener(2), artist_id="big", track_id="spotify:3") for number in range(8)]
    made = shares_of(Counted(plays_of(*fan, *crowd))).filter(country="global")
    assert made.select("model", "artist_id", "units").rows() == [
        ("pro_rata", "big", 1_600_000),
        ("pro_rata", "small", 400_000),
        ("user_centric", "big", MILLION),
        ("user_centric", "small", MILLION),
    ]


def test_suspicious_streams_earn_their_own_units():
    streams = [play(moment(SUNDAY, 5 * number), track_id="spotify:2" if number < 3 else "spotify:1") for number in range(4)]
    made = shares_of(Counted(plays_of(*streams))).filter(country="global", model="user_centric")
    assert made.select("streams", "suspicious_streams", "units", "suspicious_units", "genuine_share").rows() == [
        (4, 3, MILLION, 750_000, 1.0)
    ]


def test_a_market_with_suspicious_streams_only_has_no_genuine_share():
    made = shares_of(Counted(plays_of(play(moment(SUNDAY), track_id="spotify:2"))))
    assert made.select("units", "suspicious_units").rows() == [(MILLION, MILLION)] * 4
    assert made["genuine_share"].to_list() == [None] * 4


def test_a_third_of_a_million_leaves_one_unit_to_the_first_artist():
    three = [play(moment(SUNDAY, 5 * number), artist_id=name) for number, name in enumerate("cab")]
    made = shares_of(Counted(plays_of(*three))).filter(country="global", model="user_centric")
    assert made.select("artist_id", "units").rows() == [("a", 333_334), ("b", 333_333), ("c", 333_333)]


def test_short_plays_and_podcasts_earn_nothing():
    plays = plays_of(
        play(moment(SUNDAY), is_stream=False, played_ms=5_000),
        play(moment(SUNDAY, 5), kind="episode", track_id="spotify:4"),
        play(moment(SUNDAY - timedelta(days=7))),
    )
    assert shares_of(Counted(plays)).equals(STREAM_SHARE.empty())
    empty = share_streams(LISTENER_TRACK_DAYS.empty(), SUSPICIOUS_STREAMS.empty(), ARTIST_DAYS.empty(), SUNDAY)
    assert empty.equals(STREAM_SHARE.empty())
