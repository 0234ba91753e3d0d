from datetime import date, timedelta

import polars as pl

from spotify_ai_assets.catalog.ids import named_track_id
from spotify_ai_assets.demo.scoring_trends import RATE, score_trends
from spotify_ai_assets.listening.contracts import CHARTS
from spotify_ai_assets.listening.insight.contracts import TRENDS

FIRST = date(2024, 1, 1)
TRACK = {"track_id": "spotify:hit", "artist_id": "a", "track_name": "Hit", "artist_name": "Star"}
SAME = named_track_id("Star", "Hit")


def on(offset: int) -> date:
    return FIRST + timedelta(days=offset)


def charts(ranks: dict[int, int], days: int = 40, country: str = "DE") -> pl.DataFrame:
    """Daily charts in which the hit has these ranks and another track is always first."""
    rows = []
    for offset in range(days):
        place = {"day": on(offset), "period": "daily", "country": country, "is_new": False, "plays": 9, "periods_on_chart": 1}
        rows.append(
            {
                **place,
                **TRACK,
                "track_id": "spotify:top",
                "track_name": "Top",
                "rank": 1,
                "streams": 900,
                "previous_rank": 1,
                "peak_rank": 1,
            }
        )
        if rank := ranks.get(offset):
            rows.append({**place, **TRACK, "rank": rank, "streams": 200 - rank, "previous_rank": ranks.get(offset - 1), "peak_rank": rank})
    return pl.DataFrame([{"movement": None, **row} for row in rows], schema=CHARTS.schema)


def listed(*rows: tuple[int, str, str], subject: str = "track") -> pl.DataFrame:
    """Trends of these days, countries and tracks."""
    return pl.DataFrame(
        [
            {"day": on(day), "country": country, "subject": subject, "item_id": item, "label": "Hit", "detail": "Star", "q_value": 0.01}
            for day, country, item in rows
        ],
        schema=TRENDS.schema,
    )


def truth(start: int = 20, peak: int = 30, country: str = "DE") -> dict[str, object]:
    planted = {"track_id": "spotify:track:hit", "country": country, "start_day": str(on(start)), "peak_day": str(on(peak))}
    return {"breakouts": [planted]}


def test_lead_is_from_the_first_listing_in_its_market_to_the_top_50():
    found = listed((10, "DE", "spotify:hit"), (22, "global", "spotify:hit"), (23, "DE", "spotify:hit"), (24, "DE", "spotify:hit"))
    score = score_trends(found, truth(), charts({21: 90, 26: 50, 27: 8}))
    (record,) = score["breakouts"]
    assert (record["event"], record["event_on"], record["found_on"]) == ("top 50", str(on(26)), str(on(23)))
    assert (record["lead_days"], score["lead_days"], score["found"]) == (3, 3.0, 1.0)
    # The listing before the start is a false alarm; the worldwide one is explained.
    assert (score["false_alarms"], score["market_days"], score["false_alarm_rate"]) == (1, 40, 1 / 40)


def test_the_peak_counts_where_the_track_was_in_the_top_50_already():
    score = score_trends(listed((25, "DE", "spotify:hit")), truth(), charts({15: 44, 21: 30}))
    assert (score["breakouts"][0]["event"], score["lead_days"]) == ("peak", 5.0)
    assert score_trends(listed((25, "DE", "spotify:hit")), truth(), charts({12: 44, 21: 30}))["lead_days"] == -4.0


def test_a_track_without_an_id_is_known_by_its_names():
    score = score_trends(listed((22, "DE", SAME), (22, "DE", "name:another")), truth(), charts({21: 90, 26: 50}))
    assert (score["lead_days"], score["false_alarms"]) == (4.0, 1)


def test_missed_breakouts_have_no_lead_and_artists_are_left_out():
    found = listed((22, "DE", "a"), subject="artist")
    score = score_trends(found, truth(), charts({26: 50}))
    assert (score["found"], score["lead_days"], score["false_alarms"]) == (0.0, None, 0)
    assert score["breakouts"][0]["lead_days"] is None


def test_both_sides_are_held_to_the_rate():
    wrong = listed((22, "DE", "spotify:hit"), *((day, "DE", f"spotify:{day}") for day in range(10)))
    wrong = wrong.with_columns(q_value=pl.when(pl.col("item_id") == "spotify:hit").then(0.001).otherwise(pl.col("q_value")))
    score = score_trends(wrong, truth(), charts({21: 90, 23: 5, 26: 3}))
    assert score["found"] == 1.0 and score["false_alarm_rate"] <= RATE
    assert score["biggest_mover"]["lead_days"] in (2.0, 0.0)
    assert score["biggest_mover"]["false_alarm_rate"] <= RATE


def test_a_clean_world_has_false_alarms_only():
    score = score_trends(listed((3, "DE", "spotify:x")), {"breakouts": []}, charts({}))
    assert (score["found"], score["lead_days"], score["false_alarms"]) == (1.0, None, 1)
    assert score_trends(TRENDS.empty(), {"breakouts": []}, CHARTS.empty())["false_alarm_rate"] == 0.0
