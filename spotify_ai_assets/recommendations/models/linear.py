"""Models that are one matrix from item to item: a score is the weighted sum of what the items of a history add."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.arithmetic import multiply, multiply_sparse
from spotify_ai_assets.recommendations.models.contract import Contributions
from spotify_ai_assets.recommendations.models.parts import entries_of

Weights = csr_matrix | np.ndarray
"""What a unit of each item adds to the score of each, float32, shape (items, items)."""


def score_by(weights: Weights, histories: csr_matrix) -> np.ndarray:
    """Scores of all items, float32, shape (n, items)."""
    return multiply_sparse(histories, weights) if isinstance(weights, csr_matrix) else multiply(histories, weights)


def explain_by(weights: Weights, history: csr_matrix, items: np.ndarray, rest: Mapping[str, np.ndarray] | None = None) -> Contributions:
    """What each item of the history adds to the scores of some; by default nothing else does."""
    heard, amounts = entries_of(history)
    added = weights[heard][:, items]
    dense = added.toarray() if isinstance(added, csr_matrix) else added
    return Contributions((dense.astype(np.float64) * amounts[:, None]).T, rest or {})
