"""The figures of anomalies: evidence by case and never by account, totals that add up to the unit."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_frames import (
    SUNDAY,
    anomaly_row,
    chart_row,
    country_row,
    flagged_row,
    hour_row,
    some_anomalies,
    summarise_wrong,
)

from spotify_ai_assets.reports.anomalies import CASE_TRACKS, CASES, COUNTRY_CHANGES, GLOBAL_CHANGES, INCIDENTS
from spotify_ai_assets.reports.contracts import ANOMALIES, SECTIONS
from spotify_ai_assets.reports.figures import lists

ACCOUNTS = [f"{number:032x}" for number in range(40)]


def _head(figures: pl.DataFrame) -> dict[str, float | None]:
    return dict(figures.filter(section="headline").select("measure", "value").iter_rows())


def test_each_section_has_its_measures_in_the_form_of_the_contract() -> None:
    figures = some_anomalies()

    assert dict(figures.schema) == ANOMALIES.schema
    assert figures.equals(figures.sort(ANOMALIES.primary_key))
    assert figures.select(ANOMALIES.primary_key).is_unique().all()
    told = {section: set(rows["measure"]) for (section,), rows in figures.group_by("section")}
    assert told == {section: set(measures) for section, measures in SECTIONS[ANOMALIES.key].items()}


def test_no_account_is_told() -> None:
    text = some_anomalies().write_csv()

    assert "f" * 32 not in text
    assert ACCOUNTS[1] not in text


def test_a_case_is_told_by_its_sums() -> None:
    ring = [
        flagged_row(account, title, "ring", 3, accounts=2, tracks=2, sittings=2, account_share=share)
        for account in ACCOUNTS[:2]
        for title, share in (("A", 0.5), ("B", 0.25))
    ]
    figures = summarise_wrong(flagged=(*ring, flagged_row(ACCOUNTS[2], "C", case=1)))

    cases = lists(figures, "cases")["global"]
    assert [(case["item"], case["label"], case["position"]) for case in cases] == [("ring-3", "ring", 1), ("loop-1", "loop", 2)]
    assert {name: cases[0][name] for name in SECTIONS[ANOMALIES.key]["cases"]} == {
        "accounts": 2,
        "tracks": 2,
        "plays": 164,
        "streams": 160,
        "played_hours": pytest.approx(1.4),
        "sittings": 4,
        "account_share": 0.75,
        "median_played_seconds": 31,
        "score": 0.9,
    }
    tracks = lists(figures, "case_tracks")["ring-3"]
    assert [(track["streams"], track["accounts"]) for track in tracks] == [(80, 2), (80, 2)]
    assert (_head(figures)["cases"], _head(figures)["accounts"]) == (2, 3)


def test_long_lists_are_cut() -> None:
    cases = tuple(flagged_row(account, case=place) for place, account in enumerate(ACCOUNTS, 1))
    one = tuple(flagged_row("a" * 32, f"Song {place}", "burst", 99) for place in range(9))
    incidents = tuple(anomaly_row(country=f"{a}{b}") for a in "ABCDEFGHI" for b in "ABCDEFGHI")
    figures = summarise_wrong(flagged=cases + one, anomalies=incidents)

    assert len(lists(figures, "cases")["global"]) == CASES
    assert len(lists(figures, "case_tracks")["burst-99"]) == CASE_TRACKS
    assert len(lists(figures, "incidents")["global"]) == INCIDENTS
    assert (_head(figures)["cases"], _head(figures)["incidents"]) == (41, 81)


@given(
    st.lists(st.tuples(st.sampled_from(["DE", "FR", "ZZ"]), st.sampled_from(["ios", "web"]), st.integers(0, 9_000), st.integers(0, 9_000)))
)
def test_with_without_and_difference_add_up_to_the_unit(rows: list[tuple[str, str, int, int]]) -> None:
    rows = [(country, platform, max(whole, part), min(whole, part)) for country, platform, whole, part in rows]
    figures = summarise_wrong(
        countries=tuple(country_row(country, whole, platform, day=SUNDAY) for country, platform, whole, _part in rows),
        suspicious_countries=tuple(country_row(country, part, platform, day=SUNDAY) for country, platform, _whole, part in rows),
    )

    head = _head(figures)
    assert head["streams"] == sum(whole for *_names, whole, _part in rows)
    assert head["suspicious_streams"] == sum(part for *_names, part in rows)
    assert head["genuine_streams"] == (head["streams"] or 0) - (head["suspicious_streams"] or 0)
    for section in ("countries", "platforms"):
        for measure in ("streams", "genuine_streams", "suspicious_streams"):
            assert figures.filter(section=section, measure=measure)["value"].sum() == head[measure]


def test_every_hour_of_the_day_is_told() -> None:
    hours = lists(summarise_wrong(hours=(hour_row(3, 60, 40), hour_row(3, 5, platform="web"), hour_row(23, 7))), "hours")["global"]

    assert [hour["label"] for hour in hours] == [f"{hour:02}:00" for hour in range(24)]
    assert {hour["label"]: (hour["plays"], hour["genuine_plays"], hour["suspicious_plays"]) for hour in hours if hour["plays"]} == {
        "03:00": (65, 25, 40),
        "23:00": (7, 7, 0),
    }


def test_causes_come_before_what_they_explain() -> None:
    incidents = lists(
        summarise_wrong(
            anomalies=(
                anomaly_row(is_cause=False, country="global"),
                anomaly_row(severity="low", platform="ios"),
                anomaly_row(severity="medium", resolution="day", direction="up"),
            )
        ),
        "incidents",
    )["global"]

    assert [(each["label"], each["detail"], each["severity"], each["direction"], each["hour"]) for each in incidents] == [
        ("DE", "all", 2, 1, None),
        ("DE", "ios", 1, -1, 14),
        ("global", "all", 3, -1, 14),
    ]


def test_a_rank_bought_is_told_with_the_one_that_it_would_be() -> None:
    def row(rank: int, title: str, streams: int, country: str = "global") -> dict[str, object]:
        return chart_row(rank, title, day=SUNDAY, streams=streams, country=country)

    figures = summarise_wrong(
        charts=(row(1, "Bought", 90), row(2, "Honest", 50), row(3, "Gone", 40), row(1, "Same", 9, "DE")),
        genuine_charts=(row(1, "Honest", 50), row(2, "Bought", 30), row(1, "Same", 5, "DE")),
    )

    changed = lists(figures, "charts")
    assert {(each["label"], each["rank"], each["genuine_rank"], each["suspicious_streams"]) for each in changed["global"]} == {
        ("Bought", 1, 2, 60),
        ("Gone", 3, None, None),
    }
    assert "DE" not in changed


def test_a_track_that_leaves_the_chart_has_no_rank_without() -> None:
    charts = tuple(chart_row(place, f"Song {place}", day=SUNDAY, country=country) for country in ("global", "DE") for place in range(1, 40))
    honest = tuple(chart_row(1, "Honest", day=SUNDAY, country=country) for country in ("global", "DE"))
    changed = lists(summarise_wrong(charts=charts, genuine_charts=honest), "charts")

    assert {scope: len(rows) for scope, rows in changed.items()} == {"DE": COUNTRY_CHANGES, "global": GLOBAL_CHANGES}
    assert {row["genuine_rank"] for row in changed["global"]} == {None}


def test_rows_of_other_days_do_not_count() -> None:
    other = SUNDAY - timedelta(days=1)
    figures = summarise_wrong(
        countries=(country_row("DE", 8, day=other),),
        flagged=(flagged_row(ACCOUNTS[0], day=other),),
        hours=(hour_row(3, 5, day=other),),
        anomalies=(anomaly_row(day=other),),
    )

    assert {measure: value for measure, value in _head(figures).items() if value} == {}
    assert set(figures["section"]) == {"headline", "hours"}


def test_figures_do_not_depend_on_the_order_of_rows() -> None:
    flagged = tuple(flagged_row(account, title, "ring", 1) for account in ACCOUNTS[:5] for title in "ABC")
    countries = tuple(country_row(code, 80, day=SUNDAY) for code in ("DE", "FR", "GB"))

    forwards = summarise_wrong(countries=countries, flagged=flagged)
    assert forwards.equals(summarise_wrong(countries=countries[::-1], flagged=flagged[::-1]))
