"""The assets of insight: one call per table."""

from datetime import timedelta

import polars as pl

from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.listening.insight import pictures
from spotify_ai_assets.listening.insight.anomalies import find_anomalies
from spotify_ai_assets.listening.insight.change_points import changes_of_series
from spotify_ai_assets.listening.insight.cohorts import count_cohorts, find_new_listeners
from spotify_ai_assets.listening.insight.contracts import (
    ANOMALIES,
    CHANGE_POINTS,
    COHORTS,
    COUNTRY_HOURS,
    FORECASTS,
    FUNNELS,
    GENRE_MIX,
    GENUINE_CHARTS,
    NEW_LISTENERS,
    STREAM_SHARE,
    SUSPICIOUS_ARTIST_DAYS,
    SUSPICIOUS_COUNTRY_DAYS,
    SUSPICIOUS_STREAMS,
    SUSPICIOUS_TRACK_DAYS,
    TRENDS,
    YEAR_IN_REVIEW,
)
from spotify_ai_assets.listening.insight.forecasts import forecast_streams
from spotify_ai_assets.listening.insight.funnels import count_funnels
from spotify_ai_assets.listening.insight.genres import mix_genres
from spotify_ai_assets.listening.insight.genuine import (
    count_suspicious_artists,
    count_suspicious_countries,
    count_suspicious_tracks,
    rank_genuine_charts,
)
from spotify_ai_assets.listening.insight.hours import count_hours
from spotify_ai_assets.listening.insight.shares import share_streams
from spotify_ai_assets.listening.insight.suspicion import find_suspicious
from spotify_ai_assets.listening.insight.trends import find_trends
from spotify_ai_assets.listening.insight.years import review
from spotify_ai_assets.listening.pictures import chart_top
from spotify_ai_assets.loading import made_table
from spotify_ai_assets.making import Inputs


@made_table(SUSPICIOUS_STREAMS, picture=pictures.suspicious_by_rule)
def suspicious_streams(read: Inputs) -> pl.DataFrame:
    """Artificial streaming: what each flagged account played of a track on a day, with the rule and its evidence.

    Three rules. A *loop*: one account plays one track over and over. A *burst*: one account plays one artist over and over without
    a pause. A *ring*: three accounts or more start the same tracks at the same moments, or loop the same tracks, far more often
    than chance allows. Suspicious plays stay in every total and are counted beside it.
    """
    return find_suspicious(read("listening/plays"), read.day)


@made_table(SUSPICIOUS_TRACK_DAYS, picture=pictures.suspicious_by_track)
def suspicious_track_days(read: Inputs) -> pl.DataFrame:
    """The suspicious part of each track's counts, by country: `track_days` less this is genuine, to the unit.

    In SQL that is the view `listening.genuine_track_days`.
    """
    return count_suspicious_tracks(read("listening/plays"), read("listening/suspicious_streams"), read.day)


@made_table(SUSPICIOUS_ARTIST_DAYS, picture=pictures.suspicious_by_artist)
def suspicious_artist_days(read: Inputs) -> pl.DataFrame:
    """The suspicious part of each artist's counts, by country: `artist_days` less this is genuine, to the unit.

    In SQL that is the view `listening.genuine_artist_days`.
    """
    return count_suspicious_artists(read("listening/plays"), read("listening/suspicious_streams"), read.day)


@made_table(SUSPICIOUS_COUNTRY_DAYS, picture=pictures.suspicious_by_country)
def suspicious_country_days(read: Inputs) -> pl.DataFrame:
    """The suspicious part of each country's counts, by kind of device: `country_days` less this is genuine, to the unit.

    In SQL that is the view `listening.genuine_country_days`.
    """
    return count_suspicious_countries(read("listening/plays"), read("listening/suspicious_streams"), read.day)


@made_table(GENUINE_CHARTS, picture=chart_top)
def genuine_charts(read: Inputs) -> pl.DataFrame:
    """The charts as they would be without suspicious plays: ranked like `charts`, with movement since the genuine ones before."""
    return rank_genuine_charts(
        read("listening/track_days"), read("listening/suspicious_track_days"), read("listening/genuine_charts"), read.day
    )


@made_table(COUNTRY_HOURS, picture=pictures.plays_by_hour)
def country_hours(read: Inputs) -> pl.DataFrame:
    """Plays, streams and listeners of each UTC hour, by country and kind of device, with their suspicious part."""
    return count_hours(read("listening/plays"), read("listening/suspicious_streams"), read.day)


@made_table(ANOMALIES, picture=pictures.anomalies_by_severity)
def anomalies(read: Inputs) -> pl.DataFrame:
    """Hours and days with far too few or far too many genuine plays: worldwide, in a country, or on one kind of device.

    Expected is what the last eight weeks, the weekday and the hour suggest; the band holds 997 of 1,000 usual values. Listed is
    what chance would show in one of 2,000 days. A *cause* is what explains the others: where a country is down, the world has
    too few plays as well, but only the country is a cause. A day needs 14 days before it to be judged.
    """
    return find_anomalies(read("listening/country_hours"), read.day)


