"""What is measured of shelves, against plain loops over the definitions and worked examples."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random_array

from spotify_ai_assets.recommendations.evaluation.metrics import contains, drop_seen, measure, relevance


def shelves(rows: list[list[int]]) -> np.ndarray:
    return np.array(rows, np.int32)


def matrix(rows: list[list[int]], items: int) -> csr_matrix:
    dense = np.zeros((len(rows), items), np.float32)
    for number, row in enumerate(rows):
        dense[number, row] = 1
    return csr_matrix(dense)


def made(seed: int, listeners: int = 12, items: int = 25, k: int = 6) -> tuple[np.ndarray, csr_matrix, csr_matrix]:
    rng = np.random.default_rng(seed)
    tops = np.array([rng.permutation(items)[:k] for _ in range(listeners)], np.int32)
    for row, filled in enumerate(rng.integers(0, k + 1, listeners)):
        tops[row, filled:] = -1
    truth, seen = (csr_matrix(random_array((listeners, items), density=share, rng=rng, dtype=np.float32)) for share in (0.15, 0.3))
    return tops, truth, seen


def test_a_worked_example_reads_as_by_hand() -> None:
    found = relevance(shelves([[4, 1, 7], [0, 2, 3], [5, 6, 8]]), matrix([[1, 4], [3, 5, 6, 7], []], 9))
    discount = 1 / np.log2([2, 3, 4])
    np.testing.assert_allclose(found["recall"], [1, 1 / 4, np.nan])
    np.testing.assert_allclose(found["precision"], [2 / 3, 1 / 3, np.nan])
    np.testing.assert_allclose(found["mrr"], [1, 1 / 3, np.nan])
    np.testing.assert_allclose(found["ndcg"], [1, discount[2] / discount.sum(), np.nan])
    # The other style of NDCG takes the one hit of the second listener for all there was to find.
    np.testing.assert_allclose(found["ndcg_of_hits"], [1, discount[2] / discount[0], np.nan])


@given(st.integers(0, 10_000))
def test_relevance_is_what_plain_loops_find(seed: int) -> None:
    tops, truth, _ = made(seed)
    found = relevance(tops, truth)
    for row in range(len(tops)):
        wanted = set(truth[[row]].indices.tolist())
        if not wanted:
            assert all(np.isnan(values[row]) for values in found.values())
            continue
        hits = [item in wanted for item in tops[row].tolist()]
        gained = sum(1 / np.log2(place + 2) for place, hit in enumerate(hits) if hit)
        ideal, own = (sum(1 / np.log2(place + 2) for place in range(many)) for many in (min(len(wanted), len(hits)), sum(hits)))
        expected = {
            "recall": sum(hits) / len(wanted),
            "precision": sum(hits) / len(hits),
            "mrr": 1 / (hits.index(True) + 1) if any(hits) else 0,
            "ndcg": gained / ideal,
            "ndcg_of_hits": gained / own if own else 0,
        }
        assert {name: values[row] for name, values in found.items()} == pytest.approx(expected)


@given(st.integers(0, 10_000))
def test_what_shelves_do_is_what_plain_loops_find(seed: int) -> None:
    tops, truth, seen = made(seed)
    rng = np.random.default_rng(seed)
    artists, counts = rng.integers(0, 5, 25), rng.integers(0, 40, 25)
    vectors = rng.normal(size=(25, 4)).astype(np.float32)
    vectors[3] = 0
    found = measure(tops, truth, seen=seen, item_artists=artists, item_popularity=counts, item_vectors=vectors)
    for row in range(len(tops)):
        shelf = [item for item in tops[row].tolist() if item >= 0]
        heard = seen[[row]].indices.tolist()
        pairs = list(itertools.combinations(shelf, 2))
        told = [(a, b) for a, b in pairs if 3 not in (a, b)]
        cosines = [vectors[a] @ vectors[b] / np.linalg.norm(vectors[a]) / np.linalg.norm(vectors[b]) for a, b in told]
        share = counts / counts.max()
        expected = {
            "novelty": np.mean([np.log2((counts.sum() + 25) / (counts[item] + 1)) for item in shelf]) if shelf else np.nan,
            "popularity": share[shelf].mean() if shelf else np.nan,
            "popularity_bias": share[shelf].mean() - share[heard].mean() if shelf and heard else np.nan,
            "diversity": 1 - np.mean(cosines) if told else np.nan,
            "artist_diversity": np.mean([artists[a] != artists[b] for a, b in pairs]) if pairs else np.nan,
            "repeat_rate": np.mean([item in heard for item in shelf]) if shelf else np.nan,
        }
        assert {name: found.by_listener[name][row] for name in expected} == pytest.approx(expected, nan_ok=True, abs=1e-6)


def brute_totals(tops: np.ndarray, items: int) -> tuple[float, float]:
    held = [{item for item in row if item >= 0} for row in tops.tolist()]
    together = [len(a & b) / tops.shape[1] for a, b in itertools.combinations(held, 2)]
    return len(set().union(*held)) / items, float(np.mean(together))


@given(st.integers(0, 10_000))
def test_totals_and_what_they_are_without_each_listener_are_what_loops_find(seed: int) -> None:
    tops, truth, _ = made(seed)
    totals = measure(tops, truth).totals
    assert (totals["coverage"].value, totals["overlap"].value) == pytest.approx(brute_totals(tops, 25))
    for row in range(len(tops)):
        without = brute_totals(np.delete(tops, row, 0), 25)
        assert (totals["coverage"].without[row], totals["overlap"].without[row]) == pytest.approx(without)


def test_one_shelf_for_everybody_overlaps_wholly_and_shelves_apart_do_not() -> None:
    truth = matrix([[0]] * 4, 12)
    alike = measure(shelves([[0, 1, 2]] * 4), truth)
    apart = measure(np.arange(12, dtype=np.int32).reshape(4, 3), truth)
    assert (alike.value("coverage"), alike.value("overlap")) == (0.25, 1.0)
    assert (apart.value("coverage"), apart.value("overlap")) == (1.0, 0.0)


def test_empty_places_count_as_misses_and_not_as_the_last_item() -> None:
    found = measure(shelves([[2, -1], [-1, -1]]), matrix([[3], [3]], 4), item_popularity=np.array([1, 1, 1, 9]))
    assert found.by_listener["recall"].tolist() == [0, 0]
    assert np.isnan(found.by_listener["novelty"]).tolist() == [False, True]
    assert found.value("popularity") == pytest.approx(1 / 9)
    assert found.cases("popularity") == 1


def test_metrics_without_their_facts_are_left_out() -> None:
    found = measure(shelves([[0, 1]]), matrix([[1]], 3))
    assert set(found.by_listener) == {"recall", "ndcg", "ndcg_of_hits", "mrr", "precision"}
    assert set(found.totals) == {"coverage"}, "one listener overlaps with nobody"


def test_nobody_who_played_anything_is_no_number_and_no_case() -> None:
    found = measure(shelves([[0], [1]]), matrix([[], []], 2))
    assert np.isnan(found.value("recall"))
    assert found.cases("recall") == 0


def test_unsorted_rows_and_the_first_and_last_items_are_found() -> None:
    truth = csr_matrix((np.ones(4, np.float32), np.array([4, 0, 2, 4]), np.array([0, 2, 2, 4])), shape=(3, 5))
    assert contains(truth, shelves([[0, 4], [0, 4], [4, -1]])).tolist() == [[True, True], [False, False], [True, False]]


def test_discovery_has_no_truth_that_was_heard_before() -> None:
    truth, seen = matrix([[0, 2], [1]], 3), 0.25 * matrix([[2], [0, 1]], 3)
    assert drop_seen(truth, seen).toarray().tolist() == [[1, 0, 0], [0, 0, 0]]
    assert drop_seen(truth, seen).nnz == 1
    with pytest.raises(ValueError, match="same listeners"):
        drop_seen(truth, matrix([[2]], 3))


@pytest.mark.parametrize(
    ("tops", "seen", "said"),
    [
        ([[0], [1]], None, "a row for each listener"),
        ([[]], None, "at least one place"),
        ([[3]], None, "not in the catalogue"),
        ([[-2]], None, "not in the catalogue"),
        ([[0]], [[0], [1]], "same listeners and items"),
    ],
)
def test_shelves_that_do_not_fit_are_refused(tops: list[list[int]], seen: list[list[int]] | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        measure(shelves(tops), matrix([[1]], 3), seen=None if seen is None else matrix(seen, 3))


def test_thirty_thousand_listeners_are_measured_in_blocks_like_a_few() -> None:
    rng = np.random.default_rng(0)
    tops = np.argsort(rng.random((30_000, 40)), axis=1)[:, :20].astype(np.int32)
    truth = csr_matrix((np.ones(30_000), rng.integers(0, 40, 30_000), np.arange(30_001)), shape=(30_000, 40))
    facts = {"item_artists": rng.integers(0, 9, 40), "item_vectors": rng.normal(size=(40, 32))}
    every = measure(tops, truth, **facts)
    some = measure(tops[29_900:], truth[29_900:], **facts)
    for name, values in some.by_listener.items():
        np.testing.assert_allclose(every.by_listener[name][29_900:], values, rtol=1e-12)
    assert every.value("recall") == pytest.approx(0.5, abs=0.02)
