import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.attention import AttentionConfig, Windows, fit_attention, load_attention, take_tensors
from spotify_ai_assets.recommendations.models.contract import Facts, Model
from spotify_ai_assets.recommendations.models.ordering import fade, line_up, read_order
from spotify_ai_assets.recommendations.models.recipes import pack, unpack
from spotify_ai_assets.recommendations.models.sequence import Sequence, item_axes
from spotify_ai_assets.recommendations.models.transitions import TransitionsConfig, look_both_ways
from spotify_ai_assets.training.explanation import delete

ITEMS = 24
ATTENTION = {"dimensions": 16, "layers": 1, "heads": 2, "length": 8, "dropout": 0.1, "epochs": 15, "batch_size": 16, "learning_rate": 0.01}
MEMBERS = {
    "neighbours": {"regularization": 5.0},
    "transitions:far": {"regularization": 1.0},
    "transitions:near": {"memory": 0.1, "foresight": 0.0, "reach": 2, "horizon": 1, "fade": 0.1, "regularization": 1.0},
    "attention": ATTENTION,
}
WEIGHTS = {"neighbours": 0.2, "transitions:far": 0.5, "transitions:near": 1.0, "attention": 1.0}
SETTINGS = {"members": MEMBERS, "weights": WEIGHTS}


def circles(count: int = 80) -> list[np.ndarray]:
    """Each listener walks from item to item around the circle of even items or of odd ones."""
    rng = np.random.default_rng(0)
    return [(rng.integers(ITEMS) + 2 * np.arange(rng.integers(3, 11))) % ITEMS for _ in range(count)]


@pytest.fixture(scope="module")
def model() -> Sequence:
    return Sequence.fit_sequences(circles(), ITEMS, SETTINGS)


@pytest.fixture(scope="module")
def linear() -> Sequence:
    return Sequence.fit_sequences(circles(), ITEMS, {"members": MEMBERS, "weights": WEIGHTS | {"attention": 0.0}})


sequences = st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=12).map(lambda found: np.array(found, np.int32))


@given(st.lists(sequences, min_size=1, max_size=5))
def test_order_survives_the_way_into_a_matrix_and_back(histories):
    matrix = line_up(histories, ITEMS)
    assert matrix.dtype == np.float32 and matrix.has_sorted_indices and (matrix.data > 0).all()
    for found, history in zip(read_order(matrix), histories, strict=True):
        np.testing.assert_array_equal(found, history)


def test_of_an_item_that_comes_again_the_last_place_counts():
    (found,) = read_order(line_up([np.array([3, 1, 3, 2, 1])], ITEMS))
    assert found.tolist() == [3, 2, 1]


def test_ages_decide_before_weights_and_item_numbers_last():
    matrix = csr_matrix(np.array([[0.5, 0.5, 0.9, 0.1]], np.float32))
    assert read_order(matrix)[0].tolist() == [3, 0, 1, 2]
    assert read_order(matrix, np.array([2.0, 2.0, 7.0, 1.0], np.float32))[0].tolist() == [2, 0, 1, 3]


def test_the_last_item_counts_one_and_each_earlier_one_a_share_of_it():
    faded = fade(line_up([np.array([4, 2, 7]), np.array([], np.int32), np.array([1])], ITEMS), 0.5)
    assert faded[[0], [4, 2, 7]].tolist()[0] == [0.25, 0.5, 1.0]
    assert faded[2, 1] == 1.0 and faded[[1]].nnz == 0


def test_sources_look_back_and_targets_ahead():
    config = TransitionsConfig(memory=0.5, foresight=0.25, reach=2, horizon=2)
    sources, targets = look_both_ways([np.array([0, 1, 2, 3]), np.array([5])], 6, config)
    np.testing.assert_allclose(sources.toarray(), [[1, 0, 0, 0, 0, 0], [0.5, 1, 0, 0, 0, 0], [0, 0.5, 1, 0, 0, 0]])
    np.testing.assert_allclose(targets.toarray(), [[0, 1, 0.25, 0, 0, 0], [0, 0, 1, 0.25, 0, 0], [0, 0, 0, 1, 0, 0]])


