"""One day's listening: sessions by the clock of each listener's country, and in each what follows what.

Plays are a frame of numbers with the columns ``PLAY``, one row per play: ``listener`` and ``item`` are rows of the people
and of the catalogue, ``started`` and ``played`` milliseconds. Days are drawn apart from each other: none needs another's
memory. What disturbs a day belongs to ``planted``; names and texts to ``files``.
"""

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from spotify_ai_assets.demo.music import Music
from spotify_ai_assets.demo.names import draw_from
from spotify_ai_assets.demo.people import FAVOURITES, SCROBBLERS, UTC_HOURS, People, pick_genres

LAST_DAY = dt.date(2026, 6, 28)
DAY_MS, MINUTE_MS = 86_400_000, 60_000
DAILY_LISTENS = 5_000
WEEKDAYS = np.array([0.95, 0.94, 0.96, 0.98, 1.08, 1.08, 1.01])
SESSION_PLAYS = 6.0
PLAYLIST_SHARE = 0.2
"""Sessions that play from the playlist of their first track's genre."""
REST_MS = 40 * MINUTE_MS
"""Between two sessions of a listener; more than the 30 minutes by which sessions are told apart."""

REASONS = ("trackdone", "fwdbtn", "endplay", "logout", "clickrow", "playbtn", "appload")
DONE, FORWARD, END, LOGOUT, CLICK, PLAYED, LOADED = range(len(REASONS))
PLAY = {
    "listener": pl.Int64,
    "item": pl.Int64,
    "started": pl.Int64,
    "played": pl.Int64,
    "device": pl.Int64,
    "reason_start": pl.Int64,
    "reason_end": pl.Int64,
    "shuffle": pl.Boolean,
    "offline": pl.Boolean,
    "incognito": pl.Boolean,
    "playlist": pl.Int64,
}
"""``playlist`` is a row of the music's playlists; null where a play comes from none."""


class Hit(NamedTuple):
    """A track that takes ``share`` of what is played in a country, or everywhere where that is None."""

    item: int
    country: int | None
    share: float


class Sessions(NamedTuple):
    """Sessions of one day: who, from which millisecond of the day, on which device, and how many plays."""

    listener: np.ndarray
    begun: np.ndarray
    device: np.ndarray
    plays: np.ndarray


def start_of(day: dt.date) -> int:
    """Midnight UTC in milliseconds since 1970."""
    return (day - dt.date(1970, 1, 1)).days * DAY_MS


def expect_sessions(seed: int, scale: float, day: dt.date, people: People) -> np.ndarray:
    """How many sessions each listener has on a day, on average; 5,000 plays per unit of scale, more towards the weekend."""
    age = (LAST_DAY - day).days
    active = people.activity * ((people.joined > age) & (people.left <= age))
    mood = WEEKDAYS[day.weekday()] * (1 + 0.02 * draw_from(seed, "mood", day.toordinal()).standard_normal())
    return DAILY_LISTENS * scale * mood / SESSION_PLAYS * active / active.sum()


def draw_sessions(rng: np.random.Generator, expected: np.ndarray, day: dt.date, people: People) -> Sessions:
    """Sessions of a day: morning and evening peaks of each listener's own clock, later on weekends."""
    listener = np.repeat(np.arange(people.listeners), rng.poisson(expected))
    count = len(listener)
    evening = (rng.random(count) >= people.morning[listener]).astype(int)
    hour = people.peaks[listener, evening] + rng.normal(0, np.array([1.2, 2.0])[evening]) + (1.5 if day.weekday() >= 5 else 0.0)
    hour = np.where(rng.random(count) < 0.08, rng.uniform(7, 24, count), hour) - UTC_HOURS[people.country[listener]]
    device = people.devices[listener, (rng.random(count) < 0.22).astype(int)]
    return Sessions(listener, (hour % 24 * 3_600_000).astype(np.int64), device, rng.geometric(1 / SESSION_PLAYS, count))


