"""Small random plays for the tests of listening: few listeners, tracks and countries, so that everything collides."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from spotify_ai_assets.listening.contracts import EVENTS, PLAYS

FIRST = date(2024, 2, 26)  # a Monday, with the leap day in its week
DAYS = 9

unhurried = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""


def listener(number: int) -> str:
    return f"{number:032x}"


def moment(day: date, minutes: float = 0) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=minutes)


def play(started_at: datetime, **values: object) -> dict[str, object]:
    """A row of ``listening/plays``: a complete stream of three minutes unless told otherwise."""
    return {
        "day": started_at.date(),
        "listener_id": listener(1),
        "started_at": started_at,
        "track_id": "spotify:1",
        "artist_id": "artist:1",
        "kind": "track",
        "track_name": "Song",
        "artist_name": "Singer",
        "played_ms": 180_000,
        "country": "SE",
        "platform": "android",
        "is_stream": True,
        "is_skipped": False,
        "is_completed": True,
        "source": "test",
    } | values


def plays_of(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=PLAYS.schema)


def events_of(*rows: dict[str, object]) -> pl.DataFrame:
    """Rows of ``listening/events`` from the values that matter to a test."""
    start = moment(FIRST, 600)
    base = {name: value for name, value in play(start).items() if name in EVENTS.schema} | {"is_minute_grain": False}
    return pl.DataFrame([base | row for row in rows], schema=EVENTS.schema)


@st.composite
def random_plays(draw: st.DrawFn) -> pl.DataFrame:
    """Up to 60 plays over nine days, of lengths from nothing to a day, in any order, unique in their key."""
    rows = {}
    for _ in range(draw(st.integers(0, 60))):
        who = listener(draw(st.integers(1, 3)))
        track = draw(st.integers(1, 4))
        started_at = moment(FIRST, draw(st.integers(0, DAYS * 24 * 60 // 5 - 1)) * 5)
        played_ms = draw(st.one_of(st.sampled_from([0, 29_999, 30_000, 300_000, 1_800_000, 86_400_000]), st.integers(0, 7_200_000)))
        row = play(
            started_at,
            listener_id=who,
            track_id=f"spotify:{track}",
            artist_id=f"artist:{draw(st.integers(1, 2))}",
            kind="episode" if track == 4 else "track",
            track_name=draw(st.sampled_from(["Song", "song"])),
            artist_name=draw(st.sampled_from(["Singer", "singer"])),
            played_ms=played_ms,
            country=draw(st.sampled_from(["SE", "DE", "ZZ"])),
            platform=draw(st.sampled_from(["android", "web"])),
            is_stream=played_ms >= 30_000,
            is_skipped=draw(st.booleans()),
            is_completed=draw(st.booleans()),
        )
        rows[who, started_at, track] = row
    return plays_of(*draw(st.permutations(list(rows.values()))))


def all_days() -> list[date]:
    return [FIRST + timedelta(days=offset) for offset in range(DAYS)]
