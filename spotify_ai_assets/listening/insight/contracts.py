"""The tables of insight: schema, keys, personal-data classes and inputs.

A suspicious play is flagged, never dropped. Its tables hold the flagged part of a total, so that with it, without it and the
difference are all to the unit. Where a table counts both, the column with ``suspicious_`` is the flagged part.
"""

from dataclasses import replace

import polars as pl

from spotify_ai_assets.contracts import DAY, TIME, Column, Reads, Table, by_key
from spotify_ai_assets.listening.contracts import (
    ARTIST_DAYS,
    CHARTS,
    COUNTRY_DAYS,
    GLOBAL,
    LISTENER_TRACK_DAYS,
    PLATFORMS,
    TRACK_DAYS,
)

_OWNER = "team:insight"
ALL = "all"
OTHER = "other"
UNKNOWN = "unknown"
RULES = ("loop", "ring", "burst")
"""One account on one track; accounts that play the same tracks in step; one account on one artist without a pause."""
SEVERITIES = ("low", "medium", "high")
TREND_DAYS = 35
CHANGE_DAYS = 182
VOLUME_DAYS = 56
FORECAST_DAYS = 112
YEAR_DAYS = 366

_PLACE = r"[A-Z]{2}|global"
_PSEUDONYM = r"[0-9a-f]{32}"
_day = Column(DAY, pl.Date, "UTC day.")
_place = Column("country", pl.String, "Country, ISO 3166-1, ZZ where unknown, or global.", pattern=_PLACE)
_subject = Column("subject", pl.String, "What kind of item it is.", allowed=("track", "artist", "country", "platform"))
_item = Column("item_id", pl.String, "Id of the track or artist, or a code.")
_label = Column("label", pl.String, "Title, name or code of the item.")
_detail = Column("detail", pl.String, "Artist of a track.", nullable=True)
_streams = Column("streams", pl.Int64, "Plays of 30 s or more, the suspicious ones included.", minimum=0)
_suspicious = Column("suspicious_streams", pl.Int64, "Those of the streams that are suspicious.", minimum=0)


def _by_name(table: Table, *names: str) -> tuple[Column, ...]:
    return tuple(column for column in table.columns if column.name in names)


_PART_OF = Reads("listening/suspicious_streams", drives=False)

SUSPICIOUS_STREAMS = Table(
    key="listening/suspicious_streams",
    owner=_OWNER,
    primary_key=LISTENER_TRACK_DAYS.primary_key,
    part_of=LISTENER_TRACK_DAYS.key,
    reads=(Reads("listening/plays", drives=False),),
    columns=(
        *LISTENER_TRACK_DAYS.columns,
        *_by_name(TRACK_DAYS, "track_name", "artist_name"),
        Column("rule", pl.String, "The rule that flags them: loop, ring of accounts, or burst.", allowed=RULES),
        Column("case", pl.Int64, "Number of the case on this day; one ring of accounts is one case.", minimum=1),
        Column("accounts", pl.Int64, "Accounts in the case.", minimum=1),
        Column("tracks", pl.Int64, "Tracks in the case.", minimum=1),
        Column("sittings", pl.Int64, "Unbroken runs of plays in which the account made them.", personal="derived", minimum=1),
        Column(
            "account_share", pl.Float64, "Share of them in all plays of the account on the day.", personal="derived", minimum=0, maximum=1
        ),
        Column("median_played_ms", pl.Int64, "Median time played, in milliseconds.", personal="derived", minimum=0),
        Column("score", pl.Float64, "How sure the rule is, from 0 to 1.", minimum=0, maximum=1),
    ),
)


def _suspicious_part(table: Table, noun: str) -> Table:
    listeners = Column("listeners", pl.Int64, "Distinct listeners whom only suspicious plays reached it from.", minimum=0)
    return replace(
        table,
        key=f"listening/suspicious_{noun}",
        owner=_OWNER,
        part_of=table.key,
        reads=(Reads("listening/plays", drives=False), _PART_OF),
        columns=tuple(listeners if column.name == "listeners" else column for column in table.columns),
    )


SUSPICIOUS_TRACK_DAYS = _suspicious_part(TRACK_DAYS, "track_days")
SUSPICIOUS_ARTIST_DAYS = _suspicious_part(ARTIST_DAYS, "artist_days")
SUSPICIOUS_COUNTRY_DAYS = _suspicious_part(COUNTRY_DAYS, "country_days")

