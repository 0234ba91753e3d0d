"""The lists of pages: all days of a report, and all reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Literal

import polars as pl

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.reports.contracts import TABLES
from spotify_ai_assets.reports.drawing import share_widths
from spotify_ai_assets.reports.figures import headlines
from spotify_ai_assets.reports.notation import Notation
from spotify_ai_assets.reports.pages.frame import render

MEASURES: Mapping[str, tuple[str, ...]] = {
    "reports/daily_listening": ("streams", "plays", "listeners", "played_hours", "skip_rate"),
    "reports/weekly_trends": ("genuine_streams", "suspicious_streams", "rising_tracks", "rising_artists", "level_changes"),
    "reports/anomalies": ("suspicious_streams", "streams", "suspicious_share", "cases", "incidents"),
    "reports/cohorts": ("active_listeners", "new_listeners", "retention_1", "retention_4", "skip_rate"),
    "reports/year_in_review": ("genuine_hours", "genuine_streams", "listeners", "days"),
}
"""The reports in the order in which they are listed, with the numbers that stand beside each day."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A report in the list of all reports."""

    name: str
    title: str
    purpose: str
    count: int
    newest: date | None
    label: str


def render_index(key: str, figures: pl.DataFrame, language: str) -> str:
    """Lay out the list of a report's pages, newest first, with their large numbers.

    Args:
        key: The report's table.
        figures: Rows of that table of the days that have a page; of them those with the large numbers count.
        language: One of ``settings.LANGUAGES``.

    Raises:
        SettingsError: The language is not supported.
    """
    notation, grain, measures = Notation(language), TABLES[key].grain, MEASURES[key]
    section = "headline" if "headline" in set(figures["section"]) else "total"
    values = headlines(figures, section)
    days = sorted({day for day, _measure in values}, reverse=True)
    widths = dict(zip(days, share_widths([values.get((day, measures[0])) or 0 for day in days]), strict=True))
    months = groupby(days, key=lambda day: (day.year, 0 if grain == "month" else day.month))
    columns = {"day": _("Day", language), "week": _("Week to", language), "month": _("Month", language)}
    return render(
        "index.html",
        notation,
        {},
        page="index",
        title=name_report(key, language),
        all_pages=_all_pages(grain, language),
        groups=[(str(year) if not month else notation.month(date(year, month, 1)), list(each)) for (year, month), each in months],
        column=columns[grain],
        name_of=notation.month if grain == "month" else notation.weekday_date,
        measures=measures,
        values={(day, measure): values.get((day, measure)) for day in days for measure in measures},
        widths=widths,
    )


def render_home(days: Mapping[str, Sequence[date]], language: str) -> str:
    """Lay out the list of all reports.

    Args:
        days: The days that have a page, by table.
        language: One of ``settings.LANGUAGES``.

    Raises:
        SettingsError: The language is not supported.
    """
    notation = Notation(language)
    shelves = []
    for key in MEASURES:
        newest = max(days.get(key, []), default=None)
        label = _name_page(TABLES[key].grain, newest, notation) if newest else ""
        name = key.partition("/")[2]
        shelves.append(Shelf(name, name_report(key, language), _purpose(key, language), len(days.get(key, [])), newest, label))
    return render("home.html", notation, {}, page="index", reports=shelves)


def _name_page(grain: Literal["day", "week", "month"], day: date, notation: Notation) -> str:
    if grain == "week":
        return notation.days(day - timedelta(days=6), day)
    return notation.months(day.replace(month=1, day=1), day) if grain == "month" else notation.full_date(day)


def _all_pages(grain: Literal["day", "week", "month"], language: str) -> str:
    return {"day": _("All days", language), "week": _("All weeks", language), "month": _("All months", language)}[grain]


def name_report(key: str, language: str) -> str:
    """The title of a report."""
    return {
        "reports/daily_listening": _("Daily listening", language),
        "reports/weekly_trends": _("Weekly trends", language),
        "reports/anomalies": _("Anomalies", language),
        "reports/cohorts": _("Cohorts", language),
        "reports/year_in_review": _("Year in review", language),
    }[key]


def _purpose(key: str, language: str) -> str:
    return {
        "reports/daily_listening": _("What a day was made of: charts, artists, countries, devices, quality of the data.", language),
        "reports/weekly_trends": _("What rises, what moved on the charts, which levels changed, what to expect.", language),
        "reports/anomalies": _("Suspicious streams with their evidence, totals with and without them, unusual volumes.", language),
        "reports/cohorts": _("Who comes back, where plays are skipped, what is heard, who would earn what.", language),
        "reports/year_in_review": _("The year so far: hours, tracks, artists, genres, months.", language),
    }[key]
