from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from play_frames import DAYS, FIRST, all_days, moment, play, plays_of, random_plays, unhurried

from spotify_ai_assets.listening.days import count_artists, count_countries, count_listener_tracks, count_tracks
from spotify_ai_assets.listening.ranges import count_listeners, funnel, stream_share, top_artists, top_tracks

RANGES = st.tuples(st.integers(0, DAYS - 1), st.integers(0, DAYS - 1)).map(
    lambda ends: (FIRST + timedelta(days=min(ends)), FIRST + timedelta(days=max(ends)))
)
COUNTRIES = st.sampled_from([None, "SE", "ZZ"])


def daily(count: Callable[[pl.DataFrame, date], pl.DataFrame], plays: pl.DataFrame) -> pl.LazyFrame:
    return pl.concat([count(plays, day) for day in all_days()]).lazy()


def taken(plays: pl.DataFrame, first: date, last: date, country: str | None = None, kind: str | None = None) -> Iterable[dict]:
    for row in plays.iter_rows(named=True):
        if first <= row["day"] <= last and country in (None, row["country"]) and kind in (None, row["kind"]):
            yield row


def brute_top(rows: Iterable[dict], key: str) -> list[tuple]:
    """``rank, id, streams, plays, listeners`` of everything with a stream, play by play."""
    groups = defaultdict(list)
    for row in rows:
        groups[row[key]].append(row)
    counts = [
        (-sum(row["is_stream"] for row in group), -len(group), name, len({row["listener_id"] for row in group}))
        for name, group in groups.items()
    ]
    ranked = enumerate(sorted(count for count in counts if count[0]), 1)
    return [(rank, name, -streams, -played, listeners) for rank, (streams, played, name, listeners) in ranked]


@unhurried
@given(random_plays(), RANGES, COUNTRIES)
def test_top_tracks_equal_a_count_play_by_play(plays, ends, country):
    top = top_tracks(daily(count_tracks, plays), daily(count_listener_tracks, plays), *ends, country=country)
    expected = brute_top(taken(plays, *ends, country, "track"), "track_id")
    assert top.select("rank", "track_id", "streams", "plays", "listeners").rows() == expected


@unhurried
@given(random_plays(), RANGES, COUNTRIES)
def test_top_artists_equal_a_count_play_by_play(plays, ends, country):
    top = top_artists(daily(count_artists, plays), daily(count_listener_tracks, plays), *ends, country=country, size=1)
    expected = brute_top(taken(plays, *ends, country, "track"), "artist_id")[:1]
    assert top.select("rank", "artist_id", "streams", "plays", "listeners").rows() == expected


@unhurried
@given(random_plays(), RANGES, COUNTRIES)
def test_stream_shares_reconcile_to_the_streams_counted_play_by_play(plays, ends, country):
    shares = stream_share(daily(count_artists, plays), *ends, country=country)
    counted = sum(row["is_stream"] for row in taken(plays, *ends, country, "track"))
    assert shares["streams"].sum() == counted
    assert shares["share"].sum() == pytest.approx(1 if counted else 0)
    assert shares["share"].to_list() == [pytest.approx(streams / counted) for streams in shares["streams"]]


@unhurried
@given(random_plays(), RANGES, st.sampled_from([("country", "platform"), ("kind",), ()]))
def test_the_funnel_equals_a_count_play_by_play(plays, ends, by):
    groups = defaultdict(list)
    for row in taken(plays, *ends):
        groups[tuple(row[name] for name in by)].append(row)
    expected = []
    for key, group in sorted(groups.items()):
        streams, completions, skips = (sum(row[name] for row in group) for name in ("is_stream", "is_completed", "is_skipped"))
        rates = (streams / len(group), completions / len(group), skips / len(group))
        expected.append((*key, len(group), streams, completions, skips, *rates))
    assert funnel(daily(count_countries, plays), *ends, by=by).rows() == expected


@unhurried
@given(random_plays(), RANGES)
def test_listeners_of_a_range_are_distinct_over_days_and_countries(plays, ends):
    groups = defaultdict(set)
    for row in taken(plays, *ends):
        groups[row["country"]].add(row["listener_id"])
        groups["global"].add(row["listener_id"])
    expected = [(country, len(listeners)) for country, listeners in sorted(groups.items())]
    assert count_listeners(daily(count_listener_tracks, plays), *ends).rows() == expected


def test_top_tracks_are_named_and_episodes_have_their_own():
    plays = plays_of(play(moment(FIRST), track_name="Song"), play(moment(FIRST, 9), kind="episode", track_id="e", track_name="Talk"))
    frames = daily(count_tracks, plays), daily(count_listener_tracks, plays)
    assert top_tracks(*frames, FIRST, FIRST).select("track_name", "artist_name").rows() == [("Song", "Singer")]
    assert top_tracks(*frames, FIRST, FIRST, kind="episode")["track_name"].to_list() == ["Talk"]


def test_a_range_that_ends_before_it_begins_is_refused():
    days = daily(count_countries, plays_of())
    with pytest.raises(ValueError, match="first day"):
        funnel(days, FIRST, FIRST - timedelta(days=1))
