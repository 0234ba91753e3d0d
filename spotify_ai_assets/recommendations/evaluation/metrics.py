"""What shelves are worth: how well they foresee what was played, and what they do to listeners and the catalogue.

All metrics are of the first k places over the full catalogue, relevance is yes or no, and a place that could not be filled counts
as a miss. Definitions:

==================  ===================================================================================================
recall              hits / tracks played later (all of them, also where they are more than k: as LightGCN's code counts)
precision           hits / k
ndcg                Σ hits 1/log2(rank + 1), over the same sum of an ideal shelf with min(k, tracks played later) hits
                    (Järvelin and Kekäläinen, 2002)
ndcg_of_hits        the same above, but over an ideal shelf with as many hits as this one had, as KGAT's code has it: about
                    twice the above and never to be put beside it
mrr                 1 / rank of the first hit, 0 without one (Voorhees, 1999)
novelty             mean self-information in bits, -log2 of an item's share of all entries, one added to each item
                    (Zhou et al., 2010)
popularity          mean share of an item in what the most popular one has, in 0..1 (average recommendation popularity,
                    Yin et al., 2012, in units of the most popular item)
popularity_bias     popularity of the shelf minus that of the listener's own history (after Abdollahpouri et al., 2019)
diversity           1 - mean cosine of the pairs on the shelf (intra-list distance, Ziegler et al., 2005)
artist_diversity    share of the pairs on the shelf that have two artists
repeat_rate         share of the shelf that the listener had heard before
coverage            share of the catalogue that is on anybody's shelf (Ge et al., 2010)
overlap             mean share of a shelf that another listener's shelf holds too (1 - Hamming distance of Zhou et al., 2010)
==================  ===================================================================================================

A listener who played nothing later has no recall, precision, ndcg or mrr and does not count there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

RELEVANCE = ("recall", "ndcg", "ndcg_of_hits", "mrr", "precision")
_CELLS_AT_ONCE = 8_000_000


@dataclass(frozen=True, slots=True)
class Total:
    """A figure of all shelves together.

    Attributes:
        value: The figure.
        without: What it would be without each listener, float64, shape (n,): what its interval hangs on.
    """

    value: float
    without: np.ndarray


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one recommender's shelves.

    Attributes:
        tops: The shelves, int32, shape (n, k); -1 where a place is empty.
        truth: What was played later, shape (n, items).
        by_listener: Figures of each listener by metric, float64, shape (n,); not a number where a metric means nothing.
        totals: Figures of all shelves together by metric.
    """

    tops: np.ndarray
    truth: "csr_matrix"
    by_listener: Mapping[str, np.ndarray]
    totals: Mapping[str, Total]

    @property
    def k(self) -> int:
        """Places of a shelf."""
        return self.tops.shape[1]

    def cases(self, metric: str) -> int:
        """How many listeners a metric counts."""
        return len(self.tops) if metric in self.totals else int(np.isfinite(self.by_listener[metric]).sum())

    def value(self, metric: str) -> float:
        """The mean of a metric over the listeners that it counts, or the figure of all together."""
        if metric in self.totals:
            return self.totals[metric].value
        values = self.by_listener[metric]
        values = values[np.isfinite(values)]
        return float(values.mean()) if len(values) else float("nan")


