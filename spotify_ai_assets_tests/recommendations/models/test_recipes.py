"""Recipes, blends and the kinds that they name."""

import json

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.contract import Model
from spotify_ai_assets.recommendations.models.kinds import find_model
from spotify_ai_assets.recommendations.models.recipes import DOCUMENT, Recipe, fit_recipe, pack, unpack

MATRIX = csr_matrix(((np.random.default_rng(0).random((50, 20)) < 0.3) | (np.arange(50)[:, None] % 20 == np.arange(20))).astype(np.float32))
MEMBERS = {"als": {"factors": 4}, "cooccurrence": {"neighbours": 5}, "popularity": {}, "spectral:wide": {"factors": 5}}
RECIPE = Recipe(MEMBERS, {"als": 0.0, "cooccurrence": 0.5, "popularity": 0.0, "spectral:wide": 1.0})


def test_a_recipe_comes_back_from_json_with_its_digest():
    again = Recipe.from_json(json.loads(json.dumps(RECIPE.as_json())))
    assert (again.as_json(), again.digest) == (RECIPE.as_json(), RECIPE.digest)
    assert len(RECIPE.digest) == 16


def test_the_order_of_members_is_no_other_recipe_and_a_weight_is():
    turned = Recipe(dict(reversed(MEMBERS.items())), dict(reversed(RECIPE.weights.items())))
    assert turned.digest == RECIPE.digest
    assert Recipe(MEMBERS, {**RECIPE.weights, "als": 0.1}).digest != RECIPE.digest


@pytest.mark.parametrize(
    ("members", "weights", "said"),
    [
        ({"als": {}}, {"ease": 1.0}, "a weight for each member and no other: als, ease"),
        ({"als": {}}, {"als": -1.0}, "not below 0"),
        ({"als": {}}, {"als": float("nan")}, "not below 0"),
        ({"als": {}}, {"als": 0.0}, "one weight must be above 0"),
        ({"oracle": {}}, {"oracle": 1.0}, "no model is called oracle"),
    ],
)
def test_recipes_that_do_not_hold_together_are_refused(members, weights, said):
    with pytest.raises(ValueError, match=said):
        Recipe(members, weights)


def test_members_without_weight_are_not_fitted_but_for_the_one_that_answers_strangers():
    told: list[str] = []
    blend = fit_recipe(RECIPE, MATRIX, watch=told.append)
    assert told == list(blend.members) == ["cooccurrence", "popularity", "spectral:wide"]
    stranger = csr_matrix((1, 20), dtype=np.float32)
    popularity = blend.members["popularity"].score(stranger)[0]
    np.testing.assert_allclose(blend.score(stranger)[0], popularity / popularity.std(), rtol=1e-5)
    why = blend.explain(stranger, np.arange(20))
    np.testing.assert_allclose(why.rest["popularity"], blend.score(stranger)[0], rtol=1e-5)
    assert set(blend.explain(MATRIX[[0]], np.arange(20)).rest) == set()


def test_without_popularity_everything_is_alike_to_strangers():
    blend = fit_recipe(Recipe({"ease": {}}, {"ease": 1.0}), MATRIX)
    assert not blend.score(csr_matrix((2, 20), dtype=np.float32)).any()


def test_a_blend_orders_as_the_sum_of_z_scores_does():
    blend = fit_recipe(RECIPE, MATRIX)
    expected = np.zeros((50, 20))
    for name, weight in {"cooccurrence": 0.5, "spectral:wide": 1.0}.items():
        scores = blend.members[name].score(MATRIX).astype(np.float64)
        expected += weight * (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)
    shifted = blend.score(MATRIX) - expected
    np.testing.assert_allclose(shifted - shifted.mean(axis=1, keepdims=True), 0, atol=1e-5)


def test_a_blend_places_items_where_its_weightiest_member_does():
    blend = fit_recipe(Recipe(MEMBERS, {"als": 0.7, "cooccurrence": 2.0, "popularity": 0.0, "spectral:wide": 0.3}), MATRIX)
    als: Model = blend.members["als"]
    np.testing.assert_array_equal(blend.item_vectors, als.item_vectors)
    np.testing.assert_array_equal(blend.fold_in(MATRIX), als.fold_in(MATRIX))
    with pytest.raises(ValueError, match="places items in a space"):
        _ = fit_recipe(Recipe({"ease": {}}, {"ease": 1.0}), MATRIX).item_vectors


def test_files_of_another_format_or_kind_are_refused():
    files = pack(find_model("popularity").fit(MATRIX))
    document = json.loads(files[DOCUMENT])
    with pytest.raises(ValueError, match="format 7"):
        unpack({**files, DOCUMENT: json.dumps({**document, "format": 7}).encode()})
    with pytest.raises(ValueError, match="no model is called os"):
        unpack({**files, DOCUMENT: json.dumps({**document, "kind": "os"}).encode()})
