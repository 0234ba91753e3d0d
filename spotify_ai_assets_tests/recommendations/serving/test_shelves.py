"""The rules of the shelves hold for any scores, histories and blocks, and for each listener as if nobody else had asked."""

from dataclasses import replace

import numpy as np
import pytest
import serving_world as world
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.serving.items import UNDATED, Items, days_of
from spotify_ai_assets.recommendations.serving.shelves import (
    FRESH_DAYS,
    OLD_DAYS,
    POLICIES,
    Filled,
    Policy,
    choose_dated,
    fill,
)

ITEMS = world.items()
SHELVES = tuple(POLICIES)
NOBODY_HEARD = csr_matrix((1, len(ITEMS)), dtype=np.float32)


def cases(seed: int, listeners: int = 4) -> tuple[np.ndarray, csr_matrix, np.ndarray]:
    """Scores with many ties and some missing, histories, and what is allowed."""
    rng = np.random.default_rng(seed)
    shape = listeners, len(ITEMS)
    scores = rng.integers(0, rng.choice([3, 50, 10_000]), shape).astype(np.float32)
    scores[rng.random(shape) < rng.choice([0, 0.3, 0.9])] = -np.inf
    heard = csr_matrix(rng.random(shape) < rng.choice([0, 0.2, 0.8]), dtype=np.float32)
    return scores, heard, rng.random(shape) >= rng.choice([0, 0.3])


def taken(filled: Filled, row: int = 0) -> list[int]:
    return [item for item in filled.items[row].tolist() if item >= 0]


def filled_one(shelf: str, scores: np.ndarray, heard: csr_matrix = NOBODY_HEARD, k: int = 5, **options) -> list[int]:
    return taken(fill(POLICIES[shelf], scores.reshape(1, -1), heard, options.pop("items", ITEMS), k, ends_on=world.ENDS_ON, **options))


@given(st.integers(0, 10_000), st.sampled_from(SHELVES), st.integers(1, 12), st.booleans())
def test_no_shelf_breaks_its_rules(seed: int, shelf: str, k: int, is_drawn: bool) -> None:
    scores, heard, allowed = cases(seed)
    seeds = range(4) if is_drawn else None
    filled = fill(POLICIES[shelf], scores, heard, ITEMS, k, ends_on=world.ENDS_ON, allowed=allowed, seeds=seeds)

    for row in range(len(scores)):
        shown = taken(filled, row)
        assert len(set(shown)) == len(shown) and (filled.items[row, len(shown) :] == -1).all()
        assert np.isfinite(scores[row, shown]).all() and allowed[row, shown].all()
        assert np.bincount(ITEMS.artists[shown], minlength=1).max(initial=0) <= 2
        assert filled.scores[row, : len(shown)].tolist() == scores[row, shown].tolist()
        assert ((filled.propensities[row, : len(shown)] > 0) & (filled.propensities[row] <= 1)[: len(shown)]).all()
        assert not filled.propensities[row, len(shown) :].any()
        if POLICIES[shelf].hides_heard:
            assert not np.isin(shown, heard[[row]].indices).any()
        if len(shown) < k:  # what is left over is not open, or of an artist who has two already
            left = np.flatnonzero(np.isfinite(scores[row]) & allowed[row])
            left = np.setdiff1d(left, [*shown, *(heard[[row]].indices if POLICIES[shelf].hides_heard else [])])
            left = left[ITEMS.released[left] != UNDATED]
            assert np.isin(ITEMS.artists[left], [a for a in ITEMS.artists[shown] if (ITEMS.artists[shown] == a).sum() == 2]).all()


@given(st.integers(0, 10_000), st.sampled_from(SHELVES), st.booleans())
def test_each_listener_gets_what_they_get_alone(seed: int, shelf: str, is_drawn: bool) -> None:
    scores, heard, allowed = cases(seed)
    together = fill(POLICIES[shelf], scores, heard, ITEMS, 6, ends_on=world.ENDS_ON, allowed=allowed, seeds=range(4) if is_drawn else None)
    for row in range(len(scores)):
        alone = fill(
            POLICIES[shelf],
            scores[[row]],
            heard[[row]],
            ITEMS,
            6,
            ends_on=world.ENDS_ON,
            allowed=allowed[[row]],
            seeds=[row] if is_drawn else None,
        )
        assert together.items[row].tolist() == alone.items[0].tolist() and together.scores[row].tolist() == alone.scores[0].tolist()
        assert together.propensities[row] == pytest.approx(alone.propensities[0], rel=1e-9)


def test_the_best_come_first_and_of_equals_the_lower_number() -> None:
    scores = np.zeros(len(ITEMS), np.float32)
    scores[[70, 40, 30]] = 3, 2, 3
    assert filled_one("daily_mix", scores, k=4) == [30, 70, 40, 0]


