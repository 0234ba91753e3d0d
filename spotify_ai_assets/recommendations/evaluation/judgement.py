"""Which recipe may serve: the challenger's against the baselines and against the champion's, listener by listener.

Both recipes are trained at one cutoff and measured on the next window, so that recipes are compared and not ages. Discovery and
daily mix are two tables, and the challenger must hold in both.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from spotify_ai_assets.recommendations.evaluation.intervals import jackknife_interval, paired_intervals
from spotify_ai_assets.recommendations.evaluation.metrics import Measured
from spotify_ai_assets.training.gates import Gate, GateResult, Need
from spotify_ai_assets.training.metrics import REPEATS, Interval

GATE = "recommender"
METRIC = "ndcg"
GUARDS = ("recall", "coverage", "novelty")
ALLOWED_LOSS = 0.01
"""Relative loss of the metric below which a challenger may serve that is better in a guard."""


def compare(ours: Measured, theirs: Measured, *, seed: int = 0, repeats: int = REPEATS) -> dict[str, Interval]:
    """The differences of all metrics that both have, with intervals in pairs: positive where ours is the higher.

    Means are resampled over listeners; figures of all shelves together have intervals by the jackknife.

    Args:
        ours: What was measured of one recommender.
        theirs: What was measured of the other, for the same listeners.
        seed: Of the resamples.
        repeats: How many resamples.

    Raises:
        ValueError: The two are not of the same listeners, items and k.
    """
    if ours.tops.shape != theirs.tops.shape or ours.truth.shape != theirs.truth.shape:
        raise ValueError("two recommenders compare only on the same listeners, items and places")
    names = [name for name in ours.by_listener if name in theirs.by_listener]
    mine, other = (np.column_stack([each.by_listener[name] for name in names]) for each in (ours, theirs))
    found = dict(zip(names, paired_intervals(mine, other, seed=seed, repeats=repeats), strict=True))
    for name in [name for name in ours.totals if name in theirs.totals]:
        our, their = ours.totals[name], theirs.totals[name]
        found[name] = jackknife_interval(our.value - their.value, our.without - their.without)
    return found


def judge(
    champion: Measured | None,
    challenger: Measured,
    baselines: Mapping[str, Measured],
    *,
    table: str = "discovery",
    against: str | None = None,
    seed: int = 0,
) -> GateResult:
    """Judge a challenger's recipe on one table.

    It must beat popularity by the interval of the paired difference in NDCG, must not lose by it to item-item co-occurrence, and
    must be above the champion's recipe: by any difference, or at most 1 % relative below it where recall, coverage or novelty is
    better by its interval.

    Args:
        champion: What the champion's recipe reached, trained at the same cutoff; ``None`` where there is no champion yet, or where
            it has the challenger's recipe, which needs no comparison with itself.
        challenger: What the challenger's recipe reached.
        baselines: What ``popularity`` and ``cooccurrence`` reached; one that is missing fails its check.
        table: Which table was measured.
        against: The champion's version.
        seed: Of the resamples.

    Raises:
        ValueError: Not all were measured on the same listeners, items and k.
    """
    return _decide(_weigh(champion, challenger, baselines, table, seed), against)


def judge_tables(
    champion: Mapping[str, Measured] | None,
    challenger: Mapping[str, Measured],
    baselines: Mapping[str, Mapping[str, Measured]],
    *,
    against: str | None = None,
    seed: int = 0,
) -> GateResult:
    """Judge a challenger's recipe on several tables; it must hold in all of them.

    Args:
        champion: What the champion's recipe reached, by table, or ``None`` as ``judge`` has it.
        challenger: What the challenger's recipe reached, by table.
        baselines: What each baseline reached, by its name and by table.
        against: The champion's version.
        seed: Of the resamples.

    Raises:
        KeyError: The champion was not measured on a table.
        ValueError: Not all were measured on the same listeners, items and k.
    """
    weighed = []
    for table, measured in challenger.items():
        theirs = {name: tables[table] for name, tables in baselines.items() if table in tables}
        weighed += _weigh(champion[table] if champion else None, measured, theirs, table, seed)
    return _decide(weighed, against)


def _weigh(
    champion: Measured | None, challenger: Measured, baselines: Mapping[str, Measured], table: str, seed: int
) -> list[tuple[Need, float | None]]:
    """What is asked on a table, with the figure that was found."""
    over = {name: compare(challenger, measured, seed=seed)[METRIC] for name, measured in baselines.items()}
    popularity, neighbours = over.get("popularity"), over.get("cooccurrence")
    weighed = [
        (
            Need(f"{table}: NDCG above popularity, lower end of the difference", f"{table}_over_popularity", ">", 0.0),
            popularity.low if popularity else None,
        ),
        (
            Need(f"{table}: NDCG not below co-occurrence, upper end of the difference", f"{table}_over_cooccurrence", ">=", 0.0),
            neighbours.high if neighbours else None,
        ),
    ]
    if champion is not None:
        weighed.append(_weigh_champion(champion, challenger, table, seed))
    return weighed


def _weigh_champion(champion: Measured, challenger: Measured, table: str, seed: int) -> tuple[Need, float]:
    found = compare(challenger, champion, seed=seed)
    better = [name for name in GUARDS if name in found and found[name].is_gain]
    base = champion.value(METRIC)
    # A champion that foresaw nothing has no relative difference.
    gain = found[METRIC].value / base if base > 0 else found[METRIC].value
    said = f", {better[0]} being better by its interval" if better else ""
    need = Need(f"{table}: NDCG against the champion's recipe, relative{said}", f"{table}_gain", ">", -ALLOWED_LOSS if better else 0.0)
    return need, gain


def _decide(weighed: Iterable[tuple[Need, float | None]], against: str | None) -> GateResult:
    weighed = list(weighed)
    figures = {need.figure: figure for need, figure in weighed if figure is not None}
    return Gate(GATE, tuple(need for need, _ in weighed)).judge(figures, against)
