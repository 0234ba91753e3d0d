"""What another policy would have earned: planted worlds whose truth is counted exactly, and logs that cannot tell."""

import itertools

import numpy as np
import polars as pl
import pytest

from spotify_ai_assets.recommendations.experiments.counterfactual import Estimate, PropensityError, estimate, estimate_log
from spotify_ai_assets.recommendations.experiments.policies import draw_shelf, find_propensities

ITEMS, SHELVES, K = 7, 500, 2
ORDERS = np.array([*itertools.permutations(range(ITEMS), K)])


def appeal(order: np.ndarray, liking: np.ndarray) -> np.ndarray:
    """Probability that each place is played: by how much it is liked, and less if the place above is liked too."""
    liked = np.take_along_axis(liking, order, 1)
    above = np.c_[np.zeros(len(order)), liked[:, :-1]]
    return 1 / (1 + np.exp(1 - liked + 0.5 * above))


def world(seed: int, gap: float = 1.2) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Logged rewards, both policies' propensities, and what the other policy earns a shelf, counted over all shelves."""
    rng = np.random.default_rng(seed)
    logging = rng.normal(size=(SHELVES, ITEMS))
    target = logging + gap * rng.normal(size=(SHELVES, ITEMS))
    liking = target + rng.normal(size=(SHELVES, ITEMS))
    order, propensities = draw_shelf(logging, K, 1.0, rng.integers(2**62, size=SHELVES))
    rewards = (rng.random((SHELVES, K)) < appeal(order.astype(np.int64), liking)).astype(float)
    truth = 0.0
    for each in ORDERS:
        every = np.tile(each, (SHELVES, 1))
        truth += (find_propensities(target, every, 1.0).prod(1) * appeal(every, liking).sum(1)).mean()
    return rewards, propensities, find_propensities(target, order, 1.0), truth


@pytest.fixture(scope="module")
def estimates() -> list[tuple[Estimate, float]]:
    found = []
    for seed in range(20):
        rewards, propensities, target, truth = world(seed)
        found.append((estimate(rewards, propensities, target, repeats=800), truth))
    return found


def test_the_interval_covers_the_planted_value_in_at_least_eighteen_of_twenty_seeds(estimates: list[tuple[Estimate, float]]) -> None:
    covered = [each.snips.low <= truth <= each.snips.high for each, truth in estimates]
    assert sum(covered) >= 18


def test_what_was_logged_is_no_estimate_of_the_other_policy(estimates: list[tuple[Estimate, float]]) -> None:
    naive = [each.logged.low <= truth <= each.logged.high for each, truth in estimates]
    assert sum(naive) < 4
    assert sum(each.gain.low > 0 for each, _ in estimates) >= 15


def test_weights_of_policies_that_share_all_shelves_are_one_on_average(estimates: list[tuple[Estimate, float]]) -> None:
    assert all(each.is_covered for each, _ in estimates)
    first, second = np.mean([each.effective_shelves for each, _ in estimates], axis=0)
    assert second < first < SHELVES, "every further place makes shelves weigh less equally"


def test_both_estimates_hit_the_planted_value_on_average(estimates: list[tuple[Estimate, float]]) -> None:
    for name in ("snips", "ips"):
        off = np.array([getattr(each, name).value - truth for each, truth in estimates])
        assert abs(off.mean()) < 3 * off.std(ddof=1) / np.sqrt(20)


def test_the_logging_policy_itself_earns_what_was_logged() -> None:
    rewards, propensities, _, _ = world(0)
    found = estimate(rewards, propensities, propensities, repeats=100)
    for each in (found.snips, found.ips):
        assert (each.value, each.low, each.high) == pytest.approx((found.logged.value, found.logged.low, found.logged.high))
    assert found.effective_shelves.tolist() == [SHELVES, SHELVES]
    assert found.gain.value == 0


def test_a_worked_example_reads_as_by_hand() -> None:
    found = estimate(np.array([[1.0], [0.0], [1.0]]), np.array([[0.5], [0.25], [0.5]]), np.array([[0.25], [0.5], [1.0]]), repeats=10)
    assert found.snips.value == pytest.approx((0.5 + 2) / (0.5 + 2 + 2))
    assert found.ips.value == pytest.approx((0.5 + 2) / 3)
    assert found.logged.value == pytest.approx(2 / 3)
    assert found.effective_shelves[0] == pytest.approx(4.5**2 / 8.25)


def test_a_constant_added_to_all_rewards_is_added_to_the_estimate() -> None:
    rewards, propensities, target, _ = world(3)
    plain, more = (estimate(rewards + added, propensities, target, repeats=10).snips.value for added in (0, 5))
    assert more == pytest.approx(plain + 5 * K)


