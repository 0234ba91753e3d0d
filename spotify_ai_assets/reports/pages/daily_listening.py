"""The page of a day's listening."""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.locale import translate_plural
from spotify_ai_assets.reports.charts import Curve, draw_curves
from spotify_ai_assets.reports.contracts import DAILY_LISTENING, SECTIONS, TREND_DAYS
from spotify_ai_assets.reports.figures import headlines, lists
from spotify_ai_assets.reports.notation import Notation
from spotify_ai_assets.reports.pages.frame import Bar, Page, make_bars, make_headline, name_platform, render

COUNTRY_BARS = 9
COUNTRY_TOPS = 12
"""How many countries are shown before the others are summed up or folded away."""
_HEADLINE_ASSETS = {"listeners": "listening/listener_track_days", "sessions": "listening/sessions"}
_COUNTS = "listening/country_days"


def render_day(page: Page, language: str) -> str:
    """Lay out the page of a day's listening.

    Args:
        page: Rows of ``reports/daily_listening`` of the day and, as far as they exist, of the 27 days before.
        language: One of ``settings.LANGUAGES``.

    Returns:
        A whole HTML document that loads nothing else.

    Raises:
        SettingsError: The language is not supported.
    """
    notation, day = Notation(language), page.day
    figures = page.figures.filter(pl.col(DAY) == day)
    history = headlines(page.figures.filter(pl.col(DAY) <= day))
    days = [day - timedelta(days=ago) for ago in reversed(range(TREND_DAYS))]
    tops = lists(figures, "tops")
    streams = {row["item"]: row["streams"] for row in lists(figures, "countries").get(GLOBAL, [])}
    versus = (day - timedelta(days=1), day - timedelta(days=7))
    return render(
        "daily_listening.html",
        notation,
        page.sources,
        disclosure=page.disclosure,
        page=day.isoformat(),
        day=day,
        previous=versus[0] if (versus[0], "plays") in history else None,
        headlines=[
            make_headline(measure, history, days, versus, notation, _HEADLINE_ASSETS.get(measure, _COUNTS))
            for measure in SECTIONS[DAILY_LISTENING.key]["headline"]
        ],
        global_top=tops.pop(GLOBAL, []),
        country_tops=sorted(tops.items(), key=lambda item: (-streams.get(item[0], 0), item[0])),
        artists=lists(figures, "artists").get(GLOBAL, []),
        country_tops_shown=COUNTRY_TOPS,
        countries=_country_bars(figures, notation),
        platforms=make_bars((name_platform(row["item"], language), row["streams"]) for row in lists(figures, "platforms").get(GLOBAL, [])),
        trend=draw_days(days, [history.get((each, "streams")) for each in days], _("Streams over four weeks", language), notation),
        quality=page.quality,
    )


def draw_days(days: Sequence[date], values: Sequence[float | None], label: str, notation: Notation) -> str:
    """A series over days as an area; every seventh day, the last among them, has its date below."""
    text = _("{label}: {value}", notation.language)
    return draw_curves(
        [Curve("area", values)],
        label=label,
        tips=[text.format(label=notation.weekday_date(day), value=notation.whole(value)) for day, value in zip(days, values, strict=True)],
        ticks=[notation.short_date(day) if (len(days) - 1 - place) % 7 == 0 else "" for place, day in enumerate(days)],
        write=notation.whole,
    )


def _country_bars(figures: pl.DataFrame, notation: Notation) -> list[Bar]:
    rows = [(notation.country(row["item"]), row["streams"]) for row in lists(figures, "countries").get(GLOBAL, [])]
    shown, others = rows[:COUNTRY_BARS], rows[COUNTRY_BARS:]
    if len(others) > 1:
        text = translate_plural("{count} other country", "{count} other countries", len(others), notation.language)
        return make_bars([*shown, (text.format(count=notation.whole(len(others))), sum(value for _label, value in others))])
    return make_bars(rows)
