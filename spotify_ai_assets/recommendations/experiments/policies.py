"""Shelves drawn by chance, with the chance of every draw: what a later estimate of another policy needs.

The policy is Plackett and Luce's over scores: each place is drawn among the items that remain with probabilities proportional to
``exp(score / temperature)``. Adding standard Gumbel noise to ``score / temperature`` and sorting draws from it (Yellott, 1977;
Kool, van Hoof and Welling, 2019), also where items drop out along the way, such as the third track of an artist: what remains is
never more than before, so the noise of whatever remains says nothing of what has been drawn.
"""

from collections.abc import Callable, Sequence

import numpy as np

LEAST_TEMPERATURE = 1e-9
"""Lower ones, but for 0, would leave the range of numbers."""


def draw_shelf(
    scores: np.ndarray,
    k: int,
    temperature: float,
    seed: int | Sequence[int] | np.ndarray,
    *,
    artists: np.ndarray | None = None,
    per_artist: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw shelves.

    A listener's shelf depends on their own scores and seed alone, so one listener and a batch get the same. Give the best few
    hundred candidates: every candidate costs k looks.

    Args:
        scores: Shape (candidates,) for one listener or (n, candidates) for several; minus infinity for what is not allowed.
        k: Places.
        temperature: 0 takes the best scores, ties by the lower number; the higher, the more chance, in units of the scores; if not
            0, at least 1e-9.
        seed: One number from 0 on for each listener.
        artists: Number of each candidate's artist, of the shape of the scores or (candidates,).
        per_artist: How many tracks of one artist a shelf may hold; counts where artists are given.

    Returns:
        Places among the candidates, int32, shape (k,) or (n, k), -1 where nobody remains; and the probability with which each was
        drawn, given the places before it, float64, 0 where nobody remains. At temperature 0 the probabilities are 1.

    Raises:
        ValueError: There are no candidates, a score is not a number or plus infinity, the temperature is none, or there is not
            one seed for each listener.
    """
    logits, seeds = _soften(scores, temperature), np.atleast_1d(np.asarray(seed))
    if len(seeds) != len(logits):
        raise ValueError("a draw needs one seed for each listener")
    keys = logits
    if temperature:
        noise = [np.random.default_rng(int(each)).gumbel(size=logits.shape[1]) for each in seeds]
        keys = logits + np.array(noise).reshape(logits.shape)

    def draw(_: int, remaining: np.ndarray) -> np.ndarray:
        return np.where(remaining.any(1), np.where(remaining, keys, -np.inf).argmax(1), -1)

    order, chances = _walk(logits, k, draw, temperature == 0, artists, per_artist)
    return (order, chances) if np.ndim(scores) > 1 else (order[0], chances[0])


def find_propensities(
    scores: np.ndarray, order: np.ndarray, temperature: float, *, artists: np.ndarray | None = None, per_artist: int = 2
) -> np.ndarray:
    """The probability with which a policy would have drawn each place of shelves that are given, after the places before it.

    Args:
        scores: The policy's scores, shape (candidates,) or (n, candidates).
        order: Places among the candidates, shape (k,) or (n, k); -1 where a place is empty.
        temperature: Of the policy; 0 for one that always takes the best.
        artists: Number of each candidate's artist, of the shape of the scores or (candidates,).
        per_artist: How many tracks of one artist a shelf may hold.

    Returns:
        float64 of the shape of the order; 0 where a place is empty or the policy could not have drawn it.

    Raises:
        ValueError: There are no candidates, a score is not a number or plus infinity, or the temperature is none.
    """
    places = np.atleast_2d(order)
    _, chances = _walk(
        _soften(scores, temperature), places.shape[1], lambda place, _: places[:, place], temperature == 0, artists, per_artist
    )
    return chances.reshape(np.shape(order))


def _soften(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Scores in units of the temperature, shape (n, candidates)."""
    rows = np.atleast_2d(np.asarray(scores, float))
    if not rows.shape[1] or np.isnan(rows).any() or np.isposinf(rows).any():
        raise ValueError("a draw needs candidates with scores that are numbers")
    if temperature != 0 and not LEAST_TEMPERATURE <= temperature < np.inf:
        raise ValueError(f"a temperature is 0 or a number from {LEAST_TEMPERATURE:g} on")
    return rows / temperature if temperature else rows


def _walk(
    logits: np.ndarray,
    k: int,
    pick: Callable[[int, np.ndarray], np.ndarray],
    is_greedy: bool,
    artists: np.ndarray | None,
    per_artist: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Fill place after place by ``pick``, with the probability of every pick among what remained."""
    order, chances = np.full((len(logits), k), -1, np.int32), np.zeros((len(logits), k))
    remaining = np.isfinite(logits)
    artists = None if artists is None else np.broadcast_to(artists, logits.shape)
    for place in range(k):
        order[:, place] = pick(place, remaining)
        chances[:, place] = _chance(logits, remaining, order[:, place], is_greedy)
        _strike(remaining, order[:, : place + 1], artists, per_artist)
    return order, chances


def _chance(logits: np.ndarray, remaining: np.ndarray, drawn: np.ndarray, is_greedy: bool) -> np.ndarray:
    """The probability of what was drawn among what remained, shape (n,); 0 where it did not remain."""
    at = np.maximum(drawn, 0)[:, None]
    held = (drawn >= 0) & np.take_along_axis(remaining, at, 1)[:, 0]
    left = np.where(remaining, logits, -np.inf)
    if is_greedy:
        return (held & (left.argmax(1) == drawn)).astype(float)
    left -= np.where(remaining.any(1), left.max(1), 0.0)[:, None]
    weights = np.exp(left)
    return np.where(held, np.take_along_axis(weights, at, 1)[:, 0], 0.0) / np.where(held, weights.sum(1), 1.0)


def _strike(remaining: np.ndarray, order: np.ndarray, artists: np.ndarray | None, per_artist: int) -> None:
    """Take what was placed last, and what its artist may have no more of, out of what remains."""
    last = order[:, -1]
    rows = np.flatnonzero(last >= 0)
    remaining[rows, last[rows]] = False
    if artists is not None:
        held = np.take_along_axis(artists, np.maximum(order, 0), 1)
        is_full = ((held == held[:, -1:]) & (order >= 0)).sum(1) >= per_artist
        remaining &= ~((is_full & (last >= 0))[:, None] & (artists == held[:, -1:]))
