"""The checks of insight beyond the contracts: does everything add up to what it was made from?"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta

import dagster as dg
import polars as pl

from spotify_ai_assets.contracts import DAY, Table
from spotify_ai_assets.listening import verification
from spotify_ai_assets.listening.checks import days_of_run, rows_of_days, verdict
from spotify_ai_assets.listening.contracts import ARTIST_DAYS, COUNTRY_DAYS, LISTENER_TRACK_DAYS, PLAYS, TRACK_DAYS
from spotify_ai_assets.listening.days import count_artists, count_countries, count_tracks
from spotify_ai_assets.listening.insight import recounting
from spotify_ai_assets.listening.insight.anomalies import broken_anomalies, describe_causes
from spotify_ai_assets.listening.insight.change_points import broken_changes
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
from spotify_ai_assets.listening.insight.forecasts import broken_forecasts, shares_inside
from spotify_ai_assets.listening.insight.genuine import exceeding
from spotify_ai_assets.listening.insight.hours import differing_hours
from spotify_ai_assets.listening.insight.trends import miscounted_trends
from spotify_ai_assets.loading import check
from spotify_ai_assets.resources.lake import Lake

_ALERTS = 50


def _there(context: dg.AssetCheckExecutionContext, lake: Lake, table: Table) -> list[date]:
    """The days to look at that a weekly or monthly table has."""
    return [day for day in days_of_run(context, lake, table) if table.has(day)]


def _weeks(lake: Lake, table: Table, sundays: Sequence[date]) -> pl.LazyFrame:
    """The rows of all days of the weeks that end on these Sundays."""
    return rows_of_days(lake, table, [min(sundays) - timedelta(days=6), max(sundays)] if sundays else [])


@check(TRENDS, blocking=True, required_resource_keys={"lake"})
def trends_are_genuine(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The streams of what is listed are the genuine ones of seven days, to the unit, and its ranks have no gaps."""
    lake: Lake = context.resources.lake
    days = _there(context, lake, TRENDS)
    found = rows_of_days(lake, TRENDS, days)
    sparse = verification.sparse_ranks(found, ["subject", "country"])
    tables = (TRACK_DAYS, SUSPICIOUS_TRACK_DAYS, ARTIST_DAYS, SUSPICIOUS_ARTIST_DAYS)
    return verdict(sparse if sparse.height else miscounted_trends(found, *(_weeks(lake, table, days) for table in tables)))


