"""What each linear model says, against its formula."""

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from spotify_ai_assets.recommendations.models.als import ALS
from spotify_ai_assets.recommendations.models.contract import Facts
from spotify_ai_assets.recommendations.models.cooccurrence import Cooccurrence
from spotify_ai_assets.recommendations.models.ease import Ease
from spotify_ai_assets.recommendations.models.popularity import Popularity
from spotify_ai_assets.recommendations.models.spectral import Spectral, singular_vectors


def draw(listeners: int, items: int, seed: int = 0) -> csr_matrix:
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((listeners, items)) < 0.2, rng.random((listeners, items)) + 0.1, 0)
    return csr_matrix(dense.astype(np.float32))


NOBODY = csr_matrix((1, 3), dtype=np.float32)


def test_old_plays_count_less_for_popularity():
    matrix = csr_matrix(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32))
    model = Popularity.fit(matrix, {"half_life_days": 10.0}, Facts(ages=np.array([0, 10, 40], np.float32)))
    np.testing.assert_allclose(np.expm1(model.score(NOBODY)[0]), [1, 1 / 2, 1 / 16], rtol=1e-5)


def test_a_country_has_its_own_taste_shrunk_to_the_worlds():
    matrix = csr_matrix(np.array([[1, 0, 0]] * 6 + [[0, 0, 1]] * 2, np.float32))
    homes = ["DE"] * 6 + ["FR"] * 2
    model = Popularity.fit(matrix, {"listeners": 2, "shrinkage": 2.0}, Facts(countries=homes))
    shares = np.array([0, 0, 2]) + 2.0 * np.array([6, 0, 2]) / 8
    np.testing.assert_allclose(np.expm1(model.score(NOBODY, ["FR"])[0]), shares / 4 * 8, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.score(NOBODY, ["JP"]), model.score(NOBODY))


def test_a_country_of_few_listeners_has_no_table_of_its_own():
    matrix = csr_matrix(np.eye(3, dtype=np.float32))
    model = Popularity.fit(matrix, {"listeners": 2}, Facts(countries=["DE", "DE", "MC"]))
    assert model.countries == ("DE",)
    np.testing.assert_array_equal(model.score(NOBODY, ["MC"]), model.score(NOBODY))


def test_cooccurrence_is_the_shrunk_cosine_of_columns():
    matrix = draw(80, 20)
    dense = matrix.toarray().astype(np.float64)
    norms = np.sqrt((dense**2).sum(axis=0))
    expected = dense.T @ dense / (norms[:, None] * norms + 3.0)
    np.fill_diagonal(expected, 0)
    model = Cooccurrence.fit(matrix, {"shrink": 3.0, "neighbours": 20, "target_exponent": 0.5, "listener_exponent": 0.0})
    np.testing.assert_allclose(model.score(csr_matrix(np.eye(20, dtype=np.float32))), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("listeners", "items"), [(90, 30), (30, 90)])