def measure(
    tops: np.ndarray,
    truth: "csr_matrix",
    *,
    seen: "csr_matrix | None" = None,
    item_artists: np.ndarray | None = None,
    item_popularity: np.ndarray | None = None,
    item_vectors: np.ndarray | None = None,
) -> Measured:
    """Measure shelves.

    Args:
        tops: Items of each listener, best first, shape (n, k); -1 where fewer remain. No item comes twice on a shelf.
        truth: What was played later, shape (n, items); any entry counts.
        seen: What was heard before, shape (n, items): gives the repeat rate and, with popularity, its bias.
        item_artists: Number of each item's artist, shape (items,): gives the diversity of artists.
        item_popularity: In how many histories each item is, shape (items,): gives novelty and popularity.
        item_vectors: Shape (items, d), of any length; rows of zeros are left out: gives the diversity.

    Raises:
        ValueError: The shapes do not fit, or an item is not in the catalogue.
    """
    _check(tops, truth, seen)
    filled = tops >= 0
    by_listener = relevance(tops, truth)
    if item_popularity is not None:
        by_listener |= _popularity(tops, filled, np.asarray(item_popularity, float), seen)
    if item_vectors is not None:
        by_listener["diversity"] = _diversity(tops, item_vectors)
    if item_artists is not None:
        by_listener["artist_diversity"] = _artist_diversity(tops, np.asarray(item_artists))
    if seen is not None:
        by_listener["repeat_rate"] = _mean_of_filled(contains(seen, tops).astype(float), filled)
    return Measured(tops, truth, by_listener, _totals(tops, filled, _count_items(truth)))


def relevance(tops: np.ndarray, truth: "csr_matrix") -> dict[str, np.ndarray]:
    """The metrics of what was foreseen, float64, shape (n,) each.

    Args:
        tops: Shape (n, k); -1 where a place is empty.
        truth: Shape (n, items).
    """
    k = tops.shape[1]
    hits = contains(truth, tops)
    found, wanted = hits.sum(1), np.diff(truth.indptr)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.r_[0.0, np.cumsum(discounts)]
    gained = hits @ discounts
    first = np.where(found > 0, 1 / (hits.argmax(1) + 1), 0.0)
    values = {
        "recall": found / np.maximum(wanted, 1),
        "ndcg": gained / np.maximum(ideal[np.minimum(wanted, k)], discounts[-1]),
        "ndcg_of_hits": gained / np.maximum(ideal[found], discounts[-1]),
        "mrr": first,
        "precision": found / k,
    }
    return {name: np.where(wanted > 0, values[name], np.nan) for name in RELEVANCE}


def contains(matrix: "csr_matrix", tops: np.ndarray) -> np.ndarray:
    """Which of the items on each shelf a row has, bool, shape (n, k); empty places are in none.

    Args:
        matrix: Shape (n, items).
        tops: Shape (n, k); -1 where a place is empty.
    """
    if not matrix.nnz or not tops.size:
        return np.zeros(tops.shape, bool)
    matrix = matrix if matrix.has_sorted_indices else matrix.sorted_indices()
    rows, items = len(tops), _count_items(matrix)
    keys = np.repeat(np.arange(rows, dtype=np.int64) * items, np.diff(matrix.indptr)) + matrix.indices
    asked = np.arange(rows, dtype=np.int64)[:, None] * items + tops
    places = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return (keys[places] == asked) & (tops >= 0)


def _count_items(matrix: "csr_matrix") -> int:
    """How many columns a matrix has."""
    shape = matrix.shape
    assert shape is not None, "a matrix has a shape"
    return shape[1]


def drop_seen(truth: "csr_matrix", seen: "csr_matrix") -> "csr_matrix":
    """What was played later and not heard before: the truth of the discovery table, which hides what was heard.

    Args:
        truth: What was played later, shape (n, items).
        seen: What was heard before, of the same shape.

    Raises:
        ValueError: The shapes differ.
    """
    if truth.shape != seen.shape:
        raise ValueError("what was played later and what was heard before must be of the same listeners and items")
    heard = seen.copy()
    heard.data = np.ones_like(heard.data)
    kept = truth - truth.multiply(heard)
    kept.eliminate_zeros()
    kept.sort_indices()
    return kept.tocsr()


