"""What another policy would have earned, estimated from shelves that were drawn by chance with the chances kept.

Every logged shelf counts by how much likelier the other policy would have drawn it, place by place: the weight of a place is the
product of the ratios of both policies' probabilities up to that place (inverse propensity scores of sequential slates, McInerney et
al., 2020). The estimate divides by the mean weight of each place instead of by 1 (self-normalised, Swaminathan and Joachims, 2015).
It holds where what a listener does with a place depends on that place and those above it.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from spotify_ai_assets.errors import PermanentError
from spotify_ai_assets.recommendations.evaluation.intervals import resample
from spotify_ai_assets.training.metrics import REPEATS, Interval

COLUMNS = ("shelf_id", "rank", "reward", "propensity", "target_propensity")
LEAST_SHELVES = 2


class PropensityError(PermanentError):
    """A log cannot tell what another policy would have earned."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What another policy would have earned a shelf.

    Attributes:
        snips: The self-normalised estimate, with its interval over listeners.
        ips: The estimate that divides by the number of shelves: unbiased, with the wider interval.
        logged: What the logging policy earned.
        gain: The self-normalised estimate minus what was logged.
        mean_weight: Of the last place; 1 but for chance, unless the other policy draws what the logging policy never does.
        shelves: How many were logged.
        effective_shelves: How many shelves of equal weight would say as much, at each place (Kish, 1965), float64, shape (k,).
    """

    snips: Interval
    ips: Interval
    logged: Interval
    gain: Interval
    mean_weight: Interval
    shelves: int
    effective_shelves: np.ndarray

    @property
    def is_covered(self) -> bool:
        """Whether the mean weight is near 1, within twice the reach of its interval, which chance alone hardly ever leaves.

        Otherwise the log lacks shelves that the other policy draws, or its propensities are not those that were drawn by.
        """
        low, high = (self.mean_weight.value + 2 * (end - self.mean_weight.value) for end in (self.mean_weight.low, self.mean_weight.high))
        return low <= 1 <= high


def estimate(
    rewards: np.ndarray,
    propensities: np.ndarray | None,
    target: np.ndarray,
    *,
    listeners: np.ndarray | None = None,
    seed: int = 0,
    repeats: int = REPEATS,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate what another policy would have earned from logged shelves.

    Args:
        rewards: What each place earned, shape (shelves, k); not a number where a shelf had no such place.
        propensities: Probability with which the logging policy drew each place, given those before it, of the same shape.
        target: Probability with which the other policy would have drawn it, given the same, of the same shape.
        listeners: Whose each shelf is, shape (shelves,): whole listeners are drawn then, since shelves of one are no independent
            evidence.
        seed: Of the resamples.
        repeats: How many resamples.
        confidence: Two-sided.

    Raises:
        PropensityError: The log has no propensities, or impossible ones; its policy left nothing to chance; or the other policy would
            have drawn none of its shelves.
    """
    rewards = np.asarray(rewards, float)
    if rewards.ndim != 2 or len(rewards) < LEAST_SHELVES or not rewards.shape[1]:
        raise PropensityError(f"an estimate needs at least {LEAST_SHELVES} logged shelves")
    weights = _weigh(rewards, propensities, target)
    if (weights.sum(0) <= 0).any():
        raise PropensityError("the other policy would have drawn none of the logged shelves")
    earned = np.where(np.isfinite(rewards), rewards, 0.0)
    sums = _add_up(np.column_stack([weights * earned, weights, earned.sum(1), np.ones(len(rewards))]), listeners)
    drawn = np.concatenate([_figures(times @ sums) for times in resample(len(sums), seed=seed, repeats=repeats)])
    (values,) = _figures(sums.sum(0)[None])
    found = [_interval(value, column, len(sums), confidence) for value, column in zip(values, drawn.T, strict=True)]
    return Estimate(*found, shelves=len(rewards), effective_shelves=np.square(weights.sum(0)) / np.square(weights).sum(0))


