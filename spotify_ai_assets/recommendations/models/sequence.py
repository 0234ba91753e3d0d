"""What comes next: several ways of reading histories in their order, and their weighted sum.

Neighbours (which items there are, the later ones counting more), transitions (what follows what) and attention over the last items,
each divided by its spread over all items as in ``blend``. A way whose weight is 0 is not fitted.

The order of a history is in its weights, as ``ordering`` says; a fit that knows the ages of the entries goes by those. What has
sequences calls ``fit_sequences`` and ``score_sequences``.
"""

from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.attention import Attending, AttentionConfig
from spotify_ai_assets.recommendations.models.contract import Contributions, Facts
from spotify_ai_assets.recommendations.models.ordering import line_up, read_order
from spotify_ai_assets.recommendations.models.parts import read_config, refuse, shape_of
from spotify_ai_assets.recommendations.models.transitions import Neighbours, NeighboursConfig, Transitions, TransitionsConfig
from spotify_ai_assets.training.explanation import Attribution

_SETTINGS = {"neighbours": NeighboursConfig, "transitions": TransitionsConfig, "attention": AttentionConfig}


@dataclass(frozen=True, slots=True)
class Config:
    """Settings.

    Attributes:
        members: Settings of each way by its name, which begins with its kind: ``attention``, ``transitions:near``.
        weights: Of each way, not below 0; without weight it is not fitted.
    """

    members: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {
            "neighbours": {},
            "transitions:far": {},
            "transitions:near": {"fade": 0.3, "memory": 0.3, "foresight": 0.3, "reach": 10, "horizon": 5, "regularization": 10.0},
        }
    )
    weights: Mapping[str, float] = field(default_factory=lambda: {"neighbours": 1.0, "transitions:far": 0.5, "transitions:near": 0.2})

    def __post_init__(self) -> None:
        strangers = sorted(set(self.weights) ^ set(self.members))
        unknown = sorted({_kind(name) for name in self.members} - set(_SETTINGS))
        refuse(
            (bool(strangers), f"a weight for each member and no other: {', '.join(strangers)}"),
            (bool(unknown), f"no way is called {', '.join(unknown)}; there are {', '.join(_SETTINGS)}"),
            (any(not 0 <= weight < float("inf") for weight in self.weights.values()), "weights must be numbers not below 0"),
            (not any(self.weights.values()), "one weight must be above 0"),
        )
        for name, settings in self.members.items():
            read_config(_SETTINGS[_kind(name)], settings)


