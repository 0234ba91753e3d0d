"""How many listeners each number of a report rests on.

Counted from plays when a report is published, not kept: the figures themselves stay exact and internal. A group is all listeners
with a play in what a row is about; those whose plays are genuine and those with suspicious plays are counted apart too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL, LISTENER_TRACK_DAYS
from spotify_ai_assets.listening.insight.contracts import UNKNOWN
from spotify_ai_assets.reports.figures import ALL

Read = Callable[[str, date | None, date | None], pl.LazyFrame]
"""Rows of a table from a first to a last day; of all days where these are ``None``."""

Line = tuple[str, str, str]
"""Section, scope and item of a row."""

_WEEK = 7
_LAST_POSITION = 20


@dataclass(frozen=True, slots=True)
class Group:
    """Who is behind a row.

    Attributes:
        listeners: Distinct listeners.
        genuine: Those with genuine plays.
        suspicious: Those with suspicious plays.
    """

    listeners: int
    genuine: int
    suspicious: int


Support = Mapping[Line, Group]


def count_support(key: str, figures: pl.DataFrame, read: Read, day: date) -> dict[Line, Group]:
    """Count who is behind the rows of a report's day.

    Args:
        key: The report's table.
        figures: Its rows of the day.
        read: Reads ``listening/plays``, ``listening/suspicious_streams``, ``listening/sessions`` and the catalogue.
        day: The day, the Sunday of the week, or the last day of the month.

    Returns:
        A group for each section, scope and item that plays tell of; what is not among them rests on nobody known.
    """
    return _COUNTERS[key](figures, read, day)


def _plays(read: Read, first: date, last: date) -> pl.DataFrame:
    key = [DAY, *LISTENER_TRACK_DAYS.primary_key]
    flagged = read("listening/suspicious_streams", first, last).select(*key, is_suspicious=pl.lit(True)).unique()
    plays = read("listening/plays", first, last).select(*key, "started_at", "platform", "playlist_id")
    return plays.join(flagged, on=key, how="left").with_columns(pl.col("is_suspicious").fill_null(False)).collect()


def _tally(plays: pl.DataFrame, section: str, item: pl.Expr | str, scope: pl.Expr | str | None = None) -> dict[Line, Group]:
    """Groups of a section; a scope of ``None`` is everywhere."""
    place = pl.lit(GLOBAL) if scope is None else pl.col(scope) if isinstance(scope, str) else scope
    named = plays.select("listener_id", "is_suspicious", scope=place, item=pl.col(item) if isinstance(item, str) else item)
    who = pl.col("listener_id")
    counted = (
        named.drop_nulls("item")
        .group_by("scope", "item")
        .agg(
            who.n_unique().alias("listeners"),
            who.filter(~pl.col("is_suspicious")).n_unique().alias("genuine"),
            who.filter("is_suspicious").n_unique().alias("suspicious"),
        )
    )
    return {(section, where, str(what)): Group(*counts) for where, what, *counts in counted.iter_rows()}


def _all_of(plays: pl.DataFrame) -> Group:
    return _tally(plays, "", pl.lit(ALL)).get(("", GLOBAL, ALL), Group(0, 0, 0))


def _of_day(figures: pl.DataFrame, read: Read, day: date) -> dict[Line, Group]:
    plays = _plays(read, day, day)
    tracks = plays.filter(pl.col("kind") == "track")
    return {
        **_tally(plays, "headline", pl.lit(ALL)),
        **_tally(plays, "countries", "country"),
        **_tally(plays, "platforms", "platform"),
        **_tally(tracks, "tops", "track_id"),
        **_tally(tracks, "tops", "track_id", "country"),
        **_tally(tracks, "artists", "artist_id"),
    }


def _of_week(figures: pl.DataFrame, read: Read, day: date) -> dict[Line, Group]:
    plays = _plays(read, day - timedelta(days=_WEEK - 1), day)
    tracks = plays.filter(pl.col("kind") == "track")
    return {
        **_tally(plays, "headline", pl.lit(ALL)),
        **_tally(plays, "days", pl.col(DAY).dt.to_string("iso")),
        **_tally(tracks, "tracks", "track_id"),
        **_tally(tracks, "tracks", "track_id", "country"),
        **_tally(tracks, "artists", "artist_id"),
        **_tally(tracks, "artists", "artist_id", "country"),
        **{("moves", kind, item): group for (_, _, item), group in _tally(tracks, "", "track_id").items() for kind in _MOVES},
        **_of_forecasts(figures, plays),
        **_of_changes(figures, read),
    }


_MOVES = ("climbers", "entries", "fallers")
_SUBJECTS = {"country": "country", "platform": "platform", "track": "track_id", "artist": "artist_id"}


def _about(plays: pl.DataFrame, subject: str, item: str) -> pl.DataFrame:
    """The plays that a series is about."""
    return plays if item == GLOBAL else plays.filter(pl.col(_SUBJECTS[subject]) == item)


def _of_forecasts(figures: pl.DataFrame, plays: pl.DataFrame) -> dict[Line, Group]:
    found = {}
    for scope, dates in figures.filter(pl.col("section") == "forecasts").group_by("scope").agg(pl.col("item").unique()).iter_rows():
        subject, _slash, item = scope.partition("/")
        group = _all_of(_about(plays, subject, item))
        found.update({("forecasts", scope, each): group for each in dates})
    return found


def _of_changes(figures: pl.DataFrame, read: Read) -> dict[Line, Group]:
    """The smaller of the weeks before and after a change of level; of several changes the smallest."""
    found: dict[Line, Group] = {}
    changes = figures.filter(pl.col("section") == "changes").select("scope", "item", "detail").unique().sort(pl.all())
    for subject, item, detail in changes.iter_rows():
        changed = date.fromisoformat(detail)
        halves = [
            _all_of(_about(_plays(read, first, first + timedelta(days=_WEEK - 1)), subject, item))
            for first in (changed - timedelta(days=_WEEK), changed)
        ]
        known = found.get(("changes", subject, item), halves[0])
        found["changes", subject, item] = min((known, *halves), key=lambda group: group.genuine)
    return found


def _of_anomalies(figures: pl.DataFrame, read: Read, day: date) -> dict[Line, Group]:
    plays = _plays(read, day, day)
    tracks = plays.filter(pl.col("kind") == "track")
    key = LISTENER_TRACK_DAYS.primary_key
    cases = read("listening/suspicious_streams", day, day).select(*key, item=pl.format("{}-{}", "rule", "case")).collect()
    flagged = plays.filter("is_suspicious").join(cases, on=key, how="inner")
    return {
        **_tally(plays, "headline", pl.lit(ALL)),
        **_tally(plays, "countries", "country"),
        **_tally(plays, "platforms", "platform"),
        **_tally(plays, "hours", pl.col("started_at").dt.strftime("%H:00")),
        **_tally(tracks, "charts", "track_id"),
        **_tally(tracks, "charts", "track_id", "country"),
        **_tally(flagged, "cases", "item"),
        **_tally(flagged, "case_tracks", "track_id", "item"),
        **_of_incidents(figures, plays),
    }


def _of_incidents(figures: pl.DataFrame, plays: pl.DataFrame) -> dict[Line, Group]:
    found = {}
    for item in figures.filter(pl.col("section") == "incidents")["item"].unique():
        resolution, begin, country, platform = item.rsplit("/", 3)
        behind = plays if country == GLOBAL else plays.filter(pl.col("country") == country)
        behind = behind if platform == ALL else behind.filter(pl.col("platform") == platform)
        if resolution == "hour":
            behind = behind.filter(pl.col("started_at").dt.hour() == datetime.fromisoformat(begin).hour)
        found["incidents", GLOBAL, item] = _all_of(behind)
    return found


def _of_cohorts(figures: pl.DataFrame, read: Read, day: date) -> dict[Line, Group]:
    """Of the sections that plays tell of; a cohort's own rows say how many are behind them."""
    first = day - timedelta(days=_WEEK - 1)
    plays = _plays(read, first, day)
    tracks = plays.filter(pl.col("kind") == "track")
    genres = read("catalog/artists", None, None).select("artist_id", "genre").collect()
    heard = tracks.join(genres, on="artist_id", how="left").with_columns(pl.col("genre").fill_null(UNKNOWN))
    albums = read("catalog/albums", None, None).select("album_id", "released_on")
    released = read("catalog/tracks", None, None).select("track_id", "album_id").join(albums, on="album_id", how="left").collect()
    known = plays.join(released, on="track_id", how="left")
    shares = _tally(tracks, "", "artist_id")
    return {
        **_tally(plays, "headline", pl.lit(ALL)),
        **_tally(heard, "genres", "genre"),
        **_tally(heard, "genres", "genre", "country"),
        **_tally(heard, "genres", pl.lit(ALL)),
        **_tally(heard, "genres", pl.lit(ALL), "country"),
        **{("shares", kind, item): group for (_, _, item), group in shares.items() for kind in ("largest", "gaining", "losing")},
        **_tally(known, "funnels", "playlist_id", pl.lit("playlist")),
        **_tally(known, "funnels", "album_id", pl.lit("release")),
        **_tally(known, "funnels", _age().cast(pl.String), pl.lit("release_age")),
        **_of_positions(plays, read, first, day),
    }


