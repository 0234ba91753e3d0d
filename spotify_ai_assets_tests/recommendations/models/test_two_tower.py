"""The two towers: what they learn, cold items, and explanations that add up."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.contract import Embeds, Facts, Model
from spotify_ai_assets.recommendations.models.towers import Pairs, Towers, pair_loss
from spotify_ai_assets.recommendations.models.two_tower import TASTE, TwoTower
from spotify_ai_assets.training.explanation import measure_faithfulness, measure_sanity, randomised

GROUPS, EACH, SIZE = 4, 12, 20
LISTENERS = 120
COLD = 8
QUICK = {"steps": 150, "batch_size": 64, "size": 16, "hidden": 32}


def world(seed: int = 0) -> tuple[csr_matrix, np.ndarray, np.ndarray]:
    """Listeners of one group of items each; content tells the group only through a linear mix and much noise."""
    rng = np.random.default_rng(seed)
    items = GROUPS * EACH
    groups = np.arange(items + COLD) % GROUPS
    content = rng.normal(size=(GROUPS, SIZE))[groups] + rng.normal(scale=1.2, size=(items + COLD, SIZE))
    likes = np.arange(LISTENERS) % GROUPS
    chances = np.where(likes[:, None] == groups[None, :items], 0.5, 0.03)
    matrix = csr_matrix((rng.random((LISTENERS, items)) < chances).astype(np.float32))
    return matrix, (content / np.linalg.norm(content, axis=1, keepdims=True)).astype(np.float32), groups


@pytest.fixture(scope="module")
def fitted() -> tuple[TwoTower, csr_matrix, np.ndarray, np.ndarray]:
    matrix, content, groups = world()
    return TwoTower.fit(matrix, QUICK, Facts(content=content[:-COLD])), matrix, content, groups


def longest(matrix: csr_matrix) -> csr_matrix:
    return matrix[int(np.diff(matrix.indptr).argmax())]


def test_it_keeps_the_contract_of_models(fitted):
    model = fitted[0]
    assert isinstance(model, Model) and isinstance(model, Embeds) and model.items == GROUPS * EACH
    assert np.linalg.norm(model.item_vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_listeners_get_their_group_more_than_by_content_alone(fitted):
    model, matrix, content, groups = fitted
    likes = np.arange(LISTENERS) % GROUPS

    def precision(scores: np.ndarray) -> float:
        hidden = np.where(matrix.toarray() > 0, -np.inf, scores)
        return float((groups[np.argsort(-hidden, axis=1)[:, :5]] == likes[:, None]).mean())

    neighbours = precision(matrix @ (content[:-COLD] @ content[:-COLD].T))
    assert precision(model.score(matrix)) > neighbours + 0.05


def test_items_that_nobody_played_are_placed_with_their_group(fitted):
    model, matrix, content, groups = fitted
    vectors = model.item_vectors_of(content[-COLD:])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    scores = model.fold_in(matrix) @ vectors.T
    best = groups[-COLD:][scores.argmax(axis=1)]
    assert (best == np.arange(LISTENERS) % GROUPS).mean() > 0.8
    assert np.allclose(model.item_vectors_of(content[:-COLD]), model.item_vectors, atol=1e-6)


def test_content_of_another_layout_is_refused(fitted):
    with pytest.raises(ValueError, match="20 numbers an item here, not 21"):
        fitted[0].item_vectors_of(np.zeros((1, SIZE + 1), np.float32))


def test_without_content_there_is_nothing_to_learn():
    matrix, content, _ = world()
    for facts in (None, Facts(), Facts(content=np.zeros_like(content[:-COLD]))):
        with pytest.raises(ValueError, match="content"):
            TwoTower.fit(matrix, QUICK, facts)
    with pytest.raises(ValueError, match="no samples"):
        TwoTower.fit(csr_matrix(np.eye(GROUPS * EACH, dtype=np.float32)), QUICK, Facts(content=content[:-COLD]))


@pytest.mark.parametrize("broken", [{"temperature": 0}, {"size": 0}, {"dropout": 1.0}, {"factors": 3}])
def test_settings_that_cannot_be_are_refused(broken):
    matrix, content, _ = world()
    with pytest.raises(ValueError):
        TwoTower.fit(matrix, QUICK | broken, Facts(content=content[:-COLD]))


def test_items_without_content_have_no_place_and_count_in_no_history():
    matrix, content, _ = world()
    content[3] = 0
    model = TwoTower.fit(matrix, QUICK | {"steps": 5}, Facts(content=content[:-COLD]))
    assert not model.item_vectors[3].any()
    row = matrix[0].toarray()
    row[0, 3] = 5
    other = row.copy()
    other[0, 3] = 0
    assert np.allclose(model.score(csr_matrix(row)), model.score(csr_matrix(other)))


def test_equal_input_gives_equal_bytes_and_parts_make_the_same_model():
    matrix, content, _ = world()
    one, two = (TwoTower.fit(matrix, QUICK | {"steps": 10}, Facts(content=content[:-COLD])) for _ in range(2))
    (config, arrays), (_, others) = one.parts(), two.parts()
    assert arrays.keys() == others.keys() and all(np.array_equal(arrays[name], others[name]) for name in arrays)
    again = TwoTower.from_parts(config, arrays)
    assert np.array_equal(again.score(matrix), one.score(matrix))
    assert np.array_equal(again.item_vectors_of(content), one.item_vectors_of(content))


def test_a_history_is_answered_alone_as_among_others_and_an_empty_one_is_too(fitted):
    model, matrix, _, _ = fitted
    alone = np.concatenate([model.score(matrix[row]) for row in range(10)])
    assert np.allclose(alone, model.score(matrix)[:10], atol=1e-4)
    empty = model.score(csr_matrix((1, model.items), dtype=np.float32))
    assert np.isfinite(empty).all()


def test_contributions_add_up_to_the_score(fitted):
    model, matrix, _, _ = fitted
    asked = np.array([0, 5, 11, 40])
    for row in (0, 7, 50):
        found = model.explain(matrix[row], asked)
        assert found.by_play.shape == (4, matrix[row].nnz) and set(found.rest) == {TASTE}
        assert found.by_play.sum(axis=1) + found.rest[TASTE] == pytest.approx(model.score(matrix[row])[0, asked], abs=1e-4)
        assert np.abs(found.rest[TASTE]).max() > 1e-3


def test_what_the_network_adds_is_shared_out_completely(fitted):
    model, matrix, _, _ = fitted
    history, asked = longest(matrix), np.array([0, 1, 2, 3, 17])
    found = model.attribute_taste(history, asked)
    assert found.values.shape == (5, history.nnz) and found.gap.max() <= 0.01
    empty = model.explain(csr_matrix(history.shape, dtype=np.float32), asked).rest[TASTE]
    assert found.values.sum(axis=1) == pytest.approx(model.explain(history, asked).rest[TASTE] - empty, rel=0.02, abs=0.01)


def test_deleting_plays_in_the_order_of_the_attribution_beats_random_orders(fitted):
    model, matrix, _, _ = fitted
    gains = []
    for row in np.argsort(-np.diff(matrix.indptr))[:12]:
        history = matrix[row]
        plays = model._plays(history).astype(np.float32)
        item = int(model.score(history)[0].argmax())
        shares = model.attribute_taste(history, np.array([item])).values[0]

        def taste(cases: np.ndarray, item: int = item) -> np.ndarray:
            return model._taste(cases.sum(axis=1)) @ model.item_vectors[item]

        order = np.repeat(shares[:, None], plays.shape[1], axis=1)
        gains.append(measure_faithfulness(taste, plays, order, np.zeros_like(plays), points=len(plays)).gain)
    assert np.mean(gains) > 0 and np.mean(np.array(gains) > 0) >= 0.75


def test_other_weights_give_another_attribution(fitted):
    model, matrix, _, _ = fitted
    history = longest(matrix)

    def explain(listeners: torch.nn.Module) -> np.ndarray:
        towers = randomised(model.towers)
        towers.listeners = listeners
        return dataclasses.replace(model, towers=towers).attribute_taste(history, np.arange(6)).values

    assert measure_sanity(model.towers.listeners, explain) < 0.5


def test_pairs_never_hold_the_answer_in_the_history():
    matrix, content, _ = world()
    pairs = Pairs(matrix, content[:-COLD], longest=4)
    assert len(pairs) == matrix.nnz
    _, shares, places, log_q = pairs.batch(np.arange(64), np.random.default_rng(0))
    assert shares.sum(dim=1).numpy() == pytest.approx(1)
    assert not shares[torch.arange(64), places].any() and int((shares > 0).sum(dim=1).max()) <= 4
    assert np.exp(log_q.numpy()) == pytest.approx(np.diff(matrix.tocsc().indptr)[matrix.indices[:64]] / matrix.nnz)


def test_the_correction_takes_the_frequency_out_of_the_negatives():
    torch.manual_seed(0)
    towers = Towers(3, 4, 2, 0.0, 1.0).eval()
    content, shares = torch.eye(3), torch.tensor([[0, 0, 1.0], [0, 0, 1.0]])
    places, log_q = torch.tensor([0, 1]), torch.tensor([0.5, 0.1]).log()
    with torch.no_grad():
        items, listeners = towers(content, shares)
        logits = (listeners @ items[:2].T).numpy() - log_q.numpy()
        expected = np.mean([np.log(np.exp(logits[each]).sum()) - logits[each, each] for each in range(2)])
        assert float(pair_loss(towers, (content, shares, places, log_q))) == pytest.approx(expected, abs=1e-5)


def test_what_a_listener_also_played_is_no_wrong_answer():
    towers = Towers(3, 4, 2, 0.0, 0.1).eval()
    content, places, log_q = torch.eye(3), torch.tensor([0, 1]), torch.zeros(2)
    played, unknown = torch.tensor([[0, 0.5, 0.5], [0.5, 0, 0.5]]), torch.tensor([[0, 0, 1.0], [0, 0, 1.0]])
    with torch.no_grad():
        assert float(pair_loss(towers, (content, played, places, log_q))) == 0
        assert float(pair_loss(towers, (content, unknown, places, log_q))) > 0
