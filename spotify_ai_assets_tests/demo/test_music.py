import numpy as np

from spotify_ai_assets.demo.music import COUNTRIES, GENRES, HOME_FACTOR, compose_music
from spotify_ai_assets.demo.names import HOSTILE_ARTISTS


def test_a_catalogue_of_scale_one_has_the_promised_size() -> None:
    music = compose_music(0, 1.0)
    assert music.artists.height == 400
    assert 1_000 < music.albums.height < 1_400
    assert 5_000 < music.tracks < 7_500
    assert music.items["track_id"].n_unique() == music.items.height


def test_a_picked_track_has_the_genre_that_was_asked_for() -> None:
    music = compose_music(3, 0.5)
    rng = np.random.default_rng(0)
    country, genre = rng.integers(0, len(COUNTRIES), 5_000), rng.integers(0, len(GENRES), 5_000)
    item = music.pick_tracks(country, genre, rng.random(5_000))
    assert (music.genre[item] == genre).all()
    assert (music.pick_tracks(country, genre, np.full(5_000, np.nextafter(1.0, 0.0))) < music.tracks).all()


def test_popularity_is_steep_and_artists_are_more_popular_at_home() -> None:
    music = compose_music(0, 1.0)
    order = np.sort(music.popularity)[::-1]
    assert order[: len(order) // 10].sum() > 0.4
    rng = np.random.default_rng(0)
    item = music.pick_tracks(np.zeros(20_000, dtype=int), rng.integers(0, len(GENRES), 20_000), rng.random(20_000))
    home = (
        music.items.filter(kind="track").join(music.artists, left_on="artist_name", right_on="name", maintain_order="left")["country"]
        == COUNTRIES[0]
    )
    here = home.to_numpy()
    at_home, abroad = here[item].mean(), music.popularity[here].sum()
    assert at_home > 1.5 * abroad
    assert at_home < HOME_FACTOR * abroad


def test_playing_on_stays_on_the_album() -> None:
    music = compose_music(0, 0.2)
    first = np.arange(music.tracks)
    album = music.items["album"].to_numpy()[: music.tracks]
    assert (album[music.play_on(first, np.full(music.tracks, 7))] == album).all()
    assert (music.play_on(first, music.album_size) == first).all()


def test_hostile_names_are_popular() -> None:
    music = compose_music(0, 1.0)
    assert set(HOSTILE_ARTISTS) <= set(music.artists["name"])
    share = dict.fromkeys(HOSTILE_ARTISTS, 0.0)
    for name, popularity in zip(music.items["artist_name"], music.popularity.tolist(), strict=False):
        if name in share:
            share[name] += popularity
    assert min(share.values()) > 2 / music.artists.height / 2
