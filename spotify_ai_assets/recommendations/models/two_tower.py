"""Two towers: items placed by what they sound and read like, listeners by the items that they played (Yi et al., 2019).

``v_i`` is the item tower's vector of the content of i, of unit length; the vector of a history is ``u = m + f(m)``, where m is the
mean of its items' vectors weighted by the history and f a small network; the score is ``u v_i / t``. An item that nobody has played
yet has a place as soon as it has content. The part of m is linear, and each play's share in a score is exact; the part of f is one
row of the explanation, and ``attribute_taste`` shares it out among the plays by integrated gradients.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.contract import Contributions, Facts
from spotify_ai_assets.recommendations.models.parts import entries_of, read_config, refuse
from spotify_ai_assets.recommendations.models.towers import Pairs, TasteOfPlays, Towers, pair_loss
from spotify_ai_assets.training.determinism import steady
from spotify_ai_assets.training.explanation import Attribution, attribute
from spotify_ai_assets.training.fit import FitConfig
from spotify_ai_assets.training.fit import fit as fit_network

TASTE = "two_tower"
"""The name of the explanation's row that holds what the network adds."""

_WEIGHTS = "weights."


@dataclass(frozen=True, slots=True)
class Config:
    """Settings.

    Attributes:
        size: Numbers of a vector.
        hidden: Units of the hidden layers.
        temperature: t.
        steps: Of the fit.
        batch_size: Pairs of a step, each the others' negatives.
        learning_rate: The highest.
        weight_decay: Of matrices.
        dropout: Share of the content left out at random while training.
        longest: Plays of a history at most while training.
        seed: Of everything random.
    """

    size: int = 128
    hidden: int = 256
    temperature: float = 0.1
    steps: int = 1500
    batch_size: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    dropout: float = 0.1
    longest: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        refuse(
            (min(self.size, self.hidden, self.steps, self.batch_size, self.longest) < 1, "sizes and steps must be at least 1"),
            (self.temperature <= 0, "temperature must be above 0"),
            (not 0 <= self.dropout < 1, "dropout must be in 0..1, and below 1"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class TwoTower:
    """Items and listeners in one space.

    Attributes:
        config: Settings.
        towers: The networks.
        item_vectors: Of unit length, or zeros where an item has no content; float32, shape (items, size).
    """

    name: ClassVar[str] = "two_tower"
    config: Config
    towers: Towers
    item_vectors: np.ndarray

    @classmethod
    def fit(cls, matrix: csr_matrix, config: Mapping[str, Any] | None = None, facts: Facts | None = None) -> Self:
        """Train both towers.

        Raises:
            ValueError: There is no content, or nobody played two items that have some.
        """
        chosen = read_config(Config, config)
        if facts is None or facts.content is None or not facts.content.any():
            raise ValueError("two towers learn from content, and there is none")
        content = np.ascontiguousarray(facts.content, np.float32)
        pairs = Pairs(matrix, content, chosen.longest)
        with steady(chosen.seed):
            towers = _build(content.shape[1], chosen)
        fitting = FitConfig(chosen.steps, chosen.batch_size, chosen.learning_rate, chosen.weight_decay, seed=chosen.seed)
        fit_network(towers, pairs, pair_loss, fitting)
        return cls(chosen, towers, _place(towers, content))

    @property
    def items(self) -> int:
        """How many items it knows."""
        return len(self.item_vectors)

    def item_vectors_of(self, content: np.ndarray) -> np.ndarray:
        """Vectors of items by their content, of any items.

        Args:
            content: float32, laid out as what it was trained on, shape (n, d).

        Returns:
            float32, shape (n, size), of unit length; rows of zeros where there is no content.

        Raises:
            ValueError: The content is laid out otherwise.
        """
        expected = self.towers.items.linear.in_features
        if content.ndim != 2 or content.shape[1] != expected:
            raise ValueError(f"content has {expected} numbers an item here, not {content.shape[-1]}: fit it again on the new content")
        return _place(self.towers, np.ascontiguousarray(content, np.float32))

    def fold_in(self, histories: csr_matrix) -> np.ndarray:
        """Vectors of histories, divided by the temperature."""
        means = self._shares(histories) @ self.item_vectors
        return (means + self._taste(means)) / np.float32(self.config.temperature)

    def score(self, histories: csr_matrix, countries: Sequence[str] | None = None) -> np.ndarray:
        """Inner products of histories and items."""
        return self.fold_in(histories) @ self.item_vectors.T

    def explain(self, history: csr_matrix, items: np.ndarray, country: str | None = None) -> Contributions:
        """What each play adds to the mean's product with the items; what the network adds is the row ``two_tower``."""
        entries_of(history)
        plays, asked = self._plays(history), self.item_vectors[items].astype(np.float64)
        taste = self._taste(plays.sum(axis=0, keepdims=True).astype(np.float32))[0].astype(np.float64)
        by_play = asked @ plays.T / self.config.temperature
        return Contributions(by_play, {TASTE: asked @ taste / self.config.temperature})

    def attribute_taste(self, history: csr_matrix, items: np.ndarray) -> Attribution:
        """What each play added to what the network adds, beside an empty history, by integrated gradients.

        Args:
            history: Shape (1, items).
            items: Items that are answered for.

        Returns:
            Values of shape (items, plays), and how far they are from adding up.
        """
        entries_of(history)
        plays = self._plays(history).astype(np.float32)
        answered = torch.from_numpy(self.item_vectors[items] / np.float32(self.config.temperature))
        cases = np.repeat(plays[None], len(items), axis=0)
        network = TasteOfPlays(self.towers.listeners, answered)
        found = attribute(network, cases, np.arange(len(items)), np.zeros_like(plays))
        return Attribution(found.values.sum(axis=2), found.difference, found.gap, found.steps)

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Settings, vectors and weights."""
        weights = {f"{_WEIGHTS}{name}": value.numpy().copy() for name, value in self.towers.state_dict().items()}
        return asdict(self.config), {"item_vectors": self.item_vectors, **weights}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Make it again."""
        chosen = read_config(Config, config)
        weights = {
            name.removeprefix(_WEIGHTS): torch.from_numpy(np.array(value)) for name, value in arrays.items() if name.startswith(_WEIGHTS)
        }
        towers = _build(weights["items.linear.weight"].shape[1], chosen)
        towers.load_state_dict(weights)
        return cls(chosen, towers.eval(), np.asarray(arrays["item_vectors"], np.float32))

    def _shares(self, histories: csr_matrix) -> csr_matrix:
        """What each item counts in each history: weights of items with content, divided by their sum."""
        has_vector = np.asarray(self.item_vectors.any(axis=1), np.float32)
        weights = histories.data * has_vector[histories.indices]
        sums = np.asarray(histories @ has_vector).ravel()
        divisors = np.repeat(np.where(sums > 0, sums, 1), np.diff(histories.indptr))
        return csr_matrix(((weights / divisors).astype(np.float32), histories.indices, histories.indptr), shape=histories.shape)

    def _plays(self, history: csr_matrix) -> np.ndarray:
        """What each play adds to the mean, float64, shape (plays, size)."""
        return self.item_vectors[history.indices].astype(np.float64) * self._shares(history).data[:, None]

    def _taste(self, means: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.towers.listeners(torch.from_numpy(np.ascontiguousarray(means))).numpy()


def _build(content: int, config: Config) -> Towers:
    return Towers(content, config.hidden, config.size, config.dropout, config.temperature)


def _place(towers: Towers, content: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return towers.items(torch.from_numpy(content)).numpy().copy()
