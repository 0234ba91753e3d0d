from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest

from spotify_ai_assets.demo.listening import LAST_DAY
from spotify_ai_assets.demo.music import compose_music
from spotify_ai_assets.demo.people import DEVICES as DEVICE_KINDS
from spotify_ai_assets.demo.people import gather_people
from spotify_ai_assets.demo.planted import Plan
from spotify_ai_assets.demo.world import live_days
from spotify_ai_assets.listening.contracts import UNKNOWN_COUNTRY
from spotify_ai_assets.listening.insight.anomalies import LEAST_DAYS, MATERIAL, broken_anomalies, describe_causes, find_anomalies
from spotify_ai_assets.listening.insight.contracts import ANOMALIES, COUNTRY_HOURS, VOLUME_DAYS
from spotify_ai_assets.validation import violations

FIRST = date(2026, 3, 2)
COUNTRIES = {"DE": 0.5, "FR": 0.3, "US": 0.2}
DEVICES = {"android": 0.5, "ios": 0.3, "web": 0.2}
DAY_PLAYS = 6_000


def hours_of(days: int, seed: int = 3) -> pl.DataFrame:
    """Plays in sittings of three, with the rhythm of a day and more of them on Saturdays."""
    rng = np.random.default_rng(seed)
    clock = 1 + 0.6 * np.sin(2 * np.pi * np.arange(24) / 24)
    rows = []
    for offset in range(days):
        day = FIRST + timedelta(days=offset)
        busy = 1.1 if day.weekday() == 5 else 1.0
        for hour in range(24):
            for country, of_country in COUNTRIES.items():
                for device, of_device in DEVICES.items():
                    listeners = rng.poisson(DAY_PLAYS * busy * clock[hour] / 24 * of_country * of_device / 3)
                    plays = int(listeners + rng.poisson(2 * listeners))
                    if plays:
                        rows.append((day, datetime.combine(day, time(hour), UTC), country, device, plays, plays, int(listeners), 0, 0, 0))
    return pl.DataFrame(rows, schema=COUNTRY_HOURS.schema, orient="row")


def scaled(hours: pl.DataFrame, factor: float, day: date, *where: pl.Expr) -> pl.DataFrame:
    is_there = pl.all_horizontal(pl.col("day") == day, *where)
    counts = [
        pl.when(is_there).then((pl.col(name) * factor).round().cast(pl.Int64)).otherwise(name).alias(name)
        for name in ("plays", "listeners")
    ]
    return hours.with_columns(counts)


def causes(found: pl.DataFrame) -> list[tuple]:
    return found.filter("is_cause").select("resolution", "country", "platform", "direction").rows()


@pytest.fixture(scope="module")
def usual() -> pl.DataFrame:
    return hours_of(40)


LAST = FIRST + timedelta(days=39)
SCOPES = {
    "country_down": (0.2, [pl.col("country") == "FR"], ("day", "FR", "all", "down")),
    "country_up": (2.5, [pl.col("country") == "US"], ("day", "US", "all", "up")),
    "device_down": (0.2, [pl.col("platform") == "ios"], ("day", "global", "ios", "down")),
    "world_up": (2.2, [], ("day", "global", "all", "up")),
    "world_down": (0.0, [], ("day", "global", "all", "down")),
    "hour_down": (0.1, [pl.col("started_at").dt.hour() == 9], ("hour", "global", "all", "down")),
}


@pytest.mark.parametrize("scope", SCOPES)
def test_one_incident_has_one_cause_whatever_else_it_lowers_or_raises(usual, scope):
    factor, where, cause = SCOPES[scope]
    found = find_anomalies(scaled(usual, factor, LAST, *where), LAST)
    assert causes(found) == [cause]
    assert violations(ANOMALIES, found) == []
    assert broken_anomalies(found).is_empty()


def test_usual_days_have_no_anomaly(usual):
    assert all(find_anomalies(usual, LAST - timedelta(days=back)).is_empty() for back in range(26))


@pytest.mark.parametrize("seed", [0, 3])
def test_a_demo_world_without_incidents_has_none(seed):
    days = 32
    music = compose_music(seed, 0.4)
    people = gather_people(seed, 0.4, music)
    places = [pl.Series(people.countries).gather(people.country), pl.Series(DEVICE_KINDS)]
    lived = live_days(seed, 0.4, LAST_DAY - timedelta(days=days - 1), days, music, people, Plan(seed))
    hours = pl.concat(
        plays.group_by(
            day=pl.lit(day),
            started_at=pl.from_epoch("started", time_unit="ms").dt.replace_time_zone("UTC").dt.truncate("1h"),
            country=places[0].gather(plays["listener"]),
            platform=places[1].gather(plays["device"]),
        ).agg(plays=pl.len(), streams=pl.len(), listeners=pl.col("listener").n_unique())
        for day, plays in lived
    ).with_columns(suspicious_plays=0, suspicious_streams=0, suspicious_listeners=0)
    hours = hours.select(pl.col(name).cast(dtype) for name, dtype in COUNTRY_HOURS.schema.items())
    assert hours["plays"].sum() > 40_000
    assert [
        found for back in range(days - LEAST_DAYS) if not (found := find_anomalies(hours, LAST_DAY - timedelta(days=back))).is_empty()
    ] == []


