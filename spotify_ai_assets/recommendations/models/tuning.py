"""The tuning of a recipe on validation data: settings of each member are searched, then weights are learnt.

Every member gets the same number of trials, the first of them its hand-set start. What was found replaces the start only if it is
better by a paired interval over listeners, so that a short search on few listeners does not fit its recipe to chance.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.evaluation.metrics import relevance
from spotify_ai_assets.recommendations.models.blend import FALLBACK
from spotify_ai_assets.recommendations.models.contract import Facts, Model
from spotify_ai_assets.recommendations.models.kernels import top_by_model
from spotify_ai_assets.recommendations.models.kinds import find_model
from spotify_ai_assets.recommendations.models.recipes import Recipe
from spotify_ai_assets.recommendations.models.weighing import Earning, gather_candidates, learn_weights
from spotify_ai_assets.training.metrics import Interval, paired_difference
from spotify_ai_assets.training.search import Choice, Range, SearchConfig, Space, Tried, search

SPACES: Mapping[str, Space] = {
    "popularity": {"half_life_days": Range(7.0, 365.0, is_log=True), "shrinkage": Range(30.0, 10_000.0, is_log=True)},
    "cooccurrence": {
        "neighbours": Choice((100, 300, 1000)),
        "shrink": Range(0.0, 20.0),
        "target_exponent": Range(0.1, 0.8),
        "listener_exponent": Range(0.0, 1.0),
    },
    "als": {
        "factors": Choice((32, 64, 128, 256)),
        "alpha": Range(1.0, 200.0, is_log=True),
        "regularization": Range(1.0, 300.0, is_log=True),
    },
    "ease": {"regularization": Range(10.0, 2000.0, is_log=True)},
    "spectral": {
        "factors": Choice((32, 64, 128, 256, 512)),
        "item_exponent": Range(0.1, 0.6),
        "listener_exponent": Range(0.0, 0.6),
        "smoothness": Range(0.0, 1.0),
        "norm_exponent": Range(0.0, 0.5),
    },
}
"""What is tried of each member."""

STARTS: Mapping[str, Mapping[str, Any]] = {
    "popularity": {"half_life_days": 30.0, "shrinkage": 1000.0},
    "cooccurrence": {"neighbours": 300, "shrink": 5.0, "target_exponent": 0.5, "listener_exponent": 0.5},
    "als": {"factors": 64, "alpha": 5.0, "regularization": 30.0},
    "ease": {"regularization": 100.0},
    "spectral": {"factors": 128, "item_exponent": 0.25, "listener_exponent": 0.2, "smoothness": 0.3, "norm_exponent": 0.35},
}
"""What each search begins with: near what was best on public sets of music."""

FIXED: Mapping[str, Mapping[str, Any]] = {"spectral": {"linear": 0.0, "ideal": 1.0, "rounds": 4}}
"""Settings that are not searched, by kind: the linear filter of the graph is what ``cooccurrence`` is, with a weight of its own."""

LISTENERS = 5000
"""So many listeners at most say how good a trial is."""

Watch = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Member:
    """What the search of one member found.

    Attributes:
        name: The member.
        settings: What is to be used.
        found: The settings with the best figure, whether by chance or not.
        figure: Their mean NDCG.
        gain: NDCG of ``found`` over the start; ``None`` where the start has the best figure.
        tried: All trials, in order.
        digest: Of space, search and data.
    """

    name: str
    settings: Mapping[str, Any]
    found: Mapping[str, Any]
    figure: float
    gain: Interval | None
    tried: tuple[Tried, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Tuned:
    """A tuned recipe and its evidence, all of it from validation data.

    Attributes:
        recipe: Members and weights.
        members: What was tried of each member.
        earnings: What each earns in the blend.
        skipped: Why members were not tried, by name.
    """

    recipe: Recipe
    members: tuple[Member, ...]
    earnings: tuple[Earning, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def trials(self) -> int:
        """How many settings were tried in all."""
        return sum(len(member.tried) for member in self.members)


def tune(
    train: csr_matrix,
    valid: csr_matrix,
    *,
    trials: int,
    seed: int,
    k: int,
    spaces: Mapping[str, Space] | None = None,
    starts: Mapping[str, Mapping[str, Any]] | None = None,
    facts: Facts | None = None,
    store: Path | None = None,
    watch: Watch | None = None,
) -> Tuned:
    """Tune a recipe by NDCG at k of items that a history does not hold.

    Args:
        train: What members learn from, shape (listeners, items).
        valid: What they are to foresee, of the same shape.
        trials: How many settings of each member are tried.
        seed: Of search, sample and intervals.
        k: Places of the shelf.
        spaces: What is tried, by member; a name begins with its kind, as in a recipe. One of which nothing is tried takes part with
            its defaults. By default ``SPACES``.
        starts: What each search begins with, where that is not ``STARTS``; settings that a space does not have do not count.
        facts: What else is known of the rows of ``train``.
        store: An SQLite file that keeps the trials, so that a killed search goes on.
        watch: Told a member's name, how many of its trials are done and of how many.

    Raises:
        ValueError: Nobody has anything to foresee, a space is of an unknown kind, or no member can be fitted.
    """
    field_ = _Field(train, valid, k, seed, facts)
    chosen = dict(SPACES if spaces is None else spaces)
    members: list[Member] = []
    models: dict[str, Model] = {}
    skipped: dict[str, str] = {}
    with TemporaryDirectory() as folder:
        for name, space in chosen.items():
            kind = name.partition(":")[0]
            start = {**STARTS.get(kind, {}), **(starts or {}).get(name, {})}
            start = {setting: value for setting, value in start.items() if setting in space and _is_in(space[setting], value)}
            task = _Task(name, space, start, FIXED.get(kind, {}))
            try:
                member = _search_member(field_, task, trials if space else 1, seed, store or Path(folder) / "search.db", watch)
            except ValueError as error:
                # A member may refuse a catalogue of this size; that is no reason to have no recommender.
                skipped[name] = str(error)
                continue
            members.append(member)
            models[name] = field_.fit(name, member.settings)
    if not members:
        raise ValueError(f"no member can be fitted: {'; '.join(skipped.values())}")
    candidates = gather_candidates(models, field_.histories, field_.truth, field_.countries)
    earnings = learn_weights(candidates, k, seed=seed)
    weights = {earning.member: earning.weight for earning in earnings}
    settings = {member.name: member.settings for member in members}
    if FALLBACK not in settings:
        settings[FALLBACK], weights[FALLBACK] = {}, 0.0
    return Tuned(Recipe(settings, weights), tuple(members), tuple(earnings), skipped)


@dataclass(frozen=True, slots=True)
class _Task:
    name: str
    space: Space
    start: Mapping[str, Any]
    fixed: Mapping[str, Any]


class _Field:
    """What is learnt from and what is to be foreseen, and how good a model is at it."""

    def __init__(self, train: csr_matrix, valid: csr_matrix, k: int, seed: int, facts: Facts | None) -> None:
        asked = np.flatnonzero(np.diff(valid.indptr))
        if not len(asked) or train.shape != valid.shape:
            raise ValueError("a recipe is tuned by what somebody plays later, in a matrix of the same listeners and items")
        if len(asked) > LISTENERS:
            asked = np.sort(np.random.default_rng(seed).choice(asked, LISTENERS, replace=False))
        homes = None if facts is None else facts.countries
        self._train, self._facts, self._k = train, facts, k
        self.histories, self.truth = train[asked], valid[asked]
        self.countries: Sequence[str] | None = None if homes is None else [homes[row] for row in asked.tolist()]
        self.identity = _digest(train, valid, k, seed)

    def fit(self, name: str, settings: Mapping[str, Any]) -> Model:
        """Fit a member."""
        return find_model(name).fit(self._train, settings, self._facts)

    def figures(self, name: str, settings: Mapping[str, Any]) -> np.ndarray:
        """NDCG of each listener by a member with these settings."""
        tops, _ = top_by_model(self.fit(name, settings), self.histories, self._k, countries=self.countries)
        return relevance(tops, self.truth)["ndcg"]


def _search_member(field_: _Field, task: _Task, trials: int, seed: int, store: Path, watch: Watch | None) -> Member:
    known: dict[tuple[tuple[str, Any], ...], np.ndarray] = {}

    def value_of(parameters: Mapping[str, Any]) -> np.ndarray:
        key = tuple(sorted(parameters.items()))
        if key not in known:
            known[key] = field_.figures(task.name, {**task.fixed, **parameters})
        return known[key]

    found = search(
        task.space,
        lambda parameters, _report: float(value_of(parameters).mean()),
        SearchConfig(trials, seed=seed, direction="maximize", random_trials=max(2, trials // 3), pruned_after=0),
        store,
        identity=f"{field_.identity} {task.name} {sorted(task.fixed.items())}",
        default=task.start or None,
        watch=None if watch is None else lambda number, _tried: watch(task.name, number + 1, trials),
    )
    best = {**task.fixed, **found.parameters}
    start = {**task.fixed, **task.start}
    gain = None
    if task.start and best != start:
        gain = paired_difference(value_of(found.parameters), value_of(task.start), seed=seed)
    settings = start if task.start and not (gain and gain.is_gain) else best
    return Member(task.name, settings, best, found.value, gain, found.tried, found.digest)


def _is_in(space: Choice | Range, value: Any) -> bool:
    return value in space.values if isinstance(space, Choice) else space.low <= value <= space.high


def _digest(train: csr_matrix, valid: csr_matrix, k: int, seed: int) -> str:
    known = hashlib.sha256(f"{train.shape} {k} {seed} {LISTENERS}".encode())
    for matrix in (train, valid):
        for array in (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data.astype(np.float32)):
            known.update(np.ascontiguousarray(array).data)
    return known.hexdigest()[:16]
