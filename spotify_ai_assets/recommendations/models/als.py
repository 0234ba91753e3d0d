"""Alternating least squares on implicit feedback (Hu, Koren and Volinsky 2008), fitted by ``implicit``.

A listener's vector is the exact solution of the normal equations for their history, given the items' vectors y: with the confidence
``c = 1 + alpha w`` of each entry it is ``x = (Y'Y + l I + sum_i((c_i - 1) y_i y_i'))^-1 sum_i(c_i y_i)``. What is kept are the items'
vectors in the coordinates ``z = L^-1 y`` with ``L L' = Y'Y + l I``, in which the first two terms are the identity: scores are the
same, a history with few entries is a system with few unknowns, and no other matrix is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from spotify_ai_assets.recommendations.models.arithmetic import fold_histories
from spotify_ai_assets.recommendations.models.contract import Contributions, Facts
from spotify_ai_assets.recommendations.models.parts import entries_of, read_config, refuse


@dataclass(frozen=True, slots=True)
class Config:
    """Settings.

    Attributes:
        factors: Dimensions of the vectors.
        alpha: How much more a weight of 1 counts than an item that was not heard.
        regularization: Added to the diagonal of each system.
        iterations: Passes over items and listeners.
        seed: Of the vectors to start from.
    """

    factors: int = 128
    alpha: float = 50.0
    regularization: float = 30.0
    iterations: int = 15
    seed: int = 0

    def __post_init__(self) -> None:
        refuse(
            (self.factors < 1, "factors must be at least 1"),
            (self.alpha <= 0, "alpha must be above 0"),
            (self.regularization <= 0, "regularization must be above 0"),
            (self.iterations < 1, "iterations must be at least 1"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ALS:
    """Matrix factorisation.

    Attributes:
        config: Settings.
        item_vectors: z, float32, shape (items, d).
    """

    name: ClassVar[str] = "als"
    config: Config
    item_vectors: np.ndarray

    @classmethod
    def fit(cls, matrix: csr_matrix, config: Mapping[str, Any] | None = None, facts: Facts | None = None) -> Self:
        """Factorise the matrix."""
        from implicit.cpu.als import AlternatingLeastSquares

        chosen = read_config(Config, config)
        confidences = csr_matrix((1 + chosen.alpha * matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape, dtype=np.float32)
        with threadpool_limits(1, user_api="blas"):  # it has threads of its own, and warns of others
            model = AlternatingLeastSquares(
                factors=chosen.factors,
                regularization=chosen.regularization,
                iterations=chosen.iterations,
                random_state=chosen.seed,
                dtype=np.float32,
            )
            model.fit(confidences, show_progress=False)
        vectors = np.asarray(model.item_factors, dtype=np.float64)
        lower = cholesky(vectors.T @ vectors + chosen.regularization * np.eye(chosen.factors), lower=True)
        return cls(chosen, np.ascontiguousarray(solve_triangular(lower, vectors.T, lower=True).T, dtype=np.float32))

    @property
    def items(self) -> int:
        """How many items it knows."""
        return len(self.item_vectors)

    def fold_in(self, histories: csr_matrix) -> np.ndarray:
        """Vectors of histories, whose inner products with those of items are the scores."""
        return fold_histories(histories, self.config.alpha, self.item_vectors)

    def score(self, histories: csr_matrix, countries: Sequence[str] | None = None) -> np.ndarray:
        """How near to 1 each item is expected to be."""
        return self.fold_in(histories) @ self.item_vectors.T

    def explain(self, history: csr_matrix, items: np.ndarray, country: str | None = None) -> Contributions:
        """The share of each play in the solution, as the authors give it in their section 5: ``c_j z_i' A^-1 z_j``, exactly."""
        heard, weights = entries_of(history)
        vectors = self.item_vectors[heard].astype(np.float64)
        surplus = self.config.alpha * weights[:, None]
        system = np.eye(vectors.shape[1]) + (surplus * vectors).T @ vectors
        added = np.linalg.solve(system, ((1 + surplus) * vectors).T)
        return Contributions(self.item_vectors[items].astype(np.float64) @ added, {})

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Settings and the items' vectors."""
        return asdict(self.config), {"item_vectors": self.item_vectors}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Make it again."""
        return cls(read_config(Config, config), arrays["item_vectors"])
