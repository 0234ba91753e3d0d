"""Probabilities that mean what they say: temperature scaling (Guo et al., 2017), fitted on cases that trained nothing."""

import math

import numpy as np

_COLDEST, _HOTTEST = math.log(0.02), math.log(50.0)
_GOLDEN = (math.sqrt(5) - 1) / 2


def fit_temperature(logits: np.ndarray, labels: np.ndarray, precision: float = 1e-6) -> float:
    """The temperature by which held-out logits are to be divided so that their probabilities are the likeliest.

    The negative log likelihood is convex in 1/T, hence has one minimum along log T too, which golden-section search finds. Where
    the held-out cases are all answered rightly or hopelessly it lies at no finite place; then the end of 0.02..50 is given.

    Args:
        logits: Of each class, shape (cases, classes), of cases that neither trained nor chose the model.
        labels: Numbers of the true classes, shape (cases,).
        precision: Of log T.

    Raises:
        ValueError: There are no cases.
    """
    logits, labels = np.asarray(logits, float), np.asarray(labels)
    if not len(labels) or len(labels) != len(logits):
        raise ValueError("a temperature needs held-out cases, each with logits and a label")
    low, high = _COLDEST, _HOTTEST
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = (negative_log_likelihood(logits, labels, math.exp(each)) for each in (left, right))
    while high - low > precision:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = negative_log_likelihood(logits, labels, math.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = negative_log_likelihood(logits, labels, math.exp(right))
    return math.exp((low + high) / 2)


def calibrate(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities of logits at a temperature: float64, shape as given, rows adding up to 1; the order of classes stays."""
    return np.exp(_log_probabilities(logits, temperature))


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """The mean negative log probability of the true classes, in nats."""
    chosen = _log_probabilities(logits, temperature)[np.arange(len(labels)), labels]
    return float(-chosen.mean())


def _log_probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    if not temperature > 0:
        raise ValueError("a temperature must be above 0")
    scaled = np.asarray(logits, float) / temperature
    scaled = scaled - scaled.max(-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(-1, keepdims=True))
