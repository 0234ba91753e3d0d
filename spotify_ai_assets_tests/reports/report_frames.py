"""Small frames of the tables that reports are made from."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from spotify_ai_assets.catalog.ids import artist_id, named_track_id
from spotify_ai_assets.contracts import Table
from spotify_ai_assets.listening.contracts import ARTIST_DAYS, CHARTS, COUNTRY_DAYS, LISTENER_TRACK_DAYS, SESSIONS
from spotify_ai_assets.listening.insight.contracts import (
    ANOMALIES,
    CHANGE_POINTS,
    COHORTS,
    COUNTRY_HOURS,
    FORECASTS,
    FUNNELS,
    GENRE_MIX,
    GENUINE_CHARTS,
    STREAM_SHARE,
    SUSPICIOUS_COUNTRY_DAYS,
    SUSPICIOUS_STREAMS,
    TRENDS,
    YEAR_IN_REVIEW,
)
from spotify_ai_assets.reports.anomalies import summarise_anomalies
from spotify_ai_assets.reports.cohorts import summarise_cohorts
from spotify_ai_assets.reports.daily_listening import summarise_day
from spotify_ai_assets.reports.weekly_trends import summarise_week
from spotify_ai_assets.reports.year_in_review import summarise_year

DAY = date(2026, 5, 1)
SUNDAY = date(2026, 5, 31)
"""The end of a week and of a month."""


def chart_row(rank: int, title: str = "Song", artist: str = "Band", **other: Any) -> dict[str, object]:
    """One entry of a daily chart, where nothing moved."""
    row: dict[str, object] = {"day": DAY, "period": "daily", "country": "global", "rank": rank, "track_id": named_track_id(artist, title)}
    row |= {"artist_id": artist_id(artist), "track_name": title, "artist_name": artist, "streams": 1000 - rank, "plays": 1100 - rank}
    return row | {"previous_rank": rank, "movement": 0, "is_new": False, "peak_rank": 1, "periods_on_chart": 5} | other


def country_row(country: str, streams: int, platform: str = "ios", **other: Any) -> dict[str, object]:
    """Plays of a country: of ten, eight are streams, two skipped and six completed, 3 minutes each."""
    plays = streams * 10 // 8
    row: dict[str, object] = {"day": DAY, "country": country, "platform": platform, "kind": "track", "plays": plays, "streams": streams}
    return row | {"skips": plays // 5, "completions": plays * 6 // 10, "played_ms": plays * 180_000, "listeners": 3} | other


def artist_row(name: str, streams: int, country: str = "DE", **other: Any) -> dict[str, object]:
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


def some_day(name: str = "Song") -> pl.DataFrame:
    """Figures of ``SUNDAY`` with a row in each section, about items of this name."""
    charts = [chart_row(1, name, name, country=country, day=SUNDAY) for country in ("global", "DE")]
    return summarise(
        charts=tuple(charts),
        artists=(artist_row(name, 900, day=SUNDAY),),
        countries=(country_row("DE", 80_000, day=SUNDAY), country_row("FR", 8_000, "web", day=SUNDAY)),
        listeners=("a", "b"),
        sessions=(False,),
        day=SUNDAY,
    )


def flagged_row(listener: str, title: str = "Song", rule: str = "loop", case: int = 1, **other: Any) -> dict[str, object]:
    """What a suspicious account played of a track: 40 streams of half a minute."""
    row: dict[str, object] = {"day": SUNDAY, "listener_id": listener, "country": "DE", "kind": "track", "track_name": title}
    row |= {"track_id": named_track_id("Band", title), "artist_id": artist_id("Band"), "artist_name": "Band", "plays": 41, "streams": 40}
    row |= {"skips": 0, "completions": 0, "played_ms": 1_260_000, "rule": rule, "case": case, "accounts": 1, "tracks": 1, "sittings": 2}
    return row | {"account_share": 0.5, "median_played_ms": 31_000, "score": 0.9} | other


def anomaly_row(**other: Any) -> dict[str, object]:
    """An hour with a fifth of its plays."""
    row: dict[str, object] = {"day": SUNDAY, "resolution": "hour", "started_at": datetime(2026, 5, 31, 14, tzinfo=UTC), "country": "DE"}
    row |= {"platform": "all", "plays": 20, "expected": 100.0, "lower": 80.0, "upper": 120.0, "score": 0.99, "severity": "high"}
    return row | {"direction": "down", "is_cause": True} | other


def hour_row(hour: int, plays: int, suspicious: int = 0, **other: Any) -> dict[str, object]:
    """Plays of an hour in Germany."""
    row: dict[str, object] = {"day": SUNDAY, "started_at": datetime(2026, 5, 31, hour, tzinfo=UTC), "country": "DE", "platform": "ios"}
    row |= {"plays": plays, "streams": plays, "suspicious_plays": suspicious, "suspicious_streams": suspicious}
    return row | other


def summarise_wrong(
    countries: tuple[dict[str, object], ...] = (),
    suspicious_countries: tuple[dict[str, object], ...] = (),
    flagged: tuple[dict[str, object], ...] = (),
    hours: tuple[dict[str, object], ...] = (),
    anomalies: tuple[dict[str, object], ...] = (),
    charts: tuple[dict[str, object], ...] = (),
    genuine_charts: tuple[dict[str, object], ...] = (),
    day: date = SUNDAY,
) -> pl.DataFrame:
    """The figures of a day's anomalies."""
    return summarise_anomalies(
        country_days=frame(COUNTRY_DAYS, *countries),
        suspicious_country_days=frame(SUSPICIOUS_COUNTRY_DAYS, *suspicious_countries),
        suspicious_streams=frame(SUSPICIOUS_STREAMS, *flagged),
        country_hours=frame(COUNTRY_HOURS, *hours),
        anomalies=frame(ANOMALIES, *anomalies),
        charts=frame(CHARTS, *charts),
        genuine_charts=frame(GENUINE_CHARTS, *genuine_charts),
        day=day,
    )


