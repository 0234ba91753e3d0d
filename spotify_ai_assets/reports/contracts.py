"""The tables of reports: what the pages show, so that each number on paper can be queried.

All have one tidy form, one row per number. Which measures a section has is declared here once: the functions that compute the
figures, the published JSON Schemas and the readers of the files go by it.
"""

from collections.abc import Mapping
from typing import Literal

import polars as pl

from spotify_ai_assets.contracts import DAY, Column, Reads, Table, by_key

TREND_DAYS = 28
"""How many days the trend of a daily page spans, its own day included."""
TREND_WEEKS = 8
"""How many weeks the trend of a weekly page spans, its own week included."""
TRIANGLE_WEEKS = 12
"""How many weeks back the retention triangle goes, beside the week itself."""
YEAR_DAYS = 366
"""How far back the same month of the year before may lie, which a yearly page is compared with."""

Sections = Mapping[str, tuple[str, ...]]

SECTIONS: Mapping[str, Sections] = {
    "reports/daily_listening": {
        "headline": ("streams", "plays", "listeners", "played_hours", "sessions", "skip_rate", "completion_rate"),
        "tops": ("streams", "plays", "previous_rank", "movement", "is_new", "peak_rank", "periods_on_chart"),
        "artists": ("streams", "plays", "played_hours"),
        "countries": ("streams", "plays"),
        "platforms": ("streams", "plays"),
    },
    "reports/weekly_trends": {
        "headline": (
            "genuine_streams",
            "streams",
            "suspicious_streams",
            "rising_tracks",
            "rising_artists",
            "entries",
            "level_changes",
            "forecasts_shown",
        ),
        "days": ("genuine_streams", "streams", "suspicious_streams"),
        "tracks": ("streams", "expected_streams", "growth", "velocity", "score", "q_value", "days_since_start"),
        "artists": ("streams", "expected_streams", "growth", "velocity", "score", "q_value", "days_since_start"),
        "moves": ("rank", "previous_rank", "movement", "is_new", "streams", "rank_with_suspicious"),
        "changes": ("before", "after", "change", "score", "days_ago"),
        "forecasts": ("streams", "lower_80", "upper_80", "lower_95", "upper_95", "error", "naive_error"),
    },
    "reports/anomalies": {
        "headline": (
            "suspicious_streams",
            "streams",
            "genuine_streams",
            "suspicious_plays",
            "plays",
            "suspicious_share",
            "cases",
            "accounts",
            "incidents",
        ),
        "countries": ("streams", "genuine_streams", "suspicious_streams", "suspicious_share"),
        "platforms": ("streams", "genuine_streams", "suspicious_streams", "suspicious_share"),
        "hours": ("plays", "genuine_plays", "suspicious_plays"),
        "incidents": ("hour", "plays", "expected", "lower", "upper", "score", "severity", "direction", "is_cause"),
        "cases": ("accounts", "tracks", "plays", "streams", "played_hours", "sittings", "account_share", "median_played_seconds", "score"),
        "case_tracks": ("plays", "streams", "accounts"),
        "charts": ("rank", "genuine_rank", "streams", "genuine_streams", "suspicious_streams"),
    },
    "reports/cohorts": {
        "headline": (
            "active_listeners",
            "new_listeners",
            "retention_1",
            "retention_4",
            "skip_rate",
            "completion_rate",
            "genres",
            "moved_share",
        ),
        "retention": ("weeks_since", "size", "active", "suspicious_active", "retention"),
        "average_retention": ("size", "retention"),
        "funnels": ("plays", "streams", "skip_rate", "completion_rate"),
        "genres": ("streams", "share"),
        "shares": ("pro_rata", "user_centric", "difference", "streams"),
    },
    "reports/year_in_review": {
        name: measures
        for measures in [
            ("played_hours", "genuine_hours", "streams", "genuine_streams", "plays", "genuine_plays", "listeners", "days"),
        ]
        for name in ("total", "months", "weekdays", "tracks", "artists", "genres")
    },
}
"""The measures of each section of each table."""


