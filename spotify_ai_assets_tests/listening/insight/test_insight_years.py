from datetime import date, timedelta

import polars as pl
import pytest
from counted_days import ARTISTS_KNOWN, Counted, counted_days
from hypothesis import given, settings
from hypothesis import strategies as st
from play_frames import DAYS, FIRST, all_days, listener, moment, play, plays_of, unhurried

from spotify_ai_assets.catalog.contracts import ARTISTS
from spotify_ai_assets.listening.contracts import GLOBAL, LISTENER_TRACK_DAYS, TRACK_DAYS
from spotify_ai_assets.listening.insight import years
from spotify_ai_assets.listening.insight.contracts import SUSPICIOUS_STREAMS, YEAR_IN_REVIEW
from spotify_ai_assets.listening.insight.recounting import differing_years
from spotify_ai_assets.listening.insight.years import review
from spotify_ai_assets.validation import violations

LAST = FIRST + timedelta(days=DAYS - 1)
ranges = st.lists(st.sampled_from(all_days()), min_size=2, max_size=2).map(sorted)


def review_of(counted: Counted, first: date = FIRST, last: date = LAST, only: str | None = None) -> pl.DataFrame:
    return review(counted.listener_track_days, counted.suspicious, counted.track_days, ARTISTS_KNOWN, first, last, only=only)


def item_of(section: str, row: dict) -> str:
    genre = "jazz" if row["artist_id"] == "artist:1" else "unknown"
    return {
        "total": "all",
        "months": f"{row['day']:%Y-%m}",
        "weekdays": str(row["day"].isoweekday()),
        "tracks": row["track_id"],
        "artists": row["artist_id"],
        "genres": genre,
    }[section]


def brute_review(counted: Counted, first: date, last: date) -> dict[tuple[str, str, str], tuple]:
    """Counts by listener, section and item, play by play."""
    fakes = set(counted.fake_plays.select("listener_id", "started_at", "track_id").rows())
    groups: dict[tuple[str, str, str], list[tuple[dict, bool]]] = {}
    for row in counted.plays.filter(pl.col("day").is_between(first, last)).iter_rows(named=True):
        fake = (row["listener_id"], row["started_at"], row["track_id"]) in fakes
        for section in ("total", "months", "weekdays", *(("tracks", "artists", "genres") if row["kind"] == "track" else ())):
            for who in (row["listener_id"], GLOBAL):
                groups.setdefault((who, section, item_of(section, row)), []).append((row, fake))
    found = {}
    for (who, section, item), plays in groups.items():
        if section in years.LISTED and all(fake for _, fake in plays):
            continue
        found[who, section, item] = (
            len(plays),
            sum(row["is_stream"] for row, _ in plays),
            sum(row["played_ms"] for row, _ in plays),
            sum(fake for _, fake in plays),
            sum(row["is_stream"] for row, fake in plays if fake),
            sum(row["played_ms"] for row, fake in plays if fake),
            len({row["day"] for row, _ in plays}),
            len({row["listener_id"] for row, _ in plays}),
        )
    return found


@unhurried
@given(counted_days, ranges)
def test_a_review_equals_a_count_play_by_play(counted, days):
    made = review_of(counted, *days)
    columns = ["plays", "streams", "played_ms", "suspicious_plays", "suspicious_streams", "suspicious_played_ms", "days", "listeners"]
    assert violations(YEAR_IN_REVIEW, made) == []
    counts = {row[:3]: row[3:] for row in made.select("listener_id", "section", "item", *columns).iter_rows()}
    assert counts == brute_review(counted, *days)
    assert len(counts) == made.height


@unhurried
@given(counted_days)
def test_lists_run_from_the_best_down(counted):
    for _, rows in review_of(counted).filter(pl.col("section").is_in(list(years.LISTED))).group_by("listener_id", "section"):
        best = rows.sort("position").select(pl.col("streams") - pl.col("suspicious_streams")).to_series().to_list()
        assert best == sorted(best, reverse=True)
        assert sorted(rows["position"]) == list(range(1, rows.height + 1))


