"""How surely figures of listeners are known: one set of resamples for many figures, and the jackknife where resampling misleads."""

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from spotify_ai_assets.training.metrics import REPEATS, Interval

_CELLS_AT_ONCE = 4_000_000
"""Cells of the resamples that are held at a time: 32 MB."""


def resample(count: int, *, seed: int = 0, repeats: int = REPEATS) -> Iterator[np.ndarray]:
    """Draw resamples of listeners with replacement (Efron, 1979).

    Args:
        count: How many listeners there are, at least one.
        seed: Of the draw.
        repeats: How many resamples.

    Yields:
        How often each listener is in each of some resamples, float64, shape (some, count).
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, min(64, _CELLS_AT_ONCE // count))
    for begin in range(0, repeats, at_once):
        many = min(at_once, repeats - begin)
        places = rng.integers(count, size=(many, count)) + np.arange(many)[:, None] * count
        yield np.bincount(places.ravel(), minlength=many * count).reshape(many, count).astype(float)


def mean_intervals(columns: np.ndarray, *, seed: int = 0, repeats: int = REPEATS, confidence: float = 0.95) -> list[Interval]:
    """The percentile bootstrap intervals of the means of several figures of the same listeners.

    All figures share the resamples, so that many cost little more than one.

    Args:
        columns: Shape (listeners, figures); not a number where a figure means nothing for a listener, who then does not count.
        seed: Of the resamples.
        repeats: How many resamples.
        confidence: Two-sided.

    Returns:
        One interval per figure; of one that nobody has, all three numbers are not numbers and the count is 0.
    """
    columns = np.asarray(columns, float)
    counted = np.isfinite(columns)
    cases = counted.sum(0)
    if not len(columns) or not columns.shape[1]:
        return [_unknown(confidence) for _ in cases]
    values, ones = np.where(counted, columns, 0.0), counted.astype(float)
    found = np.concatenate([_ratio(times @ values, times @ ones) for times in resample(len(columns), seed=seed, repeats=repeats)])
    means = _ratio(values.sum(0), ones.sum(0))
    return [
        Interval(float(mean), *_ends(drawn, confidence), int(many), confidence) if many else _unknown(confidence)
        for mean, drawn, many in zip(means, found.T, cases, strict=True)
    ]


def paired_intervals(ours: np.ndarray, theirs: np.ndarray, *, seed: int = 0, repeats: int = REPEATS) -> list[Interval]:
    """The intervals of the mean differences of several figures of the same listeners: positive where ours is the higher.

    Args:
        ours: Shape (listeners, figures).
        theirs: The others' figures, of the same shape; who lacks either does not count.
        seed: Of the resamples.
        repeats: How many resamples.

    Raises:
        ValueError: The two are not of the same listeners.
    """
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    if ours.shape != theirs.shape:
        raise ValueError("a comparison in pairs needs both figures of each listener")
    return mean_intervals(ours - theirs, seed=seed, repeats=repeats)


def jackknife_interval(value: float, without: np.ndarray, *, confidence: float = 0.95) -> Interval:
    """The interval of a figure that is no mean, by the jackknife (Tukey, 1958; Efron and Stein, 1981) and the normal law.

    A resample with replacement holds fewer different listeners than there are, so whatever counts different things, such as the
    coverage of a catalogue, is lower in every resample than it is; leaving one listener out at a time has no such bias.

    Args:
        value: The figure of all listeners.
        without: The figure without each of them, shape (listeners,).
        confidence: Two-sided.
    """
    count = len(without)
    if count < 2 or not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"), count, confidence)
    spread = np.sqrt((count - 1) / count * np.square(without - without.mean()).sum())
    reach = float(NormalDist().inv_cdf(0.5 + confidence / 2) * spread)
    return Interval(value, value - reach, value + reach, count, confidence)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _ends(found: np.ndarray, confidence: float) -> tuple[float, float]:
    """A resample may hold nobody of a small slice; it says nothing then."""
    low, high = np.quantile(found[np.isfinite(found)], [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def _unknown(confidence: float) -> Interval:
    return Interval(float("nan"), float("nan"), float("nan"), 0, confidence)
