"""The assets of listening: what intake fills, and one call per daily table."""

import polars as pl

from spotify_ai_assets.automation import DAILY_BY_MORNING
from spotify_ai_assets.listening import pictures
from spotify_ai_assets.listening.charts import rank_charts
from spotify_ai_assets.listening.contracts import (
    ARTIST_DAYS,
    CHART_ENTRIES,
    CHARTS,
    COUNTRY_DAYS,
    EVENTS,
    IMPORTS,
    KEPT_FILES,
    LISTENER_TRACK_DAYS,
    PLAYS,
    REJECTED,
    SESSIONS,
    TRACK_DAYS,
)
from spotify_ai_assets.listening.days import count_artists, count_countries, count_listener_tracks, count_tracks
from spotify_ai_assets.listening.plays import clean_plays
from spotify_ai_assets.listening.sessions import settle_sessions
from spotify_ai_assets.loading import landed_table, made_table
from spotify_ai_assets.making import Inputs


@landed_table(EVENTS)
def events() -> None:
    """Listens as their sources recorded them, one row each, under pseudonyms.

    Filled by `import_landing`, or by hand with `spotify-ai import`. Known formats include Spotify's privacy exports,
    ListenBrainz, Last.fm, Libre.fm, Maloja, Audioscrobbler logs, Pano Scrobbler, Spinitron and this platform's own JSONL and
    Parquet. Importing the same plays again, from whatever file, changes nothing.
    """


@landed_table(REJECTED)
def rejected() -> None:
    """Records that intake refused: the file's digest, the record's number and the rule that it breaks.

    Nothing of the record itself is kept here. A file that could not be read at all has one row with number 0.
    """


@landed_table(IMPORTS)
def imports() -> None:
    """What became of each imported file: records = stored + duplicate + rejected, always."""


@landed_table(KEPT_FILES)
def kept_files() -> None:
    """Which listeners are in which kept landing file, so that an erasure finds them.

    Empty unless `SPOTIFY_AI_KEEP_LANDING_DAYS` keeps imported files, encrypted, for some days.
    """


@landed_table(CHART_ENTRIES)
def chart_entries() -> None:
    """Published charts, such as Spotify's daily and weekly ones, as their files state them."""


@made_table(PLAYS, picture=pictures.plays_by_track, freshness_policy=DAILY_BY_MORNING)
def plays(read: Inputs) -> pl.DataFrame:
    """Plays: listens cleaned and freed of duplicates, each marked as stream, skipped and completed.

    A stream is a play of 30 s or more. Scrobbles carry no played time; they count as streams. Podcasts and audiobooks are kept
    and told apart by `kind`.
    """
    return clean_plays(read("listening/events"), read.day)


@made_table(SESSIONS, picture=pictures.session_lengths)
def sessions(read: Inputs) -> pl.DataFrame:
    """Listening sessions: a listener's plays with no pause of more than 30 minutes between them.

    A session that may still go on at midnight is marked open and carried to the next day, where it is settled; so each session
    is counted once, on the day on which it closed.
    """
    return settle_sessions(read("listening/plays"), read("listening/sessions"), read.day)


@made_table(LISTENER_TRACK_DAYS, picture=pictures.plays_by_track)
def listener_track_days(read: Inputs) -> pl.DataFrame:
    """What each listener played on a day, by track and country.

    The finest daily table. Distinct listeners over any range of days are counted from it, exactly.
    """
    return count_listener_tracks(read("listening/plays"), read.day)


@made_table(TRACK_DAYS, picture=pictures.top_tracks)
def track_days(read: Inputs) -> pl.DataFrame:
    """Plays, streams, skips, completions, played time and listeners of each track, by country."""
    return count_tracks(read("listening/plays"), read.day)


@made_table(ARTIST_DAYS, picture=pictures.top_artists)
def artist_days(read: Inputs) -> pl.DataFrame:
    """Plays, streams, skips, completions, played time and listeners of each artist, by country."""
    return count_artists(read("listening/plays"), read.day)


@made_table(COUNTRY_DAYS, picture=pictures.streams_by_country)
def country_days(read: Inputs) -> pl.DataFrame:
    """Plays, streams, skips, completions, played time and listeners of each country, by kind of device."""
    return count_countries(read("listening/plays"), read.day)


@made_table(CHARTS, picture=pictures.chart_top, freshness_policy=DAILY_BY_MORNING)
def charts(read: Inputs) -> pl.DataFrame:
    """The top 200 of the day, and on Sundays of the week, for each country and for all together.

    Ranked by streams. Each entry has its movement since the chart before, its best rank so far and how many days or weeks it
    has been on the chart; these look back over all history, so a corrected old day corrects every later chart.
    """
    return rank_charts(read("listening/track_days"), read("listening/charts"), read.day)