def estimate_log(log: pl.DataFrame, *, seed: int = 0) -> Estimate:
    """Estimate what another policy would have earned from a log with a row for each place of each shelf.

    Args:
        log: Columns ``shelf_id``, ``rank`` from 1 on, ``reward``, ``propensity`` of the logging policy and ``target_propensity``;
            with ``listener_id``, intervals are over listeners instead of shelves.
        seed: Of the resamples.

    Raises:
        PropensityError: A column or a value is missing, a shelf has a rank twice or with a gap, or what ``estimate`` refuses.
    """
    missing = [name for name in COLUMNS if name not in log.columns]
    if missing:
        raise PropensityError(f"an estimate needs the column {missing[0]}")
    log = log.with_columns(pl.col("rank").cast(pl.Int64, strict=False), pl.col(COLUMNS[2:]).cast(pl.Float64, strict=False))
    if any(log[name].null_count() for name in log.columns if name in (*COLUMNS, "listener_id")):
        raise PropensityError("an estimate needs a value in every row of " + ", ".join(COLUMNS))
    log = log.sort("shelf_id", "rank")
    if (log["rank"] != log.select(pl.int_range(1, pl.len() + 1).over("shelf_id")).to_series()).any():
        raise PropensityError("the ranks of a shelf run from 1 on without gaps")
    shelves, ranks = log["shelf_id"].rle_id().cast(pl.Int64).to_numpy(), log["rank"].to_numpy() - 1
    grids = []
    for name in COLUMNS[2:]:
        grid = np.full((int(shelves.max(initial=-1)) + 1, int(ranks.max(initial=-1)) + 1), np.nan)
        grid[shelves, ranks] = log[name].to_numpy()
        grids.append(grid)
    owners = log.filter(pl.col("rank") == 1)["listener_id"].to_numpy() if "listener_id" in log.columns else None
    return estimate(*grids, listeners=owners, seed=seed)


def _weigh(rewards: np.ndarray, propensities: np.ndarray | None, target: np.ndarray) -> np.ndarray:
    """How much likelier the other policy draws each shelf up to each place, shape (shelves, k)."""
    if propensities is None:
        raise PropensityError("the log has no propensities: without them nothing can be said of another policy")
    there = np.isfinite(rewards)
    logged, other = np.asarray(propensities, float), np.asarray(target, float)
    if logged.shape != rewards.shape or other.shape != rewards.shape:
        raise PropensityError("every reward needs both policies' propensities")
    mine, theirs = logged[there], other[there]
    if not ((mine > 0) & (mine <= 1)).all() or not ((theirs >= 0) & (theirs <= 1)).all():
        raise PropensityError("a propensity is missing or no probability; of what was drawn it is above 0")
    if (mine == 1).all() and (theirs != 1).any():
        raise PropensityError("the logging policy left nothing to chance: its log says nothing of another policy")
    ratios = np.ones(rewards.shape)
    ratios[there] = theirs / mine
    return ratios.cumprod(1)


def _add_up(rows: np.ndarray, listeners: np.ndarray | None) -> np.ndarray:
    """The sums of each listener's rows."""
    if listeners is None:
        return rows
    if len(listeners) != len(rows):
        raise PropensityError("each shelf needs its listener")
    names, owners = np.unique(listeners, return_inverse=True)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, owners, rows)
    return sums


def _figures(sums: np.ndarray) -> np.ndarray:
    """The figures of an estimate from sums over (resampled) shelves, shape (resamples, figures)."""
    k = sums.shape[1] // 2 - 1
    above, below, logged, shelves = sums[:, :k], sums[:, k : 2 * k], sums[:, -2], sums[:, -1]
    # A resample without any shelf that the other policy draws says nothing; 0 widens the interval as it should.
    snips = np.divide(above, below, out=np.zeros(above.shape), where=below > 0).sum(1)
    return np.column_stack([snips, above.sum(1) / shelves, logged / shelves, snips - logged / shelves, below[:, -1] / shelves])


def _interval(value: float, drawn: np.ndarray, count: int, confidence: float) -> Interval:
    low, high = np.quantile(drawn, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(float(value), float(low), float(high), count, confidence)
