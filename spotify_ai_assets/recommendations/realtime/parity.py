"""Whether stream and batch agree: the same plays, once counted by the batch and once folded in live, must lead to the same answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spotify_ai_assets.recommendations.serving.items import Items
from spotify_ai_assets.recommendations.serving.merging import LivePlay, merge_plays, stack_histories

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from spotify_ai_assets.recommendations.indices.histories import ServedHistories
    from spotify_ai_assets.recommendations.models.contract import Model

K = 50
_TOGETHER = 512


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two sources agree.

    Attributes:
        overlap: Mean share of the best items that both have, from 0 to 1; 1 where there is nobody to compare.
        least: That of the listener for whom it is least.
        listeners: Listeners compared.
    """

    overlap: float
    least: float
    listeners: int


def compare_sources(
    model: "Model",
    batch: "ServedHistories",
    before: "ServedHistories",
    live: Mapping[str, Iterable[LivePlay]],
    items: Items,
    listeners: Sequence[str],
    k: int = K,
) -> Parity:
    """Compare what the batch says of listeners with what a former batch says that is given the plays since live.

    Args:
        model: Answers for both.
        batch: Histories with all plays.
        before: Histories from before.
        live: Plays since then by listener; those that ``before`` holds already do not count twice.
        items: The model's items.
        listeners: Whom to compare: those with enough plays for an answer of their own.
        k: How many of the best items are compared.
    """
    counted = [merge_plays(batch, listener, (), items) for listener in listeners]
    folded = [merge_plays(before, listener, live.get(listener, ()), items) for listener in listeners]
    shares = share_tops(model, stack_histories(counted, items.known), stack_histories(folded, items.known), k)
    if not len(shares):
        return Parity(1.0, 1.0, 0)
    return Parity(float(shares.mean()), float(shares.min()), len(shares))


def share_tops(model: "Model", one: "csr_matrix", other: "csr_matrix", k: int = K) -> np.ndarray:
    """The share of the ``k`` best items, heard ones included, that two histories of each listener have in common.

    Args:
        model: Answers for both.
        one: Histories, shape (n, items).
        other: Histories of the same listeners in the same order.
        k: How many.

    Returns:
        float64, shape (n,).
    """
    from scipy.sparse import csr_matrix

    from spotify_ai_assets.recommendations.models.kernels import top_by_model

    shares = np.zeros(len(one.indptr) - 1)
    for start in range(0, len(shares), _TOGETHER):
        some = slice(start, start + _TOGETHER)
        tops = [top_by_model(model, csr_matrix(each[some]), k, hide_seen=False)[0] for each in (one, other)]
        for row, (left, right) in enumerate(zip(*tops, strict=True)):
            # Where fewer items are left, -1 stands in their places.
            left, right = left[left >= 0], right[right >= 0]
            shares[start + row] = len(np.intersect1d(left, right)) / max(len(left), len(right), 1)
    return shares