@settings(unhurried, max_examples=15)
@given(counted_days)
def test_a_review_in_parts_and_one_of_a_single_listener_are_the_same(counted):
    whole = review_of(counted)
    for who in (GLOBAL, listener(1)):
        assert review_of(counted, only=who).equals(whole.filter(listener_id=who))
    mixed = pl.col("listener_id").str.head(31).str.replace_all("0", "7") + pl.col("listener_id").str.tail(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(years, "ROWS_AT_ONCE", 4)
        assert review_of(counted).equals(whole)
        apart = Counted(
            counted.plays.with_columns(listener_id=pl.when(pl.col("listener_id") == listener(2)).then(mixed).otherwise("listener_id"))
        )
        assert review_of(apart, only=GLOBAL).equals(whole.filter(listener_id=GLOBAL))


@unhurried
@given(counted_days)
def test_totals_are_those_of_the_countries(counted):
    made = review_of(counted, date(2024, 1, 1), date(2024, 2, 29))
    counts = counted.country_days, counted.suspicious_country_days
    assert differing_years(made, *counts, [date(2024, 2, 29)]).is_empty()
    if made.height:
        assert differing_years(made.filter(pl.col("listener_id") != GLOBAL), *counts, [date(2024, 2, 29)])["of"].to_list() == [GLOBAL]


def test_months_stand_in_their_order_across_the_turn_of_the_year():
    plays = plays_of(*(play(moment(on)) for on in (date(2024, 1, 31), date(2023, 11, 2))))
    counts = count_days(plays)
    made = review(*counts, ARTISTS.empty(), date(2023, 11, 1), date(2024, 1, 31), only=GLOBAL).filter(section="months")
    assert made.select("item", "position").rows() == [("2023-11", 1), ("2024-01", 3)]


def count_days(plays: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    from spotify_ai_assets.listening.days import count_listener_tracks, count_tracks

    days = plays["day"].unique().sort()
    listeners, tracks = (pl.concat([count(plays, day) for day in days]) for count in (count_listener_tracks, count_tracks))
    return listeners, SUSPICIOUS_STREAMS.empty(), tracks


def test_a_list_is_cut_at_ten_and_everybodys_at_fifty():
    plays = plays_of(*(play(moment(FIRST, 4 * number), track_id=f"spotify:{number:02}") for number in range(60)))
    made = review(*count_days(plays), ARTISTS.empty(), FIRST, FIRST).filter(section="tracks")
    assert {who: rows.height for (who,), rows in made.group_by("listener_id")} == {listener(1): 10, GLOBAL: 50}
    assert made.filter(listener_id=GLOBAL).sort("position")["item"].to_list() == [f"spotify:{number:02}" for number in range(50)]


def test_a_track_of_several_artists_is_named_as_most_of_its_streams_are():
    plays = plays_of(
        play(moment(FIRST), artist_id="artist:1", artist_name="Few"),
        *(play(moment(FIRST, 10 + 5 * number), artist_id="artist:2", artist_name="Many") for number in range(2)),
    )
    made = review(*count_days(plays), ARTISTS.empty(), FIRST, FIRST, only=GLOBAL)
    assert made.filter(section="tracks").select("label", "detail", "plays").rows() == [("Song", "Many", 3)]
    assert made.filter(section="artists").select("label", "detail").rows() == [("Many", None), ("Few", None)]


def test_a_backward_range_is_refused_and_an_empty_one_is_empty():
    nothing = LISTENER_TRACK_DAYS.empty(), SUSPICIOUS_STREAMS.empty(), TRACK_DAYS.empty(), ARTISTS.empty()
    with pytest.raises(ValueError, match="after the last"):
        review(*nothing, LAST, FIRST)
    assert review(*nothing, FIRST, LAST).equals(YEAR_IN_REVIEW.empty())
