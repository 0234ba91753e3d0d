"""The assets of reports: figures in the lake, pages in the folder of reports."""

import polars as pl

from spotify_ai_assets.automation import WHEN_INPUTS_CHANGE
from spotify_ai_assets.loading import daily_table
from spotify_ai_assets.making import Inputs
from spotify_ai_assets.reports.contracts import DAILY_LISTENING
from spotify_ai_assets.reports.daily_listening import summarise_day
from spotify_ai_assets.reports.publication import publish_days


@daily_table(DAILY_LISTENING, afterwards=publish_days, automation_condition=WHEN_INPUTS_CHANGE)
def daily_listening(read: Inputs) -> pl.DataFrame:
    """The day's page: headline numbers, charts, top artists, countries, devices and data quality, in three languages.

    One self-contained HTML page per day and language lies below `data/reports/daily_listening`; each language has an
    `index.html`. Behind each number stand the asset, partition, run and code version that it comes from.
    """
    return summarise_day(
        charts=read("listening/charts"),
        artist_days=read("listening/artist_days"),
        country_days=read("listening/country_days"),
        listener_track_days=read("listening/listener_track_days").select("day", "listener_id"),
        sessions=read("listening/sessions").select("day", "is_open"),
        day=read.day,
    )
