"""How many plays to expect, and how far off a count is: the model of counts with a rhythm of the week and of the day.

* A day is expected at its series' level, the median of the weeks around it (before it, for the newest), times the factor of its
  weekday. An hour is expected at its share of the day, by hour, by weekend or not, and by weekday.
* Each step from the general to the particular is taken as far as it exceeds the noise of counting (empirical Bayes, the between
  variance by moments): few weeks or few plays give a flat rhythm, many give their own.
* Plays come in sittings, so counts vary more than Poisson's: by a factor of the mean, estimated for each series, and by ``DRIFT``
  of the mean that no number of plays makes smaller. What was fitted makes the past look less scattered than the next day will be,
  so a factor is one of the degrees of freedom that are left. That of few days is itself a rough guess, and a guess that is too low
  is a false alarm: it is drawn to what is usual for all series.
* A sum of sittings of exponential lengths is a Tweedie variable of power 1.5, the deviance residual of which is the difference of
  roots (Jorgensen, 1987); with Anscombe's offset of 3/8 it is close to standard normal where sittings are few.

What is too far off belongs to ``anomalies``.
"""

from typing import NamedTuple

import numpy as np

LEVEL_DAYS = 28
DRIFT = 0.02
_LEAST_COUNT = 5.0
"""The smallest expected count that tells anything of the noise, after Cochran's rule."""
_FAR = 4.0
_EDGE = 2.0
"""Deviations beyond which a day counts as on the edge where scatter is measured."""
_OFFSET = 3 / 8
_NORMAL = 1.4826
"""The standard deviation of a normal distribution as a multiple of its median absolute deviation."""
_MEDIAN = np.pi / 2
"""The variance of the median as a multiple of that of the mean."""


class Expected(NamedTuple):
    """Expected counts and their variances, in the shape of the counts."""

    mean: np.ndarray
    variance: np.ndarray


class _Shrunk(NamedTuple):
    """Parameters along the last axis, the variances that they are left with, and how many were taken from the data."""

    value: np.ndarray
    doubt: np.ndarray
    taken: np.ndarray