def test_half_a_daily_mix_is_known_while_there_is_anything_else() -> None:
    scores = np.arange(len(ITEMS), 0, -1).astype(np.float32)
    heard = csr_matrix((np.arange(len(ITEMS)) < 48).astype(np.float32)[None, :])
    shown = filled_one("daily_mix", scores, heard, k=10)
    assert sum(item < 48 for item in shown) == 5 and shown == sorted(shown)
    assert [item < 48 for item in filled_one("daily_mix", scores, heard, k=3)] == [True, True, False]
    everything = csr_matrix(np.ones((1, len(ITEMS)), np.float32))
    assert len(filled_one("daily_mix", scores, everything, k=10)) == 10


def test_fresh_releases_came_out_in_the_last_90_days_and_then_are_the_next_newest() -> None:
    scores = np.arange(len(ITEMS)).astype(np.float32)
    ages = days_of(world.ENDS_ON) - ITEMS.released
    shown = filled_one("fresh_releases", scores, k=36)
    assert set(ages[shown].tolist()) == {7, 60} and len(shown) == 36
    allowed = (ages != 7)[None, :]
    longer = filled_one("fresh_releases", scores, k=24, allowed=allowed)
    assert ages[longer].tolist() == [60] * 18 + [365] * 6


def test_the_back_catalogue_is_five_years_old_and_then_the_next_oldest() -> None:
    scores = np.arange(len(ITEMS)).astype(np.float32)
    ages = days_of(world.ENDS_ON) - ITEMS.released
    shown = filled_one("back_catalogue", scores, k=24)
    assert ages[shown].tolist() == [3650] * 18 + [730] * 6


@pytest.mark.parametrize(("age", "shelves"), [(FRESH_DAYS, {"fresh_releases"}), (OLD_DAYS, {"back_catalogue"}), (FRESH_DAYS + 1, set())])
def test_the_ages_of_shelves_include_their_limits(age: int, shelves: set[str]) -> None:
    dated = replace(ITEMS, released=np.full(len(ITEMS), days_of(world.ENDS_ON) - age, np.int32))
    assert {
        shelf for shelf in ("fresh_releases", "back_catalogue") if choose_dated(POLICIES[shelf], dated, world.ENDS_ON)[0].all()
    } == shelves


def test_what_has_no_date_or_is_to_come_is_on_no_dated_shelf() -> None:
    scores = np.ones(len(ITEMS), np.float32)
    for released in (UNDATED, days_of(world.ENDS_ON) + 1):
        undated = replace(ITEMS, released=np.full(len(ITEMS), released, np.int32))
        assert [filled_one(shelf, scores, items=undated) for shelf in ("fresh_releases", "back_catalogue")] == [[], []]
        assert len(filled_one("discovery", scores, items=undated)) == 5


def test_draws_repeat_and_come_as_often_as_their_propensities_say() -> None:
    few = np.full(len(ITEMS), -np.inf, np.float32)
    few[[0, 4, 8, 12]] = 1.0, 1.1, 0.7, 0.9
    many = 4000
    scores, heard = np.repeat(few[None, :], many, 0), csr_matrix((many, len(ITEMS)), dtype=np.float32)

    def draw() -> Filled:
        return fill(POLICIES["discovery"], scores, heard, ITEMS, 3, ends_on=world.ENDS_ON, seeds=range(many), temperature=1.0)

    drawn = draw()
    assert np.array_equal(drawn.items, draw().items)
    for item in (0, 4, 8, 12):
        firsts = drawn.items[:, 0] == item
        chance = drawn.propensities[firsts, 0]
        assert np.ptp(chance) == 0 and firsts.mean() == pytest.approx(chance[0], abs=4 * np.sqrt(chance[0] * (1 - chance[0]) / many))
    assert len({tuple(row) for row in drawn.items.tolist()}) == 24


def test_without_temperature_or_seeds_nothing_is_drawn() -> None:
    scores, heard, allowed = cases(1)
    ranked = fill(POLICIES["discovery"], scores, heard, ITEMS, 5, ends_on=world.ENDS_ON, allowed=allowed)
    cold = fill(POLICIES["discovery"], scores, heard, ITEMS, 5, ends_on=world.ENDS_ON, allowed=allowed, seeds=range(4), temperature=0.0)
    assert np.array_equal(ranked.items, cold.items) and set(ranked.propensities.ravel()) <= {0.0, 1.0}


def test_a_drawn_shelf_is_filled_though_few_artists_are_among_the_best() -> None:
    items: Items = replace(ITEMS, artists=np.where(np.arange(len(ITEMS)) < 80, 0, np.arange(len(ITEMS))).astype(np.int32))
    scores = np.arange(len(ITEMS), 0, -1).astype(np.float32)
    assert len(filled_one("discovery", scores, items=items, k=5, seeds=[1])) == 5
    assert len(filled_one("daily_mix", scores, items=items, k=5)) == 5


def test_nobody_asks_and_nothing_is_there() -> None:
    empty = fill(Policy(), np.zeros((0, len(ITEMS)), np.float32), csr_matrix((0, len(ITEMS))), ITEMS, 5, ends_on=world.ENDS_ON, seeds=[])
    assert empty.items.shape == (0, 5)
    assert filled_one("discovery", np.full(len(ITEMS), -np.inf, np.float32), seeds=[3]) == []
