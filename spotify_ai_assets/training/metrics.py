"""What may be said about a model, and how surely: scores with their intervals, calibration, comparisons in pairs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

REPEATS = 2_000
"""Resamples of a bootstrap: the ends of a 95 % interval are then themselves known to about 2 % of its width."""

_AT_ONCE = 64
"""Resamples drawn at a time: more would only take memory."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and what it may be by chance.

    Attributes:
        value: The figure itself.
        low: Lower end.
        high: Upper end.
        count: Cases counted; of grouped cases, groups.
        confidence: How often such an interval holds the truth.
    """

    value: float
    low: float
    high: float
    count: int
    confidence: float = 0.95

    @property
    def is_gain(self) -> bool:
        """Whether a difference is above 0 by its interval; otherwise the two are on par."""
        return self.low > 0


def wilson_interval(right: int, count: int, confidence: float = 0.95) -> Interval:
    """The Wilson score interval of a share (Wilson, 1927), without continuity correction.

    Args:
        right: How many of the cases.
        count: How many cases.
        confidence: Two-sided.

    Raises:
        ValueError: There are no cases, or more right ones than cases.
    """
    if not 0 <= right <= count or not count:
        raise ValueError("a share needs cases, and no more right ones than those")
    from statistics import NormalDist

    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = right / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # At the ends of the scale the formula gives 0 and 1 but for rounding.
    return Interval(
        share, 0.0 if right == 0 else float(centre - reach), 1.0 if right == count else float(centre + reach), count, confidence
    )


def bootstrap_interval(
    values: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    statistic: Callable[[np.ndarray], float] | None = None,
    seed: int = 0,
    repeats: int = REPEATS,
    confidence: float = 0.95,
) -> Interval:
    """The percentile bootstrap interval (Efron, 1979) of a mean, or of another statistic.

    Args:
        values: One row per case, shape (cases,) or (cases, ...).
        groups: What each case belongs to, such as its artist, shape (cases,): whole groups are drawn then, since cases of one
            artist are no independent evidence.
        statistic: Of rows that may come more than once; the mean unless given.
        seed: Of the resamples.
        repeats: How many resamples.
        confidence: Two-sided.

    Raises:
        ValueError: There are no cases.
    """
    values = np.asarray(values)
    if not len(values):
        raise ValueError("an interval needs cases")
    rng = np.random.default_rng(seed)
    parts = _grouped(len(values), groups)
    if statistic is None and values.ndim == 1:
        # Of a mean only each group's sum and size matter, so all resamples are two matrix products.
        sums, sizes = np.array([values[part].sum() for part in parts], float), np.array([len(part) for part in parts], float)
        shares, found = np.full(len(parts), 1 / len(parts)), np.empty(repeats)
        for begin in range(0, repeats, _AT_ONCE):
            times = rng.multinomial(len(parts), shares, size=min(_AT_ONCE, repeats - begin))
            found[begin : begin + _AT_ONCE] = (times @ sums) / (times @ sizes)
        value = float(values.mean())
    else:
        measure = statistic or (lambda rows: float(rows.mean()))
        picks = (rng.integers(len(parts), size=len(parts)) for _ in range(repeats))
        found = np.array([measure(values[np.concatenate([parts[each] for each in pick])]) for pick in picks])
        value = float(measure(values))
    low, high = np.quantile(found, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(value, float(low), float(high), len(parts), confidence)


def paired_difference(
    ours: np.ndarray,
    theirs: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
    repeats: int = REPEATS,
    confidence: float = 0.95,
) -> Interval:
    """The interval of the mean difference of two scores of the same cases: positive where ours is the higher.

    Args:
        ours: Score of each case, shape (cases,).
        theirs: The other's score of the same cases.
        groups: What each case belongs to, such as its listener or artist.
        seed: Of the resamples.
        repeats: How many resamples.
        confidence: Two-sided.

    Raises:
        ValueError: The two are not of the same cases, or there are none.
    """
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise ValueError("a paired difference needs two scores of each case")
    return bootstrap_interval(ours - theirs, groups=groups, seed=seed, repeats=repeats, confidence=confidence)


def accuracy(labels: np.ndarray, predicted: np.ndarray, confidence: float = 0.95) -> Interval:
    """The share of right answers with its Wilson interval.

    Args:
        labels: The truth, shape (cases,).
        predicted: The answers, shape (cases,).
        confidence: Two-sided.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.shape != predicted.shape:
        raise ValueError("each case needs a label and an answer")
    return wilson_interval(int((labels == predicted).sum()), len(labels), confidence)


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts of answers by truth.

    Args:
        labels: Numbers of the true classes, shape (cases,).
        predicted: Numbers of the answered classes, shape (cases,).
        classes: How many classes there are.

    Returns:
        int64, shape (classes, classes): rows are the truth, columns the answers.
    """
    flat = np.asarray(labels, np.int64) * classes + np.asarray(predicted, np.int64)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True, slots=True)
class Reliability:
    """How sure answers were, and how often they were right, in bins of equal width.

    Attributes:
        edges: float64, shape (bins + 1,), from 0 to 1.
        counts: int64, shape (bins,): cases of each bin.
        confidence: float64, shape (bins,): mean probability of the answer; not a number where a bin is empty.
        accuracy: float64, shape (bins,): share of right answers; not a number where a bin is empty.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error (Naeini et al., 2015): mean distance of the two, weighted by cases; in 0..1."""
        filled = self.counts > 0
        distance = np.abs(self.confidence[filled] - self.accuracy[filled])
        return float((distance * self.counts[filled]).sum() / self.counts.sum())


def measure_reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> Reliability:
    """Sort answers into bins by how sure they were.

    Args:
        probabilities: Of each class, shape (cases, classes), rows adding up to 1.
        labels: Numbers of the true classes, shape (cases,).
        bins: How many.

    Raises:
        ValueError: There are no cases, or a row does not add up to 1.
    """
    probabilities, labels = np.asarray(probabilities, float), np.asarray(labels)
    if not len(labels) or len(labels) != len(probabilities):
        raise ValueError("reliability needs cases, each with probabilities and a label")
    if not np.allclose(probabilities.sum(1), 1, atol=1e-3):
        raise ValueError("probabilities of a case must add up to 1")
    answers, sureness = probabilities.argmax(1), probabilities.max(1)
    # A bin holds its upper edge, so that a probability of 1 is in the last one.
    place = np.clip(np.ceil(sureness * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sure, right = (np.bincount(place, weights, bins) for weights in (sureness, (answers == labels).astype(float)))
    with np.errstate(invalid="ignore"):
        return Reliability(np.linspace(0, 1, bins + 1), counts, sure / counts, right / counts)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """The mean distance between how sure answers were and how often they were right, as ``Reliability.error`` defines it."""
    return measure_reliability(probabilities, labels, bins).error


def _grouped(count: int, groups: np.ndarray | None) -> list[np.ndarray]:
    """The numbers of the cases of each group; without groups each case is its own."""
    if groups is None:
        return list(np.arange(count)[:, None])
    if len(groups) != count:
        raise ValueError("each case needs a group")
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(place, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(place[order])) + 1)