GENUINE_CHARTS = replace(
    CHARTS,
    key="listening/genuine_charts",
    owner=_OWNER,
    reads=(
        Reads("listening/track_days", first=-6, drives=False),
        Reads("listening/suspicious_track_days", first=-6, drives=False),
        Reads("listening/genuine_charts", first=None, last=-1, drives=False),
    ),
)

COUNTRY_HOURS = Table(
    key="listening/country_hours",
    owner=_OWNER,
    primary_key=("started_at", "country", "platform"),
    reads=(Reads("listening/plays"), _PART_OF),
    columns=(
        _day,
        Column("started_at", TIME, "Start of the UTC hour."),
        *_by_name(COUNTRY_DAYS, "country", "platform", "plays", "streams", "listeners"),
        Column("suspicious_plays", pl.Int64, "Those of the plays that are suspicious.", minimum=0),
        _suspicious,
        Column("suspicious_listeners", pl.Int64, "Those of the listeners who made suspicious plays only.", minimum=0),
    ),
)

ANOMALIES = Table(
    key="listening/anomalies",
    owner=_OWNER,
    primary_key=("resolution", "started_at", "country", "platform"),
    reads=(Reads("listening/country_hours", first=1 - VOLUME_DAYS, drives=False),),
    columns=(
        _day,
        Column("resolution", pl.String, "Whether an hour or the whole day is unusual.", allowed=("hour", "day")),
        Column("started_at", TIME, "Start of the hour or day, UTC."),
        _place,
        Column("platform", pl.String, "Kind of device, or all.", allowed=(*PLATFORMS, ALL)),
        Column("plays", pl.Int64, "Genuine plays.", minimum=0),
        Column("expected", pl.Float64, "Plays to be expected.", minimum=0),
        Column("lower", pl.Float64, "Lower end of the band of usual values.", minimum=0),
        Column("upper", pl.Float64, "Upper end of the band of usual values.", minimum=0),
        Column("score", pl.Float64, "The detector's score, from 0 to 1.", minimum=0, maximum=1),
        Column("severity", pl.String, "How far outside the band it is.", allowed=SEVERITIES),
        Column("direction", pl.String, "Too few plays or too many.", allowed=("down", "up")),
        Column("is_cause", pl.Boolean, "Whether it is the narrowest series that explains what else is unusual then."),
    ),
)

TRENDS = Table(
    key="listening/trends",
    owner=_OWNER,
    primary_key=("country", "subject", "item_id"),
    reads=(
        *(
            Reads(f"listening/{prefix}{noun}", first=1 - TREND_DAYS, drives=False)
            for prefix in ("", "suspicious_")
            for noun in ("track_days", "artist_days")
        ),
        # Two days off the list are bridged.
        Reads("listening/trends", first=-3, last=-1, drives=False),
    ),
    columns=(
        _day,
        _place,
        Column("subject", pl.String, "Track or artist.", allowed=("track", "artist")),
        _item,
        _label,
        _detail,
        Column("rank", pl.Int64, "Place among the tracks or artists that rise in the country, 1 has the highest score.", minimum=1),
        Column("streams", pl.Int64, "Genuine streams of the last seven days.", minimum=0),
        Column("expected_streams", pl.Float64, "Streams of these days had it not risen.", minimum=0),
        Column("growth", pl.Float64, "Growth a day with the market's rhythm removed; 0.1 is a tenth."),
        Column("velocity", pl.Float64, "Streams a day gained each day."),
        Column("score", pl.Float64, "The trend score: logarithm of the streams expected in a week as a multiple of the 50th item's."),
        Column("q_value", pl.Float64, "False-discovery rate at which it would still be listed.", minimum=0, maximum=1),
        Column("started_on", pl.Date, "Day since which it has been listed without a gap of more than two days."),
        Column("days_since_start", pl.Int64, "Days since then.", minimum=0),
    ),
)

CHANGE_POINTS = Table(
    key="listening/change_points",
    owner=_OWNER,
    grain="week",
    primary_key=("subject", "item_id", "changed_on"),
    reads=(
        Reads("listening/country_days", first=1 - CHANGE_DAYS, drives=False),
        Reads("listening/suspicious_country_days", first=1 - CHANGE_DAYS, drives=False),
    ),
    columns=(
        Column(DAY, pl.Date, "Sunday up to which the series were looked at."),
        Column("subject", pl.String, "Country or platform; a country may be global.", allowed=("country", "platform")),
        _item,
        Column("changed_on", pl.Date, "First day of the new level."),
        Column("before", pl.Float64, "Genuine streams a day before.", minimum=0),
        Column("after", pl.Float64, "Genuine streams a day from then to the next change.", minimum=0),
        Column("change", pl.Float64, "Relative change; 0.1 is a tenth more.", nullable=True),
        Column("score", pl.Float64, "How surely the level changed; larger is surer.", minimum=0),
    ),
)

