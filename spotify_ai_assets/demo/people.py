"""Invented listeners: where they live, when they listen, what they like, and which export their listens arrive in.

What they play on a day belongs to ``listening``; accounts that are no people to ``planted``.
"""

from dataclasses import dataclass, replace

import numpy as np

from spotify_ai_assets.demo.music import COUNTRIES, GENRES, Music
from spotify_ai_assets.demo.names import draw_from, invent_ids, invent_words

COUNTRY_SHARES = np.array([0.27, 0.14, 0.11, 0.14, 0.10, 0.12, 0.07, 0.05])
UTC_HOURS = np.array([-5.0, -3.0, 1.0, 2.0, 2.0, 5.5, 9.0, -6.0])
"""Local time minus UTC in summer, kept all year: a demo has no need of clock changes."""

DEVICES = ("android", "ios", "windows", "macos", "web", "speaker", "car", "tv")
DEVICE_SHARES = np.array([0.33, 0.27, 0.12, 0.07, 0.08, 0.06, 0.04, 0.03])

NATIVE, PARQUET, EXTENDED, ENDSONG, LISTENBRAINZ, LASTFM, MALOJA, AUDIOSCROBBLER, CANARY = range(9)
"""The route by which somebody's listens arrive; ``files`` has a writer for each."""
SCROBBLERS = (LISTENBRAINZ, LASTFM, MALOJA, AUDIOSCROBBLER)
EXPORTERS = (EXTENDED, ENDSONG, *[LISTENBRAINZ] * 5, *[LASTFM] * 4, MALOJA, AUDIOSCROBBLER)
"""The first listeners, by route; at scale 1 they make 6 % of all listens, above it no more than that."""
EXPORTED_SHARE, PARQUET_SHARE = 0.06, 0.09
LISTENERS, FAVOURITES = 1_500, 24


@dataclass(frozen=True, slots=True)
class People:
    """All accounts. ``ids``, ``country`` and ``route`` cover planted accounts too, everything else the listeners only.

    Attributes:
        ids: The account's name as files show it.
        country: Index into ``COUNTRIES``, or beyond them into ``countries``.
        countries: Names of the countries.
        route: How the account's listens arrive.
        activity: Share in all listens of a day, summing to 1.
        joined: Days before the world's end on which listening began.
        left: Days before the world's end on which it ended; 0 for those who stayed.
        cluster: The planted taste cluster, index into ``GENRES``.
        taste: Cumulated share of each genre, listeners x genres.
        favourites: Rows of the catalogue that are played again and again, listeners x 24.
        devices: First and second device, index into ``DEVICES``.
        peaks: Local hours of the morning's and the evening's peak.
        morning: Share of the morning.
        patience: Probability that a track is not skipped.
        talks: Probability that a session is a podcast.
    """

    ids: list[str]
    country: np.ndarray
    countries: tuple[str, ...]
    route: np.ndarray
    activity: np.ndarray
    joined: np.ndarray
    left: np.ndarray
    cluster: np.ndarray
    taste: np.ndarray
    favourites: np.ndarray
    devices: np.ndarray
    peaks: np.ndarray
    morning: np.ndarray
    patience: np.ndarray
    talks: np.ndarray

    @property
    def listeners(self) -> int:
        """How many of the accounts are listeners."""
        return len(self.activity)

    def admit(self, ids: list[str], countries: list[str], routes: list[int]) -> "People":
        """The same people and, after them, accounts that play only what is planted."""
        names = (*self.countries, *sorted(set(countries) - set(self.countries)))
        return replace(
            self,
            ids=[*self.ids, *ids],
            countries=names,
            country=np.r_[self.country, np.array([names.index(name) for name in countries], dtype=self.country.dtype)],
            route=np.r_[self.route, np.array(routes, dtype=self.route.dtype)],
        )


def gather_people(seed: int, scale: float, music: Music) -> People:
    """Invent the listeners: 1,500 at scale 1, growing with its 0.75th power, so that each also listens a little more."""
    rng = draw_from(seed, "people")
    count = max(len(EXPORTERS) + 27, round(LISTENERS * scale**0.75))
    country = rng.choice(len(COUNTRIES), count, p=COUNTRY_SHARES)
    route = np.where(rng.random(count) < PARQUET_SHARE / (1 - EXPORTED_SHARE), PARQUET, NATIVE)
    route[: len(EXPORTERS) + 1] = *EXPORTERS, PARQUET
    exports = route > PARQUET
    activity = rng.lognormal(0, 1.0, count).clip(0.05, 15)
    activity[exports] = activity[exports].clip(0.7, 1.5)
    exported = EXPORTED_SHARE / max(1.0, scale)
    for group, share in ((exports, exported), (route == PARQUET, PARQUET_SHARE), (route == NATIVE, 1 - exported - PARQUET_SHARE)):
        activity[group] *= share / activity[group].sum()

    cluster, second = rng.integers(0, len(GENRES), (2, count))
    taste = rng.dirichlet(np.full(len(GENRES), 0.4), count) * 0.12
    np.add.at(taste, (np.arange(count), cluster), 0.66)
    np.add.at(taste, (np.arange(count), second), 0.22)
    taste = np.cumsum(taste, axis=1)
    liked = _pick_columns(taste[:, None, :], rng.random((count, FAVOURITES)))
    favourites = music.pick_tracks(np.repeat(country, FAVOURITES), liked.ravel(), rng.random(count * FAVOURITES)).reshape(count, FAVOURITES)

    joined = np.where(exports | (rng.random(count) < 0.7), 10_000, rng.integers(1, 200, count))
    left = np.where(exports | (rng.random(count) < 0.88), 0, (joined.clip(0, 200) * rng.random(count)).astype(np.int64))
    return People(
        ids=_name_accounts(rng, route),
        country=country,
        countries=COUNTRIES,
        route=route,
        activity=activity,
        joined=joined,
        left=left,
        cluster=cluster,
        taste=taste,
        favourites=favourites,
        devices=rng.choice(len(DEVICES), (count, 2), p=DEVICE_SHARES),
        peaks=np.array([8.0, 19.5]) + rng.normal(0, (0.8, 1.4), (count, 2)),
        morning=rng.beta(2, 4, count),
        patience=rng.beta(8, 2.5, count),
        talks=np.where(np.isin(route, SCROBBLERS) | (~exports & (rng.random(count) < 0.7)), 0.0, 0.12),
    )


def _pick_columns(ladder: np.ndarray, chance: np.ndarray) -> np.ndarray:
    return (chance[..., None] > ladder).sum(axis=-1).clip(max=ladder.shape[-1] - 1)


def pick_genres(people: People, listener: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Draw a genre by each listener's taste, as an index into ``GENRES``."""
    return _pick_columns(people.taste[listener], chance)


def _name_accounts(rng: np.random.Generator, route: np.ndarray) -> list[str]:
    """Spotify's 28 characters, but a word and a number for ListenBrainz and the Last.fm-1K form for Last.fm."""
    codes, words = invent_ids(rng, len(route), 28, 36), invent_words(rng, len(EXPORTERS))
    named = {LISTENBRAINZ: lambda i: f"{words[i].lower()}_{1980 + i}", LASTFM: lambda i: f"user_{900 + i:06d}"}
    return [named[kind](i) if (kind := int(route[i])) in named else code for i, code in enumerate(codes)]