def test_windows_have_each_item_but_the_first_as_a_target_once():
    windows = Windows([np.arange(10), np.array([7]), np.array([5, 6])], 4)
    assert sorted(windows.targets[windows.targets >= 0].tolist()) == sorted([*range(1, 10), 6])
    assert windows.mean_length == 10 / 4
    inputs, targets = windows.batch(np.arange(len(windows)), np.random.default_rng(0))
    assert inputs.shape == targets.shape == (4, 4)
    assert ((inputs >= 0) == (targets >= 0)).all()


@pytest.mark.parametrize("name", MEMBERS)
def test_each_way_finds_what_comes_next(name):
    alone = Sequence.fit_sequences(circles(), ITEMS, {"members": MEMBERS, "weights": {each: float(each == name) for each in MEMBERS}})
    assert list(alone.ways) == [name]
    scores = alone.score_sequences([(start + 2 * np.arange(5)) % ITEMS for start in range(ITEMS)])
    following = (np.arange(ITEMS) + 10) % ITEMS
    if name == "neighbours":  # knows the circle, but not which way round
        assert (scores[np.arange(ITEMS), following] > scores[np.arange(ITEMS), (following + 1) % ITEMS]).all()
    else:
        assert (scores.argmax(1) == following).mean() >= 0.9


def test_the_order_of_a_history_changes_the_answer(model):
    forth, back = model.score_sequences([np.array([0, 2, 4, 6]), np.array([6, 4, 2, 0])])
    assert forth.argmax() == 8 and back.argmax() == 2


def test_it_is_a_model_and_answers_alike_alone_and_among_others(model):
    assert isinstance(model, Model) and (model.name, model.items) == ("sequence", ITEMS)
    matrix = line_up(circles(20), ITEMS)
    among = model.score(matrix)
    assert among.dtype == np.float32
    for row in range(20):
        np.testing.assert_allclose(model.score(matrix[[row]])[0], among[row], rtol=1e-4, atol=1e-5)


