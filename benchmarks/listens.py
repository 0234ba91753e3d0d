"""Listens as a music service sees them, drawn at random: few tracks and listeners have most of them, a listener's come close together."""

from datetime import UTC, date, datetime, time

import numpy as np
import polars as pl

from spotify_ai_assets.listening.contracts import EVENTS, PLATFORMS
from spotify_ai_assets.resources.lake import Lake

WEDNESDAY = date(2024, 3, 13)
_COUNTRIES = ("US", "GB", "DE", "FR", "BR", "MX", "ES", "IT", "SE", "NL", "AU", "CA", "JP", "IN", "PL", "TR", "AR", "CL", "NO", "ZZ")
_ENDS = {"trackdone": 0.6, "fwdbtn": 0.2, "endplay": 0.06, "backbtn": 0.05, "clickrow": 0.05, "logout": 0.04}
_DAY_MS = 86_400_000
_TRACK_MS = 240_000


def draw_day(day: date, count: int, *, listeners: int | None = None, tracks: int = 100_000, seed: int = 0) -> pl.DataFrame:
    """Draw a day of ``listening/events``; who listens and what there is depends on the seed only, not on the day.

    Args:
        day: The UTC day.
        count: Listens; a few less come out, since two at one moment are one.
        listeners: How many people there are, a tenth of ``count`` unless given.
        tracks: How many tracks there are; the n-th is played in proportion to n to the power of -0.9.
        seed: What is drawn.
    """
    listeners = listeners or max(count // 10, 1)
    world, today = np.random.default_rng(seed), np.random.default_rng([seed, day.toordinal()])
    people = {
        "listener_id": _words(world, listeners, 32, "0123456789abcdef"),
        "country": pl.Series(_COUNTRIES).gather(world.choice(len(_COUNTRIES), listeners, p=_zipf(len(_COUNTRIES), 1.0))),
        "platform": pl.Series(PLATFORMS).gather(world.integers(0, len(PLATFORMS), listeners)),
    }
    artists = max(tracks // 5, 1)
    by = world.integers(0, artists, tracks) ** 2 // artists  # most tracks are by few artists
    titles = _words(world, tracks, 20)
    music = {
        "track_id": "spotify:" + _words(world, tracks, 22),
        "artist_id": ("artist:" + _words(world, artists, 20, "0123456789abcdef")).gather(by),
        "track_name": titles,
        "artist_name": _words(world, artists, 18).gather(by),
        "album_name": titles.gather(np.arange(tracks) * 7 % tracks),
        "kind": pl.Series(np.where(np.arange(tracks) % 50 == 7, "episode", np.where(np.arange(tracks) % 400 == 9, "audiobook", "track"))),
    }
    activity = world.lognormal(0, 0.8, listeners)
    who, what = today.choice(listeners, count, p=activity / activity.sum()), today.choice(tracks, count, p=_zipf(tracks, 0.9))
    moment = (today.integers(0, _DAY_MS, listeners)[who] + today.integers(0, _DAY_MS // 4, count)) % _DAY_MS
    is_short = today.random(count) < 0.25
    midnight_us = int(datetime.combine(day, time(), UTC).timestamp()) * 1_000_000
    listens = pl.DataFrame(
        {
            **{name: column.gather(who) for name, column in people.items()},
            **{name: column.gather(what) for name, column in music.items()},
            "started_at": pl.Series(midnight_us + moment * 1000).cast(EVENTS.schema["started_at"]),
            "played_ms": np.where(is_short, today.integers(0, 30_000, count), today.integers(30_000, _TRACK_MS, count)),
            "reason_end": pl.Series(list(_ENDS)).gather(today.choice(len(_ENDS), count, p=list(_ENDS.values()))),
            "was_skipped": today.random(count) < 0.1,
            "is_shuffle": today.random(count) < 0.5,
        }
    )
    return (
        listens.with_columns(
            day=pl.lit(day),
            duration_ms=pl.lit(_TRACK_MS, pl.Int64),
            reason_start=pl.lit("trackdone"),
            is_offline=pl.lit(False),
            is_incognito=pl.lit(False),
            playlist_id=pl.lit(None, pl.String),
            is_minute_grain=pl.lit(False),
            source=pl.lit("spotify_extended"),
        )
        .unique(EVENTS.primary_key, keep="first")
        .sort(EVENTS.primary_key)
        .select(*EVENTS.schema)
    )


def land(lake: Lake, day: date, listens: pl.DataFrame) -> None:
    """Put a day of listens where intake would."""
    lake.update(EVENTS.key, [day], lambda _day, _present: listens)


def _zipf(size: int, power: float) -> np.ndarray:
    weights = np.arange(1, size + 1, dtype=float) ** -power
    return weights / weights.sum()


def _words(rng: np.random.Generator, count: int, length: int, letters: str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789") -> pl.Series:
    drawn = np.array(list(letters))[rng.integers(0, len(letters), (count, length))]
    return pl.Series(np.ascontiguousarray(drawn).view(f"U{length}").ravel().tolist())
