"""Growth of count series: how surely a count rose, how fast it grows, where it will be.

Arrays in, arrays out, in periods of any length: a day's listeners, a week's published streams. What is counted, and what is
made of the answer, belongs to the callers.
"""

from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl

Series = TypeVar("Series", np.ndarray, pl.Expr)
SOLID = 4.0
"""Variance of a count from which on its deviation is near enough to normal to measure overdispersion by."""
ENOUGH = 50
"""So many solid counts tell the overdispersion; fewer tell nothing."""
_MEDIAN = 0.4549364231195724
"""Median of the chi-squared distribution with one degree of freedom."""


class Drift(NamedTuple):
    """How much a series wanders from one period to the next, as standard deviations of its natural logarithm.

    Attributes:
        level: Of the steps that it makes whatever its growth.
        growth: Of its growth when it begins; none is expected.
        change: Of the steps that its growth makes.
    """

    level: float
    growth: float
    change: float


DAYS = Drift(level=0.05, growth=0.1, change=0.05)
WEEKS = Drift(level=0.1, growth=0.05, change=0.01)


def rise_p_values(recent: np.ndarray, total: np.ndarray, share: np.ndarray, spread: float = 0.0) -> np.ndarray:
    """Probability of so large a recent part of a count had the item not risen.

    Given its total, a Poisson count whose rate follows its market has a binomially distributed recent part: the rate itself
    drops out, so that the test is exact for counts of any size. Overdispersion by a factor divides both counts by it
    (quasi-likelihood).

    Args:
        recent: Counts of the recent periods, shape ``(n,)``.
        total: Counts of all periods, shape ``(n,)``.
        share: Part of the total that the recent periods have in the item's market, shape ``(n,)``, between 0 and 1.
        spread: Overdispersion as ``estimate_spread`` gives it.

    Returns:
        One-sided p-values, shape ``(n,)``; 1 where the recent count is not above its expectation.
    """
    from scipy.special import betainc

    found = np.ones(len(recent))
    above = np.flatnonzero((recent > total * share) & (share > 0))
    hits, trials, chance = recent[above], total[above], share[above]
    factor = 1 + spread * trials * chance * (1 - chance)
    found[above] = betainc(hits / factor, (trials - hits) / factor + 1, chance)
    return found


def estimate_spread(recent: np.ndarray, total: np.ndarray, share: np.ndarray) -> float:
    """Overdispersion ``b`` of the items of a market: the variance of a recent count is ``v (1 + b v)``, ``v`` the binomial one.

    It is such that half of the squared deviations are below the median of their distribution, which a few items that do
    rise hardly move.

    Returns:
        ``b``; 0 where the counts vary no more than by chance, or where fewer than ``ENOUGH`` are large enough to tell.
    """
    variance = total * share * (1 - share)
    solid = variance >= SOLID
    if solid.sum() < ENOUGH:
        return 0.0
    variance, squares = variance[solid], (recent - total * share)[solid] ** 2

    def is_short(spread: float) -> bool:
        return bool(np.median(squares / (variance * (1 + spread * variance))) > _MEDIAN)

    if not is_short(0.0):
        return 0.0
    low, high = -12.0, 6.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if is_short(10.0**middle) else (low, middle)
    return 10.0**high


def follow_growth(counts: np.ndarray, exposure: np.ndarray, drift: Drift) -> tuple[np.ndarray, np.ndarray]:
    """Follow level and growth of count series, period by period, without looking ahead.

    A local linear trend of the logarithm of the rate under Poisson counts: level and growth are a Gaussian state that moves on
    by ``drift`` and is brought up to date with each count at the mode of its posterior (Laplace; West, Harrison and Migon 1985).
    A series begins with its first period that is seen.

    Args:
        counts: Shape ``(n, periods)``; nan where nothing was seen, such as off a chart.
        exposure: How much the rate is multiplied by in each period, shape ``(n, periods)`` or ``(periods,)``; 0 is not seen.
        drift: How much the series wander.

    Returns:
        Natural logarithm of the rate at exposure 1, and its growth a period, each of shape ``(n, periods)``; nan before a
        series begins.
    """
    exposure = np.broadcast_to(exposure, counts.shape)
    series = len(counts)
    level, growth = np.zeros(series), np.zeros(series)
    var_level, var_both, var_growth = np.ones(series), np.zeros(series), np.full(series, drift.growth**2)
    begun = np.zeros(series, dtype=bool)
    levels, growths = np.full(counts.shape, np.nan), np.full(counts.shape, np.nan)
    for period in range(counts.shape[1]):
        seen = ~np.isnan(counts[:, period]) & (exposure[:, period] > 0)
        count, size = np.where(seen, counts[:, period], 0.0), np.where(seen, exposure[:, period], 1.0)
        level, var_level = level + growth, var_level + 2 * var_both + var_growth + drift.level**2
        var_both, var_growth = var_both + var_growth, var_growth + drift.change**2

        rate = size * np.exp(mode := _mode(level, var_level, count, size))
        first, kept = seen & ~begun, 1 / (1 + var_level * rate)
        step = np.where(seen, (mode - level) / var_level, 0.0)
        loss = np.where(seen, rate * kept, 0.0)
        growth = growth + var_both * step
        level = level + var_level * step
        var_growth = var_growth - var_both**2 * loss
        var_both = np.where(seen, var_both * kept, var_both)
        var_level = np.where(seen, var_level * kept, var_level)

        begun |= seen
        level = np.where(first, np.log((count + 0.5) / size), level)
        var_level = np.where(first, 1 / (count + 0.5), var_level)
        fresh = first | ~begun
        growth, var_both = np.where(fresh, 0.0, growth), np.where(fresh, 0.0, var_both)
        var_growth = np.where(fresh, drift.growth**2, var_growth)
        levels[begun, period], growths[begun, period] = level[begun], growth[begun]
    return levels, growths


def _mode(level: np.ndarray, variance: np.ndarray, count: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Where a Gaussian prior times a Poisson likelihood is largest: Newton from above, from where it never oversteps."""
    mode = np.maximum(level, np.log(np.maximum(count, 1e-9) / size))
    for _ in range(12):
        rate = size * np.exp(mode)
        mode = mode + ((level - mode) / variance + count - rate) / (1 / variance + rate)
    return mode


def project(level: Series, growth: Series, periods: int) -> Series:
    """Logarithm of the rate some periods on if the growth lasts; less that of a mark, it is the trend score."""
    return level + periods * growth
