"""Figures by kind of listener and kind of item: cold and warm listeners, head and long tail, countries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from spotify_ai_assets.recommendations.evaluation.intervals import jackknife_interval, mean_intervals
from spotify_ai_assets.recommendations.evaluation.metrics import Measured, relevance
from spotify_ai_assets.training.metrics import REPEATS, Interval

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

COLD_BELOW = 10
"""Tracks of a history below which its listener is cold."""

HEAD_SHARE = 1 / 3
"""Share of all entries that the head's items hold (Cremonesi, Koren and Turrin, 2010: a third)."""

LEAST_LISTENERS = 30
"""Listeners of a country below which it is no slice of its own: an interval of fewer says nothing."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of the listeners, or some of the items.

    Attributes:
        name: Such as ``cold``, ``tail`` or ``country:DE``.
        listeners: Which listeners count, bool, shape (n,); all unless given.
        items: Which items are looked for, bool, shape (items,); all unless given.
    """

    name: str
    listeners: np.ndarray | None = None
    items: np.ndarray | None = None


def cut(
    histories: "csr_matrix",
    *,
    item_popularity: np.ndarray,
    countries: Sequence[str] | np.ndarray | None = None,
    cold_below: int = COLD_BELOW,
    head_share: float = HEAD_SHARE,
    least_listeners: int = LEAST_LISTENERS,
) -> tuple[Slice, ...]:
    """Cut listeners and items into slices.

    Args:
        histories: What the listeners had heard when they were given shelves, shape (n, items).
        item_popularity: In how many histories of the training each item is, shape (items,).
        countries: Country of each listener, shape (n,).
        cold_below: Who has heard fewer tracks is cold.
        head_share: Share of all entries that the head's items hold; all other items are the tail.
        least_listeners: Countries with fewer have no slice.
    """
    is_cold = np.diff(histories.indptr) < cold_below
    is_head = find_head(item_popularity, head_share)
    slices = [
        Slice("cold", listeners=is_cold),
        Slice("warm", listeners=~is_cold),
        Slice("head", items=is_head),
        Slice("tail", items=~is_head),
    ]
    if countries is not None:
        names, counts = np.unique(np.asarray(countries), return_counts=True)
        slices += [
            Slice(f"country:{name}", listeners=np.asarray(countries) == name)
            for name, count in zip(names, counts, strict=True)
            if count >= least_listeners
        ]
    return tuple(slices)


def find_head(item_popularity: np.ndarray, head_share: float = HEAD_SHARE) -> np.ndarray:
    """Which items are the head: the fewest that together hold a share of all entries; bool, shape (items,).

    Args:
        item_popularity: In how many histories each item is, shape (items,).
        head_share: The share, in 0..1.
    """
    counts = np.asarray(item_popularity, float)
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    is_head = np.zeros(len(counts), bool)
    is_head[order] = (before < head_share * counts.sum()) & (counts[order] > 0)
    return is_head


def frame(
    measured: Measured,
    *,
    recipe: str,
    recipe_version: str,
    table: str,
    slices: Sequence[Slice] = (),
    seed: int = 0,
    repeats: int = REPEATS,
) -> pl.DataFrame:
    """Figures with their 95 % intervals as rows of ``recommendations/evaluation``.

    Means have bootstrap intervals over listeners; what is counted of all shelves together has one by the jackknife and is not cut.
    Of a slice of items, only what was foreseen is measured, and ``exposure``: the share of the places that its items take.

    Args:
        measured: What was measured.
        recipe: What it was measured of, such as ``challenger``.
        recipe_version: Digest of the recipe.
        table: ``discovery`` or ``daily_mix``.
        slices: Rows for these besides those of all listeners.
        seed: Of the resamples.
        repeats: How many resamples.
    """
    columns: dict[tuple[str, str], np.ndarray] = {(metric, ""): values for metric, values in measured.by_listener.items()}
    for each in slices:
        figures = measured.by_listener if each.items is None else _of_items(measured, each.items)
        columns |= {(metric, each.name): _of_listeners(values, each.listeners) for metric, values in figures.items()}
    found = mean_intervals(np.column_stack([*columns.values()]), seed=seed, repeats=repeats)
    intervals = dict(zip(columns, found, strict=True))
    intervals |= {(metric, ""): jackknife_interval(total.value, total.without) for metric, total in measured.totals.items()}
    rows = [
        (recipe, table, metric, name, measured.k, *_numbers(interval), interval.count, recipe_version)
        for (metric, name), interval in intervals.items()
    ]
    texts, figures = dict.fromkeys(("recipe", "table", "metric", "slice"), pl.String), dict.fromkeys(("value", "low", "high"), pl.Float64)
    schema = {**texts, "k": pl.Int64, **figures, "cases": pl.Int64, "recipe_version": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("metric", "slice")


def _of_items(measured: Measured, items: np.ndarray) -> dict[str, np.ndarray]:
    """What was foreseen of some items, and how much of the shelves they take."""
    from scipy.sparse import csr_matrix

    truth = measured.truth
    kept = items[truth.indices]
    pointers = np.r_[0, np.cumsum(kept)][truth.indptr]
    wanted = csr_matrix((truth.data[kept], truth.indices[kept], pointers), shape=truth.shape)
    filled = measured.tops >= 0
    taken, places = (filled & items[measured.tops]).sum(1), filled.sum(1)
    exposure = np.divide(taken, places, out=np.full(len(places), np.nan), where=places > 0)
    return {**relevance(measured.tops, wanted), "exposure": exposure}


def _of_listeners(values: np.ndarray, listeners: np.ndarray | None) -> np.ndarray:
    return values if listeners is None else np.where(listeners, values, np.nan)


def _numbers(interval: Interval) -> tuple[float | None, ...]:
    return tuple(number if np.isfinite(number) else None for number in (interval.value, interval.low, interval.high))