@made_table(TRENDS, picture=pictures.rising_tracks)
def trends(read: Inputs) -> pl.DataFrame:
    """Tracks and artists that rise, in each country and worldwide.

    Listed is what has more genuine listeners in the last day, three days or week than the five weeks explain, measured in all
    listeners of the country: its weekly rhythm, outages and spikes make no trend. At most one in twenty of what is listed is
    there by chance. The score is the logarithm of the streams to be expected in a week, as a multiple of those of the 50th: above
    0 it is on its way to the top 50.
    """
    return find_trends(
        read("listening/track_days"),
        read("listening/suspicious_track_days"),
        read("listening/artist_days"),
        read("listening/suspicious_artist_days"),
        read("listening/trends"),
        read.day,
    )


@made_table(CHANGE_POINTS, picture=pictures.surest_changes)
def change_points(read: Inputs) -> pl.DataFrame:
    """Days since which a country, a kind of device or the world has had another level of streams, or another direction.

    Looks at the last 26 weeks on each Sunday, with the rhythm of the week removed. A change lasts a week or longer; a single
    unusual day is none. The score is the evidence as a multiple of what is asked for, so that 1 is just enough.
    """
    return changes_of_series(read("listening/country_days"), read("listening/suspicious_country_days"), read.day)


@made_table(FORECASTS, picture=pictures.expected_streams)
def forecasts(read: Inputs) -> pl.DataFrame:
    """The streams to be expected in the next two weeks, with intervals that hold 80 and 95 of 100 days.

    For the world, each country, and the 30 tracks and 30 artists with most streams in four weeks. The model is exponential
    smoothing of the level with the rhythm of the week. It is tested on the last two weeks and the two before them; only where it
    beats repeating the last week is it shown.
    """
    return forecast_streams(
        read("listening/track_days"),
        read("listening/suspicious_track_days"),
        read("listening/country_days"),
        read("listening/suspicious_country_days"),
        read.day,
    )


@made_table(NEW_LISTENERS, picture=pictures.newcomers)
def new_listeners(read: Inputs) -> pl.DataFrame:
    """Listeners whose first play of all was on this day, with its country and device.

    Looks back over all history: an imported old day moves the day on which a listener came.
    """
    return find_new_listeners(read("listening/plays"), read("listening/new_listeners"), read.day)


@made_table(COHORTS, picture=pictures.retention)
def cohorts(read: Inputs) -> pl.DataFrame:
    """Retention: of the listeners who came in one week, how many played something in the week that ends on this Sunday.

    One row for each week in which listeners came, for all of them and by country and device of their first play. The rows of all
    Sundays are the triangle of retention. Listeners who made suspicious plays only are counted apart and retained by nobody.
    """
    return count_cohorts(
        read("listening/listener_track_days"), read("listening/suspicious_streams"), read("listening/new_listeners"), read.day
    )


@made_table(FUNNELS, picture=pictures.completion_by_position)
def funnels(read: Inputs) -> pl.DataFrame:
    """How far plays get: how many are streamed, completed or skipped.

    By their place in the session, which goes on after midnight, by playlist, by release (the 200 most played) and by years
    since release. Each of these adds up to all plays of the day.
    """
    return count_funnels(
        read("listening/plays"),
        read("listening/suspicious_streams"),
        read("listening/sessions"),
        read("catalog/tracks"),
        read("catalog/albums"),
        read.day,
    )


@made_table(GENRE_MIX, picture=pictures.streams_by_genre)
def genre_mix(read: Inputs) -> pl.DataFrame:
    """What genres the day's listening to music is made of, by country and in all.

    A play counts for the main genre of the track's first artist; without one in the catalogue it is unknown.
    """
    return mix_genres(read("listening/artist_days"), read("listening/suspicious_artist_days"), read("catalog/artists"), read.day)


@made_table(STREAM_SHARE, picture=pictures.units_by_artist)
def stream_share(read: Inputs) -> pl.DataFrame:
    """What part of the week's pool each artist earns, by two models.

    The pool of a market has a million units for each listener with a stream there. Pro rata shares all of it by streams;
    user-centric shares each listener's million by that listener's own streams. Whole units add up to the pool; those that
    suspicious streams earn are counted apart.
    """
    return share_streams(
        read("listening/listener_track_days"), read("listening/suspicious_streams"), read("listening/artist_days"), read.day
    )


@made_table(YEAR_IN_REVIEW, picture=pictures.streams_by_month, public=pl.col("listener_id") == GLOBAL)
def year_in_review(read: Inputs) -> pl.DataFrame:
    """The year so far, on the last day of each month: of every listener, and of all together.

    Totals, months, weekdays, top tracks, artists and genres; on 31 December of the whole year. `spotify-ai review` makes the same
    of any range of days.
    """
    january = read.day.replace(month=1, day=1)
    so_far = (january - read.day) // timedelta(days=1)
    return review(
        read("listening/listener_track_days", first=so_far),
        read("listening/suspicious_streams", first=so_far),
        read("listening/track_days", first=so_far),
        read("catalog/artists"),
        january,
        read.day,
    )