def some_anomalies(name: str = "Song") -> pl.DataFrame:
    """Figures of ``SUNDAY`` with a row in each section, about items of this name."""
    return summarise_wrong(
        countries=(country_row("DE", 800, day=SUNDAY), country_row("FR", 80, "web", day=SUNDAY)),
        suspicious_countries=(country_row("DE", 80, day=SUNDAY),),
        flagged=(
            *(flagged_row(f"{number:032x}", name, "ring", 1, artist_name=name) for number in range(3)),
            flagged_row("f" * 32, name, artist_name=name, case=2),
            flagged_row("e" * 32, name, "burst", 3, artist_name=name),
        ),
        hours=(hour_row(3, 60, 40), hour_row(14, 20)),
        anomalies=(anomaly_row(), anomaly_row(platform="ios", is_cause=False, resolution="day", direction="up", plays=300)),
        charts=(chart_row(1, name, name, day=SUNDAY), chart_row(1, name, name, day=SUNDAY, country="DE")),
        genuine_charts=(chart_row(9, name, name, day=SUNDAY),),
    )


def trend_row(rank: int, title: str = "Song", artist: str = "Band", **other: Any) -> dict[str, object]:
    """A track that rises by a fifth a day."""
    row: dict[str, object] = {"day": SUNDAY, "country": "global", "subject": "track", "item_id": f"{title}-{rank}", "label": title}
    row |= {"detail": artist, "rank": rank, "streams": 500 - rank, "expected_streams": 120.0, "growth": 0.2, "velocity": 12.5}
    row |= {"score": 1.5, "q_value": 0.01, "started_on": SUNDAY - timedelta(days=4), "days_since_start": 4}
    return row | other


def change_row(**other: Any) -> dict[str, object]:
    """A level that doubled ten days ago."""
    row: dict[str, object] = {"day": SUNDAY, "subject": "country", "item_id": "global", "changed_on": SUNDAY - timedelta(days=10)}
    return row | {"before": 1000.0, "after": 2000.0, "change": 1.0, "score": 3.0} | other