def test_ease_is_its_closed_form_on_either_side(listeners, items):
    matrix = draw(listeners, items)
    dense = matrix.toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 5.0 * np.eye(items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    model = Ease.fit(matrix, {"regularization": 5.0})
    assert (model.own is None) == (listeners > items)
    np.testing.assert_allclose(model.score(matrix), dense @ weights, rtol=1e-3, atol=1e-4)


def test_ease_refuses_more_items_than_it_is_allowed():
    Ease.fit(draw(90, 30), {"largest": 30})
    with pytest.raises(ValueError, match="at most 29 items, these are 30 of 90 listeners"):
        Ease.fit(draw(90, 30), {"largest": 29})
    Ease.fit(draw(10, 40), {"largest": 20})
    with pytest.raises(ValueError, match="at most 19 items"):
        Ease.fit(draw(10, 40), {"largest": 19})


def test_als_scores_are_those_of_implicit_solved_exactly():
    matrix = draw(60, 40)
    config = {"factors": 8, "alpha": 4.0, "regularization": 2.0, "iterations": 4, "seed": 3}
    confidences = csr_matrix((1 + 4.0 * matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
    with threadpool_limits(1, user_api="blas"):
        peer = AlternatingLeastSquares(factors=8, regularization=2.0, iterations=4, random_state=3)
        peer.fit(confidences, show_progress=False)
        listeners = peer.recalculate_user(np.arange(60), confidences)
    np.testing.assert_allclose(ALS.fit(matrix, config).score(matrix), listeners @ peer.item_factors.T, rtol=2e-3, atol=2e-4)


def test_the_first_singular_vectors_span_what_the_exact_ones_span():
    matrix = draw(120, 80)
    matrix = csr_matrix(matrix.multiply(np.linspace(3, 0.1, 80)), dtype=np.float32)  # columns that fall off, as those of real graphs
    _, values, exact = np.linalg.svd(matrix.toarray().astype(np.float64))
    strengths, found = singular_vectors(matrix, 10, 20, 0)
    np.testing.assert_allclose(strengths, values[:10], rtol=1e-4)
    np.testing.assert_allclose(found.T @ found, np.eye(10), atol=1e-5)
    np.testing.assert_allclose(np.abs(np.sum(found * exact[:10].T, axis=0)), 1, atol=1e-3)


def test_more_singular_vectors_than_there_are_are_as_many_as_there_are():
    _, found = singular_vectors(csr_matrix(np.eye(5, 3, dtype=np.float32)), 9, 4, 0)
    np.testing.assert_allclose(found.T @ found, np.eye(3), atol=1e-5)


def test_the_spectral_filter_is_that_of_its_authors():
    matrix = draw(70, 40)
    dense = matrix.toarray().astype(np.float64)
    listeners, items = dense.sum(axis=1), dense.sum(axis=0)
    normal = dense / np.sqrt(listeners)[:, None] / np.sqrt(items)
    lowest = np.linalg.svd(normal)[2][:6].T
    ideal = (lowest @ lowest.T) / np.sqrt(items)[:, None] * np.sqrt(items)
    expected = dense @ (normal.T @ normal + 0.3 * ideal)
    theirs = {"item_exponent": 0.5, "listener_exponent": 0.5, "ideal": 0.3, "linear": 1.0}
    model = Spectral.fit(matrix, {"factors": 6, "rounds": 60, "neighbours": 40, **theirs})
    np.testing.assert_allclose(model.score(matrix), expected, rtol=1e-3, atol=1e-3)


def test_vectors_may_weigh_by_their_values_and_items_be_divided_by_their_own_share():
    matrix = draw(70, 40)
    dense = matrix.toarray().astype(np.float64)
    normal = dense / dense.sum(axis=1)[:, None] ** 0.3 / dense.sum(axis=0) ** 0.4
    _, values, right = np.linalg.svd(normal)
    weights, lowest, degrees = (values[:6] / values[0]) ** 0.5, right[:6].T, dense.sum(axis=0) ** 0.4
    own = (weights * lowest**2).sum(axis=1)
    own = np.maximum(own, 1e-3 * own.mean())
    expected = dense / degrees @ (lowest * weights) @ lowest.T * degrees / own**0.7
    config = {"factors": 6, "rounds": 60, "linear": 0.0, "ideal": 1.0, "item_exponent": 0.4, "listener_exponent": 0.3}
    model = Spectral.fit(matrix, {**config, "smoothness": 0.5, "norm_exponent": 0.7})
    np.testing.assert_allclose(model.score(matrix), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("left_out", ["ideal", "linear"])
def test_either_half_of_the_spectral_filter_may_be_left_out(left_out):
    matrix = draw(70, 40)
    other = {"ideal": "linear", "linear": "ideal"}[left_out]
    both = Spectral.fit(matrix, {"factors": 6, "ideal": 1.0, "linear": 1.0}).score(matrix)
    half = Spectral.fit(matrix, {"factors": 6, "ideal": 1.0, "linear": 1.0, left_out: 0.0}).score(matrix)
    rest = Spectral.fit(matrix, {"factors": 6, "ideal": 1.0, "linear": 1.0, other: 0.0}).score(matrix)
    np.testing.assert_allclose(half + rest, both, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (Popularity, {"half_life_days": 0.0}),
        (Cooccurrence, {"neighbours": 0}),
        (Cooccurrence, {"target_exponent": 1.5}),
        (ALS, {"alpha": -1.0}),
        (Ease, {"regularization": 0.0}),
        (Spectral, {"ideal": 0.0, "linear": 0.0}),
    ],
)
def test_settings_that_mean_nothing_are_refused(kind, config):
    with pytest.raises(ValueError, match="must"):
        kind.fit(draw(10, 10), config)
