"""Every number of a page is a row, and adds up to the tables that it is made from."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_frames import DAY, artist_row, chart_row, country_row, summarise

from spotify_ai_assets.listening.contracts import PLATFORMS
from spotify_ai_assets.reports.contracts import DAILY_LISTENING, SECTIONS
from spotify_ai_assets.reports.daily_listening import ARTIST_TOP, COUNTRY_TOP, GLOBAL_TOP


def _values(figures: pl.DataFrame, section: str, measure: str, scope: str = "global") -> dict[str, float | None]:
    chosen = figures.filter(section=section, measure=measure, scope=scope).sort("position")
    return dict(chosen.select("item", "value").iter_rows())


def _headline(figures: pl.DataFrame) -> dict[str, float | None]:
    return dict(figures.filter(section="headline").select("measure", "value").iter_rows())


def test_the_headline_counts_the_day() -> None:
    figures = summarise(
        countries=(country_row("DE", 80), country_row("DE", 40, "web"), country_row("FR", 8, kind="episode")),
        listeners=("a", "b", "a", "c"),
        sessions=(False, True, False),
    )

    assert _headline(figures) == {
        "streams": 128,
        "plays": 160,
        "listeners": 3,
        "played_hours": pytest.approx(8.0),
        "sessions": 2,
        "skip_rate": 0.2,
        "completion_rate": 0.6,
    }


def test_a_day_without_plays_has_zeros_and_no_rates() -> None:
    figures = summarise()

    assert set(figures["section"]) == {"headline"}
    assert _headline(figures) == {
        "streams": 0,
        "plays": 0,
        "listeners": 0,
        "played_hours": 0,
        "sessions": 0,
        "skip_rate": None,
        "completion_rate": None,
    }


def test_rows_of_other_days_and_weekly_charts_do_not_count() -> None:
    before = DAY - timedelta(days=1)
    figures = summarise(
        charts=(chart_row(1), chart_row(1, "Old", day=before), chart_row(2, "Week", period="weekly")),
        countries=(country_row("DE", 80), country_row("FR", 800, day=before)),
        artists=(artist_row("Band", 5), artist_row("Old", 50, day=before)),
    )

    assert _headline(figures)["streams"] == 80
    assert figures.filter(section="tops")["label"].unique().to_list() == ["Song"]
    assert figures.filter(section="artists")["label"].unique().to_list() == ["Band"]


def test_a_chart_keeps_its_top_with_movement() -> None:
    tracks = (chart_row(rank, f"Song {rank}") for rank in range(2, 30))
    national = (chart_row(rank, f"Lied {rank}", country="DE") for rank in range(1, 30))
    figures = summarise(
        charts=(chart_row(1, "New", previous_rank=None, movement=None, is_new=True, periods_on_chart=1), *tracks, *national)
    )

    assert len(_values(figures, "tops", "streams")) == GLOBAL_TOP
    assert len(_values(figures, "tops", "streams", "DE")) == COUNTRY_TOP
    first = dict(figures.filter(section="tops", scope="global", position=1).select("measure", "value").iter_rows())
    assert first == {
        "streams": 999,
        "plays": 1099,
        "previous_rank": None,
        "movement": None,
        "is_new": 1,
        "peak_rank": 1,
        "periods_on_chart": 1,
    }


def test_an_artist_is_one_across_countries_and_spellings() -> None:
    figures = summarise(
        artists=(artist_row("BAND", 4, "FR"), artist_row("Band", 6), artist_row("Solo", 9), artist_row("Podcast", 99, kind="episode"))
    )

    artists = figures.filter(section="artists", measure="streams").sort("position")
    assert artists.select("label", "value").rows() == [("Band", 10.0), ("Solo", 9.0)]
    assert [*_values(figures, "artists", "played_hours").values()] == pytest.approx([2.0, 1.0])


def test_artists_with_equal_streams_keep_one_order() -> None:
    rows = tuple(artist_row(f"Artist {number}", 7) for number in range(30))

    assert summarise(artists=rows).equals(summarise(artists=rows[::-1]))
    assert len(_values(summarise(artists=rows), "artists", "streams")) == ARTIST_TOP


def test_names_and_order_are_those_of_the_contract() -> None:
    figures = summarise(charts=(chart_row(1),), artists=(artist_row("Band", 5),), countries=(country_row("DE", 80),), listeners=("a",))

    assert dict(figures.schema) == DAILY_LISTENING.schema
    assert set(figures["section"]) == set(SECTIONS[DAILY_LISTENING.key])
    assert figures.equals(figures.sort(DAILY_LISTENING.primary_key))
    assert figures.select(DAILY_LISTENING.primary_key).is_unique().all()


@given(
    st.lists(
        st.tuples(st.sampled_from(["DE", "FR", "ZZ", "US"]), st.sampled_from(PLATFORMS), st.integers(0, 10**9)),
        max_size=20,
        unique_by=lambda row: row[:2],
    )
)
def test_countries_and_platforms_add_up_to_the_headline(rows: list[tuple[str, str, int]]) -> None:
    figures = summarise(countries=tuple(country_row(country, streams, platform) for country, platform, streams in rows))

    for measure in ("streams", "plays"):
        total = _headline(figures)[measure]
        assert sum(value or 0 for value in _values(figures, "countries", measure).values()) == total
        assert sum(value or 0 for value in _values(figures, "platforms", measure).values()) == total
