"""Small frames of the tables that reports are made from."""

from datetime import date

import polars as pl

from spotify_ai_assets.catalog.ids import artist_id, named_track_id
from spotify_ai_assets.contracts import Table
from spotify_ai_assets.listening.contracts import ARTIST_DAYS, CHARTS, COUNTRY_DAYS, LISTENER_TRACK_DAYS, SESSIONS
from spotify_ai_assets.reports.daily_listening import summarise_day

DAY = date(2026, 5, 1)


def chart_row(rank: int, title: str = "Song", artist: str = "Band", **other: object) -> dict[str, object]:
    """One entry of a daily chart, where nothing moved."""
    row: dict[str, object] = {"day": DAY, "period": "daily", "country": "global", "rank": rank, "track_id": named_track_id(artist, title)}
    row |= {"artist_id": artist_id(artist), "track_name": title, "artist_name": artist, "streams": 1000 - rank, "plays": 1100 - rank}
    return row | {"previous_rank": rank, "movement": 0, "is_new": False, "peak_rank": 1, "periods_on_chart": 5} | other


def country_row(country: str, streams: int, platform: str = "ios", **other: object) -> dict[str, object]:
    """Plays of a country: of ten, eight are streams, two skipped and six completed, 3 minutes each."""
    plays = streams * 10 // 8
    row: dict[str, object] = {"day": DAY, "country": country, "platform": platform, "kind": "track", "plays": plays, "streams": streams}
    return row | {"skips": plays // 5, "completions": plays * 6 // 10, "played_ms": plays * 180_000, "listeners": 3} | other


def artist_row(name: str, streams: int, country: str = "DE", **other: object) -> dict[str, object]:
    """Plays of an artist in a country, an hour in all."""
    row: dict[str, object] = {"day": DAY, "country": country, "kind": "track", "artist_id": artist_id(name), "artist_name": name}
    return row | {"plays": streams, "streams": streams, "skips": 0, "completions": 0, "played_ms": 3_600_000, "listeners": 1} | other


def frame(table: Table, *rows: dict[str, object]) -> pl.DataFrame:
    """Rows as a table's frame; columns that are not given are missing."""
    return pl.DataFrame(list(rows), schema=table.schema)


def summarise(
    charts: tuple[dict[str, object], ...] = (),
    artists: tuple[dict[str, object], ...] = (),
    countries: tuple[dict[str, object], ...] = (),
    listeners: tuple[str, ...] = (),
    sessions: tuple[bool, ...] = (),
    day: date = DAY,
) -> pl.DataFrame:
    """The figures of a day; ``sessions`` tells of each whether it is still open."""
    return summarise_day(
        charts=frame(CHARTS, *charts),
        artist_days=frame(ARTIST_DAYS, *artists),
        country_days=frame(COUNTRY_DAYS, *countries),
        listener_track_days=frame(LISTENER_TRACK_DAYS, *({"day": day, "listener_id": listener} for listener in listeners)),
        sessions=frame(SESSIONS, *({"day": day, "is_open": is_open} for is_open in sessions)),
        day=day,
    )
