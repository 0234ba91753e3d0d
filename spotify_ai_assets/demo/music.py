"""A catalogue of invented music: artists, albums, tracks and podcasts, and who plays what how often.

Tracks lie in order of genre, artist, album and track number, so that an album is a range and so is a genre.
Popularity is Zipf's twice: among artists and among the tracks of one. At home an artist is more popular.
"""

import datetime as dt
from dataclasses import dataclass

import numpy as np
import polars as pl

from spotify_ai_assets.demo.names import HOSTILE_ARTISTS, HOSTILE_TITLES, draw_from, invent_artists, invent_ids, invent_titles, invent_words

GENRES = ("indie pop", "hip hop", "techno", "metal", "jazz", "classical", "latin", "ambient")
GENRE_SHARES = np.array([0.23, 0.22, 0.14, 0.10, 0.08, 0.07, 0.11, 0.05])
GENRE_SECONDS = np.array([205, 190, 330, 270, 320, 420, 200, 300])
COUNTRIES = ("US", "BR", "GB", "DE", "FR", "IN", "JP", "MX")
HOME_FACTOR = 5.0
ARTISTS, SHOWS, EPISODES = 400, 12, 20
EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Music:
    """What can be played.

    Attributes:
        artists: ``artist_id, name, genre, country``, one row per artist.
        albums: ``album_id, name, artist, released_on, total_tracks``; ``artist`` is a row of ``artists``.
        items: Tracks, then episodes, with the columns that a listen repeats, and ``album``, ``number``, ``is_explicit``.
        tracks: How many of the items are tracks.
        genre: Genre of each track.
        album_start: First track of each track's album.
        album_size: How many tracks that has.
        duration: Length of each item in milliseconds.
        popularity: Share of each track in all that is played, the home factor apart.
        ladder: Cumulated shares of all tracks, once per country; genre ``g`` of country ``c`` climbs from ``c * G + g`` by 1.
        playlists: The URI of each genre's playlist.
    """

    artists: pl.DataFrame
    albums: pl.DataFrame
    items: pl.DataFrame
    tracks: int
    genre: np.ndarray
    album_start: np.ndarray
    album_size: np.ndarray
    duration: np.ndarray
    popularity: np.ndarray
    ladder: np.ndarray
    playlists: tuple[str, ...]

    def pick_tracks(self, country: np.ndarray, genre: np.ndarray, chance: np.ndarray) -> np.ndarray:
        """Draw tracks by popularity within genre and country.

        Args:
            country: Index into ``COUNTRIES`` per draw.
            genre: Index into ``GENRES`` per draw.
            chance: Uniform numbers in [0, 1).

        Returns:
            Rows of ``items``.
        """
        step = country.astype(np.float64) * len(GENRES) + genre
        return np.searchsorted(self.ladder, step + chance, side="right") % self.tracks

    def play_on(self, first: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """The track that comes ``steps`` after ``first`` on its album, starting over at the end."""
        start = self.album_start[first]
        return start + (first - start + steps) % self.album_size[first]


def compose_music(seed: int, scale: float) -> Music:
    """Invent the catalogue; its size grows with the 0.3th power of the scale (400 artists, about 6,000 tracks at 1)."""
    rng = draw_from(seed, "music")
    artists, artist_share = _found_bands(rng, max(40, round(ARTISTS * scale**0.3)))
    genre_of = {genre: number for number, genre in enumerate(GENRES)}
    artist_genre = artists["genre"].replace_strict(genre_of, return_dtype=pl.Int64).to_numpy()
    albums, sizes = _release_albums(rng, artists.height)
    album_artist = albums["artist"].to_numpy()

    album = np.repeat(np.arange(albums.height), sizes)
    artist = album_artist[album]
    share = artist_share[artist] * _zipf_within(rng, artist)
    tracks = _record_tracks(rng, artists, albums, album)
    duration = tracks["duration_ms"].to_numpy() * GENRE_SECONDS[artist_genre[artist]] // GENRE_SECONDS.mean().astype(int)
    items = pl.concat([tracks.with_columns(duration_ms=pl.Series(duration)), _record_podcasts(rng)], how="diagonal")

    home = artists["country"].replace_strict({name: number for number, name in enumerate(COUNTRIES)}, return_dtype=pl.Int64).to_numpy()
    ladder = [
        _climb(share * np.where(home[artist] == country, HOME_FACTOR, 1.0), artist_genre[artist], country)
        for country in range(len(COUNTRIES))
    ]
    return Music(
        artists=artists,
        albums=albums,
        items=items,
        tracks=len(artist),
        genre=artist_genre[artist],
        album_start=np.repeat(np.cumsum(sizes) - sizes, sizes),
        album_size=np.repeat(sizes, sizes),
        duration=items["duration_ms"].to_numpy(),
        popularity=share / share.sum(),
        ladder=np.concatenate(ladder),
        playlists=tuple("spotify:playlist:" + code for code in invent_ids(draw_from(seed, "playlists"), len(GENRES))),
    )


def _found_bands(rng: np.random.Generator, count: int) -> tuple[pl.DataFrame, np.ndarray]:
    names = invent_artists(rng, count)
    rank = rng.permutation(count)
    # The names that break software are popular ones: they shall reach charts, playlists and reports.
    for place, hostile in zip(rng.choice(min(count, 40), len(HOSTILE_ARTISTS), replace=False), HOSTILE_ARTISTS, strict=True):
        names[int(np.flatnonzero(rank == place)[0])] = hostile
    genre = np.sort(np.concatenate([np.arange(len(GENRES)), rng.choice(len(GENRES), count - len(GENRES), p=GENRE_SHARES)]))
    artists = pl.DataFrame(
        {
            "artist_id": invent_ids(rng, count),
            "name": names,
            "genre": [GENRES[number] for number in genre],
            "country": [COUNTRIES[number] for number in rng.integers(0, len(COUNTRIES), count)],
        }
    )
    return artists, (rank + 1.0) ** -0.8


def _release_albums(rng: np.random.Generator, artists: int) -> tuple[pl.DataFrame, np.ndarray]:
    artist = np.repeat(np.arange(artists), rng.integers(1, 6, artists))
    count = len(artist)
    sizes = np.where(rng.random(count) < 0.5, rng.integers(6, 11, count), rng.integers(1, 4, count))
    # The world ends in mid 2026; the last release is older than its year of listens.
    released = [EPOCH + dt.timedelta(days=int(20_200 - age)) for age in rng.exponential(2_500, count).clip(0, 20_000)]
    albums = pl.DataFrame(
        {
            "album_id": invent_ids(rng, count),
            "name": invent_titles(rng, count),
            "artist": artist,
            "released_on": released,
            "total_tracks": sizes,
        }
    )
    return albums, sizes


def _record_tracks(rng: np.random.Generator, artists: pl.DataFrame, albums: pl.DataFrame, album: np.ndarray) -> pl.DataFrame:
    count = len(album)
    titles = invent_titles(rng, count)
    for place, hostile in zip(rng.choice(count, len(HOSTILE_TITLES), replace=False), HOSTILE_TITLES, strict=True):
        titles[place] = hostile
    artist = albums["artist"].gather(album)
    year = albums["released_on"].dt.year().gather(album)
    makers = artists["country"].gather(artist)
    isrc = [f"{country}DEM{year % 100:02d}{number % 100_000:05d}" for number, (country, year) in enumerate(zip(makers, year, strict=True))]
    return pl.DataFrame(
        {
            "track_id": ["spotify:track:" + code for code in invent_ids(rng, count)],
            "track_name": titles,
            "artist_name": artists["name"].gather(artist),
            "album_name": albums["name"].gather(album),
            "duration_ms": (265_000 * rng.lognormal(0, 0.28, count)).clip(75_000, 900_000).astype(np.int64),
            "isrc": isrc,
            "kind": ["track"] * count,
            "album": album,
            "number": _count_within(album) + 1,
            "is_explicit": rng.random(count) < 0.15,
        }
    )


def _record_podcasts(rng: np.random.Generator) -> pl.DataFrame:
    shows = [f"{word} Talks" for word in invent_words(rng, SHOWS)]
    count = SHOWS * EPISODES
    return pl.DataFrame(
        {
            "track_id": ["spotify:episode:" + code for code in invent_ids(rng, count)],
            "track_name": [f"Episode {number % EPISODES + 1}: {title}" for number, title in enumerate(invent_titles(rng, count))],
            "artist_name": [shows[number // EPISODES] for number in range(count)],
            "duration_ms": rng.integers(1_100_000, 3_600_000, count),
            "kind": ["episode"] * count,
        }
    )


def _count_within(group: np.ndarray) -> np.ndarray:
    """Position of each element within its run of equal values."""
    first = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    return np.arange(len(group)) - np.repeat(first, np.diff(np.r_[first, len(group)]))


def _zipf_within(rng: np.random.Generator, group: np.ndarray) -> np.ndarray:
    """Zipf shares of each element within its run, in random order, summing to 1 in each."""
    order = np.lexsort((rng.random(len(group)), group))
    weight = np.empty(len(group))
    weight[order] = 1.0 / (_count_within(group) + 1.0)
    return weight / np.bincount(group, weight)[group]


def _climb(share: np.ndarray, genre: np.ndarray, country: int) -> np.ndarray:
    totals = np.bincount(genre, share, len(GENRES))
    within = np.cumsum(share / totals[genre])  # every genre adds exactly one step
    within = np.maximum.accumulate(np.minimum(within, genre + 1.0))
    within[np.r_[genre[1:] != genre[:-1], True]] = genre[np.r_[genre[1:] != genre[:-1], True]] + 1.0
    return country * len(GENRES) + within
