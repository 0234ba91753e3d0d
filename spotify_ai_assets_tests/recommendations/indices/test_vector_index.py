import itertools

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ai_assets.recommendations.indices import vectors as module
from spotify_ai_assets.recommendations.indices.exact import find_exactly
from spotify_ai_assets.recommendations.indices.searchers import Cells
from spotify_ai_assets.recommendations.indices.vectors import KINDS, RECALL, VectorIndex

COUNT, DIMENSIONS = 3_000, 32


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def draw(count, seed, clusters=40):
    """Vectors around centres that are the same for all seeds."""
    centres = np.random.default_rng(99).standard_normal((clusters, DIMENSIONS))
    random = np.random.default_rng(seed)
    return unit(centres[random.integers(0, clusters, count)] + 0.7 * random.standard_normal((count, DIMENSIONS)))


def name(numbers, prefix="t"):
    return [f"{prefix}{number}" for number in numbers]


@pytest.fixture(scope="module")
def vectors():
    return draw(COUNT, 0)


@pytest.fixture(scope="module")
def queries():
    return draw(200, 1)


@pytest.fixture(scope="module")
def built(vectors):
    """The files of an index of each kind, to be changed by nobody."""
    return {kind: VectorIndex.build(name(range(COUNT)), vectors, kind).files() for kind in KINDS}


@pytest.fixture(params=KINDS)
def index(request, built):
    return VectorIndex.from_files(built[request.param])


def true_best(vectors, query, k):
    return set(np.argsort(-(vectors @ query), kind="stable")[:k])


def test_the_measured_recall_is_that_of_a_count_by_hand(index, vectors, queries):
    found = index.search(queries, 10)[0]
    hits = [len(true_best(vectors, query, 10) & {int(each[1:]) for each in row}) for query, row in zip(queries, found, strict=True)]
    by_hand = np.mean(hits) / 10
    assert index.measure_recall(queries) == pytest.approx(by_hand, abs=1e-9)
    assert by_hand >= (1 if index.kind == "flat" else RECALL - 0.015)


def test_scores_are_inner_products_and_fall(index, vectors, queries):
    ids, scores = index.search(queries, 5)
    assert ids.shape == scores.shape == (len(queries), 5)
    expected = np.einsum("nkd,nd->nk", vectors[np.vectorize(lambda each: int(each[1:]))(ids)], queries)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()
    one_ids, one_scores = index.search(queries[0], 5)
    assert one_ids.tolist() == ids[0].tolist() and one_scores.tolist() == pytest.approx(scores[0].tolist())


@pytest.mark.parametrize("share", [0.5, 0.05, 0.001])
def test_a_filter_never_empties_the_result(monkeypatch, index, vectors, queries, share):
    monkeypatch.setattr(module, "_FEW", 20)  # so that cells and graphs filter too
    allowed = np.random.default_rng(5).random(COUNT) < share
    k = min(10, int(allowed.sum()))
    ids, scores = index.search(queries, k, allowed)
    assert (ids != "").all() and np.isfinite(scores).all()
    chosen = np.vectorize(lambda each: int(each[1:]))(ids)
    assert allowed[chosen].all() and all(len(set(row)) == k for row in chosen.tolist())
    best = find_exactly(queries, vectors, k, allowed)[0]
    assert np.mean([len(set(a) & set(b)) / k for a, b in zip(chosen, best, strict=True)]) > 0.9


def test_a_filter_for_the_farthest_is_filled_to_the_last(monkeypatch, index, vectors, queries):
    monkeypatch.setattr(module, "_FEW", 0)
    allowed = np.zeros(COUNT, bool)
    allowed[np.argsort(vectors @ queries[0])[:30]] = True
    ids, scores = index.search(queries[0], 40, allowed)
    assert (ids[:30] != "").all() and set(ids[30:]) == {""} and (scores[30:] == -np.inf).all()
    assert {int(each[1:]) for each in ids[:30]} == set(np.flatnonzero(allowed))


def test_what_is_allowed_by_id_is_all_that_is_found(index, queries):
    wanted = name([5, 17, 2000])
    ids, _ = index.search(queries[:3], 3, index.allow([*wanted, "unknown"]))
    assert all(set(row) == set(wanted) for row in ids.tolist())


def test_an_index_of_equal_vectors_names_the_first(index):
    same = VectorIndex.build(name(range(30)), unit(np.ones((30, 4))), index.kind)
    assert same.search(np.ones(4) / 2, 3)[0].tolist() == ["t0", "t1", "t2"]


def test_what_was_added_is_found_and_what_was_removed_never_again(index, vectors):
    fresh = draw(200, 7)
    index.add(name(range(200), "n"), fresh)
    assert index.search(fresh, 1)[0][:, 0].tolist() == name(range(200), "n")
    assert index.remove([*name(range(150)), "unknown"]) == 150 and len(index) == COUNT + 50
    ids, _ = index.search(vectors[:150], 20)
    assert not set(ids.ravel()) & set(name(range(150))) and (ids != "").all()
    assert "t0" not in index and "t150" in index and index.ids.count("") == 150
    index.add(["t0"], vectors[:1])
    assert index.search(vectors[:1], 1)[0].tolist() == [["t0"]] and index.ids.count("") == 149