def _age() -> pl.Expr:
    """Whole years from a release to the day of a play, at least 0; none where the release is unknown."""
    then, now = pl.col("released_on"), pl.col(DAY)
    passed = now.dt.month().cast(pl.Int64) * 100 + now.dt.day() >= then.dt.month().cast(pl.Int64) * 100 + then.dt.day()
    return (now.dt.year() - then.dt.year() - pl.when(passed).then(0).otherwise(1)).clip(lower_bound=0)


def _of_positions(plays: pl.DataFrame, read: Read, first: date, day: date) -> dict[Line, Group]:
    """Who played something in a place of a session, at least: those of whose sessions one began in the week and went so far."""
    sessions = read("listening/sessions", first, day).select("listener_id", "started_at", "plays").collect()
    longest = sessions.filter(pl.col("started_at").dt.date() >= first).group_by("listener_id").agg(pl.col("plays").max())
    honest = longest.join(plays.filter("is_suspicious"), on="listener_id", how="anti")["plays"]
    reached = {place: int((honest >= place).sum()) for place in range(1, _LAST_POSITION + 2)}
    names = {place: str(place) if place <= _LAST_POSITION else f"{_LAST_POSITION + 1}+" for place in reached}
    return {("funnels", "position", names[place]): Group(count, count, 0) for place, count in reached.items()}


