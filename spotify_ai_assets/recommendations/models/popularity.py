"""What is liked most, lately and where the listener lives: the baseline that every other model must beat, and the answer to strangers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.contract import Contributions, Facts
from spotify_ai_assets.recommendations.models.parts import entries_of, matrix_of, matrix_parts, read_config, refuse, shape_of

_COUNTED = 1e-6
"""Weights of a table are rounded to this: their sums hang on the order of rows, and a digest must not."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings.

    Attributes:
        half_life_days: After how many days without a play an entry counts half; where ages are known.
        shrinkage: How much of the world's taste a country has besides its own, in units of weight.
        listeners: Countries with fewer listeners have no table of their own: it would tell of them.
    """

    half_life_days: float = 30.0
    shrinkage: float = 1000.0
    listeners: int = 20

    def __post_init__(self) -> None:
        refuse(
            (self.half_life_days <= 0, "half_life_days must be above 0"),
            (self.shrinkage <= 0, "shrinkage must be above 0"),
            (self.listeners < 1, "listeners must be at least 1"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Popularity:
    """The popularity of items, by country.

    The share of an item in a country is the mean of the shares there and in the world, weighted by how much was played there and by
    the shrinkage; its score is ``ln(1 + share * weight of the world)``.

    Attributes:
        config: Settings.
        world: Decayed weight of each item, float64, shape (items,).
        countries: Those with a table of their own, sorted.
        tables: Decayed weights there, float32, shape (countries, items).
    """

    name: ClassVar[str] = "popularity"
    config: Config
    world: np.ndarray
    countries: tuple[str, ...]
    tables: csr_matrix

    @classmethod
    def fit(cls, matrix: csr_matrix, config: Mapping[str, Any] | None = None, facts: Facts | None = None) -> Self:
        """Add up what was played, the old less than the new."""
        chosen, facts = read_config(Config, config), facts or Facts()
        decay = 1.0 if facts.ages is None else np.exp2(-facts.ages.astype(np.float64) / chosen.half_life_days)
        weights = csr_matrix((matrix.data * decay, matrix.indices, matrix.indptr), shape=matrix.shape)
        homes = np.asarray(facts.countries if facts.countries is not None else [], dtype=str)
        names, rows, counts = np.unique(homes, return_inverse=True, return_counts=True)
        kept = np.flatnonzero(counts >= chosen.listeners)
        ones = csr_matrix((np.ones(len(homes)), (rows, np.arange(len(homes)))), shape=(len(names), shape_of(matrix)[0]))
        tables = csr_matrix(ones[kept] @ weights, dtype=np.float32)
        tables.sort_indices()
        world = np.asarray(weights.sum(axis=0), dtype=np.float64).ravel()
        return cls(chosen, _rounded(world), tuple(names[kept].tolist()), tables)

    @property
    def items(self) -> int:
        """How many items it knows."""
        return len(self.world)

    def score(self, histories: csr_matrix, countries: Sequence[str] | None = None) -> np.ndarray:
        """Equal rows for all who live in one country; who lives nowhere gets the world's."""
        homes = np.asarray(countries if countries is not None else [""] * shape_of(histories)[0], dtype=str)
        names, rows = np.unique(homes, return_inverse=True)
        return np.stack([self._of(name) for name in names.tolist()])[rows] if len(homes) else np.zeros((0, self.items), np.float32)

    def explain(self, history: csr_matrix, items: np.ndarray, country: str | None = None) -> Contributions:
        """No play adds anything: all is popularity."""
        heard, _ = entries_of(history)
        return Contributions(np.zeros((len(items), len(heard))), {"popularity": self._of(country or "")[items].astype(np.float64)})

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Settings with the countries' names, and the tables."""
        return {**asdict(self.config), "countries": list(self.countries)}, {"world": self.world, **matrix_parts("tables", self.tables)}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Make it again."""
        settings = {name: value for name, value in config.items() if name != "countries"}
        return cls(read_config(Config, settings), arrays["world"], tuple(config["countries"]), matrix_of("tables", arrays))

    def _of(self, country: str) -> np.ndarray:
        weight = self.world.sum()
        expected = self.world
        if country in self.countries and weight > 0:
            table = self.tables[[self.countries.index(country)]].toarray().ravel().astype(np.float64)
            prior = self.config.shrinkage / weight
            expected = (table + prior * self.world) / (table.sum() + self.config.shrinkage) * weight
        return np.log1p(expected).astype(np.float32)


def _rounded(weights: np.ndarray) -> np.ndarray:
    return np.round(weights / _COUNTED) * _COUNTED
