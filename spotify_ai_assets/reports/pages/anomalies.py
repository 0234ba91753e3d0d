"""The page of a day's anomalies: suspicious streams with their evidence, and unusual volumes."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.locale import translate_plural
from spotify_ai_assets.reports.charts import Curve, Layer, draw_columns, draw_curves
from spotify_ai_assets.reports.contracts import TREND_DAYS
from spotify_ai_assets.reports.figures import headlines, lists
from spotify_ai_assets.reports.notation import Notation
from spotify_ai_assets.reports.pages.frame import Page, make_headline, render

_HEADLINES = {
    "suspicious_streams": "listening/suspicious_country_days",
    "genuine_streams": "listening/suspicious_country_days",
    "streams": "listening/country_days",
    "suspicious_share": "listening/suspicious_country_days",
    "cases": "listening/suspicious_streams",
    "accounts": "listening/suspicious_streams",
    "incidents": "listening/anomalies",
}
CASES = 9
PLACES = 10
"""How many rows are shown before the others are folded away."""
_TALLEST_BAND = 1.15


def render_anomalies(page: Page, language: str) -> str:
    """Lay out the page of a day's anomalies.

    Args:
        page: Rows of ``reports/anomalies`` of the day and, as far as they exist, of the 27 days before.
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
    versus = (day - timedelta(days=1), day - timedelta(days=7))
    incidents = [_place_band(row) for row in lists(figures, "incidents").get(GLOBAL, [])]
    tracks = lists(figures, "case_tracks")
    cases = [{**row, "tracks_shown": tracks.get(row["item"], [])} for row in lists(figures, "cases").get(GLOBAL, [])]
    charts = lists(figures, "charts")
    text = _("{label}: {value}", language)
    shares = [history.get((each, "suspicious_share")) for each in days]
    return render(
        "anomalies.html",
        notation,
        page.sources,
        disclosure=page.disclosure,
        page=day.isoformat(),
        day=day,
        previous=versus[0] if (versus[0], "plays") in history else None,
        headlines=[make_headline(measure, history, days, versus, notation, asset) for measure, asset in _HEADLINES.items()],
        hours=_draw_hours(lists(figures, "hours").get(GLOBAL, []), notation),
        trend=draw_curves(
            [Curve("area", shares)],
            label=_("Share of suspicious streams over four weeks", language),
            tips=[
                text.format(label=notation.weekday_date(each), value=notation.percent(share))
                for each, share in zip(days, shares, strict=True)
            ],
            ticks=[notation.short_date(each) if (day - each).days % 7 == 0 else "" for each in days],
            write=notation.percent,
            height=110,
        ),
        causes=[row for row in incidents if row["is_cause"]],
        consequences=[row for row in incidents if not row["is_cause"]],
        severities={1.0: _("low", language), 2.0: _("medium", language), 3.0: _("high", language)},
        cases=cases,
        cases_shown=CASES,
        name_case=lambda case: _name_case(case, notation),
        countries=lists(figures, "countries").get(GLOBAL, []),
        platforms=lists(figures, "platforms").get(GLOBAL, []),
        places_shown=PLACES,
        charts=sorted(charts.items(), key=lambda chart: (chart[0] != GLOBAL, chart[0])),
    )


def _draw_hours(hours: Sequence[Mapping[str, Any]], notation: Notation) -> str:
    language = notation.language
    names = [notation.hour(row["position"] - 1) for row in hours]
    parts = {
        "genuine": ("genuine_plays", _("{hour}: {value} genuine plays", language)),
        "flagged": ("suspicious_plays", _("{hour}: {value} suspicious plays", language)),
    }
    return draw_columns(
        [
            Layer(
                style,
                [row[measure] for row in hours],
                [text.format(hour=name, value=notation.whole(row[measure])) for name, row in zip(names, hours, strict=True)],
            )
            for style, (measure, text) in parts.items()
        ],
        label=_("Plays by the hour", language),
        ticks=[name if place % 6 == 0 else "" for place, name in enumerate(names)],
        write=notation.whole,
        height=150,
    )


def _place_band(incident: Mapping[str, Any]) -> dict[str, Any]:
    """An incident with the places of its band and value, in per cent of the width that holds both."""
    widest = max(incident["upper"], incident["plays"], 1.0) * _TALLEST_BAND
    places = {f"{name}_at": round(100 * incident[name] / widest, 1) for name in ("plays", "expected", "lower", "upper")}
    return {**incident, **places}


def _name_case(case: Mapping[str, Any], notation: Notation) -> str:
    """What a case is, in words; it begins with the rule that found it."""
    accounts = int(case["accounts"])
    ring = translate_plural("Ring of {count} account", "Ring of {count} accounts", accounts, notation.language)
    loop = translate_plural("Loop by {count} account", "Loop by {count} accounts", accounts, notation.language)
    burst = translate_plural("Burst by {count} account", "Burst by {count} accounts", accounts, notation.language)
    return {"ring": ring, "loop": loop, "burst": burst}[case["label"]].format(count=notation.whole(accounts))