def forecast_rows(item: str = "global", label: str = "global", subject: str = "country", **other: Any) -> list[dict[str, object]]:
    """A forecast of a week that comes ever nearer to nothing."""
    base: dict[str, object] = {"day": SUNDAY, "subject": subject, "item_id": item, "label": label, "model": "x", "error": 8.0}
    base |= {"naive_error": 10.0, "is_shown": True} | other
    ahead = [{"target_on": SUNDAY + timedelta(days=days), "streams": 100.0 / days} for days in range(1, 8)]
    bands = {"lower_80": 9.0, "upper_80": 110.0, "lower_95": 5.0, "upper_95": 130.0}
    return [base | bands | each for each in ahead]


def summarise_trends(
    countries: tuple[dict[str, object], ...] = (),
    suspicious_countries: tuple[dict[str, object], ...] = (),
    trends: tuple[dict[str, object], ...] = (),
    charts: tuple[dict[str, object], ...] = (),
    genuine_charts: tuple[dict[str, object], ...] = (),
    changes: tuple[dict[str, object], ...] = (),
    forecasts: tuple[dict[str, object], ...] = (),
    day: date = SUNDAY,
) -> pl.DataFrame:
    """The figures of a week's trends."""
    return summarise_week(
        country_days=frame(COUNTRY_DAYS, *countries),
        suspicious_country_days=frame(SUSPICIOUS_COUNTRY_DAYS, *suspicious_countries),
        trends=frame(TRENDS, *trends),
        charts=frame(CHARTS, *charts),
        genuine_charts=frame(GENUINE_CHARTS, *genuine_charts),
        change_points=frame(CHANGE_POINTS, *changes),
        forecasts=frame(FORECASTS, *forecasts),
        day=day,
    )


def some_week(name: str = "Song") -> pl.DataFrame:
    """Figures of the week to ``SUNDAY`` with a row in each section, about items of this name."""
    weekly = {"day": SUNDAY, "period": "weekly"}
    return summarise_trends(
        countries=tuple(country_row("DE", 800, day=SUNDAY - timedelta(days=ago)) for ago in range(5)),
        suspicious_countries=(country_row("DE", 80, day=SUNDAY),),
        trends=(
            *(trend_row(1, name, name, country=country) for country in ("global", "DE")),
            trend_row(1, name, subject="artist", detail=None),
        ),
        charts=(chart_row(2, name, name, **weekly),),
        genuine_charts=(
            chart_row(3, name, name, **weekly | {"movement": 4, "previous_rank": 7}),
            chart_row(8, name, "x", **weekly | {"movement": -4, "previous_rank": 4}),
            chart_row(9, "x", name, **weekly | {"movement": None, "previous_rank": None, "is_new": True}),
        ),
        changes=(change_row(), change_row(subject="platform", item_id="ios", change=-0.5, after=500.0)),
        forecasts=(*forecast_rows(), *forecast_rows("t", name, "track", detail=name), *forecast_rows("a", name, "artist")),
    )


def cohort_row(came: date, weeks_since: int = 0, size: int = 50, active: int | None = None, **other: Any) -> dict[str, object]:
    """A cohort of which all are active unless said otherwise, looked at some weeks after it came."""
    row: dict[str, object] = {"day": came + timedelta(days=6 + 7 * weeks_since), "cohort_on": came, "dimension": "all", "item": "all"}
    active = size if active is None else active
    row |= {"weeks_since": weeks_since, "size": size, "active": active, "suspicious_active": 0, "retention": active / size}
    return row | {"streams": 10 * active, "suspicious_streams": 0} | other


