from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from spotify_ai_assets.demo.scoring_trends import RATE, score_trends
from spotify_ai_assets.listening.charts import rank_charts
from spotify_ai_assets.listening.contracts import ARTIST_DAYS, CHARTS, TRACK_DAYS
from spotify_ai_assets.listening.insight.contracts import SUSPICIOUS_ARTIST_DAYS, SUSPICIOUS_TRACK_DAYS, TREND_DAYS, TRENDS
from spotify_ai_assets.listening.insight.trends import find_trends, miscounted_trends

FIRST = date(2024, 1, 1)
TRACKS, DAYS = 250, 44
RHYTHM = np.array([0.8, 0.8, 0.9, 1.0, 1.5, 1.6, 0.9])
COUNTRIES = {"US": 1.0, "BR": 0.4}


def on(offset: int) -> date:
    return FIRST + timedelta(days=offset)


def listen(
    seed: int = 0, factors: dict[tuple[str, int], float] | None = None, rates: dict[tuple[str, int], float] | None = None
) -> pl.DataFrame:
    """Track days of a small market with a weekly rhythm.

    Args:
        seed: Which one.
        factors: How much is listened in a country on a day, times the usual.
        rates: Listeners of ``rising`` in a country on a day, not multiplied by anything.
    """
    rng = np.random.default_rng(seed)
    popularity = 150 / np.arange(1, TRACKS + 1) ** 0.7
    rows = []
    for day in range(DAYS):
        for country, size in COUNTRIES.items():
            expected = popularity * size * RHYTHM[day % 7] * (factors or {}).get((country, day), 1.0)
            counts = np.append(rng.poisson(expected), rng.poisson((rates or {}).get((country, day), 0.0)))
            names = [f"track{number:03}" for number in range(TRACKS)] + ["rising"]
            rows += [(on(day), country, name, int(count)) for name, count in zip(names, counts, strict=True) if count]
    frame = pl.DataFrame(rows, schema=["day", "country", "track_id", "listeners"], orient="row")
    return track_days_of(frame)


