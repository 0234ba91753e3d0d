"""Compiled loops against the slow and plain way of saying the same."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random_array

from spotify_ai_assets.recommendations.models.arithmetic import add_scaled, fold_histories, multiply, multiply_sparse, share_rows
from spotify_ai_assets.recommendations.models.cooccurrence import Cooccurrence
from spotify_ai_assets.recommendations.models.kernels import nearest_items, top_by_model, top_items, top_of


def draw(rows: int, columns: int, density: float = 0.2, seed: int = 0) -> csr_matrix:
    matrix = csr_matrix(random_array((rows, columns), density=density, rng=np.random.default_rng(seed), dtype=np.float32))
    matrix.data += np.float32(0.1)
    matrix.sort_indices()
    return matrix


def sort_out(scores: np.ndarray, seen: csr_matrix | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best items by sorting everything."""
    ids, values = np.full((len(scores), k), -1, np.int32), np.full((len(scores), k), -np.inf, np.float32)
    for row, each in enumerate(scores):
        hidden = set() if seen is None else set(seen.indices[seen.indptr[row] : seen.indptr[row + 1]].tolist())
        left = sorted((-float(value), item) for item, value in enumerate(each) if item not in hidden and value > -np.inf)[:k]
        ids[row, : len(left)] = [item for _, item in left]
        values[row, : len(left)] = [-value for value, _ in left]
    return ids, values


@given(seed=st.integers(0, 10**6), items=st.integers(1, 200), k=st.integers(0, 30), levels=st.integers(1, 50), density=st.floats(0, 1))
def test_the_best_items_are_those_that_sorting_finds_ties_included(seed, items, k, levels, density):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-levels, levels, (3, items)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    scores[rng.random(scores.shape) < 0.1] = np.nan
    seen = draw(3, items, density, seed)
    for hidden in (seen, None):
        ids, values = top_of(scores, hidden, k)
        expected_ids, expected_values = sort_out(scores, hidden, k)
        np.testing.assert_array_equal(ids, expected_ids)
        np.testing.assert_array_equal(values, expected_values)


def test_seen_items_may_come_unsorted():
    seen = csr_matrix((np.ones(2, np.float32), np.array([3, 0]), np.array([0, 2])), shape=(1, 4))
    assert not seen.has_sorted_indices
    ids, _ = top_of(np.array([[4.0, 3, 2, 5]], np.float32), seen, 4)
    assert ids.tolist() == [[1, 2, -1, -1]]


def test_the_fused_product_finds_what_the_whole_product_finds():
    rng = np.random.default_rng(1)
    vectors, item_vectors = rng.standard_normal((600, 24), dtype=np.float32), rng.standard_normal((9000, 24), dtype=np.float32)
    item_vectors[5000:5010] = item_vectors[40]  # ties in another tile
    seen = draw(600, 9000, 0.01)
    ids, values = top_items(vectors, item_vectors, seen, 20)
    exact_ids, exact_values = top_of(vectors @ item_vectors.T, seen, 20)
    np.testing.assert_allclose(values, exact_values, rtol=1e-5)
    assert (ids == exact_ids).mean() > 0.999
    assert not any(set(row) & set(seen[[number]].indices) for number, row in enumerate(ids.tolist()))


def test_equal_items_in_several_tiles_come_by_number():
    ids, _ = top_items(np.ones((2, 8), np.float32), np.ones((10_000, 8), np.float32), None, 5)
    assert ids.tolist() == [[0, 1, 2, 3, 4]] * 2


def test_many_threads_may_ask_at_once():
    scores, seen = np.random.default_rng(2).random((600, 500), dtype=np.float32), draw(600, 500)
    expected, _ = top_of(scores, seen, 10)
    with ThreadPoolExecutor(4) as pool:
        for ids, _ in pool.map(lambda _: top_of(scores, seen, 10), range(16)):
            np.testing.assert_array_equal(ids, expected)


def test_what_a_piece_of_rows_raises_is_raised():
    def fail(first: int, end: int) -> None:
        if first:
            raise ArithmeticError("second piece")

    with pytest.raises(ArithmeticError, match="second piece"):
        share_rows(fail, 10, 5)


