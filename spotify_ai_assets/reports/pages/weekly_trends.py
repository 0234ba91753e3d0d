"""The page of a week's trends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.reports.charts import Curve, draw_curves
from spotify_ai_assets.reports.contracts import TREND_WEEKS
from spotify_ai_assets.reports.figures import headlines, lists
from spotify_ai_assets.reports.notation import Notation
from spotify_ai_assets.reports.pages.frame import Page, isolated, make_headline, name_place, name_platform, render

_HEADLINES = {
    "genuine_streams": "listening/country_days",
    "suspicious_streams": "listening/suspicious_country_days",
    "rising_tracks": "listening/trends",
    "rising_artists": "listening/trends",
    "entries": "listening/genuine_charts",
    "level_changes": "listening/change_points",
    "forecasts_shown": "listening/forecasts",
}
COUNTRIES = 12
CHANGES = 10


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected of one item: its name, the sum of its days, and a small chart of them."""

    label: str
    detail: str | None
    is_name: bool
    first: date
    last: date
    streams: float
    gain: float
    chart: str


def render_week(page: Page, language: str) -> str:
    """Lay out the page of a week's trends.

    Args:
        page: Rows of ``reports/weekly_trends`` of the Sunday and, as far as they exist, of the seven before.
        language: One of ``settings.LANGUAGES``.

    Returns:
        A whole HTML document that loads nothing else.

    Raises:
        SettingsError: The language is not supported.
    """
    notation, day = Notation(language), page.day
    figures = page.figures.filter(pl.col(DAY) == day)
    earlier = page.figures.filter(pl.col(DAY) <= day)
    history = headlines(earlier)
    sundays = [day - timedelta(weeks=ago) for ago in reversed(range(TREND_WEEKS))]
    versus = (sundays[-2], sundays[-5])
    forecasts, changes = lists(figures, "forecasts"), lists(figures, "changes")
    tracks, artists = lists(figures, "tracks"), lists(figures, "artists")
    globe = forecasts.pop(f"country/{GLOBAL}", [])
    return render(
        "weekly_trends.html",
        notation,
        page.sources,
        disclosure=page.disclosure,
        page=day.isoformat(),
        first=day - timedelta(days=6),
        day=day,
        previous=versus[0] if (versus[0], "streams") in history else None,
        headlines=[make_headline(measure, history, sundays, versus, notation, asset) for measure, asset in _HEADLINES.items()],
        trend=_draw_trend(earlier, globe, changes.get("country", []), day, notation),
        has_forecast=bool(globe),
        tracks=tracks.pop(GLOBAL, []),
        artists=artists.pop(GLOBAL, []),
        countries=sorted(tracks.items())[:COUNTRIES],
        others=sorted(tracks.items())[COUNTRIES:],
        moves=lists(figures, "moves"),
        changes=_name_changes(changes, notation),
        forecasts=[_forecast(scope, days, notation) for scope, days in sorted(forecasts.items(), key=_by_size)],
    )


def _by_size(forecast: tuple[str, Sequence[Mapping[str, Any]]]) -> tuple[int, float, str]:
    kinds = ("country", "track", "artist")
    return kinds.index(forecast[0].partition("/")[0]), -sum(day["streams"] for day in forecast[1]), forecast[0]


