"""A recipe is tuned on validation data: searches resume, chance is no gain, and a member has to earn its weight."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.evaluation.metrics import relevance
from spotify_ai_assets.recommendations.models.contract import Facts
from spotify_ai_assets.recommendations.models.kernels import top_by_model
from spotify_ai_assets.recommendations.models.recipes import fit_recipe
from spotify_ai_assets.recommendations.models.tuning import tune
from spotify_ai_assets.recommendations.models.weighing import Candidates, gather_candidates, learn_weights, ndcg_of
from spotify_ai_assets.recommendations.public_sets import hold_out
from spotify_ai_assets.training.search import Choice, Range


def clusters(listeners: int = 120, items: int = 60, groups: int = 4, seed: int = 0) -> csr_matrix:
    """Listeners of one taste hear half of its items, and now and then another."""
    rng = np.random.default_rng(seed)
    same = np.arange(listeners)[:, None] % groups == np.arange(items)[None, :] % groups
    return csr_matrix((rng.random((listeners, items)) < np.where(same, 0.5, 0.03)).astype(np.float32))


@pytest.fixture(scope="module")
def parts():
    return hold_out(clusters(), 0.2, 0)


SPACES = {
    "cooccurrence": {"shrink": Range(0.0, 10.0)},
    "spectral": {"factors": Choice((4, 8)), "item_exponent": Range(0.1, 0.6)},
    "popularity": {"half_life_days": Range(7.0, 60.0)},
}


def test_a_tuned_recipe_beats_popularity_and_gives_it_no_weight(parts):
    train, valid = parts
    told = []
    tuned = tune(train, valid, trials=2, seed=0, k=10, spaces=SPACES, watch=lambda *said: told.append(said))
    assert tuned.trials == len(told) == 6
    assert told[-1] == ("popularity", 2, 2)
    assert tuned.recipe.weights["popularity"] == 0
    (popularity,) = [earning for earning in tuned.earnings if earning.member == "popularity"]
    assert not popularity.gain.is_gain
    best = tuned.earnings[0]
    assert best.weight == 1
    assert best.alone.low > popularity.alone.high
    tops, _ = top_by_model(fit_recipe(tuned.recipe, train), train, 10)
    assert np.nanmean(relevance(tops, valid)["ndcg"]) >= best.alone.value - 1e-9


def test_equal_data_and_seed_give_equal_recipes_and_a_stored_search_is_not_repeated(parts, tmp_path):
    train, valid = parts
    spaces = {"spectral": SPACES["spectral"]}
    first = tune(train, valid, trials=2, seed=1, k=10, spaces=spaces, store=tmp_path / "search.db")
    told = []
    again = tune(train, valid, trials=2, seed=1, k=10, spaces=spaces, store=tmp_path / "search.db", watch=lambda *said: told.append(said))
    assert told == []
    assert again.recipe.as_json() == first.recipe.as_json()
    assert "popularity" in again.recipe.members
    other = tune(train, valid, trials=2, seed=1, k=10, spaces=spaces)
    assert other.recipe.digest == first.recipe.digest


def test_a_find_within_chance_leaves_the_start(parts):
    train, valid = parts
    spaces = {"popularity": {"shrinkage": Range(900.0, 1100.0)}}
    starts = {"popularity": {"shrinkage": 1000.0}}
    (member,) = tune(train, valid, trials=3, seed=0, k=10, spaces=spaces, starts=starts).members
    assert member.settings == {"shrinkage": 1000.0}
    assert member.gain is None or not member.gain.is_gain


def test_a_member_that_refuses_the_catalogue_is_left_out_with_its_reason(parts):
    train, valid = parts
    spaces = {"ease": {"largest": Choice((5, 6))}, "cooccurrence": SPACES["cooccurrence"]}
    tuned = tune(train, valid, trials=2, seed=0, k=10, spaces=spaces)
    assert "at most" in tuned.skipped["ease"]
    assert "ease" not in tuned.recipe.members
    with pytest.raises(ValueError, match="no member can be fitted"):
        tune(train, valid, trials=2, seed=0, k=10, spaces={"ease": spaces["ease"]})


def test_an_unknown_kind_and_an_empty_future_are_refused(parts):
    train, valid = parts
    with pytest.raises(ValueError, match="no model is called oracle"):
        tune(train, valid, trials=1, seed=0, k=10, spaces={"oracle": {"depth": Range(0.0, 1.0)}})
    with pytest.raises(ValueError, match="later"):
        tune(train, csr_matrix(valid.shape, dtype=np.float32), trials=1, seed=0, k=10)


def test_countries_reach_the_members(parts):
    train, valid = parts
    homes = ["DE" if row % 2 else "FR" for row in range(train.shape[0])]
    spaces = {"popularity": {"shrinkage": Range(1.0, 10.0), "listeners": Choice((2, 3))}}
    at_home = tune(train, valid, trials=1, seed=0, k=10, spaces=spaces, facts=Facts(countries=homes))
    abroad = tune(train, valid, trials=1, seed=0, k=10, spaces=spaces)
    assert at_home.earnings[0].alone.value > abroad.earnings[0].alone.value


def invent(seed: int = 0, listeners: int = 300) -> Candidates:
    """One member that knows, one that knows something else, and one that knows nothing."""
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, listeners, 30)) < 0.1
    hits = first | second
    hits[:, 0] = True
    noise = rng.standard_normal((3, listeners, 30))
    scores = np.stack([2 * first + noise[0], 2 * second + noise[1], noise[2]], axis=2).astype(np.float32)
    return Candidates(("this", "that", "noise"), scores, hits, hits.sum(axis=1))


def test_members_that_know_different_things_are_blended_and_noise_earns_nothing():
    earnings = {earning.member: earning for earning in learn_weights(invent(), 10, seed=0)}
    assert earnings["this"].weight > 0
    assert earnings["that"].weight > 0
    assert earnings["noise"].weight == 0
    assert not earnings["noise"].gain.is_gain
    candidates = invent()
    weights = [earnings[name].weight for name in candidates.names]
    together = ndcg_of(candidates, weights, 10).mean()
    assert together > max(earnings["this"].alone.value, earnings["that"].alone.value) + 0.05


def test_a_copy_of_a_member_earns_nothing():
    candidates = invent()
    twice = np.repeat(candidates.scores[:, :, :1], 2, axis=2)
    earnings = learn_weights(Candidates(("one", "two"), twice, candidates.hits, candidates.wanted), 10, seed=0)
    assert [earning.weight for earning in earnings] == [1, 0]


def test_members_that_earn_nothing_alone_enter_together_or_not_at_all():
    rng = np.random.default_rng(2)
    knowledge = rng.standard_normal((4, 40, 30))
    hits = knowledge.sum(axis=0) > 3
    hits[:, 0] = True
    scores = np.stack([knowledge[0], *(0.5 * knowledge[member] + rng.standard_normal((40, 30)) for member in (1, 2, 3))], axis=2)
    names = ("main", "a", "b", "c")
    first, *others = learn_weights(Candidates(names, scores.astype(np.float32), hits, hits.sum(axis=1)), 10, seed=0)
    assert first.member == "main"
    assert {other.member for other in others if other.weight > 0} == {"a", "b", "c"}
    assert len({other.gain for other in others}) == 1
    assert others[0].gain.is_gain
    for name in ("a", "b", "c"):
        pair = [0, names.index(name)]
        alone = Candidates(("main", name), scores[:, :, pair].astype(np.float32), hits, hits.sum(axis=1))
        assert learn_weights(alone, 10, seed=0)[1].weight == 0


def test_nobody_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        learn_weights(Candidates((), np.zeros((3, 2, 0), np.float32), np.zeros((3, 2), bool), np.ones(3, int)), 10, seed=0)


def test_the_order_of_candidates_is_that_of_all_items(parts):
    train, valid = parts
    members = {"cooccurrence": {}, "spectral": {"factors": 6}}
    from spotify_ai_assets.recommendations.models.recipes import Recipe

    weights = {"cooccurrence": 0.4, "spectral": 1.0}
    blend = fit_recipe(Recipe(members, weights), train)
    candidates = gather_candidates(blend.members, train, valid)
    tops, _ = top_by_model(blend, train, 10)
    expected = relevance(tops, valid)["ndcg"]
    found = ndcg_of(candidates, [weights[name] for name in candidates.names], 10)
    np.testing.assert_allclose(found, expected[np.diff(valid.indptr) > 0], atol=1e-12)
