"""The other side: the assets' own functions called by hand, without contracts, checks, recipes or Dagster."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import polars as pl

from spotify_ai_assets.listening.charts import rank_charts
from spotify_ai_assets.listening.days import count_artists, count_countries, count_listener_tracks, count_tracks
from spotify_ai_assets.listening.plays import clean_plays
from spotify_ai_assets.listening.sessions import settle_sessions
from spotify_ai_assets.reports.daily_listening import summarise_day

Read = Callable[[str], Any]
"""Gives the rows that a day of a table needs of another."""

MAKERS: Mapping[str, Callable[[Read, date], pl.DataFrame]] = {
    "listening/plays": lambda read, day: clean_plays(read("listening/events"), day),
    "listening/sessions": lambda read, day: settle_sessions(read("listening/plays"), read("listening/sessions"), day),
    "listening/listener_track_days": lambda read, day: count_listener_tracks(read("listening/plays"), day),
    "listening/track_days": lambda read, day: count_tracks(read("listening/plays"), day),
    "listening/artist_days": lambda read, day: count_artists(read("listening/plays"), day),
    "listening/country_days": lambda read, day: count_countries(read("listening/plays"), day),
    "listening/charts": lambda read, day: rank_charts(read("listening/track_days"), read("listening/charts"), day),
    "reports/daily_listening": lambda read, day: summarise_day(
        charts=read("listening/charts"),
        artist_days=read("listening/artist_days"),
        country_days=read("listening/country_days"),
        listener_track_days=read("listening/listener_track_days").select("day", "listener_id"),
        sessions=read("listening/sessions").select("day", "is_open"),
        day=day,
    ),
}
"""The functions of the tables that count plays, of charts and of the daily page, in the order of making them."""
