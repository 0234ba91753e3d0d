"""Which members a blend needs, and how much each counts: learnt on validation data, where a member has to earn its place.

Only items that some member has among its best can be among the best of a blend, so weights are learnt on those candidates alone.
Members enter one after the other, the one with the largest gain first; it has to be a gain by its interval, each listener's gain
taken at a weight that the other half of the listeners chose. Those that are no gain by themselves may be one together: they enter
then all at once, or not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.arithmetic import add_scaled
from spotify_ai_assets.recommendations.models.contract import Model
from spotify_ai_assets.recommendations.models.kernels import top_of
from spotify_ai_assets.training.metrics import Interval, bootstrap_interval, paired_difference

GRID = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)
"""Weights that are tried, in units of the first member's; the platform's gate sees no difference between finer steps."""

_DEPTH, _BLOCK = 100, 512


@dataclass(frozen=True, slots=True)
class Candidates:
    """What members say of the items that may get onto a shelf.

    Attributes:
        names: The members.
        scores: In units of the spread over all items, as ``Blend`` adds them, float32, shape (listeners, c, members); minus infinity
            behind a listener's last candidate.
        hits: Whether each is played later, shape (listeners, c).
        wanted: How many items are played later, also those that are no candidates, shape (listeners,); above 0.
    """

    names: tuple[str, ...]
    scores: np.ndarray
    hits: np.ndarray
    wanted: np.ndarray


@dataclass(frozen=True, slots=True)
class Earning:
    """What a member was found to earn.

    Attributes:
        member: Its name.
        weight: Its weight in the blend; 0 where it did not earn one.
        alone: NDCG of the member alone.
        gain: NDCG that it adds to those that were in the blend before it, or that the members that entered with it add together; for
            the first, that is what it has alone.
    """

    member: str
    weight: float
    alone: Interval
    gain: Interval


def gather_candidates(
    models: Mapping[str, Model], histories: csr_matrix, truth: csr_matrix, countries: Sequence[str] | None = None
) -> Candidates:
    """Ask members for their best items that a history does not hold, and each for its score of all of them.

    Args:
        models: The members.
        histories: Shape (n, items).
        truth: What is played later, of the same shape; listeners without any are left out.
        countries: Country of each history.
    """
    asked = np.flatnonzero(np.diff(truth.indptr))
    blocks = [asked[first : first + _BLOCK] for first in range(0, len(asked), _BLOCK)]
    parts = [_gather(models, histories[rows], truth[rows], _of(countries, rows)) for rows in blocks]
    width = max((scores.shape[1] for scores, _hits in parts), default=0)
    scores = np.full((len(asked), width, len(models)), -np.inf, np.float32)
    hits = np.zeros((len(asked), width), bool)
    first = 0
    for some, right in parts:
        scores[first : first + len(some), : some.shape[1]] = some
        hits[first : first + len(some), : some.shape[1]] = right
        first += len(some)
    return Candidates(tuple(models), scores, hits, np.diff(truth.indptr)[asked])


def ndcg_of(candidates: Candidates, weights: Sequence[float] | np.ndarray, k: int) -> np.ndarray:
    """NDCG at k of each listener's candidates in the order of a weighted sum, float64, shape (listeners,).

    Equal scores are ordered by the number of the item, as everywhere; the ideal shelf has min(k, items played later) hits.
    """
    weights = np.asarray(weights, np.float32)
    counted = weights > 0
    # A weight of 0 times minus infinity would be no number.
    total = candidates.scores[:, :, counted] @ weights[counted]
    places, _ = top_of(total, None, k)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    gained = (np.take_along_axis(candidates.hits, np.maximum(places, 0), axis=1) & (places >= 0)) @ discounts
    return gained / np.cumsum(discounts)[np.minimum(candidates.wanted, k) - 1]


def learn_weights(candidates: Candidates, k: int, *, seed: int, grid: Sequence[float] = GRID) -> list[Earning]:
    """Choose members and their weights.

    Args:
        candidates: Of validation data.
        k: Places of the shelf.
        seed: Of the halves and of the intervals.
        grid: Weights to try, in units of the first member's.

    Returns:
        One for each member, those in the blend first and in the order in which they entered.

    Raises:
        ValueError: There is no member or nobody to learn from.
    """
    members = len(candidates.names)
    if not members or not len(candidates.wanted):
        raise ValueError("weights are learnt of at least one member and one listener")
    alone = [ndcg_of(candidates, np.eye(members)[member], k) for member in range(members)]
    said = [bootstrap_interval(figures, seed=seed) for figures in alone]
    best = max(range(members), key=lambda member: said[member].value)
    half = np.random.default_rng(seed).permutation(len(candidates.wanted)) % 2 == 0
    weights, gains = np.eye(members)[best], {best: said[best]}
    refused: dict[int, Interval] = {}
    current = alone[best]
    while open_ := [member for member in range(members) if member not in gains]:
        tried = {member: _try(candidates, weights, member, k, grid, half) for member in open_}
        refused = {member: paired_difference(crossed, current, seed=seed) for member, (crossed, _weight) in tried.items()}
        member = max(open_, key=lambda each: refused[each].value)
        if not refused[member].is_gain:
            break
        gains[member] = refused.pop(member)
        weights[member] = tried[member][1]
        weights = _refine(candidates, weights, best, k, grid)
        current = ndcg_of(candidates, weights, k)
    group = [member for member, gain in refused.items() if gain.value > 0]
    if len(group) > 1:
        crossed = _try_together(candidates, weights, best, group, k, grid, half)
        gain = paired_difference(crossed, current, seed=seed)
        if gain.is_gain:
            weights = _fit_together(candidates, weights, best, group, k, grid)
            gains |= dict.fromkeys(group, gain)
            refused = {member: gain for member, gain in refused.items() if member not in group}
    found = [Earning(candidates.names[each], float(weights[each]), said[each], gain) for each, gain in gains.items()]
    return found + [Earning(candidates.names[each], 0.0, said[each], gain) for each, gain in refused.items()]


def _of(countries: Sequence[str] | None, rows: np.ndarray) -> list[str] | None:
    return None if countries is None else [countries[int(row)] for row in rows]


def _gather(
    models: Mapping[str, Model], histories: csr_matrix, truth: csr_matrix, countries: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray]:
    scaled: list[np.ndarray] = []
    tops: list[np.ndarray] = []
    for model in models.values():
        scores = model.score(histories, countries)
        total = np.zeros_like(scores)
        add_scaled(scores, 1.0, total)
        scaled.append(total)
        tops.append(top_of(total, histories, min(_DEPTH, total.shape[1]))[0])
    picked = [np.unique(row[row >= 0]) for row in np.concatenate(tops, axis=1)]
    width = max(map(len, picked))
    found, hits = np.full((len(picked), width, len(models)), -np.inf, np.float32), np.zeros((len(picked), width), bool)
    for row, items in enumerate(picked):
        for member, scores in enumerate(scaled):
            found[row, : len(items), member] = scores[row, items]
        hits[row, : len(items)] = np.isin(items, truth.indices[truth.indptr[row] : truth.indptr[row + 1]])
    return found, hits


def _try(
    candidates: Candidates, weights: np.ndarray, member: int, k: int, grid: Sequence[float], half: np.ndarray
) -> tuple[np.ndarray, float]:
    """NDCG of each listener with one more member at the weight that the other half chose, and the weight that all choose."""
    figures = np.stack([ndcg_of(candidates, _with(weights, member, weight), k) for weight in grid])
    by_first, by_second = (int(figures[:, part].mean(axis=1).argmax()) if part.any() else 0 for part in (half, ~half))
    return np.where(half, figures[by_second], figures[by_first]), float(grid[int(figures.mean(axis=1).argmax())])


def _try_together(
    candidates: Candidates, weights: np.ndarray, first: int, group: list[int], k: int, grid: Sequence[float], half: np.ndarray
) -> np.ndarray:
    """NDCG of each listener with several more members at the weights that the other half chose."""
    crossed = np.empty(len(half))
    for part in (half, ~half):
        if part.any():
            others = ~part if (~part).any() else part
            learnt = _fit_together(_only(candidates, others), weights, first, group, k, grid)
            crossed[part] = ndcg_of(_only(candidates, part), learnt, k)
    return crossed


def _fit_together(candidates: Candidates, weights: np.ndarray, first: int, group: list[int], k: int, grid: Sequence[float]) -> np.ndarray:
    """Weights of members that enter together: each of a small one first, then two rounds over all."""
    weights = weights.copy()
    weights[group] = grid[len(grid) // 4]
    for _ in range(2):
        weights = _refine(candidates, weights, first, k, grid)
    return weights


def _only(candidates: Candidates, rows: np.ndarray) -> Candidates:
    return Candidates(candidates.names, candidates.scores[rows], candidates.hits[rows], candidates.wanted[rows])


def _refine(candidates: Candidates, weights: np.ndarray, first: int, k: int, grid: Sequence[float]) -> np.ndarray:
    """One more round over the weights of all but the first member, each the best for those of the others."""
    for member in np.flatnonzero(weights).tolist():
        if member != first:
            means = [ndcg_of(candidates, _with(weights, member, weight), k).mean() for weight in grid]
            weights = _with(weights, member, float(grid[int(np.argmax(means))]))
    return weights


def _with(weights: np.ndarray, member: int, weight: float) -> np.ndarray:
    changed = weights.copy()
    changed[member] = weight
    return changed
