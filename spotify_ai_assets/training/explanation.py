"""Why a network answers as it does: attributions that add up to the answer, and the tests that they must pass.

Integrated gradients (Sundararajan et al., 2017) through captum: each input's share of the difference between the answer for a
case and the answer for a baseline. How far the shares are from adding up to it is the completeness gap. Whether an attribution
means anything is tested by deleting and inserting inputs in its order (Petsiuk et al., 2018; Samek et al., 2017) beside a random
order, and by randomising the weights, which must change the map (Adebayo et al., 2018).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spotify_ai_assets.training.determinism import steady

if TYPE_CHECKING:
    from torch import nn

Score = Callable[[np.ndarray], np.ndarray]
"""Given cases, gives one number for each: the answer that is explained."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """What each input added to an answer.

    Attributes:
        values: float32, shape of the cases: share of each input in the answer's difference from the baseline's.
        difference: float64, shape (cases,): that difference.
        gap: float64, shape (cases,): how far the shares are from adding up to it, relative to its size; to ``floor`` where the
            difference is smaller than that, since a share of nothing says nothing.
        steps: Points of the path that were computed.
    """

    values: np.ndarray
    difference: np.ndarray
    gap: np.ndarray
    steps: int


def attribute(
    network: "nn.Module",
    cases: np.ndarray,
    targets: np.ndarray,
    baseline: np.ndarray,
    *,
    most_gap: float = 0.01,
    steps: int = 32,
    most_steps: int = 512,
    batch: int = 64,
    floor: float = 1e-3,
) -> Attribution:
    """Attribute answers of a network to its inputs by integrated gradients along the straight path from a baseline.

    Steps are doubled until every case's gap is small enough, or no more are allowed: look at ``gap``.

    Args:
        network: Gives raw answers of shape (cases, classes); used in evaluation mode.
        cases: float32, shape (cases, ...).
        targets: Which answer of each case is explained, shape (cases,).
        baseline: An input without content, such as the mean of the training data; shape of one case.
        most_gap: The gap that is small enough, relative.
        steps: Points of the path at first, by Gauss-Legendre quadrature.
        most_steps: And at most.
        batch: Points computed at a time.
        floor: Smallest difference that a gap is relative to, in units of the answer.
    """
    import torch
    from captum.attr import IntegratedGradients

    device = next((each.device for each in network.parameters()), torch.device("cpu"))
    was_training = network.training
    inputs, start = (
        torch.from_numpy(np.ascontiguousarray(cases)).to(device),
        torch.from_numpy(np.ascontiguousarray(baseline[None])).to(device),
    )
    wanted = torch.from_numpy(np.asarray(targets, np.int64)).to(device)
    network.eval()
    try:
        with steady(0, torch.get_num_threads()):
            with torch.inference_mode():
                difference = (network(inputs).gather(1, wanted[:, None])[:, 0] - network(start)[0, wanted]).double().cpu().numpy()
            explainer = IntegratedGradients(network)
            while True:
                values = explainer.attribute(
                    inputs, start, target=wanted, n_steps=steps, method="gausslegendre", internal_batch_size=max(batch, len(cases))
                )
                found = values.detach().cpu().numpy().astype(np.float32)
                gap = np.abs(found.reshape(len(found), -1).sum(1, dtype=np.float64) - difference) / np.maximum(np.abs(difference), floor)
                if (gap <= most_gap).all() or steps * 2 > most_steps:
                    return Attribution(found, difference, gap, steps)
                steps *= 2
    finally:
        network.train(was_training)


@dataclass(frozen=True, slots=True)
class Curve:
    """How an answer changes while inputs are replaced, those with the largest attribution first.

    Attributes:
        shares: float64, shape (points,): share of the inputs replaced so far, from 0 to 1.
        scores: float64, shape (points,): the answer then.
    """

    shares: np.ndarray
    scores: np.ndarray

    @property
    def area(self) -> float:
        """Area under the curve, by trapezes: of a deletion the smaller, of an insertion the larger is the better."""
        return float(np.trapezoid(self.scores, self.shares))


def delete(score: Score, case: np.ndarray, attribution: np.ndarray, baseline: np.ndarray, points: int = 20, patch: int = 1) -> Curve:
    """Replace inputs of a case by the baseline, those with the largest attribution first.

    Args:
        score: The answer that is explained.
        case: One case, without the dimension of cases.
        attribution: Share of each of its inputs.
        baseline: What is put in their place, of the same shape.
        points: Steps from nothing to everything.
        patch: Side of the blocks of the last two dimensions that are replaced together.
    """
    return _replace(score, case, baseline, _order(attribution, patch), points)


def insert(score: Score, case: np.ndarray, attribution: np.ndarray, baseline: np.ndarray, points: int = 20, patch: int = 1) -> Curve:
    """Put inputs of a case into the baseline, those with the largest attribution first; arguments as of ``delete``."""
    return _replace(score, baseline, case, _order(attribution, patch), points)


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """How an attribution does beside random ones on one case.

    Attributes:
        deletion: Area under its deletion curve; less is better.
        insertion: Area under its insertion curve; more is better.
        random_deletion: float64, shape (orders,): the areas of random orders.
        random_insertion: float64, shape (orders,).
    """

    deletion: float
    insertion: float
    random_deletion: np.ndarray
    random_insertion: np.ndarray

    @property
    def gain(self) -> float:
        """By how much it beats the mean random order, of deletion and insertion together; positive is better."""
        return float((self.random_deletion.mean() - self.deletion) + (self.insertion - self.random_insertion.mean()))


def measure_faithfulness(
    score: Score,
    case: np.ndarray,
    attribution: np.ndarray,
    baseline: np.ndarray,
    *,
    points: int = 20,
    patch: int = 1,
    orders: int = 5,
    seed: int = 0,
) -> Faithfulness:
    """Delete and insert in the order of an attribution and in random ones.

    Args:
        score: The answer that is explained.
        case: One case, without the dimension of cases.
        attribution: Share of each of its inputs.
        baseline: What stands for no content, of the same shape.
        points: Steps from nothing to everything.
        patch: Side of the blocks of the last two dimensions that are replaced together.
        orders: How many random ones.
        seed: Of those.
    """
    rng = np.random.default_rng(seed)
    random = [rng.random(attribution.shape) for _ in range(orders)]
    return Faithfulness(
        delete(score, case, attribution, baseline, points, patch).area,
        insert(score, case, attribution, baseline, points, patch).area,
        np.array([delete(score, case, each, baseline, points, patch).area for each in random]),
        np.array([insert(score, case, each, baseline, points, patch).area for each in random]),
    )


def measure_sanity(network: "nn.Module", explain: "Callable[[nn.Module], np.ndarray]", seed: int = 0) -> float:
    """How alike the maps of a network and of one with random weights are: a map that stays explains the input, not the network.

    Args:
        network: As trained; left as it is.
        explain: Given a network, gives attributions.
        seed: Of the random weights.

    Returns:
        Spearman's rank correlation of the absolute attributions, the mean over the first dimension, -1..1; near 0 is sane.
    """
    trained, random = explain(network), explain(randomised(network, seed))
    found = [_rank_correlation(np.abs(ours).ravel(), np.abs(theirs).ravel()) for ours, theirs in zip(trained, random, strict=True)]
    return float(np.mean(found))


def randomised(network: "nn.Module", seed: int = 0) -> "nn.Module":
    """A copy of a network whose weights were drawn anew.

    Layers that know how are reset; weights of no such layer are normal with the spread that they had.
    """
    import copy

    import torch

    other = copy.deepcopy(network)
    with steady(seed, torch.get_num_threads()), torch.no_grad():
        for module in other.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for parameter in module.parameters(recurse=False):
                spread = float(parameter.std()) if parameter.numel() > 1 else 1.0
                parameter.normal_(0.0, spread if math.isfinite(spread) and spread > 0 else 1.0)
    return other.eval()


def _rank_correlation(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Spearman's; 0 where one of the two is the same everywhere."""
    from scipy.stats import rankdata

    if not np.ptp(ours) or not np.ptp(theirs):
        return 0.0
    return float(np.corrcoef(rankdata(ours), rankdata(theirs))[0, 1])


