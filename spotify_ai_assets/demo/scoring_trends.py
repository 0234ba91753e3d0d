"""How early trends find the planted breakouts, and how often they are wrong.

* A breakout enters the top 50 on the first day, from its start on, on which the daily chart of its market has it there. Where it
  was there in the week before its start already, its peak day counts instead (``event`` tells which).
* It is found on the first day, from its start on, on which it is alarmed in its own market. Lead time is the number of days from
  there to the event: 0 is the same day, less than 0 is after it. Missed ones have none and count in ``found`` only.
* A false alarm is a track alarmed on a day in a market that no breakout explains, in whatever market, from its start on. The
  rate is that of false alarms per market-day: a day on which a market has a chart.
* A track whose source gave no id has one made of its names; a breakout is all tracks of its title and artist.
* ``biggest_mover`` alarms what gained most since yesterday's chart: ``climb`` in ranks, ``gain`` in streams; what was off the
  chart had the rank after its last and as many streams as that one. Its threshold is the lowest that alarms no more falsely
  per market-day than ``RATE``; the better of both stands for it. The trends are held to the same rate.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl

from spotify_ai_assets.catalog.ids import named_track_id
from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.charts import CHART_SIZE

RATE = 0.05
"""False alarms per market-day at which alarms are compared."""
TOP = 50
_BEFORE = timedelta(days=7)
_NAMES = ["track_id", "track_name", "artist_name"]


def score_trends(found: pl.DataFrame, truth: Mapping[str, Any], charts: pl.DataFrame) -> dict[str, Any]:
    """Score the listed tracks of a demo world.

    Args:
        found: Rows of ``listening/trends`` of all days; artists are left out.
        truth: The world's ``truth.json``.
        charts: Rows of ``listening/charts`` or ``listening/genuine_charts`` of the same days; daily ones are taken.

    Returns:
        ``breakouts`` (one record each: ``track_id, country, event, event_on, found_on, lead_days``), ``found`` (share of them),
        ``lead_days`` (mean of those found; null without one), ``false_alarms``, ``market_days``, ``false_alarm_rate``, and under
        ``biggest_mover`` the same of the baseline.
    """
    daily = charts.filter(pl.col("period") == "daily")
    tracks = found.filter(pl.col("subject") == "track").rename({"item_id": "track_id", "label": "track_name", "detail": "artist_name"})
    breakouts = _date(truth["breakouts"], daily, pl.concat([each.select(_NAMES) for each in (daily, tracks)]).unique())
    market_days = daily.select(DAY, "country").unique().height
    listed = tracks.select(DAY, "country", "track_id", strength=-pl.col("q_value"))
    movers = [_judge(alarms, breakouts, market_days) for alarms in _move(daily)]
    best = max(movers, key=lambda each: (each["found"], each["lead_days"] or 0.0))
    return {**_judge(listed, breakouts, market_days), "biggest_mover": best}


def _date(planted: Sequence[Mapping[str, Any]], daily: pl.DataFrame, names: pl.DataFrame) -> list[dict[str, Any]]:
    """When each breakout enters the top 50, and all ids that it goes by."""
    dated = []
    for one in planted:
        track = one["track_id"].replace("spotify:track:", "spotify:")
        ids = [track, *(named_track_id(artist, title) for _, title, artist in names.filter(pl.col("track_id") == track).iter_rows())]
        start, peak = date.fromisoformat(one["start_day"]), date.fromisoformat(one["peak_day"])
        top = daily.filter(pl.col("country") == one["country"], pl.col("rank") <= TOP, pl.col("track_id").is_in(ids))
        days = sorted(top[DAY].unique())
        entered = next((day for day in days if day >= start), None)
        was_there = any(start - _BEFORE <= day < start for day in days)
        event, event_on = ("peak", peak) if was_there or entered is None else ("top 50", entered)
        dated.append(
            {"track_id": one["track_id"], "country": one["country"], "event": event, "event_on": event_on, "ids": ids, "start": start}
        )
    return dated


def _move(daily: pl.DataFrame) -> list[pl.DataFrame]:
    """Alarms of the baseline: every charted track, as strong as it climbed or gained since the day before."""
    market = ["country", DAY]
    before = daily.select("country", "track_id", pl.col(DAY) + timedelta(days=1), streams_before="streams")
    least = daily.group_by("country", pl.col(DAY) + timedelta(days=1)).agg(least=pl.col("streams").min())
    moved = (
        daily.join(before, on=[*market, "track_id"], how="left")
        .join(least, on=market)
        .with_columns(
            climb=pl.col("previous_rank").fill_null(CHART_SIZE + 1) - pl.col("rank"),
            gain=pl.col("streams") - pl.coalesce("streams_before", "least"),
        )
    )
    return [moved.select(*market, "track_id", strength=pl.col(by).cast(pl.Float64)) for by in ("climb", "gain")]


def _judge(alarms: pl.DataFrame, breakouts: Sequence[Mapping[str, Any]], market_days: int) -> dict[str, Any]:
    """Lead times and false alarms of the strongest alarms, as many as keep to the rate."""
    explained = pl.any_horizontal(
        pl.lit(False), *(pl.col("track_id").is_in(each["ids"]) & (pl.col(DAY) >= each["start"]) for each in breakouts)
    )
    alarms = alarms.with_columns(is_false=~explained)
    # All alarms of one strength go together: the threshold is the one at which the next weaker false ones would be too many.
    allowed = int(RATE * market_days)
    false = alarms.filter("is_false")["strength"].sort(descending=True)
    kept = alarms if len(false) <= allowed else alarms.filter(pl.col("strength") > false[allowed])
    records, leads = [], []
    for each in breakouts:
        own = kept.filter(pl.col("country") == each["country"], pl.col("track_id").is_in(each["ids"]), pl.col(DAY) >= each["start"])
        found_on: date | None = min(own[DAY], default=None)
        lead = None if found_on is None else (each["event_on"] - found_on).days
        leads += [] if lead is None else [lead]
        dates = {"event_on": each["event_on"].isoformat(), "found_on": None if found_on is None else found_on.isoformat()}
        records.append({**{name: each[name] for name in ("track_id", "country", "event")}, **dates, "lead_days": lead})
    wrong = int(kept["is_false"].sum())
    return {
        "breakouts": records,
        "found": len(leads) / len(breakouts) if breakouts else 1.0,
        "lead_days": sum(leads) / len(leads) if leads else None,
        "false_alarms": wrong,
        "market_days": market_days,
        "false_alarm_rate": wrong / market_days if market_days else 0.0,
    }