def test_shelves_of_one_listener_are_no_independent_evidence() -> None:
    rewards, propensities, target, _ = world(1)
    ten_times = [np.repeat(each, 10, axis=0) for each in (rewards, propensities, target)]
    plain = estimate(rewards, propensities, target, repeats=500).snips
    naive = estimate(*ten_times, repeats=500).snips
    owned = estimate(*ten_times, listeners=np.repeat(np.arange(SHELVES), 10), repeats=500).snips
    assert naive.high - naive.low < 0.5 * (plain.high - plain.low)
    assert (owned.low, owned.high, owned.count) == pytest.approx((plain.low, plain.high, SHELVES))


def test_a_policy_that_draws_what_was_never_logged_is_told() -> None:
    rng = np.random.default_rng(0)
    scores = np.where(np.arange(ITEMS) < 3, 0.0, -np.inf)
    order, propensities = draw_shelf(np.tile(scores, (SHELVES, 1)), 1, 1.0, rng.integers(2**62, size=SHELVES))
    target = find_propensities(np.zeros((SHELVES, ITEMS)), order, 1.0)
    found = estimate(np.ones((SHELVES, 1)), propensities, target, repeats=200)
    assert not found.is_covered
    assert found.mean_weight.value == pytest.approx(3 / 7)


ONE = np.array([[1.0], [0.0]])


@pytest.mark.parametrize(
    ("rewards", "propensities", "target", "said"),
    [
        (ONE, None, ONE, "no propensities"),
        (ONE, np.full((2, 1), np.nan), ONE, "missing"),
        (ONE, np.array([[0.5], [0.0]]), ONE, "above 0"),
        (ONE, np.array([[0.5], [1.5]]), ONE, "no probability"),
        (ONE, np.full((2, 1), 0.5), np.array([[np.nan], [1]]), "no probability"),
        (ONE, np.full((2, 2), 0.5), ONE, "both policies"),
        (ONE, np.ones((2, 1)), np.full((2, 1), 0.5), "nothing to chance"),
        (ONE, np.full((2, 1), 0.5), np.zeros((2, 1)), "none of the logged"),
        (ONE[:1], ONE[:1], ONE[:1], "at least 2"),
        (np.empty((3, 0)), np.empty((3, 0)), np.empty((3, 0)), "at least 2"),
    ],
)
def test_logs_that_cannot_tell_are_refused(rewards: np.ndarray, propensities: np.ndarray | None, target: np.ndarray, said: str) -> None:
    with pytest.raises(PropensityError, match=said):
        estimate(rewards, propensities, target)
    with pytest.raises(PropensityError, match="its listener"):
        estimate(ONE, np.full((2, 1), 0.5), ONE, listeners=np.arange(3))


def logged(seed: int = 0) -> pl.DataFrame:
    rewards, propensities, target, _ = world(seed)
    return pl.DataFrame(
        {
            "shelf_id": np.repeat([f"shelf {number:03}" for number in range(SHELVES)], K),
            "rank": np.tile(np.arange(1, K + 1), SHELVES),
            "reward": rewards.ravel(),
            "propensity": propensities.ravel(),
            "target_propensity": target.ravel(),
        }
    )


def test_a_log_in_any_order_is_estimated_like_its_arrays() -> None:
    rewards, propensities, target, _ = world(0)
    log = logged().sample(fraction=1, shuffle=True, seed=1)
    expected = estimate(rewards, propensities, target)
    assert estimate_log(log).snips == expected.snips
    owned = estimate_log(log.with_columns(listener_id=pl.col("shelf_id").str.slice(0, 8)))
    assert owned.snips.count == SHELVES // 10
    assert owned.snips.value == pytest.approx(expected.snips.value)


def test_shelves_may_differ_in_length() -> None:
    log = logged()
    short = log.filter((pl.col("rank") == 1) | (pl.col("shelf_id") < "shelf 300"))
    found, whole = estimate_log(short), estimate_log(log.with_columns(reward=pl.when(pl.col("rank") == 1).then("reward").otherwise(0)))
    assert found.shelves == SHELVES
    assert found.snips.value > whole.snips.value


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (logged().drop("propensity"), "needs the column propensity"),
        (logged().with_columns(propensity=None), "a value in every row"),
        (logged().with_columns(reward=pl.lit("many")), "a value in every row"),
        (logged().filter(pl.col("rank") == 2), "from 1 on"),
        (pl.concat([logged(), logged()]), "from 1 on"),
        (logged().clear(), "at least 2"),
    ],
)
def test_logs_with_gaps_are_refused(broken: pl.DataFrame, said: str) -> None:
    with pytest.raises(PropensityError, match=said):
        estimate_log(broken)
