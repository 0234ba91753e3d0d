"""Ways to read a history in its order that are linear: which items there are, and what follows what.

Transitions are ridge regression in closed form after SLIT of Choi et al. (2021, "Session-aware Linear Item-Item Models for
Session-based Recommendation"): at each place of a sequence the source s holds the items before it, the last one counting 1 and each
earlier one ``memory`` times the one after it, and the target t holds the items from it on, each counting ``foresight`` times the one
before it. Over all places, ``B = (S'S + l I)^-1 S'T``. Short memory and no foresight make them bigrams.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.ease import Ease
from spotify_ai_assets.recommendations.models.linear import explain_by, score_by
from spotify_ai_assets.recommendations.models.ordering import fade, line_up
from spotify_ai_assets.recommendations.models.parts import read_config, refuse


@dataclass(frozen=True, slots=True)
class NeighboursConfig:
    """Settings of neighbours.

    Attributes:
        fade: What an item of a history counts, relative to the one after it.
        regularization: As of ``Ease``.
        largest: As of ``Ease``.
    """

    fade: float = 0.95
    regularization: float = 300.0
    largest: int = 10_000

    def __post_init__(self) -> None:
        refuse((not 0 < self.fade <= 1, "a fade must be above 0 and at most 1"))


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """EASE over which items there are, the later ones counting more.

    Attributes:
        config: Settings.
        ease: Learnt without any order.
    """

    config: NeighboursConfig
    ease: Ease

    @classmethod
    def fit(cls, sequences: Sequence[np.ndarray], items: int, settings: Mapping[str, Any]) -> Self:
        """Learn from sequences.

        Raises:
            ValueError: More items than its ``largest``.
        """
        config = read_config(NeighboursConfig, settings)
        heard = line_up(sequences, items)
        heard.data[:] = 1
        return cls(config, Ease.fit(heard, _ease_settings(config)))

    def score(self, histories: csr_matrix) -> np.ndarray:
        """What the items of each history say of each item, float32, shape (n, items)."""
        return self.ease.score(fade(histories, self.config.fade))

    def explain(self, history: csr_matrix, items: np.ndarray) -> np.ndarray:
        """What each entry of a history adds, float64, shape (items, entries)."""
        return self.ease.explain(fade(history, self.config.fade), items).by_play

    def arrays(self) -> dict[str, np.ndarray]:
        """What was learnt."""
        return self.ease.parts()[1]

    @classmethod
    def from_arrays(cls, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Make it again."""
        config = read_config(NeighboursConfig, settings)
        return cls(config, Ease.from_parts(_ease_settings(config), arrays))


@dataclass(frozen=True, slots=True)
class TransitionsConfig:
    """Settings of transitions.

    Attributes:
        fade: What an item of a history counts, relative to the one after it.
        memory: The same in learning.
        foresight: What an item ahead counts in learning, relative to the one before it.
        reach: Items looked back on in learning.
        horizon: Items looked ahead to in learning.
        regularization: l.
        largest: The most items that they are learnt for.
    """

    fade: float = 0.7
    memory: float = 0.8
    foresight: float = 0.8
    reach: int = 50
    horizon: int = 10
    regularization: float = 60.0
    largest: int = 10_000

    def __post_init__(self) -> None:
        refuse(
            (not 0 < self.fade <= 1, "a fade must be above 0 and at most 1"),
            (not (0 <= self.memory <= 1 and 0 <= self.foresight <= 1), "memory and foresight must be in 0..1"),
            (self.reach < 1 or self.horizon < 1, "reach and horizon must be at least 1"),
            (self.regularization <= 0, "regularization must be above 0"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """What follows what.

    Attributes:
        config: Settings.
        weights: B, float32, shape (items, items).
    """

    config: TransitionsConfig
    weights: np.ndarray

    @classmethod
    def fit(cls, sequences: Sequence[np.ndarray], items: int, settings: Mapping[str, Any]) -> Self:
        """Learn from sequences.

        Raises:
            ValueError: More items than its ``largest``.
        """
        config = read_config(TransitionsConfig, settings)
        if items > config.largest:
            raise ValueError(f"transitions are fitted for at most {config.largest} items, these are {items}")
        sources, targets = look_both_ways(sequences, items, config)
        gram = (sources.T @ sources).toarray()
        gram[np.diag_indices_from(gram)] += config.regularization
        factor = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
        weights = cho_solve(factor, (sources.T @ targets).toarray(), overwrite_b=True, check_finite=False)
        return cls(config, np.ascontiguousarray(weights, dtype=np.float32))

    def score(self, histories: csr_matrix) -> np.ndarray:
        """What the items of each history say of each item, float32, shape (n, items)."""
        return score_by(self.weights, fade(histories, self.config.fade))

    def explain(self, history: csr_matrix, items: np.ndarray) -> np.ndarray:
        """What each entry of a history adds, float64, shape (items, entries)."""
        return explain_by(self.weights, fade(history, self.config.fade), items).by_play

    def arrays(self) -> dict[str, np.ndarray]:
        """What was learnt."""
        return {"weights": self.weights}

    @classmethod
    def from_arrays(cls, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Make it again."""
        return cls(read_config(TransitionsConfig, settings), arrays["weights"])


def look_both_ways(sequences: Sequence[np.ndarray], items: int, config: TransitionsConfig) -> tuple[csr_matrix, csr_matrix]:
    """Sources and targets of all places that have something before them, both float32, shape (places, items)."""
    lengths = np.array([len(each) for each in sequences], np.int64)
    flat = np.concatenate([*sequences, np.empty(0, np.int64)]).astype(np.int64)
    inside = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    ahead = np.repeat(lengths, lengths) - inside
    places = np.flatnonzero(inside > 0)
    row_of = np.zeros(len(flat), np.int64)
    row_of[places] = np.arange(len(places))

    def gather(steps: list[tuple[np.ndarray, int, float]]) -> csr_matrix:
        rows = np.concatenate([row_of[here] for here, _, _ in steps])
        columns = np.concatenate([flat[here + step] for here, step, _ in steps])
        amounts = np.concatenate([np.full(len(here), amount, np.float32) for here, _, amount in steps])
        return csr_matrix((amounts, (rows, columns)), shape=(len(places), items))

    back = [(places[inside[places] >= lag], -lag, config.memory ** (lag - 1)) for lag in range(1, config.reach + 1)]
    forth = [(places[ahead[places] > lead], lead, config.foresight**lead) for lead in range(config.horizon)]
    return gather(back), gather(forth)


def _ease_settings(config: NeighboursConfig) -> dict[str, Any]:
    return {"regularization": config.regularization, "largest": config.largest}