def _figures(
    key: str,
    day: str,
    scope: str,
    reads: tuple[Reads, ...],
    *,
    grain: Literal["day", "week", "month"] = "day",
    drives_own: int | None = None,
) -> Table:
    """A table of figures.

    Args:
        key: Its key.
        day: What its day stands for.
        scope: What tells apart several lists of one section.
        reads: What it is made from.
        grain: Which days it has.
        drives_own: First of its own earlier days that a page shows.
    """
    own = (Reads(key, first=drives_own, last=-1, drives=False),) if drives_own is not None else ()
    return Table(
        key=key,
        owner="team:reports",
        grain=grain,
        primary_key=("section", "scope", "position", "measure"),
        # The figures of a day do not depend on earlier ones, its page does: trend and changes.
        reads=(*reads, *own),
        columns=(
            Column(DAY, pl.Date, day),
            Column("section", pl.String, "Part of the page.", allowed=tuple(SECTIONS[key])),
            Column("scope", pl.String, scope),
            Column("position", pl.Int64, "Place in the section's list; 1 is the top, and for a headline the only one.", minimum=1),
            Column("item", pl.String, "What is measured: a track's or artist's id, a code, or all."),
            Column("label", pl.String, "Name of the item: a track's title, an artist's name, a code."),
            Column("detail", pl.String, "What more there is to say of it, such as the artist of a track.", nullable=True),
            Column("measure", pl.String, "What the value counts, with its unit."),
            Column("value", pl.Float64, "The value; missing where there is none, such as the former rank of a new track.", nullable=True),
        ),
    )


DAILY_LISTENING = _figures(
    "reports/daily_listening",
    "UTC day that the page is about.",
    "Country of a chart, or global.",
    (
        Reads("listening/charts"),
        Reads("listening/artist_days"),
        Reads("listening/country_days"),
        Reads("listening/listener_track_days"),
        Reads("listening/sessions", drives=False),
    ),
    drives_own=1 - TREND_DAYS,
)

WEEKLY_TRENDS = _figures(
    "reports/weekly_trends",
    "Sunday that ends the week that the page is about.",
    "Country, kind of move or series, item of a forecast; global.",
    (
        Reads("listening/country_days", first=-6, drives=False),
        Reads("listening/suspicious_country_days", first=-6, drives=False),
        Reads("listening/trends", drives=False),
        Reads("listening/charts", drives=False),
        Reads("listening/genuine_charts", drives=False),
        Reads("listening/change_points", drives=False),
        Reads("listening/forecasts", drives=False),
    ),
    grain="week",
    drives_own=-7 * (TREND_WEEKS - 1),
)

ANOMALIES = _figures(
    "reports/anomalies",
    "UTC day that the page is about.",
    "Country of a chart, case of a track, or global.",
    (
        Reads("listening/country_days", drives=False),
        Reads("listening/suspicious_country_days", drives=False),
        Reads("listening/suspicious_streams", drives=False),
        Reads("listening/country_hours", drives=False),
        Reads("listening/anomalies", drives=False),
        Reads("listening/charts", drives=False),
        Reads("listening/genuine_charts", drives=False),
    ),
    drives_own=1 - TREND_DAYS,
)

COHORTS = _figures(
    "reports/cohorts",
    "Sunday that ends the week that the page is about.",
    "Country or device of a cohort, dimension of a funnel, country of a genre; global.",
    (
        Reads("listening/cohorts", first=-7 * TRIANGLE_WEEKS, drives=False),
        Reads("listening/funnels", first=-6, drives=False),
        Reads("listening/genre_mix", first=-6, drives=False),
        Reads("listening/stream_share", drives=False),
    ),
    grain="week",
    drives_own=-7 * (TREND_WEEKS - 1),
)

YEAR_IN_REVIEW = _figures(
    "reports/year_in_review",
    "Last day of the month up to which the year is reviewed.",
    "Global; nobody's own.",
    (Reads("listening/year_in_review", drives=False),),
    grain="month",
    drives_own=-YEAR_DAYS,
)

TABLES = by_key(DAILY_LISTENING, WEEKLY_TRENDS, ANOMALIES, COHORTS, YEAR_IN_REVIEW)