def track_days_of(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``listening/track_days``: every listener streams once, and each track has an artist of its own."""
    filled = frame.with_columns(
        kind=pl.lit("track"),
        artist_id="artist:" + pl.col("track_id"),
        track_name="Song " + pl.col("track_id"),
        artist_name="Singer " + pl.col("track_id"),
        streams="listeners",
        plays="listeners",
        skips=0,
        completions=0,
        played_ms=0,
    )
    return filled.select(pl.col(name).cast(dtype) for name, dtype in TRACK_DAYS.schema.items())


def artists_of(track_days: pl.DataFrame) -> pl.DataFrame:
    return track_days.select(*ARTIST_DAYS.schema)


def trends_of(track_days: pl.DataFrame, days: Sequence[int], suspicious: pl.DataFrame | None = None) -> pl.DataFrame:
    """The trends of several days, each after those before it."""
    flagged = SUSPICIOUS_TRACK_DAYS.empty() if suspicious is None else suspicious
    found = TRENDS.empty()
    for offset in days:
        earlier = found.filter(pl.col("day") >= on(offset - 3))
        found.extend(find_trends(track_days, flagged, artists_of(track_days), artists_of(flagged), earlier, on(offset)))
    return found


def rise(country: str, start: int, first: float, growth: float, days: int) -> dict[tuple[str, int], float]:
    return {(country, day): first * growth ** (day - start) * RHYTHM[day % 7] for day in range(start, start + days)}


def test_a_clean_market_with_a_weekly_rhythm_lists_nothing():
    assert trends_of(listen(), range(14, DAYS, 2)).is_empty()


@pytest.mark.parametrize("factor", [1.0, 0.0, 0.1, 4.0])
def test_at_most_one_market_in_twenty_lists_something_whatever_a_country_s_outage_or_spike(factor):
    days, seeds = (30, 36), range(10, 30)
    found = [trends_of(listen(seed, factors={("BR", 30): factor}), days) for seed in seeds]
    listed = sum(each.filter(pl.col("subject") == "track").select("day", "country").unique().height for each in found)
    assert listed <= 0.05 * len(seeds) * len(days) * (len(COUNTRIES) + 1)


def test_a_national_hit_is_no_worldwide_trend_when_its_country_listens_more():
    loved = rise("BR", 0, 12.0, 1.0, 40) | rise("BR", 40, 48.0, 1.0, 1)
    track_days = listen(6, factors={("BR", 40): 4.0}, rates=loved)
    assert trends_of(track_days, range(40, 41)).is_empty()


def test_a_breakout_is_listed_before_it_enters_the_top_50():
    track_days = listen(1, rates=rise("US", 30, 3.0, 1.35, 12))
    found = trends_of(track_days, range(28, 42))
    charts = CHARTS.empty()
    for offset in range(20, 42):
        charts = charts.vstack(rank_charts(track_days, charts, on(offset)))
    truth = {"breakouts": [{"track_id": "rising", "country": "US", "start_day": str(on(30)), "peak_day": str(on(41))}]}
    score = score_trends(found, truth, charts)
    assert score["breakouts"][0]["event"] == "top 50"
    assert score["lead_days"] >= 2
    assert score["found"] == 1.0 and score["false_alarm_rate"] <= RATE
    mover = score["biggest_mover"]["lead_days"]
    assert mover is None or mover < score["lead_days"]
    top = found.filter(pl.col("day") == on(38), pl.col("rank") == 1)
    assert set(top.select("country", "item_id").rows()) == {
        (each, item) for each in ("US", "global") for item in ("rising", "artist:rising")
    }


def test_growth_and_what_was_expected_are_told():
    track_days = listen(2, rates=rise("US", 0, 3.0, 1.0, 30) | rise("US", 30, 3.0, 1.3, 12))
    row = trends_of(track_days, range(40, 41)).filter(pl.col("country") == "US", pl.col("subject") == "track").row(0, named=True)
    week = track_days.filter(pl.col("track_id") == "rising", pl.col("day") > on(33), pl.col("day") <= on(40))
    assert (row["label"], row["detail"], row["rank"]) == ("Song rising", "Singer rising", 1)
    assert row["streams"] == week["streams"].sum()
    assert row["expected_streams"] == pytest.approx(21 * 1.1, rel=0.25)
    assert row["growth"] == pytest.approx(0.3, abs=0.15)
    assert row["velocity"] == pytest.approx(row["growth"] * 3 * 1.3**10, rel=0.4)
    assert row["q_value"] < 0.001


def test_a_release_with_no_past_rises_from_its_first_day():
    found = trends_of(listen(3, rates={("US", 35): 12.0}), range(35, 36))
    assert found.filter(pl.col("country") == "US", pl.col("subject") == "track")["item_id"].to_list() == ["rising"]


def test_what_sinks_again_is_listed_no_longer():
    rates = rise("US", 28, 4.0, 1.4, 6) | rise("US", 34, 12.0, 0.7, 8)
    listed = set(trends_of(listen(4, rates=rates), range(28, 42)).filter(pl.col("country") == "US")["day"])
    assert on(33) in listed and on(40) not in listed


def test_suspicious_listeners_make_no_trend():
    track_days = listen(7, rates=rise("US", 35, 8.0, 1.3, 6))
    suspicious = track_days.filter(pl.col("track_id") == "rising").select(*SUSPICIOUS_TRACK_DAYS.schema)
    assert trends_of(track_days, range(40, 41)).height > 0
    assert trends_of(track_days, range(40, 41), suspicious).is_empty()


def test_one_fan_who_plays_a_track_all_day_makes_no_trend():
    fan = track_days_of(pl.DataFrame({"day": [on(40)], "country": "US", "track_id": "rising", "listeners": 1}))
    track_days = listen(8).vstack(fan.with_columns(streams=pl.lit(400, pl.Int64)))
    assert trends_of(track_days, range(40, 41)).is_empty()


def test_the_start_is_carried_over_two_days_off_the_list_but_not_over_three():
    track_days = listen(1, rates=rise("US", 30, 8.0, 1.35, 8))
    key = TRENDS.primary_key
    one = trends_of(track_days, range(36, 37))

    def start(gap: int) -> date:
        earlier = one.with_columns(day=pl.lit(on(36 - gap)), started_on=pl.lit(on(20))).filter(pl.col("day") >= on(33))
        empty = SUSPICIOUS_TRACK_DAYS.empty(), artists_of(track_days), SUSPICIOUS_ARTIST_DAYS.empty()
        found = find_trends(track_days, *empty, earlier, on(36))
        assert found.select(key).equals(one.select(key))
        assert (found["days_since_start"] == (found["day"] - found["started_on"]).dt.total_days()).all()
        return found["started_on"][0]

    assert [start(gap) for gap in (1, 3, 4)] == [on(20), on(20), on(36)]


def test_the_order_of_rows_and_days_out_of_the_window_change_nothing():
    track_days = listen(1, rates=rise("US", 32, 6.0, 1.35, 8))
    found = trends_of(track_days, range(39, 40))
    outside = track_days.filter(pl.col("day") == on(0)).with_columns(day=pl.lit(on(39 - TREND_DAYS)), listeners=pl.lit(10**6, pl.Int64))
    later = track_days.filter(pl.col("day") > on(39)).with_columns(listeners=pl.lit(10**6, pl.Int64))
    moved = pl.concat([track_days.filter(pl.col("day") <= on(39), pl.col("day") > on(39 - TREND_DAYS)), outside, later])
    assert found.height > 0
    assert trends_of(moved.sample(fraction=1, shuffle=True, seed=9), range(39, 40)).equals(found)


def test_episodes_and_unknown_countries_have_no_market_of_their_own():
    rising = rise("BR", 32, 20.0, 1.2, 8)
    track_days = listen(1, rates=rising)
    unknown = track_days.with_columns(country=pl.col("country").replace("BR", "ZZ"))
    assert set(trends_of(unknown, range(39, 40))["country"]) == {"global"}
    episodes = track_days.with_columns(kind=pl.when(pl.col("track_id") == "rising").then(pl.lit("episode")).otherwise("kind"))
    assert trends_of(episodes, range(39, 40)).is_empty()


def test_rows_follow_the_contract_and_nothing_gives_nothing():
    found = trends_of(listen(1, rates=rise("US", 32, 6.0, 1.35, 8)), range(38, 40))
    assert found.schema == pl.Schema(TRENDS.schema)
    assert found.filter(day=on(39)).is_sorted(list(TRENDS.primary_key))
    assert found.select("day", *TRENDS.primary_key).is_duplicated().sum() == 0
    for column in TRENDS.columns:
        assert column.nullable or found[column.name].null_count() == 0
    empty = TRACK_DAYS.empty(), SUSPICIOUS_TRACK_DAYS.empty(), ARTIST_DAYS.empty(), SUSPICIOUS_ARTIST_DAYS.empty()
    assert find_trends(*empty, TRENDS.empty(), FIRST).equals(TRENDS.empty())


def test_streams_counted_again_agree_and_a_wrong_count_is_seen():
    track_days = listen(1, rates=rise("US", 32, 6.0, 1.35, 8))
    found = trends_of(track_days, range(37, 40))
    tables = track_days, SUSPICIOUS_TRACK_DAYS.empty(), artists_of(track_days), SUSPICIOUS_ARTIST_DAYS.empty()
    assert miscounted_trends(found, *tables).is_empty()
    wrong = found.with_columns(streams=pl.col("streams") + (pl.col("item_id") == "rising").cast(pl.Int64))
    assert miscounted_trends(wrong, *tables).height == found.filter(pl.col("item_id") == "rising").height > 0
