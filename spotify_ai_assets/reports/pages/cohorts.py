"""The page of a week's cohorts: who stays, where they skip, what they hear, who would earn what."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.reports.charts import Curve, Layer, draw_columns, draw_curves
from spotify_ai_assets.reports.cohorts import SMALLEST_GROUP
from spotify_ai_assets.reports.contracts import TREND_WEEKS
from spotify_ai_assets.reports.figures import headlines, lists
from spotify_ai_assets.reports.notation import Notation
from spotify_ai_assets.reports.pages.frame import Page, isolated, make_headline, name_genre, name_place, name_platform, render

_HEADLINES = {
    "active_listeners": "listening/cohorts",
    "new_listeners": "listening/cohorts",
    "retention_1": "listening/cohorts",
    "retention_4": "listening/cohorts",
    "skip_rate": "listening/funnels",
    "completion_rate": "listening/funnels",
    "moved_share": "listening/stream_share",
}
COLOURS = 7
"""How many genres have a colour of their own; the others share one."""


def render_cohorts(page: Page, language: str) -> str:
    """Lay out the page of a week's cohorts.

    Args:
        page: Rows of ``reports/cohorts`` of the Sunday and, as far as they exist, of the seven before.
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
    triangles, averages = lists(figures, "retention"), lists(figures, "average_retention")
    funnels, genres, shares = lists(figures, "funnels"), lists(figures, "genres"), lists(figures, "shares")
    colours = {row["item"]: f"c{place}" for place, row in enumerate(genres.get(GLOBAL, [])[:COLOURS])}
    largest = shares.get("largest", [])
    widest = max((value for row in largest for value in (row["pro_rata"], row["user_centric"])), default=0) or 1
    return render(
        "cohorts.html",
        notation,
        page.sources,
        disclosure=page.disclosure,
        page=day.isoformat(),
        first=day - timedelta(days=6),
        day=day,
        previous=versus[0] if (versus[0], "active_listeners") in history else None,
        headlines=[make_headline(measure, history, sundays, versus, notation, asset) for measure, asset in _HEADLINES.items()],
        smallest=max(SMALLEST_GROUP, page.disclosure.smallest if page.disclosure else 0),
        weeks=range(1 + max((int(cell["weeks_since"]) for cell in triangles.get(GLOBAL, [])), default=0)),
        average=_draw_average(averages.get(GLOBAL, []), notation),
        triangle=_triangle(triangles.pop(GLOBAL, [])),
        others=[(_name_scope(scope, notation), _triangle(cells)) for scope, cells in sorted(triangles.items())],
        positions=_draw_positions(funnels.get("position", []), notation),
        playlists=funnels.get("playlist", []),
        releases=funnels.get("release", []),
        ages=funnels.get("release_age", []),
        genre_chart=_draw_genres(earlier, sundays, colours, notation),
        colours=colours,
        country_genres=[(scope, rows) for scope, rows in sorted(genres.items()) if scope != GLOBAL],
        shares=[
            {**row, **{f"{model}_at": round(100 * row[model] / widest, 1) for model in ("pro_rata", "user_centric")}} for row in largest
        ],
        gaining=shares.get("gaining", []),
        losing=shares.get("losing", []),
    )


def _name_scope(scope: str, notation: Notation) -> str:
    kind, _slash, item = scope.partition("/")
    return name_place(item, notation) if kind == "country" else name_platform(item, notation.language)


def _triangle(cells: Sequence[Mapping[str, Any]]) -> list[tuple[date, float | None, dict[int, float | None]]]:
    """Each cohort, the newest first: when it came, how many, and its retention by weeks since."""
    rows: dict[str, dict[int, Mapping[str, Any]]] = {}
    for cell in cells:
        rows.setdefault(cell["item"], {})[int(cell["weeks_since"])] = cell
    return [
        (date.fromisoformat(cohort), next(iter(weeks.values()))["size"], {week: cell["retention"] for week, cell in sorted(weeks.items())})
        for cohort, weeks in sorted(rows.items(), reverse=True)
    ]


def _draw_average(rows: Sequence[Mapping[str, Any]], notation: Notation) -> str:
    language = notation.language
    text = _("week {weeks}: {share} of {listeners} listeners", language)
    return draw_curves(
        [Curve("area", [row["retention"] for row in rows])],
        label=_("Who comes back", language),
        tips=[
            text.format(weeks=row["item"], share=notation.percent(row["retention"]), listeners=notation.whole(row["size"])) for row in rows
        ],
        ticks=[row["item"] for row in rows],
        write=notation.whole_percent,
        top=1.0,
        height=150,
    )


def _draw_positions(rows: Sequence[Mapping[str, Any]], notation: Notation) -> str:
    language = notation.language
    text = _("play {place} of a session: {skipped} skipped, {completed} to the end", language)
    return draw_curves(
        [Curve("area", [row["completion_rate"] for row in rows]), Curve("accent", [row["skip_rate"] for row in rows])],
        label=_("Skips and completions by place in the session", language),
        tips=[
            text.format(place=row["label"], skipped=notation.percent(row["skip_rate"]), completed=notation.percent(row["completion_rate"]))
            for row in rows
        ],
        ticks=[row["label"] if place % 4 == 0 or place == len(rows) - 1 else "" for place, row in enumerate(rows)],
        write=notation.whole_percent,
        top=1.0,
        height=150,
    )


def _draw_genres(figures: pl.DataFrame, sundays: Sequence[date], colours: Mapping[str, str], notation: Notation) -> str:
    """Shares of the genres over the past weeks; what has no colour of its own is summed up."""
    weeks = [lists(figures.filter(pl.col(DAY) == sunday), "genres").get(GLOBAL, []) for sunday in sundays]
    shares = [{row["item"]: row["share"] for row in week} for week in weeks]
    text = _("{genre}, week to {day}: {share}", notation.language)
    layers = []
    for genre, colour in {**colours, None: "rest"}.items():
        values = [_share_of(week, genre, colours) for week in shares]
        name = isolated(name_genre(genre, notation.language)) if genre is not None else _("all others", notation.language)
        tips = [
            text.format(genre=name, day=notation.short_date(sunday), share=notation.percent(value))
            for sunday, value in zip(sundays, values, strict=True)
        ]
        layers.append(Layer(colour, values, tips))
    return draw_columns(
        layers,
        label=_("Genres over eight weeks", notation.language),
        ticks=[notation.short_date(sunday) for sunday in sundays],
        write=notation.whole_percent,
        top=1.0,
        height=200,
    )


def _share_of(week: Mapping[str, float], genre: str | None, colours: Mapping[str, str]) -> float | None:
    """A genre's share of a week, or that of all without a colour of their own; a week without figures has none."""
    if not week:
        return None
    return max(1 - sum(week.get(each, 0.0) for each in colours), 0.0) if genre is None else week.get(genre, 0.0)
