"""A day's page shows the figures as they are, in three languages."""

import re
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from page_reading import Document
from report_frames import DAY, artist_row, chart_row, country_row, summarise

from spotify_ai_assets.reports.contracts import DAILY_LISTENING
from spotify_ai_assets.reports.notation import Notation
from spotify_ai_assets.reports.pages.daily_listening import render_day
from spotify_ai_assets.reports.pages.frame import Page, Quality
from spotify_ai_assets.settings import LANGUAGES

NOTHING = DAILY_LISTENING.empty()


def _figures(*names: str) -> pl.DataFrame:
    charts = (chart_row(rank, name, name) for rank, name in enumerate(names, start=1))
    national = (chart_row(rank, name, name, country="DE") for rank, name in enumerate(names, start=1))
    return summarise(
        charts=(*charts, *national),
        artists=tuple(artist_row(f"{name}{number}", 900 - number) for number, name in enumerate(names)),
        countries=(country_row("DE", 80_000), country_row("FR", 8_000, "web")),
        listeners=("a", "b"),
        sessions=(False,),
    )


def _render(figures: pl.DataFrame, trend: pl.DataFrame = NOTHING, quality: Quality | None = None, language: str = "en") -> str:
    return render_day(Page(pl.concat([trend, figures]), DAY, {}, quality), language)


def _page(language: str = "en", names: tuple[str, ...] = ("Song",), trend: pl.DataFrame = NOTHING, quality: Quality | None = None) -> str:
    return _render(_figures(*names), trend, quality, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_shows_the_figures_in_the_language(language: str) -> None:
    html = _page(language)
    page, notation = Document(html), Notation(language)

    headline = dict(_figures("Song").filter(section="headline").select("measure", "value").iter_rows())
    for measure, value in headline.items():
        write = notation.percent if measure.endswith("_rate") else notation.decimal if measure == "played_hours" else notation.whole
        assert page.figures[measure] == write(value)
    assert f'<html lang="{language}">' in html
    assert {"en": "Friday, May 1, 2026", "de": "Freitag, 1. Mai 2026", "fr": "vendredi 1 mai 2026"}[language] in page.text
    assert {"en": "Hours played", "de": "Gespielte Stunden", "fr": "Heures d’écoute"}[language] in page.text


def test_bars_add_up_to_the_headline() -> None:
    countries = tuple(
        country_row(code, 80 + number)
        for number, code in enumerate(["DE", "FR", "US", "GB", "ES", "IT", "SE", "PL", "NL", "AT", "CH", "BR"])
    )
    html = _render(summarise(countries=countries))

    section = html[html.index('id="countries"') : html.index("</table>", html.index('id="countries"'))]
    bars = [int(number) for number in re.findall(r'<td class="number">(\d+)</td>', section)]
    assert len(bars) == 10
    assert sum(bars) == sum(80 + number for number in range(12))
    assert "3 other countries" in section


def test_a_page_without_plays_says_so() -> None:
    html = _render(summarise())

    assert "Nobody played anything on this day." in html
    assert Document(html).figures["skip_rate"] == "–"


def test_changes_compare_with_the_day_before_and_the_week_before() -> None:
    def earlier(days: int, streams: int, **other: Any) -> pl.DataFrame:
        day = DAY - timedelta(days=days)
        return summarise(countries=(country_row("DE", streams, day=day, **other),), day=day)

    page = Document(_page(trend=pl.concat([earlier(1, 80_000, skips=50_000), earlier(7, 176_000), earlier(8, 1)])))

    card = page.text[page.text.index("Streams") : page.text.index("Hours played")]
    assert re.findall(r"([+−±][\d.]+%|[+−±][\d.]+ pp)\s+(vs\. \w+, \w+ \d+)", card)[:2] == [
        ("+10.0%", "vs. Thu, Apr 30"),
        ("−50.0%", "vs. Fri, Apr 24"),
    ]
    assert re.search(r"Skip rate.*?−30\.0 pp\s+vs\. Thu, Apr 30", page.text, re.DOTALL)


def test_a_first_day_has_nothing_to_compare_with() -> None:
    assert _page().count("no earlier day to compare with") == 7


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ({"previous_rank": None, "movement": None, "is_new": True}, "new"),
        ({"previous_rank": None, "movement": None}, "back"),
        ({"previous_rank": 4, "movement": 3}, "▲up 3"),
        ({"previous_rank": 1, "movement": -2}, "▼down 2"),
        ({}, "=unchanged"),
    ],
)
def test_movement_is_told_in_words_and_signs(entry: dict[str, Any], shown: str) -> None:
    html = _render(summarise(charts=(chart_row(1, **entry),)))

    assert shown in re.sub("<[^>]+>", "", html[html.index('class="rank"') :].split("</td>")[0])


def test_the_quality_box_counts_imports_and_checks() -> None:
    quality = Quality(2, 110, 100, 7, {"bad_timestamp": 1, "<b>rule</b>": 2}, 9, ("charts_are_complete",))
    text = Document(_page(quality=quality)).text

    for label, number in (
        ("Rows read", 110),
        ("Rows stored", 100),
        ("Duplicate rows", 7),
        ("Rejected rows", 3),
        ("<b>rule</b>", 2),
        ("bad_timestamp", 1),
    ):
        assert re.search(rf"{re.escape(label)}\s*{number}\b", text)
    assert "9 checks passed" in text
    assert "1 check failed" in text
    assert "charts_are_complete" in text
    assert "Quality" not in Document(_page()).text


def test_a_day_without_a_value_is_a_gap_in_the_trend() -> None:
    html = _page(trend=summarise(countries=(country_row("DE", 40_000, day=DAY - timedelta(days=20)),), day=DAY - timedelta(days=20)))

    plot = html[html.index('class="plot"') : html.index("</section>", html.index('class="plot"'))]
    assert len(re.findall('class="touch"', plot)) == 28
    assert len(re.findall('class="dot"', plot)) == 2
    assert "<title>Fri, May 1: 88,000</title>" in plot
    assert "<title>Thu, Apr 30: –</title>" in plot
