"""The page of a year in review: everybody's, or one listener's own."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.reports.charts import Layer, draw_columns
from spotify_ai_assets.reports.contracts import YEAR_IN_REVIEW
from spotify_ai_assets.reports.disclosure import protect
from spotify_ai_assets.reports.figures import lists
from spotify_ai_assets.reports.notation import Notation
from spotify_ai_assets.reports.pages.frame import Bar, Headline, Page, isolated, make_bars, make_headline, name_genre, render
from spotify_ai_assets.reports.support import behind_year
from spotify_ai_assets.reports.year_in_review import tell_year

_ASSET = "listening/year_in_review"
_MEASURES = ("genuine_hours", "genuine_streams", "genuine_plays", "listeners", "days", "hours_a_day", "suspicious_share")
_LABELLED_MONTHS = 12
_OWN_MEASURES = ("genuine_hours", "genuine_streams", "genuine_plays", "days", "hours_a_day")


def render_review(page: Page, language: str) -> str:
    """Lay out the page of everybody's year.

    Args:
        page: Rows of ``reports/year_in_review`` of the last day of a month and, if they exist, of the same a year earlier.
        language: One of ``settings.LANGUAGES``.

    Returns:
        A whole HTML document that loads nothing else.

    Raises:
        SettingsError: The language is not supported.
    """
    notation, day = Notation(language), page.day
    figures = page.figures.filter(pl.col(DAY) == day)
    return render(
        "year_in_review.html",
        notation,
        page.sources,
        disclosure=page.disclosure,
        page=day.isoformat(),
        heading=notation.months(day.replace(month=1, day=1), day),
        day=day,
        previous=None,
        is_own=False,
        stands_alone=False,
        headlines=_headlines(_MEASURES, _totals(page.figures), day, notation),
        **_content(figures, day.replace(month=1, day=1), day.replace(month=12, day=1), notation),
    )


def render_year(rows: pl.DataFrame, first: date, last: date, language: str, *, is_own: bool = True, k: int = 1) -> str:
    """Lay out one listener's own year, or any other range of days, as a page that stands alone.

    The document holds what one person heard: it is for them, and belongs in no shared folder. It names nobody.

    Args:
        rows: Rows of ``listening/year_in_review`` about that listener; ``day`` and ``listener_id`` may be missing.
        first: First day of the range.
        last: Last day of the range.
        language: One of ``settings.LANGUAGES``.
        is_own: Whether the rows are one listener's; else they are everybody's.
        k: Of how many listeners everybody's page tells something, at least.

    Returns:
        A whole HTML document that loads nothing else and links to nothing.

    Raises:
        SettingsError: The language is not supported.
    """
    notation = Notation(language)
    figures = tell_year(rows, last)
    if not is_own:
        figures = protect(YEAR_IN_REVIEW.key, figures, behind_year(figures), k).figures
    return render(
        "year_in_review.html",
        notation,
        {},
        languages=(),
        page="",
        heading=_name_range(first, last, notation),
        day=last,
        previous=None,
        is_own=is_own,
        stands_alone=True,
        headlines=_headlines(_OWN_MEASURES if is_own else _MEASURES, _totals(figures), last, notation),
        **_content(figures, first, last, notation),
    )


def _name_range(first: date, last: date, notation: Notation) -> str:
    is_year = (first.month, first.day, last) == (1, 1, date(first.year, 12, 31))
    return str(first.year) if is_year else notation.days(first, last)


def _headlines(measures: Sequence[str], history: Mapping[tuple[date, str], float | None], day: date, notation: Notation) -> list[Headline]:
    year_before = [each for each, _measure in history if each.year == day.year - 1 and each.month == day.month]
    return [make_headline(measure, history, [day], sorted(set(year_before)), notation, _ASSET) for measure in measures]


def _totals(figures: pl.DataFrame) -> dict[tuple[date, str], float | None]:
    """The totals by day and measure, with what follows from them."""
    found: dict[tuple[date, str], float | None] = {}
    for (day,), rows in figures.filter(pl.col("section") == "total").group_by(DAY):
        total = dict(rows.select("measure", "value").iter_rows())
        total["hours_a_day"] = total["genuine_hours"] / total["days"] if total["days"] and total["genuine_hours"] is not None else None
        total["suspicious_share"] = 1 - total["genuine_streams"] / total["streams"] if total["streams"] else None
        found |= {(day, measure): value for measure, value in total.items()}
    return found


def _content(figures: pl.DataFrame, first: date, last: date, notation: Notation) -> dict[str, Any]:
    found = {section: lists(figures, section).get(GLOBAL, []) for section in ("months", "weekdays", "tracks", "artists", "genres")}
    return {
        "months": _draw_months(found["months"], first, last, notation),
        "tracks": found["tracks"],
        "artists": found["artists"],
        "genres": _bars([(_genre(row["item"], notation), row) for row in found["genres"]]),
        "weekdays": _bars([(notation.weekday_name(int(row["item"])), row) for row in found["weekdays"]]),
    }


def _bars(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Bar]:
    return make_bars((label, row["genuine_streams"]) for label, row in rows)


def _genre(genre: str, notation: Notation) -> str:
    return isolated(name_genre(genre, notation.language))


def _draw_months(rows: Sequence[Mapping[str, Any]], first: date, last: date, notation: Notation) -> str:
    """Hours of each month of the range; of a long one those before the first play and after the last are left out.

    More months than there is room for names have their years below.
    """
    text = _("{month}: {hours} hours, {streams} streams", notation.language)
    found = {_month(row["item"]): row for row in rows}
    months = _months_between(first, last)
    if len(months) > _LABELLED_MONTHS and found:
        months = _months_between(min(found), max(found))
    hours = [found[month]["genuine_hours"] if month in found else None for month in months]
    tips = [
        text.format(
            month=notation.month(month),
            hours=notation.decimal(found.get(month, {}).get("genuine_hours", 0)),
            streams=notation.whole(found.get(month, {}).get("genuine_streams", 0)),
        )
        for month in months
    ]
    if len(months) > _LABELLED_MONTHS:
        ticks = [str(month.year) if month.month == 1 else "" for month in months]
    else:
        ticks = [notation.month_name(month.month, is_short=True) for month in months]
    label = _("Hours by month", notation.language)
    return draw_columns([Layer("genuine", hours, tips)], label=label, ticks=ticks, write=notation.whole, height=180)


def _month(item: str) -> date:
    return date.fromisoformat(f"{item}-01")


def _months_between(first: date, last: date) -> list[date]:
    numbers = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    return [date(number // 12, number % 12 + 1, 1) for number in numbers]
