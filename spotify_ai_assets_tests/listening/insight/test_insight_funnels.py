from datetime import date, timedelta

import polars as pl
import pytest
from counted_days import ALBUMS_KNOWN, TRACKS_KNOWN, Counted, counted_days
from hypothesis import given
from play_frames import FIRST, all_days, moment, play, plays_of, unhurried

from spotify_ai_assets.catalog.contracts import ALBUMS, TRACKS
from spotify_ai_assets.listening.contracts import SESSIONS
from spotify_ai_assets.listening.insight import funnels
from spotify_ai_assets.listening.insight.contracts import FUNNELS, SUSPICIOUS_STREAMS
from spotify_ai_assets.listening.insight.funnels import count_funnels
from spotify_ai_assets.listening.insight.recounting import differing_funnels
from spotify_ai_assets.validation import violations

MEASURES = ("plays", "streams", "skips", "completions")


def funnels_of(counted: Counted, day: date = FIRST) -> pl.DataFrame:
    return count_funnels(counted.plays, counted.suspicious, counted.sessions, TRACKS_KNOWN, ALBUMS_KNOWN, day)


def by_item(counts: pl.DataFrame, dimension: str) -> dict[str, int]:
    return dict(counts.filter(dimension=dimension).select("item", "plays").iter_rows())


@unhurried
@given(counted_days)
def test_every_dimension_adds_up_to_all_plays_and_to_all_that_is_suspicious(counted):
    for day in all_days()[:2]:
        made = funnels_of(counted, day)
        today = [frame.filter(pl.col("day") == day) for frame in (counted.plays, counted.suspicious)]
        assert violations(FUNNELS, made) == []
        assert differing_funnels(made, *today).is_empty()
        for name in MEASURES:
            assert (made[name] >= made[f"suspicious_{name}"]).all()
        if made.height:
            assert differing_funnels(made.filter(pl.col("dimension") != "release"), *today)["dimension"].to_list() == ["release"]


@unhurried
@given(counted_days)
def test_positions_equal_a_walk_through_each_session(counted):
    places: dict[tuple[date, str], int] = {}
    last: dict[str, tuple] = {}
    for row in counted.plays.sort("listener_id", "started_at", "track_id").iter_rows(named=True):
        ended, place = last.get(row["listener_id"], (None, 0))
        place = place + 1 if ended is not None and row["started_at"] <= ended + timedelta(minutes=30) else 1
        end = row["started_at"] + timedelta(milliseconds=row["played_ms"])
        last[row["listener_id"]] = (max(end, ended) if ended is not None and place > 1 else end, place)
        key = row["day"], str(place) if place <= 20 else "21+"
        places[key] = places.get(key, 0) + 1
    for day in all_days()[:2]:
        made = by_item(funnels_of(counted, day), "position")
        assert made == {item: count for (on, item), count in places.items() if on == day}


def test_a_session_goes_on_counting_after_midnight():
    minutes = (1_430, 1_434, 1_441, 1_445)
    counted = Counted(plays_of(*(play(moment(FIRST, minute)) for minute in minutes)))
    assert by_item(funnels_of(counted, FIRST + timedelta(days=1)), "position") == {"3": 1, "4": 1}


def test_late_places_are_counted_as_one():
    counted = Counted(plays_of(*(play(moment(FIRST, 3 * number)) for number in range(25))))
    assert by_item(funnels_of(counted), "position")["21+"] == 5


def test_an_age_is_in_whole_years_and_never_negative():
    counted = Counted(plays_of(play(moment(date(2024, 2, 28))), play(moment(date(2024, 2, 29)))))
    young = [
        by_item(count_funnels(counted.plays, counted.suspicious, counted.sessions, TRACKS_KNOWN, ALBUMS_KNOWN, day), "release_age")
        for day in (date(2024, 2, 28), date(2024, 2, 29))
    ]
    assert young == [{"3": 1}, {"4": 1}]
    future = ALBUMS_KNOWN.with_columns(released_on=date(2030, 1, 1))
    made = count_funnels(counted.plays, counted.suspicious, counted.sessions, TRACKS_KNOWN, future, date(2024, 2, 29))
    assert by_item(made, "release_age") == {"0": 1}


def test_what_the_catalogue_does_not_know_is_unknown():
    plays = plays_of(play(moment(FIRST), track_id="spotify:3"), play(moment(FIRST, 5), track_id="other", kind="episode"))
    counted = Counted(plays)
    assert by_item(funnels_of(counted), "release") == {"unknown": 2}
    assert by_item(funnels_of(counted), "release_age") == {"unknown": 2}
    bare = count_funnels(plays, counted.suspicious, counted.sessions, TRACKS.empty(), ALBUMS.empty(), FIRST)
    assert by_item(bare, "release") == {"unknown": 2}


def test_only_the_most_genuinely_played_releases_are_told_apart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(funnels, "LISTED", 1)
    genuine = [play(moment(FIRST, 5 * number), track_id="spotify:1") for number in range(2)]
    fake = [play(moment(FIRST, 60 + 5 * number), track_id="spotify:2") for number in range(5)]
    made = funnels_of(Counted(plays_of(*genuine, *fake)))
    listed = made.filter(dimension="release").sort("item").select("item", "label", "plays", "suspicious_plays").rows()
    assert listed == [("album:1", "First", 2, 0), ("other", "other", 5, 5)]


def test_playlists_are_told_apart_where_the_source_tells_them():
    plays = [play(moment(FIRST, 5 * number), playlist_id=name) for number, name in enumerate(("a", "a", None, "b"))]
    assert by_item(funnels_of(Counted(plays_of(*plays))), "playlist") == {"a": 2, "b": 1, "unknown": 1}


def test_no_plays_make_no_funnel():
    made = count_funnels(plays_of(), SUSPICIOUS_STREAMS.empty(), SESSIONS.empty(), TRACKS.empty(), ALBUMS.empty(), FIRST)
    assert made.equals(FUNNELS.empty())
