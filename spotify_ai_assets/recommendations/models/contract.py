"""What every model of taste is: learnt from all histories, it answers for any history, one it has never seen included.

A model keeps nothing of any listener. What it says of somebody is a function of their history alone, a row of weights over items,
so that batch, service and stream give one answer, a new listener is folded in by asking, and forgetting one needs no training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from scipy.sparse import csr_matrix


@dataclass(frozen=True, slots=True)
class Facts:
    """What a model may know beside who listened to what; rows and columns are those of the matrix.

    Attributes:
        countries: Country of each listener, one per row.
        ages: Days since the last play of each entry, float32, in the order of the matrix' data.
        artists: Number of each item's artist, int32, one per column.
        content: What each item sounds and reads like, float32, shape (items, d); rows of zeros where nothing is known.
    """

    countries: Sequence[str] | None = None
    ages: np.ndarray | None = None
    artists: np.ndarray | None = None
    content: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Contributions:
    """Why items have their scores; ``by_play`` and ``rest`` of an item add up to its score.

    Attributes:
        by_play: What each item of the history adds, float64, shape (items, entries of the history in its order).
        rest: What none of them adds, by its name, such as ``popularity``: float64, shape (items,).
    """

    by_play: np.ndarray
    rest: Mapping[str, np.ndarray]


@runtime_checkable
class Model(Protocol):
    """A model of taste over numbered items."""

    name: ClassVar[str]

    @classmethod
    def fit(cls, matrix: csr_matrix, config: Mapping[str, Any] | None = None, facts: Facts | None = None) -> Self:
        """Learn; equal input gives equal bytes on one machine.

        Args:
            matrix: Weights above 0, float32, shape (listeners, items), sorted indices; a weight is 1 where only the fact is known.
            config: Overrides of the settings' defaults, as JSON has them; unknown names are refused with ``ValueError``.
            facts: What else is known.
        """
        ...

    @property
    def items(self) -> int:
        """How many items it knows."""
        ...

    def score(self, histories: csr_matrix, countries: Sequence[str] | None = None) -> np.ndarray:
        """Scores of all items for histories, higher is better, nothing hidden.

        Args:
            histories: Shape (n, items); a row's answer hangs on that row alone.
            countries: Country of each row, for models that ask.

        Returns:
            float32, shape (n, items).
        """
        ...

    def explain(self, history: csr_matrix, items: np.ndarray, country: str | None = None) -> Contributions:
        """Why these items have their scores for one history of shape (1, items)."""
        ...

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Settings as JSON has them, and arrays by name: everything that it is made of."""
        ...

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Make it again from its parts."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """A model that places items and histories in one space; the nearer, the more alike."""

    @property
    def item_vectors(self) -> np.ndarray:
        """float32, shape (items, d)."""
        ...

    def fold_in(self, histories: csr_matrix) -> np.ndarray:
        """Vectors of histories, float32, shape (n, d)."""
        ...
