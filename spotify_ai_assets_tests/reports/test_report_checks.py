"""The checks of reports find a page that says something else than the lake."""

from collections.abc import Callable
from datetime import date, timedelta

import dagster as dg
import polars as pl
import pytest
from report_frames import (
    SUNDAY,
    cohort_row,
    country_row,
    flagged_row,
    frame,
    summarise,
    summarise_people,
    summarise_trends,
    summarise_wrong,
)
from report_frames import year_row as row_of_year

from spotify_ai_assets.listening.contracts import COUNTRY_DAYS, LISTENER_TRACK_DAYS
from spotify_ai_assets.listening.insight.contracts import SUSPICIOUS_COUNTRY_DAYS, SUSPICIOUS_STREAMS, YEAR_IN_REVIEW
from spotify_ai_assets.reports import checks
from spotify_ai_assets.reports.year_in_review import summarise_year
from spotify_ai_assets.resources.lake import Lake

WEEK = [SUNDAY - timedelta(days=ago) for ago in range(7)]
ACCOUNTS = [f"{number:032x}" for number in range(3)]


def _counted(day: date) -> pl.DataFrame:
    return frame(COUNTRY_DAYS, country_row("DE", 800, day=day), country_row("FR", 80, day=day))


def _part(day: date) -> pl.DataFrame:
    return frame(SUSPICIOUS_COUNTRY_DAYS, country_row("DE", 40, day=day, plays=41))


def _flagged(day: date) -> pl.DataFrame:
    return frame(SUSPICIOUS_STREAMS, flagged_row(ACCOUNTS[0], day=day))


def _listened(day: date) -> pl.DataFrame:
    """Three listeners, of whom the first made nothing but the suspicious plays."""
    flagged = flagged_row(ACCOUNTS[0], day=day)
    common = {name: flagged[name] for name in LISTENER_TRACK_DAYS.schema}
    return frame(LISTENER_TRACK_DAYS, *(common | {"listener_id": account} for account in ACCOUNTS))


def _years() -> pl.DataFrame:
    return frame(YEAR_IN_REVIEW, row_of_year("total"), row_of_year("total", listener_id=ACCOUNTS[0]))


def _write_lake(lake: Lake) -> None:
    for day in WEEK:
        lake.write("listening/country_days", _counted(day), day)
        lake.write("listening/suspicious_country_days", _part(day), day)
        lake.write("listening/suspicious_streams", _flagged(day), day)
        lake.write("listening/listener_track_days", _listened(day), day)
    lake.write("listening/year_in_review", _years(), SUNDAY)


def _rows(make: Callable[[date], pl.DataFrame]) -> tuple[dict[str, object], ...]:
    return tuple(row for day in WEEK for row in make(day).iter_rows(named=True))


CASES = {
    "totals_are_the_lakes": ("daily_listening", "plays", lambda: summarise(countries=_rows(_counted), day=SUNDAY)),
    "weeks_are_the_lakes": (
        "weekly_trends",
        "suspicious_streams",
        lambda: summarise_trends(countries=_rows(_counted), suspicious_countries=_rows(_part)),
    ),
    "differences_are_the_lakes": (
        "anomalies",
        "genuine_streams",
        lambda: summarise_wrong(countries=_rows(_counted), suspicious_countries=_rows(_part), flagged=_rows(_flagged)),
    ),
    "listeners_are_the_lakes": (
        "cohorts",
        "active_listeners",
        lambda: summarise_people(cohorts=(cohort_row(WEEK[-1], size=5, active=3, suspicious_active=1),)),
    ),
    "years_are_the_lakes": ("year_in_review", "played_hours", lambda: summarise_year(_years(), SUNDAY)),
}


def _passes(name: str, lake: Lake, instance: dg.DagsterInstance) -> bool:
    everything = dg.define_asset_job("look", dg.AssetSelection.all_asset_checks())
    job = dg.Definitions(asset_checks=[getattr(checks, name)], jobs=[everything], resources={"lake": lake}).resolve_job_def("look")
    done = job.execute_in_process(instance=instance, tags={"dagster/partition": str(SUNDAY)}, raise_on_error=False)
    (found,) = done.get_asset_check_evaluations()
    return found.passed


@pytest.mark.parametrize("name", list(CASES))
def test_a_page_that_says_what_the_lake_says_passes_and_another_does_not(name: str, lake: Lake, instance: dg.DagsterInstance) -> None:
    report, measure, make = CASES[name]
    _write_lake(lake)
    figures = make()
    lake.write(f"reports/{report}", figures, SUNDAY)
    assert _passes(name, lake, instance)

    is_changed = pl.col("section").is_in(["headline", "total"]) & (pl.col("measure") == measure)
    wrong = figures.with_columns(value=pl.when(is_changed).then(pl.col("value") + 1).otherwise("value"))
    lake.write(f"reports/{report}", wrong, SUNDAY)
    assert not _passes(name, lake, instance)


@pytest.mark.parametrize("name", list(CASES))
def test_without_pages_there_is_nothing_to_find(name: str, lake: Lake, instance: dg.DagsterInstance) -> None:
    assert _passes(name, lake, instance)
