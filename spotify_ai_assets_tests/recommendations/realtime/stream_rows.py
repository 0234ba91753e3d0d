"""Listens for the tests of the stream: small, each with a key of its own."""

import hashlib
from datetime import UTC, datetime, timedelta

import polars as pl

from spotify_ai_assets.catalog.ids import artist_id
from spotify_ai_assets.listening.contracts import EVENTS

NOW = datetime(2026, 6, 28, 12, tzinfo=UTC)


def listener(number: int) -> str:
    """A pseudonym."""
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def listens(
    count: int, *, first: int = 0, listeners: int = 7, tracks: int = 50, start: datetime = NOW, step_s: float = 1.0
) -> pl.DataFrame:
    """Rows of ``listening/events``: one a second, each with a key of its own."""
    numbers = range(first, first + count)
    rows = [
        {
            "listener_id": listener(number % listeners),
            "started_at": start - timedelta(seconds=step_s * number),
            "track_id": f"name:{number % tracks:020x}",
            "artist_id": artist_id(f"Artist {number % 9}"),
            "kind": "track",
            "track_name": f"Track {number % tracks}",
            "artist_name": f"Artist {number % 9}",
            "played_ms": (180_000, 20_000, 90_000)[number % 3],
            "duration_ms": 180_000,
            "country": "SE",
            "platform": "android",
            "reason_end": ("trackdone", "fwdbtn", "endplay")[number % 3],
            "is_minute_grain": False,
            "source": "stream",
        }
        for number in numbers
    ]
    frame = pl.DataFrame(rows, schema={name: dtype for name, dtype in EVENTS.schema.items() if name != "day"})
    return frame.with_columns(day=pl.col("started_at").dt.date()).select(*EVENTS.schema)