def play_sessions(
    rng: np.random.Generator, sessions: Sessions, day: dt.date, music: Music, people: People, hits: Sequence[Hit] = ()
) -> pl.DataFrame:
    """Fill sessions with plays that follow each other; late sessions go on after midnight.

    A session is a podcast, an album, favourites or a mix by taste; some come from a playlist. A track ends by itself or is
    skipped, the last one may be stopped; why one starts follows from how the one before ended.
    """
    talks = rng.random(len(sessions.listener)) < people.talks[sessions.listener]
    sessions = sessions._replace(plays=np.where(talks, 1, sessions.plays))
    session = np.repeat(np.arange(len(talks)), sessions.plays)
    first = np.cumsum(sessions.plays) - sessions.plays
    position = np.arange(len(session)) - first[session]
    item = _choose_items(rng, sessions, session, position, talks, music, people, hits)
    played, reason_end = _end_plays(rng, item, position == sessions.plays[session] - 1, sessions.listener[session], music, people)
    reason_start = np.where(position == 0, rng.choice([CLICK, PLAYED, LOADED], len(item), p=[0.5, 0.35, 0.15]), np.r_[0, reason_end[:-1]])

    pause = rng.integers(1_000, 4_000, len(item)) + np.where(rng.random(len(item)) < 0.03, rng.integers(1, 20 * MINUTE_MS, len(item)), 0)
    elapsed = np.cumsum(played + pause) - (played + pause)
    elapsed -= elapsed[first][session] if len(first) else 0
    lasting = np.bincount(session, played + pause, len(first)).astype(np.int64)
    started = start_of(day) + _space_out(sessions, lasting)[session] + elapsed
    # Exports tell the second at which a track stopped: every end is a whole second, so that its start can be told exactly.
    started = -((started + played) // -1_000) * 1_000 - played

    private, away, mixed = rng.random((3, len(talks)))
    # Drawn last, so that nothing else hangs on it.
    is_listed = (rng.random(len(talks)) < PLAYLIST_SHARE) & ~talks
    playlist = music.genre[np.where(is_listed, item[first], 0)]
    return pl.DataFrame(
        {
            "listener": sessions.listener[session],
            "item": item,
            "started": started,
            "played": played,
            "device": sessions.device[session],
            "reason_start": reason_start,
            "reason_end": reason_end,
            "shuffle": (mixed < 0.3)[session],
            "offline": (away < 0.05)[session],
            "incognito": (private < 0.02)[session],
            "playlist": pl.Series(playlist[session]).set(pl.Series(~is_listed[session]), None),
        },
        schema=PLAY,
    )


def _choose_items(
    rng: np.random.Generator,
    sessions: Sessions,
    session: np.ndarray,
    position: np.ndarray,
    talks: np.ndarray,
    music: Music,
    people: People,
    hits: Sequence[Hit],
) -> np.ndarray:
    listener, count = sessions.listener[session], len(session)
    mood = pick_genres(people, sessions.listener, rng.random(len(talks)))[session]
    genre = np.where(rng.random(count) < 0.15, pick_genres(people, listener, rng.random(count)), mood)
    item = music.pick_tracks(people.country[listener], genre, rng.random(count))

    way = rng.random(len(talks))[session]
    on_album = way < 0.2
    first = np.flatnonzero(position == 0)
    item = np.where(on_album, music.play_on(item[first][session] if count else item, position), item)
    loved = people.favourites[listener, (FAVOURITES * rng.random(count) ** 2).astype(int)]
    item = np.where((way > 0.65) & (rng.random(count) < 0.8), loved, item)
    for hit in hits:
        found = rng.random(count) < hit.share
        item = np.where(found & (True if hit.country is None else people.country[listener] == hit.country), hit.item, item)

    episodes = len(music.duration) - music.tracks
    return np.where(talks[session], music.tracks + (episodes * rng.random(count) ** 3).astype(np.int64), item)


def _end_plays(
    rng: np.random.Generator, item: np.ndarray, is_last: np.ndarray, listener: np.ndarray, music: Music, people: People
) -> tuple[np.ndarray, np.ndarray]:
    count = len(item)
    is_track = item < music.tracks
    loves = music.genre[np.where(is_track, item, 0)] == people.cluster[listener]
    skipped = is_track & (rng.random(count) > people.patience[listener] * np.where(loves, 1.1, 0.9))
    stopped = is_last & (rng.random(count) < 0.45)
    reason = np.select([skipped, stopped], [FORWARD, rng.choice([END, LOGOUT], count, p=[0.8, 0.2])], DONE)
    part = np.select([skipped, stopped], [rng.beta(0.8, 3.0, count), rng.random(count)], 1.0)
    return (music.duration[item] * part).astype(np.int64), reason


def _space_out(sessions: Sessions, lasting: np.ndarray) -> np.ndarray:
    """Begin of each session, put off where the listener's session before has not ended and rested.

    begin_i = max over the listener's earlier j of (begun_j + what lasts between), one running maximum over all listeners.
    """
    order = np.lexsort((sessions.begun, sessions.listener))
    used = lasting[order] + REST_MS
    before = np.cumsum(used) - used
    apart = sessions.listener[order] * (int(before[-1]) + 2 * DAY_MS if len(order) else 0)
    begins = np.empty_like(sessions.begun)
    begins[order] = np.maximum.accumulate(sessions.begun[order] - before + apart) + before - apart
    return begins


def keep_scrobbles(plays: pl.DataFrame, music: Music, people: People) -> pl.DataFrame:
    """Without the plays that a scrobbler does not submit: less than half a track and less than four minutes."""
    scrobbles = np.isin(people.route[plays["listener"].to_numpy()], SCROBBLERS)
    enough = plays["played"].to_numpy() >= np.minimum(music.duration[plays["item"].to_numpy()] // 2, 240_000)
    return plays.filter(pl.Series(~scrobbles | enough))
