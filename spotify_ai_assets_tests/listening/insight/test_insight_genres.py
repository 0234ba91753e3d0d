import polars as pl
import pytest
from counted_days import ARTISTS_KNOWN, Counted, counted_days
from hypothesis import given
from play_frames import FIRST, all_days, moment, play, plays_of, unhurried

from spotify_ai_assets.catalog.contracts import ARTISTS
from spotify_ai_assets.listening.contracts import ARTIST_DAYS
from spotify_ai_assets.listening.insight.contracts import GENRE_MIX, SUSPICIOUS_ARTIST_DAYS
from spotify_ai_assets.listening.insight.genres import mix_genres
from spotify_ai_assets.listening.insight.recounting import differing_genres
from spotify_ai_assets.validation import violations


@unhurried
@given(counted_days)
def test_genres_add_up_to_the_artists_in_every_country_and_in_all(counted):
    total, fake = counted.artist_days, counted.suspicious_artist_days
    for day in all_days()[:3]:
        made = mix_genres(total, fake, ARTISTS_KNOWN, day)
        today = [frame.filter(pl.col("day") == day) for frame in (total, fake)]
        assert violations(GENRE_MIX, made) == []
        assert differing_genres(made, *today).is_empty()
        if made["plays"].sum():
            assert not differing_genres(made.with_columns(pl.col("plays") + 1), *today).is_empty()


def test_shares_are_of_genuine_streams_and_podcasts_have_none():
    plays = plays_of(
        play(moment(FIRST, 0), artist_id="artist:1"),
        play(moment(FIRST, 5), artist_id="artist:2", track_id="spotify:3"),
        play(moment(FIRST, 10), artist_id="artist:2", track_id="spotify:3"),
        play(moment(FIRST, 15), artist_id="artist:2", track_id="spotify:2"),  # suspicious
        play(moment(FIRST, 20), artist_id="show", track_id="spotify:4", kind="episode"),
    )
    counted = Counted(plays)
    made = mix_genres(counted.artist_days, counted.suspicious_artist_days, ARTISTS_KNOWN, FIRST)
    assert made.filter(country="global").select("genre", "streams", "suspicious_streams", "share").rows() == [
        ("jazz", 1, 0, pytest.approx(1 / 3)),
        ("unknown", 3, 1, pytest.approx(2 / 3)),
    ]


def test_a_country_with_suspicious_streams_only_has_no_share():
    counted = Counted(plays_of(play(moment(FIRST), track_id="spotify:2")))
    made = mix_genres(counted.artist_days, counted.suspicious_artist_days, ARTISTS.empty(), FIRST)
    assert made.select("country", "genre", "suspicious_streams", "share").rows() == [
        ("SE", "unknown", 1, 0.0),
        ("global", "unknown", 1, 0.0),
    ]


def test_a_day_without_plays_has_no_genres():
    assert mix_genres(ARTIST_DAYS.empty(), SUSPICIOUS_ARTIST_DAYS.empty(), ARTISTS_KNOWN, FIRST).equals(GENRE_MIX.empty())