def expect_days(counts: np.ndarray, weekdays: np.ndarray) -> Expected:
    """Expect the count of each day.

    Args:
        counts: Series by days, the newest last; the newest is not looked at. The first series is the sum of all.
        weekdays: Of the days, 0 is Monday.
    """
    past, known = counts[:, :-1], weekdays[:-1]
    # The week of all is the guess for the week of each.
    of_all = _rhythm(past[:1], known, np.ones((1, 7)))
    rhythm, doubt, taken = _rhythm(past, known, of_all.value)
    doubt = doubt + of_all.doubt
    flat = past / rhythm[:, known]
    days = past.shape[1]
    begin = np.clip(np.arange(days + 1) - LEVEL_DAYS // 2, 0, max(days - LEVEL_DAYS, 0))
    begin[-1] = max(days - LEVEL_DAYS, 0)
    level = np.stack([np.median(flat[:, first : first + LEVEL_DAYS], axis=1) for first in begin], axis=1)
    mean = level * rhythm[:, weekdays]
    tells = level[:, -1] >= _LEAST_COUNT
    factor = _disperse((past - mean[:, :-1]) / np.sqrt(np.maximum(mean[:, :-1], 1.0)), taken, tells)
    variance = _spread(mean, factor[:, None]) + doubt[:, weekdays] * np.square(mean)
    variance[:, -1] += np.maximum(factor, 1.0) * mean[:, -1] * _MEDIAN / min(days, LEVEL_DAYS)
    return Expected(mean, variance)


def _disperse(residuals: np.ndarray, taken: np.ndarray, tells: np.ndarray) -> np.ndarray:
    """The variance of days as a multiple of their mean, one for each series.

    A variance that outages do not swell (values beyond ``_EDGE`` deviations count as on it, Huber's proposal 2), for the parameters
    that were fitted. Logarithms are drawn to those of the other series as far as they differ by no more than noise.

    Args:
        residuals: Series by days, in roots of what is expected.
        taken: Parameters that a series' rhythm took.
        tells: Which series have enough plays to tell it; the others get what is usual for these, or 1.
    """
    from scipy.stats import norm

    days = residuals.shape[1]
    spread = np.maximum(_NORMAL * np.median(np.abs(residuals), axis=1, keepdims=True), 1e-9)
    # The part of a normal variable's variance that is left when its tails are put on the edge.
    left = 1 - 2 * (_EDGE * norm.pdf(_EDGE) + (1 - _EDGE**2) * norm.sf(_EDGE))
    for _ in range(10):
        spread = np.sqrt(np.square(np.clip(residuals, -_EDGE * spread, _EDGE * spread)).mean(axis=1, keepdims=True) / left)
    freedom = np.maximum(days - taken - max(days / LEVEL_DAYS, 1.0), 1.0)
    squares = np.maximum(np.square(spread[:, 0]) * days / freedom, 1.0)
    if not tells.any():
        return np.ones_like(squares)
    logarithms, noise = np.log(squares), 2 / freedom
    usual = logarithms[tells].mean()
    between = max(float(logarithms[tells].var() - noise[tells].mean()), 0.0)
    return np.exp(np.where(tells, usual + (logarithms - usual) * between / (between + noise), usual))


def _rhythm(counts: np.ndarray, weekdays: np.ndarray, guess: np.ndarray) -> _Shrunk:
    """The factor of each weekday, series by seven: a guess, corrected as far as the noise allows."""
    flat = counts / guess[:, weekdays]
    ratio = flat / np.maximum(np.median(flat, axis=1, keepdims=True), 1.0)
    noise = np.square(_NORMAL * np.median(np.abs(ratio - 1), axis=1, keepdims=True)) * _MEDIAN
    is_day = weekdays == np.arange(7)[:, None]
    times = is_day.sum(axis=1)
    off = np.stack([np.median(ratio[:, one], axis=1) - 1 if one.any() else np.zeros(len(counts)) for one in is_day], axis=1)
    shrunk = _shrink(off, noise / np.maximum(times, 1e-9))
    return shrunk._replace(value=guess * (1 + shrunk.value))


def _shrink(off: np.ndarray, noise: np.ndarray) -> _Shrunk:
    """Deviations along the last axis, less what noise of these variances explains."""
    weight = 1 / np.maximum(noise, 1e-12)
    # Moments that show no more than noise leave a standard error of doubt.
    excess = np.maximum(np.sum(np.square(off) * weight - 1, axis=-1, keepdims=True), np.sqrt(2 * off.shape[-1]))
    between = excess / np.sum(weight, axis=-1, keepdims=True)
    kept = between / (between + 1 / weight)
    return _Shrunk(off * kept, kept / weight, kept.sum(axis=-1))


def expect_hours(counts: np.ndarray, days: Expected, day_counts: np.ndarray, weekdays: np.ndarray) -> Expected:
    """Expect the count of each hour.

    Args:
        counts: Series by days by 24 hours, the newest day last; that day is not looked at.
        days: What ``expect_days`` gives for the series.
        day_counts: Series by days.
        weekdays: Of the days, 0 is Monday.
    """
    daily = np.maximum(days.mean, 1e-9)[:, :, None]
    is_usual = np.abs(deviate(day_counts, days)) <= _FAR
    is_usual[:, -1] = False
    weight = np.repeat(is_usual[:, :, None], 24, axis=2).astype(float)
    mean, doubt, factor = daily * 0, daily * 0, np.ones((len(counts), 1, 1))
    for _ in range(2):
        share, doubt, taken = _shares(counts, weight, daily, factor, weekdays)
        mean = daily * share
        squares = (weight * np.square(counts - mean)).sum(axis=(1, 2)) / np.maximum((weight * mean).sum(axis=(1, 2)), 1e-9)
        # What the shares took from the data makes it look less scattered than the next day will be.
        cells = weight.sum(axis=(1, 2))
        squares *= cells / np.maximum(cells - taken, 24.0)
        factor = np.maximum(squares, 1.0)[:, None, None]
        # An hour that was far off itself is no yardstick.
        weight *= np.abs(deviate(counts, Expected(mean, _spread(mean, factor)))) <= _FAR
    variance = _spread(mean, factor) + doubt * np.square(mean)
    variance[:, -1] += (factor * mean)[:, -1] / np.maximum(weight.sum(axis=1), 1)
    return Expected(mean, variance)


def _shares(counts: np.ndarray, weight: np.ndarray, daily: np.ndarray, factor: np.ndarray, weekdays: np.ndarray) -> _Shrunk:
    """The share of each hour in its day, series by days by 24; in doubt as a factor is what weekdays change of it."""
    share = _ratio((weight * counts).sum(axis=1), (weight * daily).sum(axis=1))[:, None, :]
    expected = np.repeat(share, counts.shape[1], axis=1) * daily
    doubt, taken = np.zeros_like(expected), np.full(len(counts), 24.0)
    for groups in (weekdays // 5, weekdays):
        for group in np.unique(groups):
            inside = groups == group
            sums = (weight * expected)[:, inside].sum(axis=1)
            off = _ratio((weight * counts)[:, inside].sum(axis=1), sums) - (sums > 0)
            noise = factor[:, 0] / np.maximum(sums, 1e-9)
            shrunk = _shrink(off, noise)
            expected[:, inside] *= (1 + shrunk.value)[:, None, :]
            doubt[:, inside] += shrunk.doubt[:, None, :]
            taken += shrunk.taken
    return _Shrunk(expected / daily, doubt, taken)


def _ratio(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    return np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0)


def _spread(mean: np.ndarray, factor: np.ndarray) -> np.ndarray:
    return np.maximum(factor, 1.0) * mean + np.square(DRIFT * mean)


def deviate(counts: np.ndarray, expected: Expected) -> np.ndarray:
    """How far off counts are, in standard deviations of a normal variable; less than 0 where there are too few."""
    factor, root = _root(expected)
    return 2 * (np.sqrt(counts / factor + _OFFSET) - root)


def band(expected: Expected, width: float) -> tuple[np.ndarray, np.ndarray]:
    """The counts that are ``width`` off on either side; no count is less than 0."""
    factor, root = _root(expected)
    lower, upper = (factor * (np.square(np.maximum(root + half, 0)) - _OFFSET) for half in (-width / 2, width / 2))
    return np.maximum(lower, 0.0), upper


def _root(expected: Expected) -> tuple[np.ndarray, np.ndarray]:
    """The variance as a multiple of the mean, and the expected count of sittings' root."""
    factor = np.maximum(expected.variance / np.maximum(expected.mean, 1e-9), 1.0)
    return factor, np.sqrt(expected.mean / factor + _OFFSET)
