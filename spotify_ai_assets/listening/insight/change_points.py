"""Change points: since when a series of streams runs at another level or in another direction.

A single unusual day is an anomaly, not a change (``anomalies``); what comes next belongs to ``forecasts``.
"""

from datetime import date, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL, UNKNOWN_COUNTRY
from spotify_ai_assets.listening.insight.contracts import CHANGE_DAYS, CHANGE_POINTS
from spotify_ai_assets.listening.insight.parts import genuine, stack

WEEK_DAYS = 7
FEWEST_DAYS = 42

SHORTEST = 3
"""Fewest values between two changes."""

_EVIDENCE = 4
"""Neighbouring values resemble each other (a correlation of .6), so that four of them tell as much as one."""
_FLOOR = 0.02
"""A fit within a seventh of the standard deviation is as good as perfect: its square, as a share of the variance."""
_OUTLIER = 3.0
_FINEST_SCALE = 0.05


class ChangePoint(NamedTuple):
    """A change of a series.

    Attributes:
        at: Index of the first value after it.
        score: Evidence for it, as a multiple of what is asked for; larger is surer.
    """

    at: int
    score: float


def find_change_points(values: np.ndarray, shortest: int = SHORTEST) -> list[ChangePoint]:
    """Find where a series changes its level or its direction.

    The series is cut into constant pieces or into straight lines, exactly (dynamic programming over every cut, as in Jackson
    et al., "An algorithm for optimal partitioning of data on an interval", 2005), and among the best cuts into 1, 2, 3, ...
    pieces that with the smallest ``log(r + f) + c p log(n) / n`` is taken: ``r`` is the unexplained share of the variance, ``p``
    the number of parameters, ``c = 4`` asks for four times the evidence of the Bayesian information criterion because the
    values of a series are correlated, and the floor ``f`` keeps deviations that no eye sees from counting as structure. At most
    ``sqrt(n) / 2`` changes are found: what changes more often swings. Outliers of one or two values are levelled before. A
    season is noise to it, so a known one is better removed. Time and memory grow with the square of the length.

    Args:
        values: Shape ``(n,)`` or ``(n, dimensions)``; NaN is missing and is filled along a straight line.
        shortest: Fewest values between two changes, and before the first and after the last.

    Returns:
        The changes in order; none where a series is shorter than two pieces or constant.
    """
    series = _prepare(np.asarray(values, dtype=np.float64))
    n, dimensions = series.shape
    most = min(int(np.sqrt(n) / 2), n // shortest - 1) if dimensions else 0
    if most < 1:
        return []

    def misfit(unexplained: float, changes: int, degree: int) -> float:
        parameters = (2 + degree) * changes + degree
        return float(np.log(unexplained / series.size + _FLOOR) + _EVIDENCE * parameters * np.log(n) / n)

    candidates = []
    for degree in (0, 1):
        costs = _piece_costs(series, degree)
        for cuts in _best_cuts(costs, most, shortest):
            candidates.append((misfit(_unexplained(costs, cuts), len(cuts), degree), len(cuts), degree, cuts, costs))
    least, _, degree, cuts, costs = min(candidates, key=lambda candidate: candidate[:3])
    asked = _EVIDENCE * (2 + degree) * np.log(n) / n
    without = [[*cuts[:place], *cuts[place + 1 :]] for place in range(len(cuts))]
    # Taking a change away saves its parameters, so the excess over the least misfit comes on top of what was asked for.
    losses = [misfit(_unexplained(costs, fewer), len(fewer), degree) - least + asked for fewer in without]
    return [ChangePoint(cut, round(float(loss / asked), 6)) for cut, loss in zip(cuts, losses, strict=True)]


def changes_of_series(country_days: pl.LazyFrame, suspicious_country_days: pl.LazyFrame, day: date) -> pl.DataFrame:
    """Find the changes in the daily genuine streams of the world, each country and each platform.

    A series begins with the first day in the window on which anything was played anywhere. Days without a play anywhere are
    missing, not zero. The rhythm of the week is removed first (see ``remove_rhythm``), and no two changes are less than a week
    apart. Levels are means of the days between two changes, rhythm removed.

    Args:
        country_days: Rows of ``listening/country_days`` of the window.
        suspicious_country_days: Rows of ``listening/suspicious_country_days``, the part that does not count.
        day: The Sunday up to which to look.

    Returns:
        Rows of ``listening/change_points``; none with less than six weeks of days.
    """
    days, series = daily_series(country_days, suspicious_country_days, day)
    rows = []
    for (subject, item), counts in series.items() if len(days) >= FEWEST_DAYS else ():
        level = fill(remove_rhythm(counts))
        found = find_change_points(level, shortest=WEEK_DAYS)
        bounds = [0, *(change.at for change in found), len(days)]
        means = [float(level[first:last].mean()) for first, last in pairwise(bounds)]
        for change, before, after in zip(found, means[:-1], means[1:], strict=True):
            ratio = after / before - 1 if before > 0 else None
            rows.append((day, subject, item, days[change.at], before, after, ratio, change.score))
    return pl.DataFrame(rows, schema=CHANGE_POINTS.schema, orient="row").sort(CHANGE_POINTS.primary_key)


def daily_series(
    country_days: pl.LazyFrame, suspicious_country_days: pl.LazyFrame, day: date, window: int = CHANGE_DAYS
) -> tuple[list[date], dict[tuple[str, str], np.ndarray]]:
    """Daily genuine streams of the world, each country and each platform.

    Returns:
        The days from the first with a play on, and by ``(subject, item_id)`` one value for each of them; NaN where nothing was
        played anywhere.
    """
    parts = stack(country_days, suspicious_country_days, [DAY, "country", "platform"], ["streams"])
    counts = parts.with_columns(streams=genuine("streams")).filter(pl.col(DAY).is_between(day - timedelta(days=window - 1), day))
    known = counts.filter(pl.col("country") != UNKNOWN_COUNTRY)
    parts = [
        counts.select(DAY, "streams", subject=pl.lit("country"), item_id=pl.lit(GLOBAL)),
        known.select(DAY, "streams", subject=pl.lit("country"), item_id="country"),
        counts.select(DAY, "streams", subject=pl.lit("platform"), item_id="platform"),
    ]
    sums = pl.concat(parts).group_by("subject", "item_id", DAY).agg(pl.sum("streams")).collect().sort("subject", "item_id", DAY)
    if sums.is_empty():
        return [], {}
    groups = sums.group_by("subject", "item_id", maintain_order=True)
    days = pl.date_range(sums.select(pl.min(DAY)).item(), day, eager=True)
    return days.to_list(), {(str(subject), str(item)): spread(rows, days, sums[DAY]) for (subject, item), rows in groups}


def spread(rows: pl.DataFrame, days: pl.Series, known: pl.Series) -> np.ndarray:
    """One value for each of ``days`` from rows with ``day`` and ``streams``: 0 without a row, NaN on a day that is not ``known``."""
    calendar = pl.DataFrame({DAY: days}).join(rows.select(DAY, "streams"), on=DAY, how="left", maintain_order="left")
    here = pl.when(pl.col(DAY).is_in(known.unique().implode())).then(pl.col("streams").fill_null(0))
    return calendar.select(here.cast(pl.Float64).fill_null(float("nan")))["streams"].to_numpy()


def remove_rhythm(counts: np.ndarray) -> np.ndarray:
    """Divide each day by its weekday's factor (see ``weekday_factors``); counts of shape ``(n,)``, NaN where missing."""
    return counts / np.resize(weekday_factors(counts), len(counts))


def weekday_factors(counts: np.ndarray) -> np.ndarray:
    """How many times an average day's streams each weekday has.

    The median, over the weeks, of the day's share in the mean of the seven days around it; so a single unusual day leaves no
    trace on other weeks.

    Args:
        counts: One value a day without gaps in the calendar, NaN where missing; shape ``(n,)``.

    Returns:
        Shape ``(7,)`` with mean 1; the first is of the weekday of ``counts[0]``. All 1 where some weekday is mostly without a
        stream, or with less than two weeks.
    """
    even = np.ones(WEEK_DAYS)
    if len(counts) < 2 * WEEK_DAYS:
        return even
    around = np.lib.stride_tricks.sliding_window_view(fill(counts), WEEK_DAYS).mean(axis=1)
    ratios = np.full(-(-len(counts) // WEEK_DAYS) * WEEK_DAYS, np.nan)
    inner = slice(WEEK_DAYS // 2, WEEK_DAYS // 2 + len(around))
    ratios[inner] = np.divide(counts[inner], around, out=np.full(len(around), np.nan), where=around > 0)
    weeks = ratios.reshape(-1, WEEK_DAYS)
    if np.isnan(weeks).all(axis=0).any():
        return even
    factors = np.nanmedian(weeks, axis=0)
    return factors / factors.mean() if factors.min() > 0 else even


def fill(values: np.ndarray) -> np.ndarray:
    """Values with those that are missing (NaN) filled along a straight line."""
    here = np.flatnonzero(~np.isnan(values))
    return np.interp(np.arange(len(values)), here, values[here]) if len(here) else values


def broken_changes(rows: pl.LazyFrame) -> pl.DataFrame:
    """Rows of ``listening/change_points`` that come less than a week after the change before or do not begin at its level."""
    before = pl.col("after").shift().over("day", "subject", "item_id", order_by="changed_on")
    since = (pl.col("changed_on") - pl.col("changed_on").shift().over("day", "subject", "item_id", order_by="changed_on")).dt.total_days()
    late = (pl.col("changed_on") > pl.col(DAY)) | (since < WEEK_DAYS)
    return rows.filter(late.fill_null(False) | (before != pl.col("before")).fill_null(False)).collect()


def _prepare(values: np.ndarray) -> np.ndarray:
    """Fill gaps, level outliers and scale each dimension to variance 1; those that are constant or empty drop out."""
    columns = values[:, None] if values.ndim == 1 else values
    kept = []
    for column in columns.T:
        if np.isfinite(column).any():
            level = _level_outliers(fill(np.where(np.isfinite(column), column, np.nan)))
            deviation = level.std()
            if deviation > 1e-9 * np.abs(level).max():
                kept.append((level - level.mean()) / deviation)
    return np.column_stack(kept) if kept else np.empty((len(columns), 0))


def _level_outliers(values: np.ndarray) -> np.ndarray:
    """Replace values far from the median of the five around them by it (Hampel): peaks of one or two values, never a step."""
    medians = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(values, 2, mode="edge"), 5), axis=1)
    distance = np.abs(values - medians)
    scale = max(1.4826 * np.median(distance), _FINEST_SCALE * values.std())
    return np.where(distance > _OUTLIER * scale, medians, values)


def _piece_costs(series: np.ndarray, degree: int) -> np.ndarray:
    """The squared error of the best constant (degree 0) or line (1) over every piece ``[first, last)``, summed over dimensions.

    Returns:
        Shape ``(n + 1, n + 1)``; infinite where ``last <= first``.
    """
    n = len(series)
    at = np.arange(n + 1)
    lengths = (at[None, :] - at[:, None]).astype(np.float64)
    lengths[lengths <= 0] = np.nan

    def over_pieces(values: np.ndarray) -> np.ndarray:
        sums = np.concatenate([[0.0], np.cumsum(values)])
        return sums[None, :] - sums[:, None]

    time = np.arange(n) / n - 0.5
    sum_time = over_pieces(time)
    spread = over_pieces(time * time) - sum_time**2 / lengths
    costs = np.zeros((n + 1, n + 1))
    for column in series.T:
        total = over_pieces(column)
        errors = over_pieces(column * column) - total**2 / lengths
        if degree:
            slope = over_pieces(time * column) - sum_time * total / lengths
            errors -= np.divide(slope**2, spread, out=np.zeros_like(errors), where=spread > 1e-9 / n**2)
        costs += np.maximum(errors, 0)
    return np.where(np.isnan(lengths), np.inf, costs)


def _best_cuts(costs: np.ndarray, most: int, shortest: int) -> list[list[int]]:
    """The cheapest cuts into 1, 2, ..., ``most + 1`` pieces of ``shortest`` values or more."""
    n = len(costs) - 1
    at = np.arange(n + 1)
    allowed = np.where(at[None, :] - at[:, None] >= shortest, costs, np.inf)
    cheapest, sources, found = allowed[0], [], [[]]
    for _ in range(most):
        totals = cheapest[:, None] + allowed
        sources.append(totals.argmin(axis=0))
        cheapest = totals[sources[-1], at]
        cuts, end = [], n
        for source in reversed(sources):
            end = int(source[end])
            cuts.append(end)
        found.append(cuts[::-1])
    return found


def _unexplained(costs: np.ndarray, cuts: list[int]) -> float:
    bounds = [0, *cuts, len(costs) - 1]
    return float(costs[bounds[:-1], bounds[1:]].sum())
