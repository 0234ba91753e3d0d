"""Whether live plays and the batch that counts them a day later lead to the same recommendations, by the newest day of the lake."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from spotify_ai_assets.recommendations.interactions import (
    PARTS,
    Histories,
    Windows,
    choose_windows,
    collect_interactions,
    drop_suspicious,
    make_histories,
)
from spotify_ai_assets.recommendations.serving.items import Items, tabulate_items
from spotify_ai_assets.resources.lake import Lake

if TYPE_CHECKING:
    from spotify_ai_assets.recommendations.indices.histories import ServedHistories
    from spotify_ai_assets.recommendations.realtime.parity import Parity
    from spotify_ai_assets.recommendations.workshop import Workshop

MOST_LISTENERS = 500
"""Listeners that are compared at most, the first by their pseudonym."""


def compare_with_live(lake: Lake, workshop: "Workshop", *, least_plays: int) -> "Parity":
    """Compare the best tracks by the batch with those by the batch of the day before and the last day's plays live.

    Args:
        lake: Where plays are.
        workshop: Where the model is that serves.
        least_plays: Who has fewer plays is not compared.
    """
    from spotify_ai_assets.recommendations.indexing import Serving
    from spotify_ai_assets.recommendations.realtime.live import value_plays
    from spotify_ai_assets.recommendations.realtime.parity import Parity, compare_sources

    days = lake.scan("listening/listener_track_days").filter(pl.col("kind") == "track")
    first, last = days.select(first=pl.col("day").min(), last=pl.col("day").max()).collect().row(0)
    if first is None or (last - first).days < 3:
        return Parity(1.0, 1.0, 0)
    serving = Serving.of(workshop)
    items = Items.from_frame(tabulate_items(serving.known, lake.scan("catalog/tracks").collect(), lake.scan("catalog/albums").collect()))
    windows = choose_windows(first, last)
    before = replace(choose_windows(first, last - timedelta(1)), first=windows.first)
    batch, former = (_served(lake, days, each, serving.known) for each in (windows, before))
    live = value_plays(_genuine_events(lake, last))
    counts = days.group_by("listener_id").agg(pl.col("plays").sum()).filter(pl.col("plays") >= least_plays).select("listener_id").collect()
    asked = sorted(set(counts["listener_id"]) & live.keys() & set(batch.histories.listeners.tolist()))[:MOST_LISTENERS]
    return compare_sources(serving.model, batch, former, live, items, asked)


def _served(lake: Lake, days: pl.LazyFrame, windows: Windows, known: np.ndarray) -> "ServedHistories":
    """Histories as the batch makes them at the end of a window, which hold no recent play of a later day."""
    from spotify_ai_assets.recommendations.indices.histories import ServedHistories

    rows = collect_interactions(days, lake.scan("listening/suspicious_streams"), windows)
    histories: Histories = make_histories(rows, PARTS, known)
    return ServedHistories(histories, np.zeros(0, np.uint64), datetime.combine(windows.last, time(23, 59, 59), UTC))


def _genuine_events(lake: Lake, day: date) -> pl.DataFrame:
    return drop_suspicious(lake.scan("listening/events"), lake.scan("listening/suspicious_streams"), day, day).collect()