FORECASTS = Table(
    key="listening/forecasts",
    owner=_OWNER,
    grain="week",
    primary_key=("subject", "item_id", "target_on"),
    reads=tuple(
        Reads(f"listening/{prefix}{noun}", first=1 - FORECAST_DAYS, drives=False)
        for prefix in ("", "suspicious_")
        for noun in ("track_days", "country_days")
    ),
    columns=(
        Column(DAY, pl.Date, "Sunday on which the forecast was made."),
        Column("subject", pl.String, "Track, artist or country; a country may be global.", allowed=("track", "artist", "country")),
        _item,
        _label,
        _detail,
        Column("target_on", pl.Date, "Day that is forecast."),
        Column("streams", pl.Float64, "Genuine streams to be expected.", minimum=0),
        Column("lower_80", pl.Float64, "Lower end of the 80 % interval.", minimum=0),
        Column("upper_80", pl.Float64, "Upper end of the 80 % interval.", minimum=0),
        Column("lower_95", pl.Float64, "Lower end of the 95 % interval.", minimum=0),
        Column("upper_95", pl.Float64, "Upper end of the 95 % interval.", minimum=0),
        Column("model", pl.String, "The model."),
        Column("error", pl.Float64, "Mean absolute error of the model in the back-test, in streams.", minimum=0),
        Column("naive_error", pl.Float64, "The same of repeating the last week.", minimum=0),
        Column("is_shown", pl.Boolean, "Whether the model beat repeating the last week, so that it may be shown."),
    ),
)

NEW_LISTENERS = Table(
    key="listening/new_listeners",
    owner=_OWNER,
    primary_key=("listener_id",),
    reads=(Reads("listening/plays", drives=False), Reads("listening/new_listeners", first=None, last=-1, drives=False)),
    columns=(
        Column(DAY, pl.Date, "UTC day of the listener's first play of all."),
        *_by_name(LISTENER_TRACK_DAYS, "listener_id", "country"),
        Column("platform", pl.String, "Kind of device of the first play.", personal="derived", allowed=PLATFORMS),
    ),
)

COHORTS = Table(
    key="listening/cohorts",
    owner=_OWNER,
    grain="week",
    primary_key=("cohort_on", "dimension", "item"),
    reads=(
        Reads("listening/listener_track_days", first=-6, drives=False),
        Reads("listening/suspicious_streams", first=-6, drives=False),
        Reads("listening/new_listeners", first=None, drives=False),
    ),
    columns=(
        Column(DAY, pl.Date, "Sunday that ends the week looked at."),
        Column("cohort_on", pl.Date, "Monday of the week in which these listeners came."),
        Column(
            "dimension",
            pl.String,
            "All of them, or those of a country or device at their first play.",
            allowed=(ALL, "country", "platform"),
        ),
        Column("item", pl.String, "The country or device; all."),
        Column("weeks_since", pl.Int64, "Weeks since they came, 0 in their first.", minimum=0),
        Column("size", pl.Int64, "Listeners who came.", minimum=1),
        Column("active", pl.Int64, "Those of them who played something this week.", minimum=0),
        Column("suspicious_active", pl.Int64, "Those of the active who made suspicious plays only.", minimum=0),
        Column("retention", pl.Float64, "Active of those who came, without the suspicious.", minimum=0, maximum=1),
        _streams,
        _suspicious,
    ),
)

FUNNELS = Table(
    key="listening/funnels",
    owner=_OWNER,
    primary_key=("dimension", "item"),
    reads=(
        Reads("listening/plays"),
        _PART_OF,
        Reads("listening/sessions", first=-1, drives=False),
        Reads("catalog/tracks", drives=False),
        Reads("catalog/albums", drives=False),
    ),
    columns=(
        _day,
        Column("dimension", pl.String, "What plays are told apart by.", allowed=("position", "playlist", "release", "release_age")),
        Column("item", pl.String, "Place in the session, id of the playlist or release, or years since release; other, unknown."),
        _label,
        *_by_name(COUNTRY_DAYS, "plays", "streams", "skips", "completions"),
        Column("suspicious_plays", pl.Int64, "Those of the plays that are suspicious.", minimum=0),
        _suspicious,
        Column("suspicious_skips", pl.Int64, "Those of the skips that are suspicious.", minimum=0),
        Column("suspicious_completions", pl.Int64, "Those of the completions that are suspicious.", minimum=0),
    ),
)

