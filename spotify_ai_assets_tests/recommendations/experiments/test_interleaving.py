"""Team draft: both rankings in fair turns, and the better one found."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.recommendations.experiments.interleaving import interleave, prefer, prefer_log

RANKINGS = st.lists(st.integers(0, 30), unique=True, max_size=20)


@given(RANKINGS, RANKINGS, st.integers(0, 15), st.integers(0, 2**63))
def test_a_shelf_is_filled_in_turns_from_both_rankings(ours: list[int], theirs: list[int], k: int, seed: int) -> None:
    shelf = interleave(ours, theirs, k, seed)
    assert shelf == interleave(ours, theirs, k, seed)
    assert len(shelf.items) == len(set(shelf.items)) == min(k, len({*ours, *theirs}))
    for team, ranking in (("ours", ours), ("theirs", theirs)):
        mine = [item for item, by in zip(shelf.items, shelf.teams, strict=True) if by == team]
        assert mine == [item for item in ranking if item in mine], "each team places its items in its order"
    for place in range(2, len(shelf.items) + 1, 2):
        if place <= 2 * min(len(ours), len(theirs)) and len({*ours, *theirs}) == len(ours) + len(theirs):
            assert shelf.teams[:place].count("ours") == place // 2, "after each round both have placed as many"
    picked = set(shelf.items[::2])
    assert sum(shelf.credit(picked)) == len(picked)
    assert shelf.credit([]) == (0, 0)


def test_equal_rankings_keep_their_order_and_prefer_nobody() -> None:
    ranking = [*range(10)]
    rng = np.random.default_rng(0)
    credits = []
    for seed in range(4_000):
        shelf = interleave(ranking, ranking, 10, seed)
        assert shelf.items == tuple(ranking)
        credits.append(shelf.credit([int(rng.choice(10, p=np.arange(10, 0, -1) / 55))]))
    found = prefer(credits)
    assert found.winner is None
    assert found.ties == 0


def test_the_ranking_that_listeners_like_better_wins() -> None:
    rng = np.random.default_rng(0)
    credits = []
    for seed in range(600):
        liking = rng.normal(size=40)
        ours, theirs = (np.argsort(-(liking + noise * rng.normal(size=40))).tolist() for noise in (0.7, 1.2))
        shelf = interleave(ours, theirs, 10, seed)
        credits.append(shelf.credit([item for item in shelf.items if rng.random() < 1 / (1 + np.exp(1 - liking[item]))]))
    found = prefer(credits)
    assert found.winner == "ours"
    assert found.p < 0.001
    assert prefer((theirs, ours) for ours, theirs in credits).winner == "theirs"


def test_the_sign_test_leaves_ties_out() -> None:
    found = prefer([(1, 0)] * 8 + [(0, 2)] * 2 + [(1, 1), (0, 0)])
    assert (found.ours, found.theirs, found.ties) == (8, 2, 2)
    assert found.p == pytest.approx(2 * 56 / 1024)
    assert found.share is not None
    assert found.share.value == 0.8


def test_ties_alone_say_nothing() -> None:
    found = prefer([(0, 0), (1, 1)])
    assert (found.p, found.share, found.winner) == (1.0, None, None)


def test_shelves_of_one_listener_count_once() -> None:
    log = pl.DataFrame(
        [("a", "ours", 1), ("a", "theirs", 2), ("a", "ours", 3), ("b", "theirs", 1), ("c", "ours", 0)],
        schema=["listener_id", "team", "picks"],
        orient="row",
    )
    found = prefer_log(log)
    assert (found.ours, found.theirs, found.ties) == (1, 1, 1)
    answers = prefer_log(log.with_columns(pl.col("picks") > 0))
    assert (answers.ours, answers.theirs) == (1, 1), "yes and no count as one and none"
    with pytest.raises(ValueError, match="ours or by theirs"):
        prefer_log(log.with_columns(team=pl.lit("mine")))
