"""The figures of cohorts: nothing of fewer than five listeners, genuine counts only, two models side by side."""

from datetime import timedelta

import polars as pl
import pytest
from report_frames import SUNDAY, cohort_row, funnel_row, genre_row, share_row, some_cohorts, summarise_people

from spotify_ai_assets.listening.insight.contracts import OTHER, UNKNOWN
from spotify_ai_assets.reports.cohorts import COUNTRY_GENRES, FUNNEL_PLAYS, FUNNEL_ROWS, GENRES, MOVED, SCOPES, SHARES
from spotify_ai_assets.reports.contracts import COHORTS, SECTIONS, TRIANGLE_WEEKS
from spotify_ai_assets.reports.figures import lists

MONDAY = SUNDAY - timedelta(days=6)


def _head(figures: pl.DataFrame) -> dict[str, float | None]:
    return dict(figures.filter(section="headline").select("measure", "value").iter_rows())


def test_each_section_has_its_measures_in_the_form_of_the_contract() -> None:
    figures = some_cohorts()

    assert dict(figures.schema) == COHORTS.schema
    assert figures.equals(figures.sort(COHORTS.primary_key))
    assert figures.select(COHORTS.primary_key).is_unique().all()
    told = {section: set(rows["measure"]) for (section,), rows in figures.group_by("section")}
    assert told == {section: set(measures) for section, measures in SECTIONS[COHORTS.key].items()}


@pytest.mark.parametrize(("size", "is_told"), [(4, False), (5, True)])
def test_of_fewer_than_five_listeners_nothing_is_told(size: int, is_told: bool) -> None:
    came = MONDAY - timedelta(weeks=1)
    figures = summarise_people(cohorts=(cohort_row(came, size=size), cohort_row(came, 1, size=size, active=3), cohort_row(MONDAY)))

    cells = {(each["item"], each["weeks_since"]): each for each in lists(figures, "retention")["global"]}
    small = cells[str(came), 1]
    told = [small[name] for name in ("size", "active", "suspicious_active", "retention")]
    assert told == ([5, 3, 0, pytest.approx(0.6)] if is_told else [None] * 4)
    weeks = [each["item"] for each in lists(figures, "average_retention")["global"]]
    assert weeks == (["0", "1"] if is_told else ["0"])
    assert _head(figures)["retention_1"] == (pytest.approx(0.6) if is_told else None)


def test_retention_is_without_those_who_made_suspicious_plays_only() -> None:
    came = MONDAY - timedelta(weeks=1)
    cells = (
        cohort_row(MONDAY, size=10),
        cohort_row(came, 0, size=10),
        cohort_row(came, 1, size=10, active=8, suspicious_active=3, retention=0.5),
    )
    figures = summarise_people(cohorts=cells)

    assert _head(figures) | {"skip_rate": None} == {
        "active_listeners": 15,
        "new_listeners": 10,
        "retention_1": 0.5,
        "retention_4": None,
        "skip_rate": None,
        "completion_rate": None,
        "genres": 0,
        "moved_share": None,
    }
    average = {each["item"]: (each["size"], each["retention"]) for each in lists(figures, "average_retention")["global"]}
    assert average == {"0": (20, 1.0), "1": (10, 0.5)}


def test_the_triangle_goes_back_twelve_weeks() -> None:
    mondays = [MONDAY - timedelta(weeks=ago) for ago in range(30)]
    cells = [
        cohort_row(came, weeks)
        for place, came in enumerate(mondays)
        for weeks in range(place + 1)
        if came + timedelta(days=6 + 7 * weeks) > SUNDAY - timedelta(weeks=TRIANGLE_WEEKS + 1)
    ]
    told = lists(summarise_people(cohorts=tuple(cells)), "retention")["global"]

    assert max(each["weeks_since"] for each in told) == TRIANGLE_WEEKS
    complete = [sum(each["item"] == str(came) for each in told) for came in mondays[: TRIANGLE_WEEKS + 1]]
    assert complete == list(range(1, TRIANGLE_WEEKS + 2))


def test_the_largest_countries_and_devices_have_a_triangle() -> None:
    countries = [cohort_row(MONDAY, size=50 - place, dimension="country", item=f"A{chr(65 + place)}") for place in range(10)]
    small = cohort_row(MONDAY, size=4, dimension="platform", item="tv")
    figures = summarise_people(cohorts=(cohort_row(MONDAY, size=400), *countries, small))

    assert set(lists(figures, "retention")) == {"global", *(f"country/A{chr(65 + place)}" for place in range(SCOPES))}