def test_a_fit_from_a_matrix_is_a_fit_from_its_sequences(linear):
    walks, config = circles(), {"members": MEMBERS, "weights": WEIGHTS | {"attention": 0.0}}
    matrix = line_up(walks, ITEMS)
    assert pack(Sequence.fit(matrix, config)) == pack(linear)
    ages = -matrix.data * 10
    flat = csr_matrix((np.ones_like(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)
    assert pack(Sequence.fit(flat, config, Facts(ages=ages))) == pack(linear)


def test_nothing_heard_is_answered_by_popularity(model):
    (scores,) = model.score(csr_matrix((1, ITEMS), dtype=np.float32))
    np.testing.assert_allclose(np.expm1(scores), np.bincount(np.concatenate(circles()), minlength=ITEMS), rtol=1e-5)
    said = model.explain(csr_matrix((1, ITEMS), dtype=np.float32), np.arange(ITEMS))
    np.testing.assert_allclose(said.rest["popularity"], scores)


def test_it_comes_back_from_its_files_as_it_was(model):
    files = pack(model)
    again = unpack(files)
    assert pack(again) == files
    matrix = line_up(circles(10), ITEMS)
    np.testing.assert_array_equal(again.score(matrix), model.score(matrix))


def test_equal_input_gives_equal_bytes(model):
    assert pack(Sequence.fit_sequences(circles(), ITEMS, SETTINGS)) == pack(model)


@settings(max_examples=25, deadline=None)
@given(sequences, st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=4))
def test_contributions_add_up_to_the_score(model, history, items):
    row = line_up([history], ITEMS)
    said = model.explain(row, np.array(items))
    np.testing.assert_allclose(said.by_play.sum(1) + sum(said.rest.values()), model.score(row)[0, items], rtol=1e-4, atol=1e-4)
    assert said.by_play.shape == (len(items), row.nnz)
    assert set(said.rest) == ({"attention"} if len(history) else {"popularity"})


def test_attention_is_attributed_to_the_items_of_a_history(model):
    walk = np.array([9, 11, 0, 2, 4])
    row, items = line_up([walk], ITEMS), np.array([6, 20])
    (found,) = model.attribute(row, items).values()
    assert found.values.shape == (2, 5) and (found.gap <= 0.01).all()
    np.testing.assert_allclose(found.values.sum(1), found.difference, rtol=0.02, atol=1e-3)
    # Entries of a row are in the order of the item numbers: the last item of the walk, which says most of what follows, is the third.
    assert found.values[0].argmax() == 2


def test_removing_what_it_hangs_on_hurts_more_than_removing_at_random(model):
    """On the vectors of a history's items, as rule 12 has it."""
    attention = model.ways["attention"]
    rng, better = np.random.default_rng(0), []
    for start in range(0, ITEMS, 3):
        walk = (start + np.array([1, 5, 3, 0, 2, 4])) % ITEMS
        target = (walk[-1] + 2) % ITEMS
        values = attention.attribute(line_up([walk], ITEMS), np.array([target])).values[0]
        values = values[np.argsort(np.argsort(walk))]  # from the row's order to the walk's

        def score(kept: np.ndarray, walk=walk, target=target) -> np.ndarray:
            return np.array([attention.score(line_up([walk[each > 0]], ITEMS))[0, target] for each in kept])

        ours = delete(score, np.ones(6), values, np.zeros(6), points=6).area
        others = [delete(score, np.ones(6), rng.random(6), np.zeros(6), points=6).area for _ in range(10)]
        better.append(ours < np.mean(others))
    assert np.mean(better) >= 0.75


def test_other_weights_give_another_attribution(model):
    attention, row = model.ways["attention"], line_up([np.array([9, 11, 0, 2, 4])], ITEMS)
    tensors, rng = take_tensors(attention.network), np.random.default_rng(0)
    shuffled = {name: rng.permutation(values.ravel()).reshape(values.shape) for name, values in tensors.items()}
    other = type(attention)(attention.config, load_attention(shuffled, attention.config))
    ours, theirs = (each.attribute(row, np.array([6])).values[0] for each in (attention, other))
    assert abs(np.corrcoef(ours, theirs)[0, 1]) < 0.9


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"members": {"waves": {}}, "weights": {"waves": 1.0}}, "no way is called waves"),
        ({"members": {"neighbours": {}}, "weights": {}}, "a weight for each member"),
        ({"members": {"neighbours": {}}, "weights": {"neighbours": 0.0}}, "above 0"),
        ({"members": {"neighbours": {}}, "weights": {"neighbours": -1.0}}, "not below 0"),
        ({"members": {"neighbours": {"fade": 0}}, "weights": {"neighbours": 1.0}}, "a fade must be"),
        ({"members": {"transitions": {"memory": 2}}, "weights": {"transitions": 1.0}}, "memory and foresight"),
        ({"members": {"transitions": {"largest": 9}}, "weights": {"transitions": 1.0}}, "at most 9 items, these are 24"),
        ({"members": {"attention": {"heads": 3}}, "weights": {"attention": 1.0}}, "multiple of heads"),
        ({"members": {"attention": {"dropout": 1}}, "weights": {"attention": 1.0}}, "dropout"),
        ({"colour": 1}, "unknown settings colour"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Sequence.fit_sequences(circles(4), ITEMS, wrong)


def test_attention_needs_something_that_follows():
    with pytest.raises(ValueError, match="no samples"):
        fit_attention([np.array([1]), np.array([], np.int32)], ITEMS, AttentionConfig())


@pytest.mark.parametrize("walks", [80, 12])
def test_what_was_learnt_of_an_item_can_be_emptied(walks):
    config, arrays = Sequence.fit_sequences(circles(walks), ITEMS, SETTINGS).parts()
    axes = item_axes(arrays)
    assert set(axes) == set(arrays)
    for name, found in axes.items():
        assert all(arrays[name].shape[axis] == ITEMS for axis in found), name
        for axis in found:
            arrays[name][(slice(None),) * axis + (5,)] = 0
    walk = np.array([1, 3, 7, 9])
    without, emptied = Sequence.from_parts(config, arrays).score_sequences([walk, np.array([1, 3, 5, 7, 9])])
    assert without[5] == emptied[5] == 0
    assert without.argmax() == 11


@pytest.mark.slow
def test_attention_fitted_on_two_processes_answers_alike():
    still = {**ATTENTION, "dropout": 0.0, "epochs": 3}
    scores = [
        Sequence.fit_sequences(
            circles(), ITEMS, {"members": {"attention": {**still, "processes": processes}}, "weights": {"attention": 1.0}}
        ).score_sequences(circles(20))
        for processes in (1, 2)
    ]
    np.testing.assert_allclose(scores[1], scores[0], atol=0.02)
