import numpy as np
import pytest
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.contract import Facts
from spotify_ai_assets.recommendations.models.kinds import KINDS, find_model
from spotify_ai_assets.recommendations.models.recipes import pack, unpack
from spotify_ai_assets.recommendations.models.scrubbing import scrub

ITEMS, GONE = 23, np.array([3, 17])
CONFIGS = {
    "als": {"factors": 6, "iterations": 3},
    "spectral": {"factors": 6},
    "blend": {"members": {"als": {"factors": 6}, "ease": {}, "popularity": {}}, "weights": {"als": 1.0, "ease": 1.0, "popularity": 0.1}},
    "two_tower": {"steps": 5, "batch_size": 16, "size": 6, "hidden": 8},
    "sequence": {
        "members": {
            "neighbours": {},
            "transitions": {},
            "attention": {"epochs": 1, "batch_size": 16, "dimensions": 8, "heads": 2, "length": 6},
        },
        "weights": {"neighbours": 1.0, "transitions": 1.0, "attention": 1.0},
    },
}


def world(listeners):
    random = np.random.default_rng(listeners)
    matrix = csr_matrix(np.where(random.random((listeners, ITEMS)) < 0.35, random.random((listeners, ITEMS)) + 0.5, 0).astype(np.float32))
    ages = random.integers(0, 90, matrix.nnz).astype(np.float32)
    content = random.standard_normal((ITEMS, 5)).astype(np.float32)
    return matrix, Facts(["DE", "FR"] * (listeners // 2), ages, np.arange(ITEMS, dtype=np.int32) % 6, content)


@pytest.mark.parametrize("listeners", [16, 60])
@pytest.mark.parametrize("kind", KINDS)
def test_a_scrubbed_model_holds_nothing_of_the_removed_items_and_answers_for_the_others(kind, listeners):
    matrix, facts = world(listeners)
    model = find_model(kind).fit(matrix, CONFIGS.get(kind), facts)
    before = {name: array.copy() for name, array in model.parts()[1].items()}
    left = scrub(model, GONE)
    after = left.parts()[1]
    others, touched = np.setdiff1d(np.arange(ITEMS), GONE), set()
    for name, array in before.items():
        if array.shape[0] == ITEMS:
            assert not after[name][GONE].any(), name
            kept = np.ix_(others, others) if array.shape == (ITEMS, ITEMS) else others
            np.testing.assert_array_equal(after[name][kept], array[kept], err_msg=name)
            touched.add(name)
        elif name.endswith(".indices"):
            assert not np.isin(after[name], GONE).any(), name
            touched.add(name)
        elif f"{name.rpartition('.')[0]}.indptr" not in before:
            np.testing.assert_array_equal(after[name], array, err_msg=name)
    assert touched, "something is known of items"
    assert all((array == before[name]).all() for name, array in model.parts()[1].items()), "the model itself stays as it was"
    history = matrix.tolil()
    history[:, GONE] = 0
    scores = left.score(history.tocsr())
    assert scores.shape == (listeners, ITEMS) and np.isfinite(scores).all()
    assert unpack(pack(left)).score(history.tocsr()).tobytes() == scores.tobytes()


def test_a_part_that_nobody_knows_of_is_refused():
    class Stranger:
        name = "als"

        def parts(self):
            return {}, {"item_vectors": np.ones((3, 2)), "notes": np.ones(3)}

    with pytest.raises(ValueError, match="nobody said which items notes tells of"):
        scrub(Stranger(), np.array([1]))