GENRE_MIX = Table(
    key="listening/genre_mix",
    owner=_OWNER,
    primary_key=("country", "genre"),
    reads=(
        # A day of podcasts has no genres: nothing drives.
        Reads("listening/artist_days", drives=False),
        Reads("listening/suspicious_artist_days", drives=False),
        Reads("catalog/artists", drives=False),
    ),
    columns=(
        _day,
        _place,
        Column("genre", pl.String, "Main genre of the artist; unknown where the catalogue has none."),
        *_by_name(ARTIST_DAYS, "plays"),
        _streams,
        *_by_name(ARTIST_DAYS, "played_ms"),
        Column("suspicious_plays", pl.Int64, "Those of the plays that are suspicious.", minimum=0),
        _suspicious,
        Column("suspicious_played_ms", pl.Int64, "Time played of the suspicious plays, in milliseconds.", minimum=0),
        Column("share", pl.Float64, "Share of the genre in the country's genuine streams.", minimum=0, maximum=1),
    ),
)

STREAM_SHARE = Table(
    key="listening/stream_share",
    owner=_OWNER,
    grain="week",
    primary_key=("model", "country", "artist_id"),
    reads=(
        Reads("listening/listener_track_days", first=-6, drives=False),
        Reads("listening/suspicious_streams", first=-6, drives=False),
        Reads("listening/artist_days", first=-6, drives=False),
    ),
    columns=(
        Column(DAY, pl.Date, "Sunday that ends the week."),
        Column(
            "model",
            pl.String,
            "How the pool is shared out: by streams, or each listener's part by that listener's.",
            allowed=("pro_rata", "user_centric"),
        ),
        _place,
        *_by_name(ARTIST_DAYS, "artist_id", "artist_name"),
        _streams,
        _suspicious,
        Column("units", pl.Int64, "Units of the pool; it has a million for each listener with a stream.", minimum=0),
        Column("suspicious_units", pl.Int64, "Those of the units that suspicious streams earn.", minimum=0),
        Column("share", pl.Float64, "Share of the pool.", minimum=0, maximum=1),
        Column("genuine_share", pl.Float64, "Share of the units that genuine streams earn.", nullable=True, minimum=0, maximum=1),
    ),
)

YEAR_IN_REVIEW = Table(
    key="listening/year_in_review",
    owner=_OWNER,
    grain="month",
    primary_key=("listener_id", "section", "position"),
    reads=(
        Reads("listening/listener_track_days", first=1 - YEAR_DAYS, drives=False),
        Reads("listening/suspicious_streams", first=1 - YEAR_DAYS, drives=False),
        Reads("listening/track_days", first=1 - YEAR_DAYS, drives=False),
        Reads("catalog/artists", drives=False),
    ),
    columns=(
        Column(DAY, pl.Date, "Last day of the month up to which the year is reviewed."),
        Column("listener_id", pl.String, "Pseudonym of the listener, or global.", personal="pseudonym", pattern=f"{_PSEUDONYM}|{GLOBAL}"),
        Column("section", pl.String, "What is listed.", allowed=("total", "tracks", "artists", "genres", "months", "weekdays")),
        Column("position", pl.Int64, "Place by genuine streams, 1 is the top; months and weekdays in their order.", minimum=1),
        Column("item", pl.String, "Id of the track or artist, the genre, the month, 1 (Monday) to 7; all."),
        Column("label", pl.String, "Title or name."),
        _detail,
        Column("plays", pl.Int64, "Number of plays.", minimum=0),
        _streams,
        Column("played_ms", pl.Int64, "Time played, in milliseconds.", minimum=0),
        Column("suspicious_plays", pl.Int64, "Those of the plays that are suspicious.", minimum=0),
        _suspicious,
        Column("suspicious_played_ms", pl.Int64, "Time played of the suspicious plays, in milliseconds.", minimum=0),
        Column("days", pl.Int64, "Days with a play, suspicious ones included.", minimum=0),
        Column("listeners", pl.Int64, "Distinct listeners; 1 for a listener's own rows.", minimum=0),
    ),
)

TABLES = by_key(
    SUSPICIOUS_STREAMS,
    SUSPICIOUS_TRACK_DAYS,
    SUSPICIOUS_ARTIST_DAYS,
    SUSPICIOUS_COUNTRY_DAYS,
    GENUINE_CHARTS,
    COUNTRY_HOURS,
    ANOMALIES,
    TRENDS,
    CHANGE_POINTS,
    FORECASTS,
    NEW_LISTENERS,
    COHORTS,
    FUNNELS,
    GENRE_MIX,
    STREAM_SHARE,
    YEAR_IN_REVIEW,
)
