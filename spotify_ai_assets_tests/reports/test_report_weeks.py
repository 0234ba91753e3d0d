"""The figures of a week: days that add up, what rises and moves, forecasts that may be shown and no others."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from report_frames import (
    SUNDAY,
    change_row,
    chart_row,
    country_row,
    forecast_rows,
    some_week,
    summarise_trends,
    trend_row,
)

from spotify_ai_assets.reports.contracts import SECTIONS, WEEKLY_TRENDS
from spotify_ai_assets.reports.figures import lists
from spotify_ai_assets.reports.weekly_trends import COUNTRY_RISING, FORECASTS, GLOBAL_RISING, MOVES

WEEKLY: dict[str, Any] = {"day": SUNDAY, "period": "weekly"}


def _head(figures: pl.DataFrame) -> dict[str, float | None]:
    return dict(figures.filter(section="headline").select("measure", "value").iter_rows())


def test_each_section_has_its_measures_in_the_form_of_the_contract() -> None:
    figures = some_week()

    assert dict(figures.schema) == WEEKLY_TRENDS.schema
    assert figures.equals(figures.sort(WEEKLY_TRENDS.primary_key))
    assert figures.select(WEEKLY_TRENDS.primary_key).is_unique().all()
    told = {section: set(rows["measure"]) for (section,), rows in figures.group_by("section")}
    assert told == {section: set(measures) for section, measures in SECTIONS[WEEKLY_TRENDS.key].items()}


def test_the_days_add_up_and_a_day_without_plays_is_unknown() -> None:
    days = [SUNDAY - timedelta(days=ago) for ago in range(8)]
    figures = summarise_trends(
        countries=tuple(country_row(code, 100 + place, day=day) for place, day in enumerate(days[:6]) for code in ("DE", "FR")),
        suspicious_countries=(country_row("DE", 30, day=SUNDAY), country_row("DE", 7, day=days[2])),
    )

    told = lists(figures, "days")["global"]
    assert [(each["item"], each["genuine_streams"], each["suspicious_streams"]) for each in told] == [
        ("2026-05-25", None, None),
        ("2026-05-26", 210, 0),
        ("2026-05-27", 208, 0),
        ("2026-05-28", 206, 0),
        ("2026-05-29", 197, 7),
        ("2026-05-30", 202, 0),
        ("2026-05-31", 170, 30),
    ]
    head = _head(figures)
    assert (head["streams"], head["suspicious_streams"], head["genuine_streams"]) == (1230, 37, 1193)


def test_a_week_without_anything_is_a_week_of_zeros() -> None:
    figures = summarise_trends()

    assert set(_head(figures).values()) == {0}
    assert set(figures["section"]) == {"headline", "days"}


def test_what_rises_keeps_its_order_and_its_country() -> None:
    rows = [trend_row(place, f"T{place}", country=country) for country in ("global", "DE") for place in range(1, 40)]
    artists = [trend_row(place, f"A{place}", subject="artist", detail=None) for place in (2, 1)]
    figures = summarise_trends(trends=(*rows[::-1], *artists, trend_row(1, day=SUNDAY - timedelta(days=1))))

    tracks = lists(figures, "tracks")
    assert {scope: len(each) for scope, each in tracks.items()} == {"DE": COUNTRY_RISING, "global": GLOBAL_RISING}
    assert [each["label"] for each in tracks["DE"]] == ["T1", "T2", "T3", "T4", "T5"]
    assert [each["label"] for each in lists(figures, "artists")["global"]] == ["A1", "A2"]
    assert (_head(figures)["rising_tracks"], _head(figures)["rising_artists"]) == (39, 2)


def test_moves_are_those_of_the_weeks_genuine_global_chart() -> None:
    def moved(rank: int, movement: int | None, **other: Any) -> dict[str, object]:
        before = None if movement is None else rank + movement
        row: dict[str, Any] = WEEKLY | {"movement": movement, "previous_rank": before} | other
        return chart_row(rank, f"T{rank}", **row)

    genuine = [moved(rank, 50 - rank) for rank in range(1, 100)]
    new = [moved(rank, None, is_new=True) for rank in (100, 101)]
    elsewhere = (moved(1, 99, country="DE"), moved(2, 98, period="daily"), moved(102, None))
    figures = summarise_trends(genuine_charts=(*genuine, *new, *elsewhere), charts=(chart_row(7, "T1", **WEEKLY),))

    moves = lists(figures, "moves")
    assert {kind: [each["movement"] for each in rows] for kind, rows in moves.items()} == {
        "climbers": list(range(49, 49 - MOVES, -1)),
        "entries": [None, None],
        "fallers": list(range(-49, -49 + MOVES)),
    }
    assert [each["rank_with_suspicious"] for each in moves["climbers"]][:2] == [7, None]
    assert _head(figures)["entries"] == 2


def test_new_levels_are_counted_for_four_weeks_and_told_newest_first() -> None:
    days = (40, 3, 27)
    figures = summarise_trends(changes=tuple(change_row(changed_on=SUNDAY - timedelta(days=ago)) for ago in days))

    assert [each["days_ago"] for each in lists(figures, "changes")["country"]] == [3, 27, 40]
    assert _head(figures)["level_changes"] == 2


def test_a_forecast_that_did_not_win_is_not_shown() -> None:
    hidden = forecast_rows("t", "Song", "track", is_shown=False)
    figures = summarise_trends(forecasts=(*forecast_rows(), *hidden))

    assert set(lists(figures, "forecasts")) == {"country/global"}
    assert _head(figures)["forecasts_shown"] == 1


def test_the_largest_forecasts_are_shown_and_the_globe_always() -> None:
    def sized(item: str, subject: str, streams: float) -> list[dict[str, object]]:
        return [row | {"streams": streams} for row in forecast_rows(item, item, subject)]

    rows = [row for place in range(20) for subject in FORECASTS for row in sized(f"{place:02}", subject, 100.0 - place)]
    figures = summarise_trends(forecasts=(*rows, *sized("global", "country", 1.0)))

    shown = lists(figures, "forecasts")
    for subject, most in FORECASTS.items():
        places = {scope.partition("/")[2] for scope in shown if scope.startswith(f"{subject}/")}
        assert places == {f"{place:02}" for place in range(most)} | ({"global"} if subject == "country" else set())
    assert [each["item"] for each in shown["country/global"]] == [str(SUNDAY + timedelta(days=ahead)) for ahead in range(1, 8)]


@pytest.mark.parametrize("key", ["trends", "charts", "genuine_charts", "changes", "forecasts"])
def test_rows_of_other_days_do_not_count(key: str) -> None:
    other: dict[str, Any] = {"day": SUNDAY - timedelta(days=7)}
    new: dict[str, Any] = WEEKLY | other | {"is_new": True}
    rows: dict[str, Any] = {
        "trends": (trend_row(1, **other),),
        "charts": (chart_row(1, **WEEKLY | other),),
        "genuine_charts": (chart_row(1, **new),),
        "changes": (change_row(**other),),
        "forecasts": tuple(forecast_rows(**other)),
    }
    assert summarise_trends(**{key: rows[key]}).equals(summarise_trends())
