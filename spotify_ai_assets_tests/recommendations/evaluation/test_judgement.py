"""The gate: a better recipe passes, a worse one is refused, and a small loss needs something better beside it."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.evaluation.judgement import compare, judge, judge_tables
from spotify_ai_assets.recommendations.evaluation.metrics import Measured, measure
from spotify_ai_assets.training.gates import GateResult

ITEMS, LISTENERS, K, WANTED = 400, 800, 10, 4


def shelves(skill: float, *, seed: int = 0, reach: int = ITEMS) -> Measured:
    """Shelves that foresee a share of what is played later and fill up with any of the first ``reach`` items."""
    rng = np.random.default_rng(100)
    wanted = np.array([rng.choice(ITEMS, WANTED, replace=False) for _ in range(LISTENERS)])
    truth = csr_matrix((np.ones(wanted.size), np.sort(wanted, 1).ravel(), np.arange(0, wanted.size + 1, WANTED)), shape=(LISTENERS, ITEMS))
    known = rng.random(wanted.shape) < skill
    rng = np.random.default_rng(seed)
    rows = []
    for mine, hits in zip(wanted, known, strict=True):
        others = [item for item in rng.permutation(reach)[: K + WANTED] if item not in mine]
        rows.append([*mine[hits], *others][:K])
    return measure(np.array(rows, np.int32), truth, item_popularity=np.arange(ITEMS, 0, -1))


BASELINES = {"popularity": shelves(0.05, reach=20), "cooccurrence": shelves(0.2)}


def verdicts(result: GateResult) -> list[bool]:
    return [check.passed for check in result.checks]


def test_a_first_recipe_serves_if_it_beats_popularity() -> None:
    result = judge(None, shelves(0.4), BASELINES)
    assert result.passed
    assert len(result.checks) == 2
    assert GateResult.from_json(result.as_json()) == result


def test_a_better_recipe_replaces_the_champion_and_a_worse_one_stays_out() -> None:
    worse, better = shelves(0.3), shelves(0.5)
    won, lost = judge(worse, better, BASELINES, against="7"), judge(better, worse, BASELINES, against="7")
    assert won.passed
    assert won.against == "7"
    assert verdicts(lost) == [True, True, False]
    assert lost.failed[0].startswith("discovery: NDCG against the champion's recipe, relative: -0.")


def test_popularity_does_not_pass_for_a_recommender() -> None:
    result = judge(None, BASELINES["popularity"], BASELINES)
    assert verdicts(result) == [False, False]


def test_a_difference_to_popularity_within_the_interval_does_not_pass() -> None:
    nearly = shelves(0.05, reach=20, seed=1)
    assert not judge(None, nearly, BASELINES | {"cooccurrence": nearly}).passed


def test_losing_to_item_neighbours_is_refused() -> None:
    result = judge(None, shelves(0.3), BASELINES | {"cooccurrence": shelves(0.6)})
    assert verdicts(result) == [True, False]


def test_a_baseline_that_nobody_measured_is_no_pass() -> None:
    result = judge(None, shelves(0.4), {"popularity": BASELINES["popularity"]})
    assert verdicts(result) == [True, False]
    assert "not measured" in result.failed[0]


def slightly_worse(champion: Measured, share: float, reach: int) -> Measured:
    """The champion's shelves with the hits of a share of the listeners lost, and misses among the first ``reach`` items."""
    rng = np.random.default_rng(5)
    tops, wanted = champion.tops.copy(), champion.truth.toarray() > 0
    for row in range(LISTENERS):
        is_lost = row < share * LISTENERS
        fill = iter([item for item in rng.permutation(reach) if not wanted[row, item]][:K])
        tops[row] = [item if wanted[row, item] and not is_lost else next(fill) for item in tops[row]]
    return measure(tops, champion.truth, item_popularity=np.arange(ITEMS, 0, -1))


@pytest.mark.parametrize(
    ("share", "reach", "passes"),
    [
        (0.005, ITEMS, True),  # half a percent lost, and three times the catalogue covered
        (0.005, 120, False),  # half a percent lost for nothing
        (0.05, ITEMS, False),  # five percent are too much for any coverage
    ],
)
def test_a_small_loss_passes_only_with_a_guard_that_is_better_by_its_interval(share: float, reach: int, passes: bool) -> None:
    champion = shelves(0.5, reach=120)
    result = judge(champion, slightly_worse(champion, share, reach), BASELINES)
    assert verdicts(result) == [True, True, passes]
    (check,) = result.checks[2:]
    assert ("being better by its interval" in check.name) == (reach == ITEMS)
    assert check.bound == (-0.01 if reach == ITEMS else 0.0)
    assert check.value is not None
    assert -0.1 < check.value < 0


def test_a_champion_that_foresaw_nothing_is_beaten_by_anything() -> None:
    blank = measure(np.full((LISTENERS, K), -1, np.int32), BASELINES["popularity"].truth, item_popularity=np.arange(ITEMS, 0, -1))
    assert judge(blank, shelves(0.4), BASELINES).passed


def test_a_challenger_must_hold_in_every_table() -> None:
    good, bad = shelves(0.5), shelves(0.3)
    both = {name: {"discovery": each, "daily_mix": each} for name, each in BASELINES.items()}
    champion = {"discovery": shelves(0.4), "daily_mix": shelves(0.4)}
    assert judge_tables(champion, {"discovery": good, "daily_mix": good}, both).passed
    mixed = judge_tables(champion, {"discovery": good, "daily_mix": bad}, both, against="3")
    assert verdicts(mixed) == [True, True, True, True, True, False]
    assert mixed.failed[0].startswith("daily_mix:")
    assert judge_tables(None, {"discovery": good, "daily_mix": bad}, both).passed


def test_two_recommenders_compare_only_on_equal_terms() -> None:
    small = measure(np.zeros((2, 1), np.int32), csr_matrix((2, 3)))
    with pytest.raises(ValueError, match="same listeners"):
        compare(small, shelves(0.1))


def test_a_comparison_tells_every_difference_with_its_interval() -> None:
    ours, theirs = shelves(0.5), shelves(0.3, reach=100)
    found = compare(ours, theirs)
    assert found["coverage"].is_gain
    assert found["recall"].value == pytest.approx(ours.value("recall") - theirs.value("recall"))
    assert found["overlap"].high < 0
    assert compare(ours, ours)["ndcg"].value == 0
