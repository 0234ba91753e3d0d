"""The counting assets of insight on a small lake: their days, their checks, and what an old import moves."""

from datetime import date, timedelta

import dagster as dg
import polars as pl
import pytest
from invented import listens

from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.listening.days import count_artists, count_countries
from spotify_ai_assets.listening.insight import assets, checks
from spotify_ai_assets.listening.insight.contracts import (
    COHORTS,
    FUNNELS,
    GENRE_MIX,
    NEW_LISTENERS,
    STREAM_SHARE,
    SUSPICIOUS_ARTIST_DAYS,
    SUSPICIOUS_COUNTRY_DAYS,
    SUSPICIOUS_STREAMS,
    YEAR_IN_REVIEW,
)
from spotify_ai_assets.listening.verification import rebuild_day
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import Settings

FIRST, LAST = date(2026, 3, 28), date(2026, 4, 1)
DAYS = [FIRST + timedelta(days=offset) for offset in range((LAST - FIRST).days + 1)]
TABLES = (NEW_LISTENERS, COHORTS, FUNNELS, GENRE_MIX, STREAM_SHARE, YEAR_IN_REVIEW)
MADE = [assets.new_listeners, assets.cohorts, assets.funnels, assets.genre_mix, assets.stream_share, assets.year_in_review]
CHECKED = [
    checks.everybody_came_once,
    checks.cohorts_hold_all_listeners,
    checks.funnels_add_up,
    checks.genres_add_up,
    checks.shares_reconcile,
    checks.years_add_up,
]


def fill(lake: Lake, days: list[date]) -> None:
    """Make what the counting assets read; one listener's plays of one track are suspicious."""
    for day in days:
        for key, rows in rebuild_day(lake, day).items():
            lake.write(key, rows, day)
        plays = lake.scan("listening/plays", first=day, last=day).filter(pl.col("listener_id") == f"{1:032x}").collect()
        fakes = lake.scan("listening/listener_track_days", first=day, last=day).filter(pl.col("listener_id") == f"{1:032x}")
        evidence = {name: pl.lit(1, pl.Int64) for name in ("case", "accounts", "tracks", "sittings", "median_played_ms")}
        names = {name: pl.lit(name) for name in ("track_name", "artist_name")} | {"rule": pl.lit("loop")}
        shares = {name: pl.lit(1.0) for name in ("account_share", "score")}
        lake.write(
            SUSPICIOUS_STREAMS.key, fakes.with_columns(**evidence, **names, **shares).select(*SUSPICIOUS_STREAMS.schema).collect(), day
        )
        lake.write(SUSPICIOUS_ARTIST_DAYS.key, count_artists(plays, day), day)
        lake.write(SUSPICIOUS_COUNTRY_DAYS.key, count_countries(plays, day), day)


def materialise(lake: Lake, settings: Settings, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    resources = {"lake": lake, "settings": settings}
    return dg.materialize([*MADE, *CHECKED], instance=instance, resources=resources, tags=range_tags(FIRST, LAST), raise_on_error=False)


@pytest.fixture
def made(lake: Lake, settings: Settings, instance: dg.DagsterInstance) -> Lake:
    for day in DAYS:
        lake.write(EVENTS.key, listens(day), day)
    fill(lake, DAYS)
    result = materialise(lake, settings, instance)
    assert {each.check_name: each.passed for each in result.get_asset_check_evaluations() if not each.passed} == {}
    assert result.success
    return lake


def digests(lake: Lake) -> dict[tuple[str, str], str]:
    return {(table.key, name): state.digest for table in TABLES for name, state in lake.states(table.key).items()}


def test_weekly_tables_have_sundays_and_monthly_ones_last_days(made: Lake) -> None:
    assert [table.key for table in TABLES if len(made.states(table.key)) == len(DAYS)] == [NEW_LISTENERS.key, FUNNELS.key, GENRE_MIX.key]
    assert list(made.states(COHORTS.key)) == list(made.states(STREAM_SHARE.key)) == ["2026-03-29"]
    assert list(made.states(YEAR_IN_REVIEW.key)) == ["2026-03-31"]
    assert made.scan(FUNNELS.key).select(pl.sum("suspicious_plays")).collect().item() > 0


def test_counts_that_do_not_add_up_fail_their_check(made: Lake, settings: Settings, instance: dg.DagsterInstance) -> None:
    spoiled = (NEW_LISTENERS, None), (COHORTS, "streams"), (FUNNELS, "plays"), (GENRE_MIX, "streams"), (STREAM_SHARE, "units")
    for table, measure in (*spoiled, (YEAR_IN_REVIEW, "plays")):
        day = date.fromisoformat(min(made.states(table.key)))
        rows = made.scan(table.key, first=day, last=day).collect()
        made.write(table.key, rows.with_columns(pl.col(measure) + 1) if measure else rows.clear(), day)
    only_checks = dg.define_asset_job("look", selection=dg.AssetSelection.checks(*CHECKED))
    definitions = dg.Definitions(MADE, asset_checks=CHECKED, jobs=[only_checks], resources={"lake": made, "settings": settings})
    result = definitions.resolve_job_def("look").execute_in_process(instance=instance, tags=range_tags(FIRST, LAST), raise_on_error=False)
    assert [each.passed for each in result.get_asset_check_evaluations()] == [False] * len(CHECKED)


def test_an_old_import_changes_exactly_the_days_that_it_touches(made: Lake, settings: Settings, instance: dg.DagsterInstance) -> None:
    before = digests(made)
    day = date(2026, 3, 30)
    more = listens(day, 3, listeners=3).with_columns(listener_id=pl.lit("f" * 32), started_at=pl.col("started_at") + timedelta(seconds=1))
    made.update(EVENTS.key, [day], lambda _, present: pl.concat([present, more]))
    fill(made, DAYS)
    assert materialise(made, settings, instance).success
    changed = {key for key, digest in digests(made).items() if digest != before[key]}
    assert changed == {
        (NEW_LISTENERS.key, "2026-03-30"),
        (FUNNELS.key, "2026-03-30"),
        (GENRE_MIX.key, "2026-03-30"),
        (YEAR_IN_REVIEW.key, "2026-03-31"),
    }
