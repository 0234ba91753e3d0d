"""The tables of reports: what the pages show, so that each number on paper can be queried."""

import polars as pl

from spotify_ai_assets.contracts import DAY, Column, Reads, Table, by_key

SECTIONS = ("headline", "tops", "artists", "countries", "platforms")
TREND_DAYS = 28
"""How many days the trend of a page spans, its own day included."""

DAILY_LISTENING = Table(
    key="reports/daily_listening",
    owner="team:reports",
    primary_key=("section", "scope", "position", "measure"),
    reads=(
        Reads("listening/charts"),
        Reads("listening/artist_days"),
        Reads("listening/country_days"),
        Reads("listening/listener_track_days"),
        Reads("listening/sessions", drives=False),
        # The figures of a day do not depend on earlier ones, its page does: trend and changes.
        Reads("reports/daily_listening", first=1 - TREND_DAYS, last=-1, drives=False),
    ),
    columns=(
        Column(DAY, pl.Date, "UTC day that the page is about."),
        Column("section", pl.String, "Part of the page.", allowed=SECTIONS),
        Column("scope", pl.String, "Country of a chart, or global.", pattern=r"[A-Z]{2}|global"),
        Column("position", pl.Int64, "Place in the section's list; 1 is the top, and for a headline the only one.", minimum=1),
        Column("item", pl.String, "What is measured: a track's or artist's id, a country, a platform, or all."),
        Column("label", pl.String, "Name of the item: a track's title, an artist's name, a code."),
        Column("detail", pl.String, "Artist of a track.", nullable=True),
        Column("measure", pl.String, "What the value counts, with its unit."),
        Column("value", pl.Float64, "The value; missing where there is none, such as the former rank of a new track.", nullable=True),
    ),
)

TABLES = by_key(DAILY_LISTENING)