def test_one_heavy_sitting_is_no_surge(usual):
    is_there = (pl.col("day") == LAST) & (pl.col("country") == "US")
    more = usual.with_columns(plays=pl.when(is_there).then(pl.col("plays") * 2.5).otherwise("plays").cast(pl.Int64))
    assert find_anomalies(more, LAST).is_empty()


def test_a_small_change_is_no_incident_however_certain(usual):
    less = 1 - MATERIAL
    assert find_anomalies(scaled(usual, less + 0.2, LAST), LAST).is_empty()
    assert causes(find_anomalies(scaled(usual, less - 0.1, LAST), LAST)) == [("day", "global", "all", "down")]


def test_an_unknown_place_is_a_cause_only_where_nothing_known_is(usual):
    unknown = usual.with_columns(country=pl.col("country").replace("FR", UNKNOWN_COUNTRY))
    broken = scaled(unknown, 0.1, LAST, pl.col("country") == UNKNOWN_COUNTRY)
    assert causes(find_anomalies(broken, LAST)) == [("day", UNKNOWN_COUNTRY, "all", "down")]
    found = find_anomalies(scaled(broken, 3.0, LAST, pl.col("country") == "US"), LAST)
    assert causes(found) == [("day", "US", "all", "up")]
    assert UNKNOWN_COUNTRY in found["country"]


def test_two_incidents_on_a_day_are_two_causes(usual):
    both = scaled(scaled(usual, 0.1, LAST, pl.col("country") == "FR"), 2.5, LAST, pl.col("country") == "US")
    assert sorted(causes(find_anomalies(both, LAST))) == [("day", "FR", "all", "down"), ("day", "US", "all", "up")]


def test_an_incident_hides_no_other_of_the_same_series(usual):
    france = pl.col("country") == "FR"
    often = usual
    for back in (0, 1, 3, 9):
        often = scaled(often, 0.1, LAST - timedelta(days=back), france)
    assert causes(find_anomalies(often, LAST)) == [("day", "FR", "all", "down")]
    assert find_anomalies(often, LAST - timedelta(days=2)).is_empty()


def test_a_day_with_nothing_at_all_is_an_outage_of_the_world(usual):
    nothing = usual.filter(pl.col("day") < LAST)
    found = find_anomalies(nothing, LAST).filter("is_cause")
    assert found.select("country", "platform", "plays", "severity").rows() == [("global", "all", 0, "high")]


def test_suspicious_plays_are_no_volume(usual):
    swelled = scaled(usual, 3, LAST, pl.col("country") == "FR").join(
        usual.select("started_at", "country", "platform", before="plays", who="listeners"), on=["started_at", "country", "platform"]
    )
    flagged = swelled.with_columns(
        suspicious_plays=pl.col("plays") - pl.col("before"), suspicious_listeners=pl.col("listeners") - pl.col("who")
    )
    assert causes(find_anomalies(swelled, LAST)) == [("day", "FR", "all", "up")]
    assert find_anomalies(flagged, LAST).is_empty()


def test_a_day_with_too_short_a_past_is_not_judged(usual):
    early = FIRST + timedelta(days=LEAST_DAYS)
    doubled = scaled(scaled(usual, 3, early), 3, early - timedelta(days=1))
    assert causes(find_anomalies(doubled.filter(pl.col("day") >= FIRST + timedelta(days=1)), early)) == []
    assert causes(find_anomalies(doubled, early)) == [("day", "global", "all", "up")]
    assert find_anomalies(doubled, early - timedelta(days=1)).is_empty()


def test_days_before_the_window_and_after_the_day_do_not_matter(usual):
    long = hours_of(VOLUME_DAYS + 3)
    day = FIRST + timedelta(days=VOLUME_DAYS)
    broken = scaled(long, 0.2, day, pl.col("country") == "FR")
    window = broken.filter(pl.col("day").is_between(day - timedelta(days=VOLUME_DAYS - 1), day))
    assert find_anomalies(broken, day).height > 0
    assert find_anomalies(broken, day).equals(find_anomalies(window, day))


def test_the_order_of_rows_does_not_matter(usual):
    broken = scaled(usual, 0.2, LAST, pl.col("platform") == "ios")
    assert find_anomalies(broken.sample(fraction=1, shuffle=True, seed=1).lazy(), LAST).equals(find_anomalies(broken, LAST))


def test_no_rows_give_no_rows():
    found = find_anomalies(COUNTRY_HOURS.empty(), LAST)
    assert found.is_empty()
    assert found.schema == ANOMALIES.schema
    assert broken_anomalies(found).is_empty()


def test_a_row_inside_its_band_and_a_day_without_cause_are_broken(usual):
    found = find_anomalies(scaled(usual, 0.2, LAST, pl.col("country") == "FR"), LAST)
    assert broken_anomalies(found.with_columns(direction=pl.lit("up"))).height == found.height
    assert broken_anomalies(found.with_columns(plays=pl.col("expected").cast(pl.Int64))).height == found.height
    assert broken_anomalies(found.with_columns(is_cause=pl.lit(False))).height == found.height


def test_an_alert_tells_what_is_wrong_where(usual):
    found = find_anomalies(scaled(usual, 0.2, LAST, pl.col("country") == "FR"), LAST)
    (alert,) = describe_causes(found.filter("is_cause"))
    assert (alert["country"], alert["direction"], alert["started_at"][:10]) == ("FR", "down", str(LAST))
    assert alert["plays"] < alert["expected"] / 3