def test_blocks_of_histories_change_nothing():
    matrix = draw(50, 40)
    model = Cooccurrence.fit(matrix, {"neighbours": 5})
    whole, in_blocks = top_by_model(model, matrix, 7), top_by_model(model, matrix, 7, block=8)
    np.testing.assert_array_equal(whole[0], in_blocks[0])
    np.testing.assert_array_equal(whole[1], in_blocks[1])
    heard_too, _ = top_by_model(model, matrix, 7, hide_seen=False)
    np.testing.assert_array_equal(heard_too, top_of(model.score(matrix), None, 7)[0])


@pytest.mark.parametrize("has_itself", [False, True])
def test_the_nearest_items_are_those_of_the_dense_formula(has_itself):
    matrix, rng = draw(60, 30), np.random.default_rng(3)
    listeners, targets, sources = rng.random(60) + 0.5, rng.random(30) + 0.5, rng.random(30) + 0.5
    dense = matrix.toarray().astype(np.float64)
    similarity = (dense.T * listeners) @ dense / (sources[:, None] * targets + 2.0)
    if not has_itself:
        np.fill_diagonal(similarity, 0)
    everything = nearest_items(matrix, listeners, targets=targets, sources=sources, shrink=2.0, keep=30, has_itself=has_itself)
    np.testing.assert_allclose(everything.toarray(), similarity, rtol=1e-5)
    few = nearest_items(matrix, listeners, targets=targets, sources=sources, shrink=2.0, keep=4, has_itself=has_itself)
    lowest = np.sort(similarity, axis=0)[-4]
    np.testing.assert_allclose(few.toarray(), np.where(similarity >= lowest * (1 - 1e-6), similarity, 0), rtol=1e-5)


def test_equally_near_items_are_kept_by_number():
    matrix = csr_matrix(np.ones((3, 6), np.float32))
    kept = nearest_items(matrix, np.ones(3), targets=np.ones(6), sources=np.ones(6), shrink=0.0, keep=2)
    assert [kept[:, [target]].tocoo().row.tolist() for target in range(6)] == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1], [0, 1]]


@pytest.mark.parametrize("density", [0.05, 0.9])
def test_folding_in_solves_the_normal_equations_however_long_a_history_is(density):
    histories, vectors = draw(20, 60, density), np.random.default_rng(4).standard_normal((60, 12), dtype=np.float32)
    assert (np.diff(histories.indptr).min() > 12) == (density > 0.5)
    found = fold_histories(histories, 5.0, vectors)
    for row in range(20):
        each = histories[[row]]
        z, surplus = vectors[each.indices].astype(np.float64), 5.0 * each.data.astype(np.float64)
        expected = np.linalg.solve(np.eye(12) + (z.T * surplus) @ z, z.T @ (1 + surplus))
        np.testing.assert_allclose(found[row], expected, rtol=1e-5, atol=1e-6)


def test_a_sparse_times_a_dense_matrix():
    sparse, dense = draw(700, 50), np.random.default_rng(5).standard_normal((50, 9), dtype=np.float32)
    np.testing.assert_allclose(multiply(sparse, dense), sparse @ dense, rtol=1e-5, atol=1e-6)


def test_a_sparse_times_a_sparse_matrix():
    left, right = draw(700, 50), draw(50, 80, seed=1)
    np.testing.assert_allclose(multiply_sparse(left, right), (left @ right).toarray(), rtol=1e-5, atol=1e-6)


def test_scores_are_added_in_units_of_their_spread_and_equal_ones_not_at_all():
    scores = np.random.default_rng(6).random((3, 40), dtype=np.float32)
    scores[1] = 0.1
    total = np.ones((3, 40), np.float32)
    factors = add_scaled(scores, 2.0, total)
    np.testing.assert_allclose(factors, [2 / scores[0].std(), 0, 2 / scores[2].std()], rtol=1e-5)
    np.testing.assert_allclose(total, 1 + factors[:, None] * scores, rtol=1e-5)