def test_adding_a_known_id_replaces_its_vector(index, vectors):
    moved = -vectors[10]
    index.add(["t10"], moved[None])
    assert len(index) == COUNT
    assert index.search(moved, 1)[0].tolist() == ["t10"]
    assert "t10" not in index.search(vectors[10], 10)[0]
    np.testing.assert_array_equal(index.vectors_of(["t10"])[0], moved)


def test_recall_holds_up_to_the_share_of_changes_that_forces_a_rebuild(index, queries):
    before = index.measure_recall(queries)
    random = np.random.default_rng(3)
    one_way = unit(random.standard_normal((1, DIMENSIONS)) + 0.3 * random.standard_normal((450, DIMENSIONS)))
    index.add(name(range(450), "n"), one_way)  # all of them new, all in one direction
    index.remove(name(range(150)))
    assert not index.needs_rebuild
    assert index.measure_recall(queries) > before - 0.01
    assert index.measure_recall(one_way[:100]) > RECALL - 0.02
    index.remove(["t400"])
    assert index.needs_rebuild and not index.without(()).needs_rebuild
    # A graph is built anew when it is written; of the others it is kept how much has changed.
    assert VectorIndex.from_files(index.files()).needs_rebuild == (index.kind != "hnsw")


def test_files_give_the_same_index_again(index, queries, tmp_path):
    index.add(["new"], draw(1, 8))
    index.remove(["t3"])
    files = index.files()
    for path, content in files.items():
        (tmp_path / path).write_bytes(content)
    again = VectorIndex.from_files(tmp_path)
    assert again.kind == index.kind and len(again) == len(index) and again.effort == index.effort
    (ids, scores), (expected, wanted) = again.search(queries, 10), index.search(queries, 10)
    if index.kind == "hnsw":  # what was removed is built out of it when it is written
        assert (ids == expected).mean() > 0.97
    else:
        assert (ids == expected).all() and (scores == wanted).all() and again.files() == files
    again.add(["more"], draw(1, 9))
    assert again.search(draw(1, 9)[0], 1)[0].tolist() == ["more"]


def test_no_byte_of_a_removed_vector_is_left(index, vectors):
    lone = unit(np.array([[1.0] + [0.01] * (DIMENSIONS - 1)]))
    index.add(["lone"], lone)
    gone = {"lone": lone[0], **{f"t{row}": vectors[row] for row in range(12)}}
    before = b"".join(index.files().values())
    assert all(vector.tobytes() in before for vector in gone.values()), "the scan finds what is there"
    codes = {each: code_of(index, vector) for each, vector in gone.items()}
    assert all(code is None or code in before for code in codes.values())
    index.remove(list(gone))
    files = index.files()
    after = b"".join(files.values())
    for each, vector in gone.items():
        assert vector.tobytes() not in after and (codes[each] is None or codes[each] not in after)
    assert not set(gone) & {each for each in VectorIndex.from_files(files).ids}
    assert not any(np.array_equal(row, vector) for vector in gone.values() for row in index._vectors)


def code_of(index, vector):
    """What the searcher keeps of a vector: one byte per dimension."""
    if index._searcher is None:
        return None
    faiss_index = index._searcher._index
    quantizer = faiss_index.sq if index.kind == "ivf_sq8" else faiss.downcast_index(faiss_index.storage).sq
    return quantizer.compute_codes(vector[None]).tobytes()


def test_a_centre_that_is_a_removed_vector_moves():
    alike = unit(np.array([1.0] + [0.0] * (DIMENSIONS - 1)) + 1e-4 * np.random.default_rng(1).standard_normal((60, DIMENSIONS)))
    crowd = unit(draw(3_000, 2) * np.array([0.0] + [1.0] * (DIMENSIONS - 1)))
    index = VectorIndex.build([*name(range(3_000)), *name(range(60), "alike")], np.concatenate([crowd, alike]), "ivf_sq8")
    centres = index._searcher._centres
    nearest = centres.search(alike, 1)[0].max()
    index.remove(name(range(60), "alike"))
    assert nearest > 0.999 > centres.search(alike, 1)[0].max()
    assert index.measure_recall(crowd[:100]) > 0.95


@pytest.mark.parametrize("kind", ["flat", "ivf_sq8"])  # a graph that several threads link is not the same twice
def test_an_index_without_some_is_the_one_that_never_knew_them(built, vectors, kind):
    less = VectorIndex.from_files(built[kind]).without(name(range(100)))
    never = VectorIndex.build(name(range(100, COUNT)), vectors[100:], kind)
    assert less.files() == never.files()