def funnel_row(dimension: str, item: str, plays: int = 100, **other: Any) -> dict[str, object]:
    """Plays of which a fifth were skipped and three quarters completed."""
    row: dict[str, object] = {"day": SUNDAY, "dimension": dimension, "item": item, "label": item, "plays": plays, "streams": plays}
    row |= {"skips": plays // 5, "completions": plays * 3 // 4, "suspicious_plays": 0, "suspicious_streams": 0}
    return row | {"suspicious_skips": 0, "suspicious_completions": 0} | other


def genre_row(genre: str, streams: int, country: str = "global", **other: Any) -> dict[str, object]:
    """Streams of a genre."""
    row: dict[str, object] = {"day": SUNDAY, "country": country, "genre": genre, "plays": streams, "streams": streams, "played_ms": streams}
    return row | {"suspicious_plays": 0, "suspicious_streams": 0, "suspicious_played_ms": 0, "share": 0.5} | other


def share_row(model: str, artist: str, share: float, **other: Any) -> dict[str, object]:
    """An artist's share of the pool."""
    row: dict[str, object] = {"day": SUNDAY, "model": model, "country": "global", "artist_id": artist_id(artist), "artist_name": artist}
    row |= {"streams": 100, "suspicious_streams": 10, "units": 1, "suspicious_units": 0, "share": share, "genuine_share": share}
    return row | other


def summarise_people(
    cohorts: tuple[dict[str, object], ...] = (),
    funnels: tuple[dict[str, object], ...] = (),
    genres: tuple[dict[str, object], ...] = (),
    shares: tuple[dict[str, object], ...] = (),
    day: date = SUNDAY,
) -> pl.DataFrame:
    """The figures of a week's cohorts."""
    return summarise_cohorts(
        cohorts=frame(COHORTS, *cohorts),
        funnels=frame(FUNNELS, *funnels),
        genre_mix=frame(GENRE_MIX, *genres),
        stream_share=frame(STREAM_SHARE, *shares),
        day=day,
    )


def some_cohorts(name: str = "Song") -> pl.DataFrame:
    """Figures of the week to ``SUNDAY`` with a row in each section, about items of this name."""
    monday = SUNDAY - timedelta(days=6)
    return summarise_people(
        cohorts=(
            cohort_row(monday, size=4),
            cohort_row(monday - timedelta(weeks=1), 0),
            cohort_row(monday - timedelta(weeks=1), 1, active=30),
            cohort_row(monday - timedelta(weeks=1), 0, dimension="country", item="DE"),
            cohort_row(monday - timedelta(weeks=1), 0, dimension="platform", item="ios"),
        ),
        funnels=(
            *(funnel_row("position", str(place)) for place in range(1, 4)),
            funnel_row("position", "21+"),
            funnel_row("release", "r", label=name),
            funnel_row("playlist", "p", label=name),
            funnel_row("release_age", "1"),
            funnel_row("release_age", "unknown"),
        ),
        genres=(genre_row(name, 90), genre_row("another genre", 10), genre_row(name, 90, "DE")),
        shares=(
            *(share_row(model, name, share) for model, share in (("pro_rata", 0.4), ("user_centric", 0.5))),
            *(share_row(model, f"{name}x", share) for model, share in (("pro_rata", 0.6), ("user_centric", 0.5))),
        ),
    )


def year_row(section: str, position: int = 1, item: str = "all", **other: Any) -> dict[str, object]:
    """A hundred plays of which ten are suspicious, of everybody."""
    row: dict[str, object] = {"day": SUNDAY, "listener_id": "global", "section": section, "position": position, "item": item}
    row |= {"label": item, "plays": 100, "streams": 80, "played_ms": 36_000_000, "suspicious_plays": 10, "suspicious_streams": 8}
    return row | {"suspicious_played_ms": 3_600_000, "days": 20, "listeners": 7} | other


def year_rows(name: str = "Song", **other: Any) -> pl.DataFrame:
    """Rows of a year in review in each section, about items of this name."""
    rows = (
        year_row("total", **other),
        *(year_row("months", place, f"2026-0{place}", **other) for place in (1, 5)),
        *(year_row("weekdays", place, str(place), **other) for place in range(1, 8)),
        year_row("tracks", 1, "t", label=name, detail=name, **other),
        year_row("artists", 1, "a", label=name, **other),
        year_row("genres", 1, name, **other),
        year_row("genres", 2, "unknown", **other),
    )
    return frame(YEAR_IN_REVIEW, *rows)


def some_year(name: str = "Song") -> pl.DataFrame:
    """Figures of the year to ``SUNDAY`` with a row in each section, about items of this name."""
    return summarise_year(year_rows(name), SUNDAY)


FIGURES = {
    "reports/daily_listening": some_day,
    "reports/weekly_trends": some_week,
    "reports/anomalies": some_anomalies,
    "reports/cohorts": some_cohorts,
    "reports/year_in_review": some_year,
}
"""Figures of ``SUNDAY`` about items of a name, by report."""
