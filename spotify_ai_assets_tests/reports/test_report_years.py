"""The figures of a year: everybody's rows only, or one listener's without their id."""

from datetime import date, timedelta

import pytest
from report_frames import SUNDAY, frame, some_year, year_row, year_rows

from spotify_ai_assets.listening.insight.contracts import YEAR_IN_REVIEW as INSIGHT
from spotify_ai_assets.reports.contracts import SECTIONS, YEAR_IN_REVIEW
from spotify_ai_assets.reports.figures import lists
from spotify_ai_assets.reports.pages.year_in_review import render_year
from spotify_ai_assets.reports.year_in_review import LENGTHS, summarise_year, tell_year

LISTENER = "0123456789abcdef" * 2


def test_each_section_has_its_measures_in_the_form_of_the_contract() -> None:
    figures = some_year()

    assert dict(figures.schema) == YEAR_IN_REVIEW.schema
    assert figures.equals(figures.sort(YEAR_IN_REVIEW.primary_key))
    assert figures.select(YEAR_IN_REVIEW.primary_key).is_unique().all()
    told = {section: set(rows["measure"]) for (section,), rows in figures.group_by("section")}
    assert told == {section: set(measures) for section, measures in SECTIONS[YEAR_IN_REVIEW.key].items()}


def test_no_listeners_row_is_among_everybodys() -> None:
    rows = frame(
        INSIGHT, year_row("total"), year_row("total", listener_id=LISTENER, plays=999), year_row("total", 2, day=date(2026, 4, 30))
    )
    figures = summarise_year(rows, SUNDAY)

    assert dict(figures.select("measure", "value").iter_rows()) == {
        "plays": 100,
        "genuine_plays": 90,
        "streams": 80,
        "genuine_streams": 72,
        "played_hours": pytest.approx(10),
        "genuine_hours": pytest.approx(9),
        "days": 20,
        "listeners": 7,
    }
    assert LISTENER not in figures.write_csv()


def test_lists_are_cut_but_months_are_told_in_full() -> None:
    months = [year_row("months", place, f"{2016 + place // 12}-{place % 12 + 1:02}") for place in range(1, 100)]
    tracks = [year_row("tracks", place, f"t{place}") for place in range(60, 0, -1)]
    figures = tell_year(frame(INSIGHT, *months, *tracks), SUNDAY)

    assert len(lists(figures, "months")["global"]) == 99
    assert [each["item"] for each in lists(figures, "tracks")["global"]] == [
        f"t{place}" for place in range(1, (LENGTHS["tracks"] or 0) + 1)
    ]


def test_a_page_is_made_again_when_the_year_before_changes() -> None:
    (own,) = [reads for reads in YEAR_IN_REVIEW.reads if reads.key == YEAR_IN_REVIEW.key]

    assert own.first is not None
    assert SUNDAY.replace(year=2023) >= SUNDAY.replace(year=2024) + timedelta(days=own.first)


def test_rows_without_day_and_listener_are_enough() -> None:
    assert tell_year(year_rows().drop("day", "listener_id"), SUNDAY).equals(tell_year(year_rows(), SUNDAY))


@pytest.mark.parametrize(
    ("first", "last", "heading"),
    [
        (date(2026, 1, 1), date(2026, 12, 31), "<h1>2026</h1>"),
        (date(2024, 2, 29), date(2026, 5, 31), "<h1>29. Feb. 2024\u2009–\u200931. Mai 2026</h1>"),
    ],
)
def test_any_range_is_named_and_its_months_have_no_gaps(first: date, last: date, heading: str) -> None:
    html = render_year(year_rows(listener_id=LISTENER), first, last, "de")

    assert heading in html
    assert "<title>Januar 2026: 9,0 " in html
    assert "<title>Mai 2026: 9,0 " in html
    assert html.count('class="column genuine"') == 2
