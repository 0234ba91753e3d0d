"""EASE: each item from all others by ridge regression without its own column, in closed form (Steck 2019).

With ``P = (X'X + l I)^-1`` the weights are ``B_ij = -P_ij / P_jj`` off the diagonal. With fewer listeners than items P is found on
their side: for the eigenvectors V and values e of X'X it is ``(I - V diag(e / (e + l)) V') / l``, so that ``F = V sqrt(e / (e + l))``
says all: ``B_ij = f_i'f_j / (1 - f_j'f_j)``. Then F is kept instead of B: as many columns as there were listeners, and no history.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.linalg import eigh, get_lapack_funcs
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.arithmetic import multiply
from spotify_ai_assets.recommendations.models.contract import Contributions, Facts
from spotify_ai_assets.recommendations.models.linear import explain_by, score_by
from spotify_ai_assets.recommendations.models.parts import entries_of, read_config, refuse, shape_of


@dataclass(frozen=True, slots=True)
class Config:
    """Settings.

    Attributes:
        regularization: l: the more, the less a rare coincidence counts.
        largest: The most items that it is fitted for, or the root of as many numbers where listeners are fewer than items.
    """

    regularization: float = 100.0
    largest: int = 10_000

    def __post_init__(self) -> None:
        refuse(
            (self.regularization <= 0, "regularization must be above 0"),
            (self.largest < 1, "largest must be at least 1"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Ease:
    """Ridge regression of items on items.

    Attributes:
        config: Settings.
        weights: B, float32, shape (items, items), or F, shape (items, r).
        own: ``f_j'f_j`` of each item, float64, shape (items,); ``None`` where the weights are B.
    """

    name: ClassVar[str] = "ease"
    config: Config
    weights: np.ndarray
    own: np.ndarray | None

    @classmethod
    def fit(cls, matrix: csr_matrix, config: Mapping[str, Any] | None = None, facts: Facts | None = None) -> Self:
        """Invert on the smaller side.

        Raises:
            ValueError: More items than its ``largest``.
        """
        chosen = read_config(Config, config)
        listeners, items = shape_of(matrix)
        if min(listeners, items) * items > chosen.largest**2:
            raise ValueError(f"ease is fitted for at most {chosen.largest} items, these are {items} of {listeners} listeners")
        wide = csr_matrix(matrix, dtype=np.float64)
        if listeners < items:
            factors = _factorise(wide, chosen.regularization)
            return cls(chosen, factors, np.einsum("ij,ij->i", factors, factors, dtype=np.float64))
        return cls(chosen, _regress(wide, chosen.regularization), None)

    @property
    def items(self) -> int:
        """How many items it knows."""
        return len(self.weights)

    def score(self, histories: csr_matrix, countries: Sequence[str] | None = None) -> np.ndarray:
        """What the items of each history say of each item."""
        if self.own is None:
            return score_by(self.weights, histories)
        scores = multiply(histories, self.weights) @ self.weights.T
        rows = np.repeat(np.arange(len(scores)), np.diff(histories.indptr))
        scores[rows, histories.indices] -= histories.data * self.own[histories.indices].astype(np.float32)
        scores /= (1 - self.own).astype(np.float32)
        return scores

    def explain(self, history: csr_matrix, items: np.ndarray, country: str | None = None) -> Contributions:
        """What each item of the history says."""
        if self.own is None:
            return explain_by(self.weights, history, items)
        heard, amounts = entries_of(history)
        added = self.weights[items].astype(np.float64) @ self.weights[heard].T.astype(np.float64)
        added[np.asarray(items)[:, None] == heard] = 0
        return Contributions(added * amounts / (1 - self.own[items])[:, None], {})

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Settings and weights."""
        arrays = {"weights": self.weights} if self.own is None else {"factors": self.weights, "own": self.own}
        return asdict(self.config), arrays

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Make it again."""
        own = arrays.get("own")
        return cls(read_config(Config, config), arrays["weights" if own is None else "factors"], own)


def _regress(matrix: csr_matrix, regularization: float) -> np.ndarray:
    """B, by Cholesky's factors of the items' Gram matrix."""
    gram = np.asfortranarray((matrix.T @ matrix).toarray())
    gram[np.diag_indices_from(gram)] += regularization
    factorise, invert = get_lapack_funcs(("potrf", "potri"), (gram,))
    factor, _ = factorise(gram, lower=1, clean=0, overwrite_a=1)
    inverse, _ = invert(factor, lower=1, overwrite_c=1)
    own = np.diag(inverse).copy()
    weights = np.tril(inverse, -1).astype(np.float32)
    weights += weights.T
    return weights / -own.astype(np.float32)


def _factorise(matrix: csr_matrix, regularization: float) -> np.ndarray:
    """F, by the eigenvectors of the listeners' Gram matrix, which become those of the items'."""
    values, vectors = eigh((matrix @ matrix.T).toarray(), overwrite_a=True, driver="evd")
    real = values > 1e-9 * max(values[-1], 1e-300)
    scale = 1 / np.sqrt(values[real] + regularization)  # sqrt(e / (e + l)) / sqrt(e), the latter for the change of side
    return np.ascontiguousarray(matrix.T @ (vectors[:, real] * scale), dtype=np.float32)
