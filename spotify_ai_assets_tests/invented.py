"""Invented listens: days of rows that many tests share."""

import os
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.resources.lake import Lake

FIRST = date(2026, 3, 2)  # a Monday


def require(is_there: object, reason: str) -> None:
    """Skip with a reason where something is absent; in CI its absence is a failure."""
    if not is_there:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def day(number: int) -> date:
    """The numbered day of the invented listens, 0 is the first."""
    return FIRST + timedelta(days=number)


def listens(on: date, count: int = 60, *, listeners: int = 6, tracks: int = 15, shift: int = 0) -> pl.DataFrame:
    """Invented rows of listening/events of one day, 20 minutes apart for each listener, the last near midnight."""
    begin = datetime(on.year, on.month, on.day, tzinfo=UTC)
    step = timedelta(seconds=86_000 // max(count, 1))
    rows = []
    for number in range(count):
        track = (number * 7 + shift + on.toordinal()) % tracks
        rows.append(
            {
                "day": on,
                "listener_id": f"{number % listeners:032x}",
                "started_at": begin + step * number,
                "track_id": f"spotify:{track:022}",
                "artist_id": f"artist:{track // 3:020x}",
                "kind": "track",
                "track_name": f"Track {track}",
                "artist_name": f"Artist {track // 3}",
                "album_name": None,
                "played_ms": 20_000 + 40_000 * (number % 5),
                "duration_ms": 180_000,
                "country": ("DE", "FR", "ZZ")[number % listeners % 3],
                "platform": "android",
                "reason_start": "trackdone",
                "reason_end": "fwdbtn" if number % 5 == 0 else "trackdone",
                "was_skipped": None,
                "is_shuffle": False,
                "is_offline": False,
                "is_incognito": False,
                "is_minute_grain": False,
                "source": "native_jsonl",
            }
        )
    return pl.DataFrame(rows, schema=EVENTS.schema)


def land(lake: Lake, days: range, **options: int) -> None:
    """Put invented listens of these days into the lake."""
    for number in days:
        lake.write(EVENTS.key, listens(day(number), **options), day(number))


def numbers_of(table: Table, numbers: Iterable[int]) -> list[int]:
    """Those days, by number, of which a table has a partition."""
    return [number for number in numbers if table.has(day(number))]
