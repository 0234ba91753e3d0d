from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from play_frames import FIRST, all_days, listener, moment, play, plays_of, random_plays, unhurried

from spotify_ai_assets.listening.charts import rank_charts
from spotify_ai_assets.listening.contracts import ARTIST_DAYS, CHARTS, COUNTRY_DAYS, LISTENER_TRACK_DAYS, TRACK_DAYS
from spotify_ai_assets.listening.days import count_artists, count_countries, count_listener_tracks, count_tracks
from spotify_ai_assets.listening.insight.contracts import (
    SUSPICIOUS_ARTIST_DAYS,
    SUSPICIOUS_COUNTRY_DAYS,
    SUSPICIOUS_STREAMS,
    SUSPICIOUS_TRACK_DAYS,
)
from spotify_ai_assets.listening.insight.genuine import (
    MEASURES,
    count_suspicious_artists,
    count_suspicious_countries,
    count_suspicious_tracks,
    exceeding,
    rank_genuine_charts,
    without,
)
from spotify_ai_assets.listening.insight.recounting import differing_flags, differing_parts

COUNTED = [
    (count_tracks, count_suspicious_tracks, TRACK_DAYS, SUSPICIOUS_TRACK_DAYS),
    (count_artists, count_suspicious_artists, ARTIST_DAYS, SUSPICIOUS_ARTIST_DAYS),
    (count_countries, count_suspicious_countries, COUNTRY_DAYS, SUSPICIOUS_COUNTRY_DAYS),
]
FLAGGED = list(SUSPICIOUS_STREAMS.primary_key)