@check(SUSPICIOUS_STREAMS, blocking=True, required_resource_keys={"lake"})
def flags_hold_all_plays(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The counts of each flagged account and track are those of all their plays in `plays`, to the unit."""
    lake: Lake = context.resources.lake
    days = _there(context, lake, SUSPICIOUS_STREAMS)
    return verdict(recounting.differing_flags(*(rows_of_days(lake, table, days) for table in (SUSPICIOUS_STREAMS, PLAYS))))


@check(SUSPICIOUS_STREAMS, required_resource_keys={"lake"})
def suspicion_is_rare(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """At most a quarter of a day's plays are suspicious."""
    lake: Lake = context.resources.lake
    days = _there(context, lake, SUSPICIOUS_STREAMS)
    states = lake.states(PLAYS.key)
    flagged = rows_of_days(lake, SUSPICIOUS_STREAMS, days).group_by(DAY).agg(pl.sum("plays")).collect()
    often = [day for day, plays in flagged.rows() if day.isoformat() in states and 4 * plays > states[day.isoformat()].rows]
    return verdict(flagged.filter(pl.col(DAY).is_in(often)), blocking=False)


@check(SUSPICIOUS_TRACK_DAYS, blocking=True, required_resource_keys={"lake"})
def suspicious_tracks_are_a_part(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """They add up to the flagged plays, to the unit, and no count exceeds that of all plays."""
    return _is_part(context, SUSPICIOUS_TRACK_DAYS, count_tracks)


@check(SUSPICIOUS_ARTIST_DAYS, blocking=True, required_resource_keys={"lake"})
def suspicious_artists_are_a_part(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """They add up to the flagged plays, to the unit, and no count exceeds that of all plays."""
    return _is_part(context, SUSPICIOUS_ARTIST_DAYS, count_artists)


@check(SUSPICIOUS_COUNTRY_DAYS, blocking=True, required_resource_keys={"lake"})
def suspicious_countries_are_a_part(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """They add up to the flagged plays, to the unit, and no count exceeds that of all plays."""
    return _is_part(context, SUSPICIOUS_COUNTRY_DAYS, count_countries)


def _is_part(
    context: dg.AssetCheckExecutionContext, table: Table, count: Callable[[pl.LazyFrame, date], pl.DataFrame]
) -> dg.AssetCheckResult:
    lake: Lake = context.resources.lake
    days = _there(context, lake, table)
    part = rows_of_days(lake, table, days).collect()
    differing = recounting.differing_parts(part, rows_of_days(lake, SUSPICIOUS_STREAMS, days))
    # The total is counted here: that of the lake may be older than its part.
    wrong = [exceeding(count(rows_of_days(lake, PLAYS, [day]), day), rows) for (day,), rows in part.partition_by(DAY, as_dict=True).items()]
    return verdict(pl.concat([differing, *wrong], how="diagonal_relaxed"))


@check(GENUINE_CHARTS, blocking=True, required_resource_keys={"lake"})
def genuine_ranks_are_dense(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each chart has every rank from 1 to its length once."""
    lake: Lake = context.resources.lake
    days = _there(context, lake, GENUINE_CHARTS)
    return verdict(verification.sparse_ranks(rows_of_days(lake, GENUINE_CHARTS, days), ["period", "country"]))


@check(COUNTRY_HOURS, blocking=True, required_resource_keys={"lake"})
def hours_add_up(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The hours of each country add up to the day's plays, and their suspicious part to what is flagged, to the unit."""
    lake: Lake = context.resources.lake
    days = _there(context, lake, COUNTRY_HOURS)
    return verdict(differing_hours(*(rows_of_days(lake, table, days) for table in (COUNTRY_HOURS, PLAYS, SUSPICIOUS_STREAMS))))


@check(ANOMALIES, blocking=True, required_resource_keys={"lake"})
def anomalies_are_off(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Every anomaly is outside its band on the side that it names, and every day with one has a cause."""
    lake: Lake = context.resources.lake
    return verdict(broken_anomalies(rows_of_days(lake, ANOMALIES, _there(context, lake, ANOMALIES))))


@check(ANOMALIES, required_resource_keys={"lake"})
def volumes_are_usual(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """No hour or day is the cause of a highly unusual volume; fails as an alert, with what is wrong where."""
    lake: Lake = context.resources.lake
    rows = rows_of_days(lake, ANOMALIES, _there(context, lake, ANOMALIES))
    high = rows.filter(pl.col("is_cause"), pl.col("severity") == "high").sort(DAY, *ANOMALIES.primary_key).collect()
    alerts = {"alerts": dg.MetadataValue.json(describe_causes(high.head(_ALERTS)))} if high.height else {}
    return dg.AssetCheckResult(passed=high.is_empty(), severity=dg.AssetCheckSeverity.WARN, metadata={"causes": high.height, **alerts})


@check(CHANGE_POINTS, blocking=True, required_resource_keys={"lake"})
def changes_follow_each_other(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Changes of a series are a week apart or more, and each begins at the level at which the one before ended."""
    lake: Lake = context.resources.lake
    return verdict(broken_changes(rows_of_days(lake, CHANGE_POINTS, _there(context, lake, CHANGE_POINTS))))


@check(FORECASTS, blocking=True, required_resource_keys={"lake"})
def intervals_are_nested(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The bounds of each day lie in order, within two weeks, and nothing is shown that did not beat the baseline."""
    lake: Lake = context.resources.lake
    return verdict(broken_forecasts(rows_of_days(lake, FORECASTS, _there(context, lake, FORECASTS))))


@check(FORECASTS, required_resource_keys={"lake"})
def forecasts_came_true(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Of the days of this week, 85 in 100 or more lay inside the 95 % intervals of the forecasts a week ago, by country."""
    lake: Lake = context.resources.lake
    sundays = _there(context, lake, FORECASTS)
    made = [sunday - timedelta(days=7) for sunday in sundays]
    weeks = (_weeks(lake, table, sundays) for table in (COUNTRY_DAYS, SUSPICIOUS_COUNTRY_DAYS))
    inside = shares_inside(rows_of_days(lake, FORECASTS, made), *weeks)
    shares = {f"inside_{level}": round(share, 3) for level, share in inside.items()}
    return dg.AssetCheckResult(passed=inside.get(95, 1) >= 0.85, severity=dg.AssetCheckSeverity.WARN, metadata=shares)


@check(NEW_LISTENERS, blocking=True, required_resource_keys={"lake"})
def everybody_came_once(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Whoever plays has come on that day or before, and nobody came twice."""
    lake: Lake = context.resources.lake
    plays = rows_of_days(lake, PLAYS, _there(context, lake, NEW_LISTENERS))
    return verdict(recounting.misplaced_listeners(lake.scan(NEW_LISTENERS.key), plays))


@check(COHORTS, blocking=True, required_resource_keys={"lake"})
def cohorts_hold_all_listeners(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Active listeners and streams of all cohorts add up to those of the week, and none has more active than came."""
    lake: Lake = context.resources.lake
    days = _there(context, lake, COHORTS)
    rows = rows_of_days(lake, COHORTS, days)
    too_many = rows.filter((pl.col("active") > pl.col("size")) | (pl.col("suspicious_active") > pl.col("active"))).collect()
    weeks = (_weeks(lake, table, days) for table in (LISTENER_TRACK_DAYS, SUSPICIOUS_STREAMS))
    return verdict(too_many if too_many.height else recounting.differing_cohorts(rows, *weeks))


@check(FUNNELS, blocking=True, required_resource_keys={"lake"})
def funnels_add_up(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each dimension adds up to all plays of the day, and its suspicious part to all that are suspicious."""
    lake: Lake = context.resources.lake
    days = _there(context, lake, FUNNELS)
    return verdict(recounting.differing_funnels(*(rows_of_days(lake, table, days) for table in (FUNNELS, PLAYS, SUSPICIOUS_STREAMS))))


@check(GENRE_MIX, blocking=True, required_resource_keys={"lake"})
def genres_add_up(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The genres of each country, and of all, add up to the artists' counts, and their suspicious parts likewise."""
    lake: Lake = context.resources.lake
    days = _there(context, lake, GENRE_MIX)
    tables = (GENRE_MIX, ARTIST_DAYS, SUSPICIOUS_ARTIST_DAYS)
    return verdict(recounting.differing_genres(*(rows_of_days(lake, table, days) for table in tables)))


@check(STREAM_SHARE, blocking=True, required_resource_keys={"lake"})
def shares_reconcile(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The units of each pool are a million for each listener, to the unit, and its streams are those of the week."""
    lake: Lake = context.resources.lake
    days = _there(context, lake, STREAM_SHARE)
    weeks = (_weeks(lake, table, days) for table in (LISTENER_TRACK_DAYS, SUSPICIOUS_STREAMS))
    return verdict(recounting.differing_shares(rows_of_days(lake, STREAM_SHARE, days), *weeks))


@check(YEAR_IN_REVIEW, blocking=True, required_resource_keys={"lake"})
def years_add_up(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The totals of all together, and those of every listener, are the sums of the countries' days."""
    lake: Lake = context.resources.lake
    days = _there(context, lake, YEAR_IN_REVIEW)
    since = [min(days).replace(month=1, day=1), max(days)] if days else []
    total, suspicious = (rows_of_days(lake, table, since) for table in (COUNTRY_DAYS, SUSPICIOUS_COUNTRY_DAYS))
    return verdict(recounting.differing_years(rows_of_days(lake, YEAR_IN_REVIEW, days), total, suspicious, days))
