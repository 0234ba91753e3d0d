"""Who likes this likes that: items that the same listeners like, the nearest of each kept.

A cosine between the columns of the matrix, damped where few listeners stand behind it (Sarwar et al. 2001, with the shrinkage of
Bell and Koren 2007), its two norms weighted unequally if asked (Aiolli 2013).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.contract import Contributions, Facts
from spotify_ai_assets.recommendations.models.kernels import nearest_items
from spotify_ai_assets.recommendations.models.linear import explain_by, score_by
from spotify_ai_assets.recommendations.models.parts import matrix_of, matrix_parts, read_config, refuse, shape_of


@dataclass(frozen=True, slots=True)
class Config:
    """Settings.

    Attributes:
        neighbours: How many items each item is scored by at most.
        shrink: Added to the product of the norms: the more, the less rare pairs count.
        target_exponent: Share of the scored item's norm in the denominator; 0.5 is the cosine, less favours the popular.
        listener_exponent: A listener's plays are divided by their sum to this power; 0 lets heavy listeners count in full.
    """

    neighbours: int = 200
    shrink: float = 10.0
    target_exponent: float = 0.4
    listener_exponent: float = 0.5

    def __post_init__(self) -> None:
        refuse(
            (self.neighbours < 1, "neighbours must be at least 1"),
            (self.shrink < 0, "shrink must not be below 0"),
            (not 0 <= self.target_exponent <= 1, "target_exponent must be from 0 to 1"),
            (self.listener_exponent < 0, "listener_exponent must not be below 0"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Cooccurrence:
    """Item-item neighbours.

    Attributes:
        config: Settings.
        weights: What a unit of each item adds to the score of each, shape (items, items), nothing on the diagonal.
    """

    name: ClassVar[str] = "cooccurrence"
    config: Config
    weights: csr_matrix

    @classmethod
    def fit(cls, matrix: csr_matrix, config: Mapping[str, Any] | None = None, facts: Facts | None = None) -> Self:
        """Count who is heard with whom."""
        chosen = read_config(Config, config)
        squares = np.asarray(matrix.multiply(matrix).sum(axis=0), dtype=np.float64).ravel()
        sums = np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()
        listeners = np.where(sums > 0, sums, 1.0) ** -chosen.listener_exponent
        weights = nearest_items(
            matrix,
            listeners,
            targets=squares**chosen.target_exponent,
            sources=squares ** (1 - chosen.target_exponent),
            shrink=chosen.shrink,
            keep=chosen.neighbours,
        )
        return cls(chosen, weights)

    @property
    def items(self) -> int:
        """How many items it knows."""
        return shape_of(self.weights)[0]

    def score(self, histories: csr_matrix, countries: Sequence[str] | None = None) -> np.ndarray:
        """What the items of each history add to each item."""
        return score_by(self.weights, histories)

    def explain(self, history: csr_matrix, items: np.ndarray, country: str | None = None) -> Contributions:
        """What each item of the history adds."""
        return explain_by(self.weights, history, items)

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Settings and the neighbours."""
        return asdict(self.config), matrix_parts("weights", self.weights)

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Make it again."""
        return cls(read_config(Config, config), matrix_of("weights", arrays))
