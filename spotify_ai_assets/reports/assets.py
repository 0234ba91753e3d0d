"""The assets of reports: figures in the lake, pages in the folder of reports."""

from collections.abc import Iterable
from datetime import date

import polars as pl

from spotify_ai_assets.automation import WHEN_INPUTS_CHANGE
from spotify_ai_assets.contracts import Table
from spotify_ai_assets.loading import Afterwards, made_table
from spotify_ai_assets.making import Inputs
from spotify_ai_assets.reports.anomalies import summarise_anomalies
from spotify_ai_assets.reports.cohorts import summarise_cohorts
from spotify_ai_assets.reports.contracts import ANOMALIES, COHORTS, DAILY_LISTENING, WEEKLY_TRENDS, YEAR_IN_REVIEW
from spotify_ai_assets.reports.daily_listening import summarise_day
from spotify_ai_assets.reports.weekly_trends import summarise_week
from spotify_ai_assets.reports.year_in_review import summarise_year
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import Settings


def _publish(table: Table) -> Afterwards:
    """What publishes a report once its figures are made; who draws pages loads what draws them, not who loads the code location."""

    def publish(lake: Lake, settings: Settings, made: Iterable[date], all_days: Iterable[date]) -> None:
        from spotify_ai_assets.reports.publication import REPORTS, publish_days

        publish_days(lake, settings, made, all_days, REPORTS[table.key])

    return publish


@made_table(DAILY_LISTENING, afterwards=_publish(DAILY_LISTENING), automation_condition=WHEN_INPUTS_CHANGE)
def daily_listening(read: Inputs) -> pl.DataFrame:
    """The day's page: headline numbers, charts, top artists, countries, devices and data quality, in three languages.

    One self-contained HTML page per day and language lies below `data/reports/daily_listening`, with the figures as JSON and CSV;
    each language has an `index.html`. Behind each number stand the asset, partition, run and code version that it comes from.
    """
    return summarise_day(
        charts=read("listening/charts"),
        artist_days=read("listening/artist_days"),
        country_days=read("listening/country_days"),
        listener_track_days=read("listening/listener_track_days").select("day", "listener_id"),
        sessions=read("listening/sessions").select("day", "is_open"),
        day=read.day,
    )


@made_table(WEEKLY_TRENDS, afterwards=_publish(WEEKLY_TRENDS))
def weekly_trends(read: Inputs) -> pl.DataFrame:
    """The week's page, made on Sundays: rising tracks and artists, moves on the charts, new levels, forecasts, in three languages.

    Pages, JSON and CSV lie below `data/reports/weekly_trends`. Forecasts are shown only where they beat repeating the last week.
    """
    return summarise_week(
        country_days=read("listening/country_days"),
        suspicious_country_days=read("listening/suspicious_country_days"),
        trends=read("listening/trends"),
        charts=read("listening/charts"),
        genuine_charts=read("listening/genuine_charts"),
        change_points=read("listening/change_points"),
        forecasts=read("listening/forecasts"),
        day=read.day,
    )


@made_table(ANOMALIES, afterwards=_publish(ANOMALIES), automation_condition=WHEN_INPUTS_CHANGE)
def anomalies(read: Inputs) -> pl.DataFrame:
    """The day's page of what is wrong: suspicious streams with their evidence and unusual volumes, in three languages.

    Each total stands with suspicious streams, without them, and as the difference. Evidence is told by case: how many accounts,
    never which. Pages, JSON and CSV lie below `data/reports/anomalies`.
    """
    return summarise_anomalies(
        country_days=read("listening/country_days"),
        suspicious_country_days=read("listening/suspicious_country_days"),
        suspicious_streams=read("listening/suspicious_streams"),
        country_hours=read("listening/country_hours"),
        anomalies=read("listening/anomalies"),
        charts=read("listening/charts"),
        genuine_charts=read("listening/genuine_charts"),
        day=read.day,
    )


@made_table(COHORTS, afterwards=_publish(COHORTS))
def cohorts(read: Inputs) -> pl.DataFrame:
    """The week's page on listeners, made on Sundays: retention, skips and completions, genres, two ways to share the pool.

    Of fewer than five listeners nothing is told. Pages in three languages, JSON and CSV lie below `data/reports/cohorts`.
    """
    return summarise_cohorts(
        cohorts=read("listening/cohorts"),
        funnels=read("listening/funnels"),
        genre_mix=read("listening/genre_mix"),
        stream_share=read("listening/stream_share"),
        day=read.day,
    )


@made_table(YEAR_IN_REVIEW, afterwards=_publish(YEAR_IN_REVIEW))
def year_in_review(read: Inputs) -> pl.DataFrame:
    """The year so far, made on the last day of each month: everybody's hours, tracks, artists, genres, months and weekdays.

    Pages in three languages, JSON and CSV lie below `data/reports/year_in_review`. A listener's own year is written by
    `spotify-ai review`, to a file of their choice.
    """
    return summarise_year(read("listening/year_in_review"), read.day)
