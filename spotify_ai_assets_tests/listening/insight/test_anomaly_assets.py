"""The assets of volumes on a small lake: an outage is made a row, and the row an alert."""

from datetime import date

import dagster as dg
import polars as pl
import pytest
from invented import listens
from test_insight_anomalies import FIRST, LAST, hours_of, scaled

from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.listening.insight import assets, checks
from spotify_ai_assets.listening.insight.contracts import ANOMALIES, COUNTRY_HOURS, SUSPICIOUS_STREAMS
from spotify_ai_assets.listening.insight.hours import count_hours
from spotify_ai_assets.listening.verification import rebuild_day
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import Settings

CHECKS = [checks.anomalies_are_off, checks.volumes_are_usual]


def evaluate(lake: Lake, settings: Settings, instance: dg.DagsterInstance, day: date, *made: dg.AssetsDefinition) -> dict:
    resources = {"lake": lake, "settings": settings}
    result = dg.materialize([*made], instance=instance, resources=resources, tags=range_tags(day, day), raise_on_error=False)
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


@pytest.fixture
def broken(lake: Lake) -> Lake:
    """Hours of forty days; on the last day hardly anything is played in France."""
    for (day,), rows in scaled(hours_of(40), 0.01, LAST, pl.col("country") == "FR").partition_by("day", as_dict=True).items():
        lake.write(COUNTRY_HOURS.key, rows, day)
    return lake


def test_an_outage_is_an_alert_that_stops_nothing(broken: Lake, settings: Settings, instance: dg.DagsterInstance) -> None:
    found = evaluate(broken, settings, instance, LAST, assets.anomalies, *CHECKS)
    assert {name for name, each in found.items() if not each.passed} == {"volumes_are_usual"}
    alert = found["volumes_are_usual"]
    assert (alert.severity, alert.blocking) == (dg.AssetCheckSeverity.WARN, False)
    assert alert.metadata["causes"].value == 1
    told = alert.metadata["alerts"].value
    assert isinstance(told, list)
    assert [(one["country"], one["resolution"], one["direction"]) for one in told] == [("FR", "day", "down")]


def test_a_usual_day_alerts_nobody(broken: Lake, settings: Settings, instance: dg.DagsterInstance) -> None:
    yesterday = LAST.replace(day=LAST.day - 1)
    found = evaluate(broken, settings, instance, yesterday, assets.anomalies, *CHECKS)
    assert all(each.passed for each in found.values())
    assert broken.scan(ANOMALIES.key).collect().is_empty()


def test_hours_that_lack_a_play_break_their_check(
    lake: Lake, settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write(EVENTS.key, listens(FIRST), FIRST)
    for key, rows in rebuild_day(lake, FIRST).items():
        lake.write(key, rows, FIRST)
    lake.write(SUSPICIOUS_STREAMS.key, SUSPICIOUS_STREAMS.empty(), FIRST)
    made = (assets.country_hours, checks.hours_add_up)
    assert evaluate(lake, settings, instance, FIRST, *made)["hours_add_up"].passed
    monkeypatch.setattr(assets, "count_hours", lambda *inputs: count_hours(*inputs)[1:])
    assert not evaluate(lake, settings, instance, FIRST, *made)["hours_add_up"].passed
