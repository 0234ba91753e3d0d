import datetime as dt
from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from demo_worlds import DAYS, FIRST, SEED, Cast, World

from spotify_ai_assets.demo.listening import LAST_DAY
from spotify_ai_assets.demo.music import COUNTRIES, compose_music
from spotify_ai_assets.demo.people import DEVICES, gather_people
from spotify_ai_assets.demo.planted import LOOP_MS, Anomaly, Plan, hide

DAY = dt.date(2026, 6, 20)


def _count(cast: Cast, plays: pl.DataFrame, anomaly: Anomaly) -> int:
    """Plays of listeners where an anomaly is."""
    plays = plays.filter(pl.col("listener") < cast.people.listeners)
    here = np.ones(plays.height, dtype=bool)
    if anomaly.country is not None:
        here &= cast.people.country[plays["listener"].to_numpy()] == anomaly.country
    if anomaly.device is not None:
        here &= (plays["device"] == anomaly.device).to_numpy()
    if anomaly.hour is not None:
        here &= ((plays["started"] // 3_600_000) % 24 == anomaly.hour).to_numpy()
    return int(here.sum())


@pytest.mark.parametrize(
    "anomaly",
    [
        Anomaly(DAY, None, 0, None, "outage", 0.2),
        Anomaly(DAY, 19, None, None, "outage", 0.3),
        Anomaly(DAY, None, None, 1, "outage", 0.0),
        Anomaly(DAY, None, 0, None, "spike", 2.5),
        Anomaly(DAY, None, None, 0, "spike", 3.0),
        Anomaly(DAY, None, None, None, "spike", 2.0),
    ],
)
def test_an_anomaly_changes_the_counts_by_its_factor_where_it_is_and_nowhere_else(cast: Cast, anomaly: Anomaly) -> None:
    usual = cast.live(Plan(SEED), scale=4.0, first=DAY, days=1)[DAY]
    disturbed = cast.live(Plan(SEED, anomalies=(anomaly,)), scale=4.0, first=DAY, days=1)[DAY]
    before, after = _count(cast, usual, anomaly), _count(cast, disturbed, anomaly)
    assert after / before == pytest.approx(anomaly.factor, rel=0.12)
    assert (disturbed.height - after) / max(usual.height - before, 1) == pytest.approx(1.0 if usual.height > before else 0.0, abs=0.01)


def test_planted_anomalies_are_visible_against_the_same_world_without_them(cast: Cast) -> None:
    usual, hidden = cast.live(Plan(SEED)), cast.live()
    assert {one.kind for one in cast.plan.anomalies} == {"outage", "spike"}
    for one in cast.plan.anomalies:
        before, after = _count(cast, usual[one.day], one), _count(cast, hidden[one.day], one)
        slack = 4 * max(before, 1) ** 0.5 * max(one.factor, 1)
        assert abs(after - one.factor * before) <= slack
    quiet = [day for day in hidden if day not in {one.day for one in cast.plan.anomalies}]
    counts = [(usual[day].height, hidden[day].filter(pl.col("listener") < cast.people.listeners).height) for day in quiet]
    assert all(abs(before - after) < 0.05 * before for before, after in counts)


def test_a_breakout_grows_to_its_peak(cast: Cast) -> None:
    assert cast.plan.breakouts
    for one in cast.plan.breakouts:
        assert one.share(one.start_day - dt.timedelta(days=1)) == 0
        assert one.share(one.start_day + dt.timedelta(days=1)) == pytest.approx(one.first_share * one.growth)
        assert one.share(one.peak_day) == max(one.share(FIRST + dt.timedelta(days=offset)) for offset in range(DAYS))


def test_a_breakout_is_visible_in_the_plays(cast: Cast) -> None:
    hidden = cast.live(replace(cast.plan, anomalies=()), scale=3.0)
    for one in cast.plan.breakouts:
        shares = {}
        for day, plays in hidden.items():
            here = plays.filter(pl.col("listener") < cast.people.listeners)
            if one.country is not None:
                here = here.filter(pl.Series(cast.people.country[here["listener"].to_numpy()] == one.country))
            shares[day] = (here["item"] == one.item).mean()
        before = np.mean([share for day, share in shares.items() if day < one.start_day])
        assert shares[one.peak_day] == pytest.approx(one.share(one.peak_day), rel=0.4)
        assert shares[one.peak_day] > 10 * before


def _plays_of(cast: Cast, kind: str) -> list[tuple[tuple[int, ...], pl.DataFrame]]:
    days = cast.live(replace(cast.plan, anomalies=()))
    return [
        (scheme.items, pl.concat(days[day].filter(pl.col("listener").is_in(scheme.accounts)) for day in scheme.days))
        for scheme in cast.plan.schemes
        if scheme.kind == kind
    ]


def test_looping_accounts_loop_one_track_for_31_seconds(cast: Cast) -> None:
    found = _plays_of(cast, "looping")
    assert len(found) >= 2
    for items, plays in found:
        assert plays["played"].unique().to_list() == [LOOP_MS]
        assert plays["item"].unique().to_list() == list(items)
        gap = plays["started"].diff().drop_nulls()
        assert gap.filter(gap < 3_600_000).is_between(31_000, 40_000).all()
        assert plays.height > 50


def test_farm_accounts_play_one_list_in_step(cast: Cast) -> None:
    [(items, plays), *_] = _plays_of(cast, "farm")
    orders = plays.sort("started").group_by("listener", maintain_order=True).agg("item")["item"].to_list()
    assert len(orders) >= 6
    assert all(order == orders[0] for order in orders)
    assert set(orders[0]) == set(items)
    assert plays["played"].is_between(30_000, 50_000).all()


def test_a_night_burst_happens_at_night_and_is_one_artists(cast: Cast) -> None:
    [(_, plays)] = _plays_of(cast, "night_burst")
    local = (plays["started"] // 3_600_000 + 2) % 24
    assert local.is_between(2, 5).all()
    assert cast.music.items["artist_name"].gather(plays["item"]).n_unique() == 1


def test_seeds_differ_in_what_when_and_how_strongly() -> None:
    plans = []
    for seed in range(6):
        music = compose_music(seed, 0.1)
        plans.append(hide(seed, 0.1, LAST_DAY - dt.timedelta(days=59), 60, music, gather_people(seed, 0.1, music))[0])
    for found in (
        [tuple((one.kind, one.country, one.device, one.hour) for one in plan.anomalies) for plan in plans],
        [tuple(one.day for one in plan.anomalies) for plan in plans],
        [tuple(one.factor for one in plan.anomalies) for plan in plans],
        [tuple((one.start_day, one.growth) for one in plan.breakouts) for plan in plans],
        [tuple((one.kind, one.days, one.plays) for one in plan.schemes) for plan in plans],
        [plan.faults for plan in plans],
        [plan.canary for plan in plans],
    ):
        assert len(set(found)) == len(plans)
    assert len({len(plan.anomalies) for plan in plans}) > 1


def test_the_truth_names_what_was_planted(world: World, cast: Cast) -> None:
    truth = world.truth
    assert [one["day"] for one in truth["volume_anomalies"]] == [one.day.isoformat() for one in cast.plan.anomalies]
    assert {one["country"] for one in truth["breakouts"]} <= {*COUNTRIES, "global"}
    assert {one["platform"] for one in truth["volume_anomalies"]} <= {None, *DEVICES}
    assert Counter(len(one["track_id"]) for one in truth["breakouts"]) == {len("spotify:track:") + 22: len(cast.plan.breakouts)}
    kinds = Counter(scheme.kind for scheme in cast.plan.schemes)
    assert {key: len(found) for key, found in truth["artificial_streaming"].items()} == {
        "looping": kinds["looping"],
        "farms": kinds["farm"],
        "night_bursts": kinds["night_burst"],
    }
