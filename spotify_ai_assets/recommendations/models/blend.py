"""Several models as one: the weighted sum of their scores, each divided by its spread over all items for that history.

A z-score would also subtract the mean. That is one number for all items of a history, changes no order, and would be a part of the
score that no play explains; so it is left out, and what a play adds to the blend is the sum of what it adds to its members.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.arithmetic import add_scaled
from spotify_ai_assets.recommendations.models.contract import Contributions, Embeds, Facts, Model
from spotify_ai_assets.recommendations.models.kinds import find_model
from spotify_ai_assets.recommendations.models.parts import entries_of, read_config, refuse, shape_of

FALLBACK = "popularity"
"""The member that answers for those without a history, whatever its weight; without it everything has the score 0 for them."""

_PLACING = ("als", "spectral")
"""Kinds that place items, whatever else is known of these."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings.

    Attributes:
        members: Settings of each member by its name, which begins with its kind: ``als``, ``spectral:wide``.
        weights: Of each member, not below 0; members without weight are not fitted, but for the fallback, and for the first that has a
            space where no member with weight has one.
    """

    members: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        strangers = sorted(set(self.weights) ^ set(self.members))
        refuse(
            (bool(strangers), f"a weight for each member and no other: {', '.join(strangers)}"),
            (any(not 0 <= weight < float("inf") for weight in self.weights.values()), "weights must be numbers not below 0"),
            (not any(self.weights.values()), "one weight must be above 0"),
        )
        for name in self.members:
            find_model(name)

    @property
    def needed(self) -> list[str]:
        """The members that have something to say, in the order of their names, and one that places items where none of them does."""
        speaking = [name for name in sorted(self.members) if self.weights[name] > 0 or name == FALLBACK]
        if any(_embeds(name) for name in speaking):
            return speaking
        return sorted([*speaking, *[name for name in sorted(self.members) if name.partition(":")[0] in _PLACING][:1]])


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """A weighted sum of models.

    Attributes:
        members: Fitted models by name, all of the same items.
        weights: Of each of them.
    """

    name: ClassVar[str] = "blend"
    members: Mapping[str, Model]
    weights: Mapping[str, float]

    @classmethod
    def fit(
        cls,
        matrix: csr_matrix,
        config: Mapping[str, Any] | None = None,
        facts: Facts | None = None,
        watch: Callable[[str], None] | None = None,
    ) -> Self:
        """Fit the members, one after the other.

        Args:
            matrix: As for every model.
            config: Members and weights.
            facts: As for every model.
            watch: Told each member's name as soon as that one is fitted.

        Raises:
            ValueError: The settings do not hold together, or a member's do not.
        """
        chosen = read_config(Config, config)
        members: dict[str, Model] = {}
        for name in chosen.needed:
            members[name] = find_model(name).fit(matrix, chosen.members[name], facts)
            if watch:
                watch(name)
        return cls(members, {name: float(chosen.weights[name]) for name in members})

    @property
    def items(self) -> int:
        """How many items it knows."""
        return next(iter(self.members.values())).items

    def score(self, histories: csr_matrix, countries: Sequence[str] | None = None) -> np.ndarray:
        """The weighted sum; popularity for those without a history."""
        total = np.zeros((shape_of(histories)[0], self.items), np.float32)
        for name, weight in self.weights.items():
            if weight:
                add_scaled(self.members[name].score(histories, countries), weight, total)
        strangers = np.flatnonzero(np.diff(histories.indptr) == 0)
        if len(strangers) and self._falls_back:
            homes = None if countries is None else [countries[row] for row in strangers.tolist()]
            answers = np.zeros((len(strangers), self.items), np.float32)
            add_scaled(self.members[FALLBACK].score(histories[strangers], homes), 1.0, answers)
            total[strangers] = answers
        return total

    def explain(self, history: csr_matrix, items: np.ndarray, country: str | None = None) -> Contributions:
        """What the members say, by play and by name, as it counts in the sum."""
        heard, _ = entries_of(history)
        weights = {FALLBACK: 1.0} if len(heard) == 0 and self._falls_back else self.weights
        by_play, rest = np.zeros((len(items), len(heard))), dict[str, np.ndarray]()
        for name, weight in weights.items():
            if weight:
                member = self.members[name]
                scores = member.score(history, None if country is None else [country])
                (factor,) = add_scaled(scores, weight, np.zeros_like(scores))
                said = member.explain(history, items, country)
                by_play += factor * said.by_play
                for part, amounts in said.rest.items():
                    rest[part] = rest.get(part, 0) + factor * amounts
        return Contributions(by_play, rest)

    @property
    def item_vectors(self) -> np.ndarray:
        """Vectors of items, of the weightiest member that has any, be its weight 0."""
        return self._space.item_vectors

    def fold_in(self, histories: csr_matrix) -> np.ndarray:
        """Vectors of histories, of the same member."""
        return self._space.fold_in(histories)

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The members' parts, each array's name with its member's before it, and the weights."""
        taken = {name: member.parts() for name, member in self.members.items()}
        config = {"members": {name: config for name, (config, _) in taken.items()}, "weights": dict(self.weights)}
        return config, {f"{name}/{array}": values for name, (_, arrays) in taken.items() for array, values in arrays.items()}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Make it again."""
        members: dict[str, Model] = {}
        for name, settings in config["members"].items():
            mine = {array.removeprefix(f"{name}/"): values for array, values in arrays.items() if array.startswith(f"{name}/")}
            members[name] = find_model(name).from_parts(settings, mine)
        return cls(members, dict(config["weights"]))

    @property
    def _falls_back(self) -> bool:
        """Whether strangers get another sum than the usual one."""
        return FALLBACK in self.members

    @property
    def _space(self) -> Embeds:
        for name in sorted(self.weights, key=lambda name: -self.weights[name]):
            member = self.members[name]
            if isinstance(member, Embeds):
                return member
        raise ValueError(f"none of {', '.join(self.members)} places items in a space")


def _embeds(name: str) -> bool:
    """Whether a member of this name has a space."""
    return hasattr(find_model(name), "fold_in")