Way = Neighbours | Transitions | Attending
_WAYS: dict[str, type[Way]] = {"neighbours": Neighbours, "transitions": Transitions, "attention": Attending}


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """The weighted sum of several ways of reading.

    Attributes:
        config: Settings.
        popularity: Logarithm of one more than how many histories have an item, float32, shape (items,): the answer to no history.
        ways: Those with a weight, fitted, by name.
    """

    name: ClassVar[str] = "sequence"
    config: Config
    popularity: np.ndarray
    ways: Mapping[str, Way]

    @classmethod
    def fit(cls, matrix: csr_matrix, config: Mapping[str, Any] | None = None, facts: Facts | None = None) -> Self:
        """Learn from a matrix; its rows are ordered by ``facts.ages`` where these are known, else by their weights.

        Raises:
            ValueError: The settings do not hold together, or there are more items than a way's ``largest``.
        """
        return cls.fit_sequences(read_order(matrix, None if facts is None else facts.ages), shape_of(matrix)[1], config)

    @classmethod
    def fit_sequences(cls, sequences: Ordered[np.ndarray], items: int, config: Mapping[str, Any] | None = None) -> Self:
        """Learn from sequences.

        Args:
            sequences: Numbers of items, the oldest first.
            items: How many there are.
            config: As of ``fit``.

        Raises:
            ValueError: As of ``fit``.
        """
        chosen = read_config(Config, config)
        ways: dict[str, Way] = {}
        for name in sorted(chosen.members):
            if chosen.weights[name]:
                ways[name] = _WAYS[_kind(name)].fit(sequences, items, chosen.members[name])
        popularity = np.log1p(np.bincount(line_up(sequences, items).indices, minlength=items))
        return cls(chosen, popularity.astype(np.float32), ways)

    @property
    def items(self) -> int:
        """How many items it knows."""
        return len(self.popularity)

    def score(self, histories: csr_matrix, countries: Ordered[str] | None = None) -> np.ndarray:
        """The weighted sum; popularity for those without a history."""
        total = np.zeros((shape_of(histories)[0], self.items), np.float32)
        for name, way in self.ways.items():
            scores = way.score(histories)
            total += self.config.weights[name] / _spread(scores) * scores
        total[np.diff(histories.indptr) == 0] = self.popularity
        return total

    def score_sequences(self, sequences: Ordered[np.ndarray]) -> np.ndarray:
        """As ``score``, of sequences, the oldest item first."""
        return self.score(line_up(sequences, self.items))

    def explain(self, history: csr_matrix, items: np.ndarray, country: str | None = None) -> Contributions:
        """What each item of the history adds by the linear ways; attention is one part of the rest.

        ``attribute`` says which items of the history that part hangs on.
        """
        items = np.asarray(items)
        if not history.nnz:
            return Contributions(np.zeros((len(items), 0)), {"popularity": self.popularity[items].astype(np.float64)})
        by_play, rest = np.zeros((len(items), history.nnz)), dict[str, np.ndarray]()
        for name, way in self.ways.items():
            factor, scores = self._weigh(name, way, history)
            if isinstance(way, Attending):
                rest[name] = factor * scores[items].astype(np.float64)
            else:
                by_play += factor * way.explain(history, items)
        return Contributions(by_play, rest)

    def attribute(self, history: csr_matrix, items: np.ndarray) -> dict[str, Attribution]:
        """Which items of a history the parts of attention hang on, by integrated gradients from a history of nothing.

        Args:
            history: Shape (1, items), at least one entry.
            items: Whose scores are explained.

        Returns:
            Of each part by its name in ``explain``, values of shape (items, entries of the history in its order), in the units of the
            score; they add up to how far the part is from that of a history of nothing.
        """
        found: dict[str, Attribution] = {}
        for name, way in self.ways.items():
            if isinstance(way, Attending):
                factor, each = self._weigh(name, way, history)[0], way.attribute(history, np.asarray(items))
                found[name] = Attribution((factor * each.values).astype(np.float32), factor * each.difference, each.gap, each.steps)
        return found

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Settings, and the arrays of each way, their names with the way's before them."""
        arrays = {f"{name}/{array}": values for name, way in self.ways.items() for array, values in way.arrays().items()}
        return asdict(self.config), {"popularity": self.popularity, **arrays}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Make it again."""
        chosen = read_config(Config, config)
        ways: dict[str, Way] = {}
        for name in sorted(chosen.members):
            if chosen.weights[name]:
                own = {array.removeprefix(f"{name}/"): values for array, values in arrays.items() if array.startswith(f"{name}/")}
                ways[name] = _WAYS[_kind(name)].from_arrays(chosen.members[name], own)
        return cls(chosen, arrays["popularity"], ways)

    def _weigh(self, name: str, way: Way, history: csr_matrix) -> tuple[float, np.ndarray]:
        """What a way's score of one history is multiplied by in the sum, and its scores, shape (items,)."""
        scores = way.score(history)
        return self.config.weights[name] / float(_spread(scores)[0, 0]), scores[0]


def _kind(name: str) -> str:
    return name.partition(":")[0]


def _spread(scores: np.ndarray) -> np.ndarray:
    """The standard deviation of each row, shape (n, 1); 1 where all scores are equal."""
    spread = scores.std(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    return np.where(spread > 0, spread, np.float32(1))


def item_axes(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Which axes of the arrays of a model's parts are items: what is to be emptied where a track is removed."""
    found: dict[str, tuple[int, ...]] = {"popularity": (0,)}
    for name in arrays:
        way, _, array = name.partition("/")
        if _kind(way) == "attention":
            found[name] = (0,) if array in ("items", "bias") else ()
        elif array:
            # With fewer listeners than items EASE keeps factors of items instead of a square, and what it takes to use them.
            found[name] = (0, 1) if array == "weights" and f"{way}/own" not in arrays else (0,)
    return found