def test_funnels_sum_the_genuine_plays_of_the_week() -> None:
    flagged = {"suspicious_plays": 50, "suspicious_streams": 50, "suspicious_skips": 10, "suspicious_completions": 0}
    figures = summarise_people(
        funnels=(
            funnel_row("position", "2"),
            funnel_row("position", "2", 200, day=MONDAY, **flagged),
            funnel_row("position", "10"),
            funnel_row("position", "21+"),
            funnel_row("position", "3", FUNNEL_PLAYS - 1),
            funnel_row("position", "2", 900, day=MONDAY - timedelta(days=1)),
        )
    )

    told = lists(figures, "funnels")["position"]
    assert [(each["item"], each["plays"]) for each in told] == [("2", 250), ("10", 100), ("21+", 100)]
    assert told[0]["skip_rate"] == pytest.approx((20 + 40 - 10) / 250)
    assert _head(figures)["skip_rate"] == pytest.approx((20 + 30 + 20 + 20 + 3) / 469)


def test_what_is_no_release_or_playlist_is_not_listed_as_one() -> None:
    named = tuple(funnel_row("release", f"r{place}", 100 + place) for place in range(20))
    rest = (funnel_row("release", OTHER, 9_000), funnel_row("release", UNKNOWN, 9_000), funnel_row("release_age", UNKNOWN, 9_000))
    figures = summarise_people(funnels=(*named, *rest, funnel_row("release_age", "0")))

    told = lists(figures, "funnels")
    assert [each["item"] for each in told["release"]] == [f"r{place}" for place in range(19, 19 - FUNNEL_ROWS["release"], -1)]
    assert [each["item"] for each in told["release_age"]] == ["0", UNKNOWN]


def test_genres_share_the_genuine_streams() -> None:
    rows = [genre_row(f"g{place}", 100 - place, country) for place in range(15) for country in ("global", "DE", "FR")]
    figures = summarise_people(
        genres=(*rows, genre_row("g0", 100, suspicious_streams=100, day=MONDAY), genre_row("none", 5, suspicious_streams=5))
    )

    told = lists(figures, "genres")
    assert {scope: len(each) for scope, each in told.items()} == {"global": GENRES, "DE": COUNTRY_GENRES, "FR": COUNTRY_GENRES}
    total = sum(100 - place for place in range(15))
    assert [(each["item"], each["share"]) for each in told["global"]][:2] == [("g0", 100 / total), ("g1", 99 / total)]
    assert _head(figures)["genres"] == 15


def test_two_models_stand_side_by_side() -> None:
    pro_rata = {f"A{place:02}": (30 - place) / 465 for place in range(30)}
    user_centric = {artist: share for artist, share in zip(pro_rata, reversed(pro_rata.values()), strict=True)}
    figures = summarise_people(
        shares=(
            *(share_row("pro_rata", artist, share, streams=int(share * 465) + 10) for artist, share in pro_rata.items()),
            *(share_row("user_centric", artist, share) for artist, share in user_centric.items()),
            share_row("pro_rata", "A00", 0.9, country="DE"),
        )
    )

    told = lists(figures, "shares")
    assert {scope: len(each) for scope, each in told.items()} == {"largest": SHARES, "gaining": MOVED, "losing": MOVED}
    assert [each["label"] for each in told["gaining"]][:2] == ["A29", "A28"]
    assert [each["label"] for each in told["losing"]][:2] == ["A00", "A01"]
    first = told["largest"][0]
    assert first["difference"] == pytest.approx(first["user_centric"] - first["pro_rata"])
    moved = sum(abs(user_centric[artist] - share) for artist, share in pro_rata.items()) / 2
    assert _head(figures)["moved_share"] == pytest.approx(moved)


def test_an_artist_in_one_model_only_has_nothing_in_the_other() -> None:
    figures = summarise_people(shares=(share_row("pro_rata", "A", 1.0), share_row("user_centric", "A", 1.0, genuine_share=None)))

    (told,) = lists(figures, "shares")["largest"]
    assert (told["pro_rata"], told["user_centric"], told["difference"]) == (1, 0, -1)


def test_a_week_without_anybody_is_a_week_of_zeros() -> None:
    assert {value for value in _head(summarise_people()).values() if value} == set()