def _check(tops: np.ndarray, truth: "csr_matrix", seen: "csr_matrix | None") -> None:
    if tops.ndim != 2 or not tops.shape[1] or len(tops) != len(truth.indptr) - 1:
        raise ValueError("shelves need at least one place, and a row for each listener of the truth")
    if seen is not None and seen.shape != truth.shape:
        raise ValueError("what was heard before must be of the same listeners and items as the truth")
    if tops.size and (tops.min() < -1 or tops.max() >= _count_items(truth)):
        raise ValueError("a shelf holds an item that is not in the catalogue")


def _mean_of_filled(values: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """Means over the filled places; not a number for an empty shelf."""
    counts = filled.sum(1)
    return np.divide(np.where(filled, values, 0.0).sum(1), counts, out=np.full(len(values), np.nan), where=counts > 0)


def _popularity(tops: np.ndarray, filled: np.ndarray, counts: np.ndarray, seen: "csr_matrix | None") -> dict[str, np.ndarray]:
    bits = -np.log2((counts + 1) / (counts.sum() + len(counts)))
    share = counts / max(float(counts.max(initial=0)), 1.0)
    popularity = _mean_of_filled(share[tops], filled)
    found = {"novelty": _mean_of_filled(bits[tops], filled), "popularity": popularity}
    if seen is not None:
        sizes = np.diff(seen.indptr)
        rows = np.repeat(np.arange(len(sizes)), sizes)
        sums = np.bincount(rows, share[seen.indices], len(sizes))
        found["popularity_bias"] = popularity - np.divide(sums, sizes, out=np.full(len(sizes), np.nan), where=sizes > 0)
    return found


def _blocks(rows: int, cells: int) -> list[slice]:
    step = max(1, _CELLS_AT_ONCE // max(cells, 1))
    return [slice(begin, begin + step) for begin in range(0, rows, step)]


def _diversity(tops: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Of unit vectors, |Σ u|² = c + Σ over ordered pairs of cosines, so that no pair has to be looked at."""
    lengths = np.linalg.norm(vectors, axis=1)
    known = lengths > 0
    unit = vectors / np.where(known, lengths, 1.0)[:, None]
    found = np.full(len(tops), np.nan)
    for block in _blocks(len(tops), tops.shape[1] * vectors.shape[1]):
        counted = (tops[block] >= 0) & known[tops[block]]
        count = counted.sum(1)
        length = np.square((unit[tops[block]] * counted[:, :, None]).sum(1, dtype=np.float64)).sum(1)
        pairs = count * (count - 1)
        found[block] = 1 - np.divide(length - count, pairs, out=np.full(len(count), np.nan), where=pairs > 0)
    return found


def _artist_diversity(tops: np.ndarray, artists: np.ndarray) -> np.ndarray:
    found = np.full(len(tops), np.nan)
    for block in _blocks(len(tops), tops.shape[1] ** 2):
        filled = tops[block] >= 0
        mine = artists[tops[block]]
        both = filled[:, :, None] & filled[:, None, :]
        pairs = both.sum((1, 2)) - filled.sum(1)
        equal = (both & (mine[:, :, None] == mine[:, None, :])).sum((1, 2)) - filled.sum(1)
        found[block] = 1 - np.divide(equal, pairs, out=np.full(len(mine), np.nan), where=pairs > 0)
    return found


def _totals(tops: np.ndarray, filled: np.ndarray, items: int) -> dict[str, Total]:
    """Both totals from how many shelves hold each item, with what they would be without each listener."""
    listeners, k = tops.shape
    held = np.bincount(tops[filled], minlength=items)
    on_mine = np.where(filled, held[tops], 0)
    coverage = float((held > 0).sum() / max(items, 1))
    totals = {"coverage": Total(coverage, coverage - (on_mine == 1).sum(1) / max(items, 1))}
    if listeners > 2:
        # Σ over pairs of the items in common is Σ over items of the pairs that hold them.
        shared = (on_mine - filled).sum(1) / ((listeners - 1) * k)
        overlap = float(shared.mean())
        totals["overlap"] = Total(overlap, (listeners * overlap - 2 * shared) / (listeners - 2))
    return totals