@st.composite
def plays_and_flags(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Random plays, and some of the accounts' tracks as if they were flagged."""
    plays = draw(random_plays())
    keys = plays.select("day", *FLAGGED).unique().sort("day", *FLAGGED)
    chosen = draw(st.lists(st.booleans(), min_size=keys.height, max_size=keys.height))
    return plays, keys.filter(pl.Series(chosen, dtype=pl.Boolean))


def rest_of(plays: pl.DataFrame, flags: pl.DataFrame) -> pl.DataFrame:
    return plays.join(flags, on=["day", *FLAGGED], how="anti")


@pytest.mark.parametrize(("count", "count_part", "table", "part_table"), COUNTED, ids=lambda value: getattr(value, "key", ""))
@unhurried
@given(drawn=plays_and_flags())
def test_a_total_less_its_part_is_a_count_of_the_genuine_plays(count, count_part, table, part_table, drawn):
    plays, flags = drawn
    rest = rest_of(plays, flags)
    names = ["track_name", "artist_name"]
    for day in all_days()[:3]:
        total, part = count(plays, day), count_part(plays.lazy(), flags.lazy(), day)
        assert part.schema == pl.Schema(part_table.schema)
        assert part.equals(part.sort(table.primary_key))
        assert exceeding(total, part).is_empty()
        left = without(total, part).collect()
        assert left.schema == total.schema
        assert left.drop(names, strict=False).equals(count(rest, day).drop(names, strict=False))
        measures = [name for name in MEASURES if name in total.columns]
        sums = [frame.select(measures).sum().row(0) for frame in (total, part, left)]
        assert all(whole == flagged + genuine for whole, flagged, genuine in zip(*sums, strict=True))


@unhurried
@given(drawn=plays_and_flags())
def test_a_part_counts_the_flagged_plays_and_no_others(drawn):
    plays, flags = drawn
    for day in all_days()[:3]:
        flagged = plays.join(flags, on=["day", *FLAGGED], how="semi")
        for count, count_part, _, _ in COUNTED:
            part = count_part(plays, flags, day).drop("listeners")
            assert part.equals(count(flagged, day).drop("listeners"))


@unhurried
@given(drawn=plays_and_flags())
def test_flags_are_a_part_of_the_listeners_tracks(drawn):
    plays, flags = drawn
    totals = pl.concat([count_listener_tracks(plays, day) for day in all_days()])
    part = totals.join(flags, on=["day", *FLAGGED], how="semi").with_columns(rule=pl.lit("loop"))
    assert without(totals, part).collect().equals(totals.join(flags, on=["day", *FLAGGED], how="anti", maintain_order="left"))
    national, flagged = (frame.group_by("day", "country").agg(pl.sum("plays")) for frame in (totals, part))
    assert without(national, flagged).collect()["plays"].sum() == rest_of(plays, flags).height


def test_listeners_of_a_part_are_those_who_came_for_nothing_else():
    both = [play(moment(FIRST, minute), listener_id=listener(1), artist_id="a", track_id=track) for minute, track in ((0, "x"), (9, "y"))]
    bot = play(moment(FIRST), listener_id=listener(2), artist_id="a", track_id="x")
    flags = pl.DataFrame([both[0], bot]).select("day", *FLAGGED)
    assert count_suspicious_artists(plays_of(*both, bot), flags, FIRST).select("plays", "listeners").rows() == [(2, 1)]
    assert count_suspicious_tracks(plays_of(*both, bot), flags, FIRST).select("plays", "listeners").rows() == [(2, 2)]


def test_genuine_charts_rank_what_is_left():
    days = [FIRST + timedelta(days=offset) for offset in range(7)]
    played = ((1, "bought", 9), (2, "bought", 2), (2, "loved", 4), (1, "only", 3))
    plays = plays_of(
        *(
            play(moment(day, minute), listener_id=listener(who), track_id=track)
            for day in days
            for who, track, times in played
            for minute in range(times)
        )
    )
    flags = plays.filter(pl.col("listener_id") == listener(1)).select("day", *FLAGGED).unique()
    total = pl.concat([count_tracks(plays, day) for day in days])
    part = pl.concat([count_suspicious_tracks(plays, flags, day) for day in days])
    history = CHARTS.empty()
    for day in days:
        chart = rank_genuine_charts(total, part, history, day)
        expected = rank_charts(pl.concat([count_tracks(rest_of(plays, flags), each) for each in days]), history, day)
        assert chart.equals(expected)
        history = pl.concat([history, chart])
    weekly = history.filter(pl.col("period") == "weekly", pl.col("country") == "global")
    assert weekly.select("rank", "track_id", "streams").rows() == [(1, "loved", 28), (2, "bought", 14)]


def test_a_row_that_is_no_part_is_found():
    plays = plays_of(play(moment(FIRST)), play(moment(FIRST, 5)))
    total = count_tracks(plays, FIRST)
    assert exceeding(total, total).is_empty()
    assert exceeding(total, total.with_columns(streams=3)).select("streams", "plays").rows() == [(3, 2)]
    assert exceeding(total, total.with_columns(listeners=-1)).height == 1
    assert exceeding(total, total.with_columns(country=pl.lit("DE"))).height == 1


def test_flags_that_do_not_hold_all_plays_are_found():
    plays = plays_of(*(play(moment(FIRST, minute), country=country) for minute, country in ((0, "SE"), (5, "SE"), (9, "DE"))))
    flagged = count_listener_tracks(plays, FIRST).filter(pl.col("country") == "SE")
    assert differing_flags(flagged, plays).is_empty()
    assert differing_flags(flagged, plays[1:]).select("plays", "plays_expected").rows() == [(2, 1)]
    assert differing_flags(flagged.with_columns(listener_id=pl.lit(listener(2))), plays).height == 1


def test_a_part_that_does_not_add_up_to_what_is_flagged_is_found():
    plays = plays_of(play(moment(FIRST)), play(moment(FIRST, 5)))
    flagged = count_listener_tracks(plays, FIRST)
    part = count_suspicious_tracks(plays, flagged, FIRST)
    assert differing_parts(part, flagged).is_empty()
    assert differing_parts(part.with_columns(skips=1), flagged).select("day", "skips").rows() == [(FIRST, 1)]
    assert differing_parts(part.clear(), flagged).height == 1


def test_a_day_without_flags_has_no_part():
    plays = plays_of(play(moment(FIRST)))
    for count, count_part, _, part_table in COUNTED:
        part = count_part(plays, SUSPICIOUS_STREAMS.empty(), FIRST)
        assert part.equals(part_table.empty())
        assert without(count(plays, FIRST), part).collect().equals(count(plays, FIRST))


def test_the_parts_know_what_they_are_a_part_of():
    totals = {table.key: table for table in (LISTENER_TRACK_DAYS, TRACK_DAYS, ARTIST_DAYS, COUNTRY_DAYS)}
    for part in (SUSPICIOUS_STREAMS, SUSPICIOUS_TRACK_DAYS, SUSPICIOUS_ARTIST_DAYS, SUSPICIOUS_COUNTRY_DAYS):
        total = totals.pop(str(part.part_of))
        assert part.primary_key == total.primary_key
        assert total.schema.items() <= part.schema.items()
    assert not totals