def test_the_effort_follows_the_queries(vectors, monkeypatch):
    monkeypatch.setattr(module, "RECALL", 0.5)
    easy = VectorIndex.build(name(range(COUNT)), vectors, "ivf_sq8")
    monkeypatch.setattr(module, "RECALL", 1.0)
    scattered = unit(np.random.default_rng(6).standard_normal((200, DIMENSIONS)))
    hard = VectorIndex.build(name(range(COUNT)), vectors, "ivf_sq8", queries=scattered)
    assert easy.effort < hard.effort and hard.effort in hard._searcher.efforts


def test_small_indices_are_flat_and_large_ones_have_cells(vectors, monkeypatch):
    assert VectorIndex.build(name(range(COUNT)), vectors).kind == "flat"
    monkeypatch.setattr(module, "FLAT_BELOW", COUNT)
    assert VectorIndex.build(name(range(COUNT)), vectors).kind == "ivf_sq8"


def test_the_efforts_to_choose_from_end_with_all_cells():
    for count in (1, 40, 100, 1_000, 5_000):
        cells = Cells.build(draw(count, 3))
        assert cells.efforts[-1] == cells._index.nlist and sorted(set(cells.efforts)) == list(cells.efforts)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_index_answers_with_nothing_and_can_be_filled(kind):
    index = VectorIndex.build([], np.zeros((0, 4), np.float32), kind)
    assert index.search(np.ones((2, 4)), 3)[0].tolist() == [[""] * 3] * 2 and len(index) == 0
    again = VectorIndex.from_files(index.files())
    again.add(["a"], np.array([[1, 0, 0, 0]]))
    assert again.search(np.array([1, 0, 0, 0]), 2)[0].tolist() == ["a", ""]
    with pytest.raises(ValueError, match="queries and vectors"):
        index.measure_recall(np.ones((1, 4)))


def test_an_index_that_lost_everything_is_empty(index):
    index.remove(name(range(COUNT)))
    assert len(index) == 0 and index.search(draw(1, 1), 2)[0].tolist() == [["", ""]]
    assert len(VectorIndex.from_files(index.files())) == 0


@pytest.mark.parametrize(
    ("ids", "given_vectors", "said"),
    [
        (["a"], np.ones((2, 2)), "each id has one vector"),
        (["a", "a"], np.eye(2), "each id comes once"),
        (["a", ""], np.eye(2), "not empty"),
        (["a", "b"], 2 * np.eye(2), "unit length"),
        (["a", "b"], np.full((2, 2), np.nan), "unit length"),
        (["a"], np.ones(1), "each id has one vector"),
    ],
)
def test_what_is_no_index_is_refused(ids, given_vectors, said):
    with pytest.raises(ValueError, match=said):
        VectorIndex.build(ids, given_vectors)


def test_what_does_not_fit_is_refused(index):
    with pytest.raises(ValueError, match="one of flat"):
        VectorIndex.build(["a"], np.eye(1), "tree")
    with pytest.raises(ValueError, match="each id has one vector"):
        index.add(["a"], np.eye(3)[:1])
    with pytest.raises(ValueError, match="a mask has one value"):
        index.search(draw(1, 1), 3, np.ones(3, bool))
    with pytest.raises(KeyError):
        index.vectors_of(["unknown"])


NUMBERS = st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True)
STEPS = st.lists(st.tuples(st.booleans(), NUMBERS, st.integers(0, 9)), max_size=12)


@settings(max_examples=25)
@given(STEPS, st.sampled_from(KINDS), st.integers(0, 2**31 - 1))
def test_any_changes_leave_what_a_dictionary_would_hold(steps, kind, mask_seed):
    start = draw(60, 11)
    index = VectorIndex.build(name(range(100, 160)), start, kind)
    known = dict(zip(name(range(100, 160)), start, strict=True))
    for is_added, numbers, seed in steps:
        if is_added:
            fresh = draw(len(numbers), 100 + seed)
            index.add(name(numbers), fresh)
            known |= dict(zip(name(numbers), fresh, strict=True))
        else:
            there = [each for each in name(numbers) if each in known]
            assert index.remove(name(numbers)) == len(there)
            for each in there:
                del known[each]
    assert sorted(each for each in index.ids if each) == sorted(known) and len(index) == len(known)
    np.testing.assert_array_equal(index.vectors_of(list(known)), np.stack(list(known.values())))
    again = VectorIndex.from_files(index.files())
    allowed = np.random.default_rng(mask_seed).random(len(again.ids)) < 0.5
    passing = {each for each, lets in zip(again.ids, allowed, strict=True) if each and lets}
    query = draw(1, 12)[0]
    found = [each for each in again.search(query, 200, allowed)[0] if each]
    assert sorted(found) == sorted(passing)
    scores = [float(known[each] @ query) for each in found]
    assert all(better >= worse - 1e-6 for better, worse in itertools.pairwise(scores))