def _order(attribution: np.ndarray, patch: int) -> np.ndarray:
    """Inputs, or blocks of them, by falling attribution.

    Returns:
        int64, shape of the attribution: the place of each input in the order.
    """
    if patch > 1:
        height, width = attribution.shape[-2:]
        rows, columns = np.arange(height) // patch, np.arange(width) // patch
        block = rows[:, None] * (columns[-1] + 1) + columns
        flat = np.broadcast_to(block, attribution.shape).ravel()
        means = np.bincount(flat, attribution.ravel()) / np.bincount(flat)
        place = np.empty(len(means), np.int64)
        place[np.argsort(-means, kind="stable")] = np.arange(len(means))
        return place[flat].reshape(attribution.shape)
    place = np.empty(attribution.size, np.int64)
    place[np.argsort(-attribution.ravel(), kind="stable")] = np.arange(attribution.size)
    return place.reshape(attribution.shape)


def _replace(score: Score, begin: np.ndarray, end: np.ndarray, order: np.ndarray, points: int) -> Curve:
    """Scores on the way from one input to another, the first places of an order first."""
    shares = np.linspace(0, 1, points + 1)
    counts = np.rint(shares * (order.max() + 1))
    frames = np.stack([np.where(order < count, end, begin) for count in counts]).astype(begin.dtype)
    return Curve(shares, np.asarray(score(frames), np.float64))
