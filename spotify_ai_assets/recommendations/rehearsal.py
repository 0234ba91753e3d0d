"""The rehearsal of recipes: tuned on the validation window, measured once on the test window beside baselines and the champion's.

All are fitted anew at one cutoff, so that recipes are compared and not ages. What wins is fitted on everything afterwards.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.recommendations.interactions import Histories, align, make_histories
from spotify_ai_assets.training.gates import GateResult

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from spotify_ai_assets.recommendations.evaluation.metrics import Measured
    from spotify_ai_assets.recommendations.models.contract import Facts, Model
    from spotify_ai_assets.recommendations.models.recipes import Recipe

K = 20
SEED = 0
LEAST_LISTENERS = 20
"""Listeners with something to foresee, below which nothing can be said of a recipe."""
CHALLENGER, CHAMPION = "challenger", "champion"
BASELINES = ("popularity", "cooccurrence")
NETWORKS = ("two_tower", "sequence")
"""Members that are fitted with their defaults: a search of their settings would take hours."""

Knowledge = Callable[[Histories], "Facts"]
"""Gives what models may know of histories besides who heard what."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a rehearsal found.

    Attributes:
        challenger: The recipe that was tuned.
        winner: The recipe that is to be fitted on everything: the challenger's, or the champion's where that holds.
        gate: What the gate says of the challenger.
        rows: Figures of all, as ``recommendations/evaluation`` has them but for ``recipe_version``, which is the recipe's digest.
        earnings: What each member earned on the validation window: ``member``, ``weight``, ``alone``, ``gain``, ``gain_low``.
        skipped: Why members were not tried, by name.
        trials: How many settings were tried on the validation window.
    """

    challenger: "Recipe"
    winner: "Recipe"
    gate: GateResult
    rows: pl.DataFrame
    earnings: tuple[Mapping[str, str | float], ...]
    skipped: Mapping[str, str]
    trials: int


def rehearse(
    interactions: pl.DataFrame,
    know: Knowledge,
    champion: "Recipe | None" = None,
    against: str | None = None,
    *,
    trials: int,
    is_thorough: bool = True,
    store: Path | None = None,
    watch: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Rehearsal:
    """Tune a recipe, and measure it beside the baselines, its members and the champion's recipe.

    Args:
        interactions: Rows of ``recommendations/interactions``.
        know: What models may know of histories.
        champion: The recipe of whoever serves.
        against: The champion's version.
        trials: How many settings of each member are tried.
        is_thorough: Whether networks take part, which take minutes to fit.
        store: Where the search keeps its trials, so that a killed one goes on.
        watch: Told what is done, how many of it, and of how many.

    Raises:
        MissingInputError: Too few listeners come back in the validation or the test window.
    """
    from spotify_ai_assets.recommendations.evaluation.judgement import judge_tables
    from spotify_ai_assets.recommendations.models.tuning import SPACES, tune

    early = make_histories(interactions, ("train",))
    tuned = tune(
        early.matrix,
        _unheard(interactions, "valid", early),
        trials=trials,
        seed=SEED,
        k=K,
        spaces={**SPACES, **({name: {} for name in NETWORKS} if is_thorough else {})},
        facts=know(early),
        store=store,
        watch=lambda what, done, total: watch(what, done, total),
    )
    late = make_histories(interactions, ("train", "valid"))
    stage = _Stage(interactions, late, know(late))
    recipes = _cast(tuned.recipe, champion)
    measured: dict[str, dict[str, Measured]] = {}
    for done, (name, recipe) in enumerate(recipes.items(), 1):
        measured[name] = stage.measure(recipe)
        watch("rehearsal", done, len(recipes))
    gate = judge_tables(
        measured.get(CHAMPION),
        measured[CHALLENGER],
        {name: measured[name] for name in BASELINES},
        against=against if CHAMPION in measured else None,  # the champion's own recipe is compared with nothing: equal again
        seed=SEED,
    )
    rows = pl.concat([stage.tell(name, recipes[name].digest, found) for name, found in measured.items()])
    winner = tuned.recipe if gate.passed or champion is None else champion
    earnings = tuple(
        {"member": each.member, "weight": each.weight, "alone": each.alone.value, "gain": each.gain.value, "gain_low": each.gain.low}
        for each in tuned.earnings
    )
    return Rehearsal(tuned.recipe, winner, gate, rows, earnings, tuned.skipped, tuned.trials)


def _cast(challenger: "Recipe", champion: "Recipe | None") -> dict[str, "Recipe"]:
    """Whom to measure: baselines, the members that earned a weight, the challenger, and the champion where it is another."""
    from spotify_ai_assets.recommendations.models.recipes import Recipe

    alone = {name: Recipe({name: {}}, {name: 1.0}) for name in BASELINES}
    alone |= {name: Recipe({name: settings}, {name: 1.0}) for name, settings in challenger.members.items() if challenger.weights[name] > 0}
    cast = {**alone, CHALLENGER: challenger}
    return cast if champion is None or champion.digest == challenger.digest else {**cast, CHAMPION: champion}


def _unheard(interactions: pl.DataFrame, part: str, histories: Histories) -> "csr_matrix":
    from spotify_ai_assets.recommendations.evaluation.metrics import drop_seen

    wanted = drop_seen(align(interactions, part, histories), histories.matrix)
    listeners = int((np.diff(wanted.indptr) > 0).sum())
    if listeners < LEAST_LISTENERS:
        raise MissingInputError(f"only {listeners} listeners hear something new in the {part} window, {LEAST_LISTENERS} are needed")
    return wanted


class _Stage:
    """The test window, and those for whom there is something to foresee."""

    def __init__(self, interactions: pl.DataFrame, histories: Histories, facts: "Facts") -> None:
        from spotify_ai_assets.recommendations.evaluation.slices import cut

        unheard = _unheard(interactions, "test", histories)
        truth = align(interactions, "test", histories)
        self._asked = np.flatnonzero(np.diff(truth.indptr))
        self._truth = {"discovery": unheard[self._asked], "daily_mix": truth[self._asked]}
        self._histories, self._facts = histories, facts
        self._seen = histories.matrix[self._asked]
        self._counts = np.bincount(histories.matrix.indices, minlength=len(histories.items))
        self._countries = histories.countries[self._asked].tolist()
        self._slices = cut(self._seen, item_popularity=self._counts, countries=self._countries)

    def measure(self, recipe: "Recipe") -> "dict[str, Measured]":
        """Fit a recipe and measure it on both tables."""
        from spotify_ai_assets.recommendations.evaluation.metrics import measure
        from spotify_ai_assets.recommendations.models.kernels import top_by_model
        from spotify_ai_assets.recommendations.models.recipes import fit_recipe

        model: Model = fit_recipe(recipe, self._histories.matrix, self._facts)
        found = {}
        for table, truth in self._truth.items():
            tops, _ = top_by_model(model, self._seen, K, hide_seen=table == "discovery", countries=self._countries)
            found[table] = measure(tops, truth, seen=self._seen, item_artists=self._facts.artists, item_popularity=self._counts)
        return found

    def tell(self, name: str, digest: str, measured: "Mapping[str, Measured]") -> pl.DataFrame:
        """Figures as rows."""
        from spotify_ai_assets.recommendations.evaluation.slices import frame

        tables = [
            frame(found, recipe=name, recipe_version=digest, table=table, slices=self._slices, seed=SEED)
            for table, found in measured.items()
        ]
        return pl.concat(tables)
