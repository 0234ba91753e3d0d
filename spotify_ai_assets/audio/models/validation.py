"""What may be claimed of a classifier: answers for clips whose group trained nothing, and what they say.

Groups are artists, recordings or official folds. A random split would hold the same recording on both sides, so without groups there
is no claim.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spotify_ai_assets.training.calibration import calibrate, fit_temperature, negative_log_likelihood
from spotify_ai_assets.training.metrics import Interval, Reliability, accuracy, bootstrap_interval, confusion, measure_reliability


@dataclass(frozen=True, slots=True)
class Validation:
    """What held-out clips say about a recipe.

    Attributes:
        logits: float64, shape (clips, classes), each by a model that knew nothing of the clip's group.
        labels: int64, shape (clips,).
        part: Which part each clip was held out in, int64, shape (clips,).
        accuracy: Share of right answers with its Wilson interval, as if clips were independent.
        accuracy_by_group: The same share, its interval from resampling whole groups.
        majority: What always answering the commonest label would reach.
        confusion: int64, shape (classes, classes): rows are the truth, columns the answers.
        temperature: By which logits are divided.
        reliability: Of the cross-fitted probabilities.
        log_loss: Nats per clip of the cross-fitted probabilities.
        log_loss_uncalibrated: The same at temperature 1.
    """

    logits: np.ndarray
    labels: np.ndarray
    part: np.ndarray
    accuracy: Interval
    accuracy_by_group: Interval
    majority: float
    confusion: np.ndarray
    temperature: float
    reliability: Reliability
    log_loss: float
    log_loss_uncalibrated: float


def why_no_claim(groups: Sequence[object] | None) -> str | None:
    """The reason for which nothing may be claimed of a model: ``no_groups`` or ``one_group``; ``None`` where there is none."""
    if groups is None:
        return "no_groups"
    return "one_group" if len(set(groups)) < 2 else None


def deal_groups(groups: Sequence[object], numbers: np.ndarray, parts: int) -> np.ndarray:
    """Deal whole groups into parts of like size and like mixture of classes.

    Groups go, the largest first, to the part in which they leave the smallest sum of squared class counts, of equal ones to the
    smallest part; equal groups go in the order of the clips. As many groups as parts, such as official folds, thus make a part each.

    Args:
        groups: Group of each clip.
        numbers: Class of each clip, int, shape (clips,).
        parts: How many; fewer where there are fewer groups.

    Returns:
        int64, shape (clips,): the part of each clip.
    """
    names = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    place = np.array([names[group] for group in groups])
    counts = np.zeros((len(names), int(numbers.max()) + 1), np.int64)
    np.add.at(counts, (place, numbers), 1)
    parts = min(parts, len(names))
    totals = np.zeros((parts, counts.shape[1]), np.int64)
    part_of = np.empty(len(names), np.int64)
    for group in np.argsort(-counts.sum(1), kind="stable"):
        cost = ((totals + counts[group]) ** 2).sum(1) - (totals**2).sum(1)
        part_of[group] = int(np.lexsort((totals.sum(1), cost))[0])  # of parts that it suits alike, the smallest
        totals[part_of[group]] += counts[group]
    return part_of[place]


def judge(logits: np.ndarray, numbers: np.ndarray, groups: Sequence[object], part: np.ndarray) -> Validation:
    """Everything that held-out logits say.

    Args:
        logits: Shape (clips, classes).
        numbers: True classes, int, shape (clips,).
        groups: Group of each clip, at least two different ones.
        part: Part in which each clip was held out.
    """
    classes, answers = logits.shape[1], logits.argmax(1)
    half = deal_groups(groups, numbers, 2)
    probabilities = np.empty_like(logits, dtype=float)
    for side in (0, 1):
        probabilities[half == side] = calibrate(logits[half == side], fit_temperature(logits[half != side], numbers[half != side]))
    names = np.unique([str(group) for group in groups], return_inverse=True)[1]
    return Validation(
        logits=logits,
        labels=numbers,
        part=part,
        accuracy=accuracy(numbers, answers),
        accuracy_by_group=bootstrap_interval((answers == numbers).astype(float), groups=names),
        majority=float(np.bincount(numbers).max() / len(numbers)),
        confusion=confusion(numbers, answers, classes),
        temperature=fit_temperature(logits, numbers),
        reliability=measure_reliability(probabilities, numbers),
        log_loss=float(-np.log(np.maximum(probabilities[np.arange(len(numbers)), numbers], 1e-300)).mean()),
        log_loss_uncalibrated=negative_log_likelihood(logits, numbers),
    )


def summarise(found: Validation) -> dict[str, Any]:
    """The evidence as a JSON document; empty bins of the reliability are ``None``."""
    sure = found.reliability
    return {
        "parts": int(found.part.max()) + 1,
        "accuracy": asdict(found.accuracy),
        "accuracy_by_group": asdict(found.accuracy_by_group),
        "majority": found.majority,
        "confusion": found.confusion.tolist(),
        "calibration_error": sure.error,
        "reliability": {
            "edges": sure.edges.tolist(),
            "counts": sure.counts.tolist(),
            "confidence": [None if np.isnan(value) else float(value) for value in sure.confidence],
            "accuracy": [None if np.isnan(value) else float(value) for value in sure.accuracy],
        },
        "log_loss": found.log_loss,
        "log_loss_uncalibrated": found.log_loss_uncalibrated,
    }
