"""Shelves by chance: drawn as often as their propensities say."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.recommendations.experiments.policies import draw_shelf, find_propensities

SCORES = np.array([1.5, 0.2, -0.4, 0.9, 0.0])
ARTISTS = np.array([7, 7, 7, 3, 3])


@pytest.mark.parametrize("artists", [None, ARTISTS])
def test_every_shelf_is_drawn_as_often_as_its_propensities_say(artists: np.ndarray | None) -> None:
    draws = 20_000
    order, chances = draw_shelf(np.tile(SCORES, (draws, 1)), 3, 0.8, np.arange(draws), artists=artists)
    counts: dict[tuple[int, ...], int] = {}
    for shelf in order.tolist():
        counts[tuple(shelf)] = counts.get(tuple(shelf), 0) + 1
    total = 0.0
    for shelf in itertools.permutations(range(5), 3):
        expected = find_propensities(SCORES, np.array(shelf), 0.8, artists=artists).prod()
        total += expected
        assert counts.get(shelf, 0) / draws == pytest.approx(expected, abs=4.5 * np.sqrt(expected / draws) + 1e-12)
    assert total == pytest.approx(1)
    again = find_propensities(np.tile(SCORES, (draws, 1)), order, 0.8, artists=artists)
    np.testing.assert_allclose(again, chances, rtol=1e-12)


def test_the_first_place_is_the_softmax() -> None:
    weights = np.exp(SCORES / 0.5)
    for item, share in enumerate(weights / weights.sum()):
        assert find_propensities(SCORES, np.array([item]), 0.5)[0] == pytest.approx(share)


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(-np.inf), min_size=1, max_size=12),
    st.integers(0, 8),
    st.just(0.0) | st.floats(1e-9, 10),
    st.integers(0, 2**63),
)
def test_shelves_hold_what_is_allowed_once_each(scores: list[float], k: int, temperature: float, seed: int) -> None:
    order, chances = draw_shelf(np.array(scores), k, temperature, seed)
    taken = order[order >= 0].tolist()
    allowed = [item for item, score in enumerate(scores) if score > -np.inf]
    assert order.shape == chances.shape == (k,)
    assert len(taken) == len(set(taken)) == min(k, len(allowed))
    assert set(taken) <= set(allowed)
    assert ((chances >= 0) & (chances <= 1)).all()
    assert (chances[order < 0] == 0).all()
    assert (order[len(taken) :] == -1).all()


@given(st.integers(0, 1_000), st.integers(1, 3))
def test_no_artist_has_more_than_its_tracks_and_nobody_is_left_who_may_come(seed: int, per_artist: int) -> None:
    rng = np.random.default_rng(seed)
    scores, artists = rng.normal(size=(4, 15)), rng.integers(0, 4, (4, 15))
    order, _ = draw_shelf(scores, 9, 0.7, rng.integers(2**40, size=4), artists=artists, per_artist=per_artist)
    for row in range(4):
        held = np.bincount(artists[row, order[row][order[row] >= 0]], minlength=4)
        there = np.bincount(artists[row], minlength=4)
        assert (held <= per_artist).all()
        assert (order[row] >= 0).sum() == min(9, np.minimum(there, per_artist).sum())


def test_without_temperature_the_best_are_taken_for_certain() -> None:
    scores = np.array([0.5, 2.0, 2.0, -1.0])
    order, chances = draw_shelf(scores, 5, 0.0, 1)
    assert order.tolist() == [1, 2, 0, 3, -1]
    assert chances.tolist() == [1, 1, 1, 1, 0]
    assert find_propensities(scores, np.array([1, 2]), 0.0).tolist() == [1, 1]
    assert find_propensities(scores, np.array([2, 1]), 0.0).tolist() == [0, 1]


def test_one_listener_gets_what_the_batch_gives() -> None:
    rng = np.random.default_rng(0)
    scores, seeds = rng.normal(size=(20, 50)), rng.integers(2**63, size=20)
    order, chances = draw_shelf(scores, 10, 0.3, seeds)
    alone, chance = draw_shelf(scores[13], 10, 0.3, seeds[13])
    assert alone.tolist() == order[13].tolist()
    assert chance.tolist() == chances[13].tolist()
    assert (draw_shelf(scores[13], 10, 0.3, seeds[14])[0] != alone).any()


def test_what_a_policy_could_not_draw_has_no_chance() -> None:
    barred = np.where(np.arange(5) == 3, -np.inf, SCORES)
    assert find_propensities(barred, np.array([3, 0]), 1.0)[0] == 0
    assert find_propensities(SCORES, np.array([0, 0]), 1.0)[1] == 0
    assert find_propensities(SCORES, np.array([0, 1, 2]), 1.0, artists=ARTISTS)[2] == 0
    assert find_propensities(SCORES, np.array([0, -1]), 1.0)[1] == 0


def test_extreme_scores_neither_overflow_nor_lose_the_rest() -> None:
    order, chances = draw_shelf(np.array([1e6, 0.0, -1e6]), 3, 1e-3, 0)
    assert order.tolist() == [0, 1, 2]
    np.testing.assert_allclose(chances, 1)


@pytest.mark.parametrize(
    ("scores", "temperature", "seed", "said"),
    [
        (np.array([np.nan]), 1.0, 0, "numbers"),
        (np.array([np.inf]), 1.0, 0, "numbers"),
        (np.array([1.0]), -1.0, 0, "temperature"),
        (np.array([1.0]), np.nan, 0, "temperature"),
        (np.array([1.0]), 1e-300, 0, "temperature"),
        (np.empty((2, 0)), 1.0, [1, 2], "numbers"),
        (np.ones((2, 3)), 1.0, [1], "one seed"),
    ],
)
def test_draws_that_mean_nothing_are_refused(scores: np.ndarray, temperature: float, seed: int | list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        draw_shelf(scores, 1, temperature, seed)
