import datetime as dt

import numpy as np
import polars as pl
from demo_worlds import SCALE, Cast

from spotify_ai_assets.demo.listening import CLICK, DAILY_LISTENS, DONE, FORWARD, MINUTE_MS, REST_MS, Sessions, _space_out, start_of
from spotify_ai_assets.demo.music import COUNTRIES
from spotify_ai_assets.demo.people import SCROBBLERS
from spotify_ai_assets.demo.planted import Plan

FIRST = dt.date(2026, 6, 15)


def _week(cast: Cast, scale: float = SCALE) -> pl.DataFrame:
    return pl.concat(cast.live(Plan(5), scale=scale, first=FIRST, days=7).values())


def test_a_day_has_the_promised_number_of_listens_within_its_utc_day(cast: Cast) -> None:
    for day, plays in cast.live(Plan(5), scale=2.0, first=FIRST, days=7).items():
        assert 0.85 < plays.height / (DAILY_LISTENS * 2.0) < 1.15
        assert start_of(day) <= plays["started"].min() <= plays["started"].max() < start_of(day) + 86_400_000  # type: ignore[operator]


def test_plays_of_a_listener_do_not_overlap_and_follow_in_sessions(cast: Cast) -> None:
    plays = _week(cast).sort("listener", "started")
    gap = plays.select(gap=(pl.col("started").shift(-1) - pl.col("started") - pl.col("played")).over("listener"))["gap"].drop_nulls()
    within = (gap < 30 * MINUTE_MS).to_numpy().mean()
    assert (gap >= 0).to_numpy().mean() > 0.999
    assert 0.6 < within < 0.9


def test_some_session_goes_on_after_midnight(cast: Cast) -> None:
    days = cast.live(Plan(5), first=FIRST, days=2)
    before, after = days[FIRST], days[FIRST + dt.timedelta(days=1)]
    last = before.group_by("listener").agg(pl.col("started", "played").last())
    joined = last.join(after.group_by("listener").agg(next=pl.col("started").first()), on="listener")
    assert (joined["next"] - joined["started"] - joined["played"] < 10_000).any()


def test_a_completed_track_is_played_to_its_end_and_a_skipped_one_is_not(cast: Cast) -> None:
    plays = _week(cast)
    length = cast.music.duration[plays["item"].to_numpy()]
    done, skipped = (plays["reason_end"] == DONE).to_numpy(), (plays["reason_end"] == FORWARD).to_numpy()
    assert (plays["played"].to_numpy()[done] == length[done]).all()
    assert (plays["played"].to_numpy()[skipped] < length[skipped]).all()
    assert 0.1 < skipped.mean() < 0.4
    assert ((plays["started"] + plays["played"]) % 1_000 == 0).all()


def test_a_fifth_of_the_sessions_comes_from_the_playlist_of_its_first_genre_and_no_podcast_does(cast: Cast) -> None:
    plays = _week(cast, scale=2.0)
    music = plays.filter(pl.col("item") < cast.music.tracks)
    assert 0.15 < music["playlist"].is_not_null().mean() < 0.25  # type: ignore[operator]
    assert plays.filter(pl.col("item") >= cast.music.tracks)["playlist"].null_count() == plays.height - music.height > 0
    listed = music.drop_nulls("playlist").filter(pl.col("reason_start") == CLICK)
    assert (cast.music.genre[listed["item"].to_numpy()] == listed["playlist"].to_numpy()).all()
    assert len(set(cast.music.playlists)) == 8


def test_people_sleep_at_night_by_their_own_clock(cast: Cast) -> None:
    plays = _week(cast, scale=2.0)
    for country, hours in (("US", -5), ("JP", 9)):
        mine = plays.filter(pl.Series(cast.people.country[plays["listener"].to_numpy()] == COUNTRIES.index(country)))
        hour = (mine["started"] // 3_600_000 + hours) % 24
        assert hour.is_between(17, 22).sum() > 4 * hour.is_between(1, 5).sum()


def test_scrobblers_submit_only_what_was_mostly_heard(cast: Cast) -> None:
    plays = _week(cast, scale=2.0)
    scrobbled = plays.filter(pl.Series(np.isin(cast.people.route[plays["listener"].to_numpy()], SCROBBLERS)))
    half = np.minimum(cast.music.duration[scrobbled["item"].to_numpy()] // 2, 240_000)
    assert scrobbled.height > 100
    assert (scrobbled["played"].to_numpy() >= half).all()
    assert (scrobbled["item"] < cast.music.tracks).all()


def test_a_day_does_not_depend_on_the_days_before_it(cast: Cast) -> None:
    last = FIRST + dt.timedelta(days=6)
    alone = cast.live(Plan(5), first=last, days=1)[last]
    among = cast.live(Plan(5), first=FIRST, days=7)[last]
    assert alone.equals(among)


def test_sessions_of_a_listener_are_put_off_until_the_one_before_has_rested() -> None:
    sessions = Sessions(np.array([0, 0, 0, 1]), np.array([500, 0, 10_000_000, 7]), np.zeros(4, dtype=int), np.ones(4, dtype=int))
    begins = _space_out(sessions, np.array([100, 1_000, 5, 5]))
    assert begins.tolist() == [1_000 + REST_MS, 0, 10_000_000, 7]