def _of_year(figures: pl.DataFrame, read: Read, day: date) -> dict[Line, Group]:
    """Listeners are among the figures; accounts with suspicious plays are counted, and taken to have no genuine ones."""
    flagged = read("listening/suspicious_streams", day.replace(month=1, day=1), day).with_columns(is_suspicious=pl.lit(True)).collect()
    genres = read("catalog/artists", None, None).select("artist_id", "genre").collect()
    flagged = flagged.join(genres, on="artist_id", how="left").with_columns(pl.col("genre").fill_null(UNKNOWN))
    tracks = flagged.filter(pl.col("kind") == "track")
    accounts = {
        **_tally(flagged, "total", pl.lit(ALL)),
        **_tally(flagged, "months", pl.col(DAY).dt.strftime("%Y-%m")),
        **_tally(flagged, "weekdays", pl.col(DAY).dt.weekday().cast(pl.String)),
        **_tally(tracks, "tracks", "track_id"),
        **_tally(tracks, "artists", "artist_id"),
        **_tally(tracks, "genres", "genre"),
    }
    rows = figures.filter(pl.col("measure") == "listeners").select("section", "scope", "item", "value")
    nobody = Group(0, 0, 0)
    found: dict[Line, Group] = {}
    for section, scope, item, value in rows.iter_rows():
        suspicious = accounts.get((section, scope, item), nobody).suspicious
        found[section, scope, item] = Group(int(value or 0), int(value or 0) - suspicious, suspicious)
    return found


def behind_year(figures: pl.DataFrame) -> dict[Line, Group]:
    """Who is behind a year's rows as far as these tell; where some plays are suspicious, one account is taken to have made them.

    Args:
        figures: Rows of ``reports/year_in_review``.
    """
    rows = figures.filter(pl.col("measure").is_in(["listeners", "plays", "genuine_plays"])).pivot(
        "measure", index=["section", "scope", "item"], values="value"
    )
    return {
        (section, scope, item): Group(int(listeners or 0), int(listeners or 0), int(plays != genuine))
        for section, scope, item, listeners, plays, genuine in rows.select(
            "section", "scope", "item", "listeners", "plays", "genuine_plays"
        ).iter_rows()
    }


_COUNTERS: Mapping[str, Callable[[pl.DataFrame, Read, date], dict[Line, Group]]] = {
    "reports/daily_listening": _of_day,
    "reports/weekly_trends": _of_week,
    "reports/anomalies": _of_anomalies,
    "reports/cohorts": _of_cohorts,
    "reports/year_in_review": _of_year,
}