def _draw_trend(
    figures: pl.DataFrame, forecast: Sequence[Mapping[str, Any]], changes: Sequence[Mapping[str, Any]], day: date, notation: Notation
) -> str:
    """Genuine streams of the past weeks, with them the suspicious, and what is to be expected."""
    language = notation.language
    counted = {
        each: values
        for weeks in (lists(figures.filter(pl.col(DAY) == sunday), "days").get(GLOBAL, []) for sunday in figures[DAY].unique().sort())
        for each, values in ((date.fromisoformat(row["item"]), row) for row in weeks)
    }
    expected = {date.fromisoformat(row["item"]): row for row in forecast}
    past = [day - timedelta(days=ago) for ago in reversed(range(7 * TREND_WEEKS))]
    days = [*past, *(day + timedelta(days=ahead) for ahead in range(1, len(expected) + 1))]
    changed = {date.fromisoformat(row["detail"]): row for row in changes if row["item"] == GLOBAL}
    told = {
        "genuine": _("{day}: {value} genuine streams", language),
        "suspicious": _("and {value} suspicious", language),
        "expected": _("{day}: {value} to be expected, {lower} to {upper} in 95 of 100 cases", language),
        "changed": _("new level", language),
    }

    def tip(each: date) -> str:
        name = notation.weekday_date(each)
        if each in expected:
            row = expected[each]
            band = {"lower": notation.whole(row["lower_95"]), "upper": notation.whole(row["upper_95"])}
            return told["expected"].format(day=name, value=notation.whole(row["streams"]), **band)
        row = counted.get(each, {})
        lines = [told["genuine"].format(day=name, value=notation.whole(row.get("genuine_streams")))]
        if row.get("suspicious_streams"):
            lines.append(told["suspicious"].format(value=notation.whole(row["suspicious_streams"])))
        if each in changed:
            lines.append(f"{told['changed']}: {notation.change(changed[each]['change'])}")
        return ", ".join(lines)

    def column(rows: Mapping[date, Mapping[str, Any]], measure: str) -> list[float | None]:
        return [rows[each][measure] if each in rows else None for each in days]

    genuine = column(counted, "genuine_streams")
    return draw_curves(
        [
            Curve("wide-band", column(expected, "lower_95"), column(expected, "upper_95")),
            Curve("band", column(expected, "lower_80"), column(expected, "upper_80")),
            Curve("thin", column(counted, "streams")),
            Curve("area", genuine),
            # The forecast goes on from the last day that is known.
            Curve(
                "dashed",
                [known if each == day else ahead for each, known, ahead in zip(days, genuine, column(expected, "streams"), strict=True)],
            ),
            Curve("mark", [1.0 if each in changed else None for each in days]),
        ],
        label=_("Streams a day", language),
        tips=[tip(each) for each in days],
        ticks=[notation.short_date(each) if (each - day).days % 14 == 0 else "" for each in days],
        write=notation.whole,
        height=200,
    )


def _name_changes(changes: Mapping[str, Sequence[Mapping[str, Any]]], notation: Notation) -> list[dict[str, Any]]:
    """All changes of level, the newest first, with the names of their series."""
    name = {"country": lambda code: name_place(code, notation), "platform": lambda code: name_platform(code, notation.language)}
    rows = [
        {**row, "label": name[scope](row["item"]), "changed_on": date.fromisoformat(row["detail"])}
        for scope, found in changes.items()
        for row in found
    ]
    return sorted(rows, key=lambda row: (row["days_ago"], -row["score"], row["label"]))[:CHANGES]


def _forecast(scope: str, days: Sequence[Mapping[str, Any]], notation: Notation) -> Forecast:
    kind, _slash, item = scope.partition("/")
    text = _("{day}: {value} to be expected, {lower} to {upper} in 95 of 100 cases", notation.language)
    dates = [date.fromisoformat(row["item"]) for row in days]
    label = name_place(item, notation) if kind == "country" else days[0]["label"]
    chart = draw_curves(
        [
            Curve("wide-band", [row["lower_95"] for row in days], [row["upper_95"] for row in days]),
            Curve("band", [row["lower_80"] for row in days], [row["upper_80"] for row in days]),
            Curve("dashed", [row["streams"] for row in days]),
        ],
        label=_("Forecast of {item}", notation.language).format(item=isolated(label)),
        tips=[
            text.format(
                day=notation.weekday_date(each),
                value=notation.whole(row["streams"]),
                lower=notation.whole(row["lower_95"]),
                upper=notation.whole(row["upper_95"]),
            )
            for each, row in zip(dates, days, strict=True)
        ],
        ticks=[notation.short_date(each) if place in (0, len(dates) - 1) else "" for place, each in enumerate(dates)],
        write=notation.whole,
        height=64,
    )
    error, naive = days[0]["error"], days[0]["naive_error"]
    return Forecast(
        label=label,
        detail=days[0]["detail"],
        is_name=kind != "country",
        first=dates[0],
        last=dates[-1],
        streams=sum(row["streams"] for row in days),
        gain=1 - error / naive if naive else 0.0,
        chart=chart,
    )
