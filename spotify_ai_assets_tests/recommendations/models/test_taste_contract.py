"""What holds for every kind of model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.contract import Embeds, Facts, Model
from spotify_ai_assets.recommendations.models.kernels import top_by_model
from spotify_ai_assets.recommendations.models.kinds import find_model
from spotify_ai_assets.recommendations.models.recipes import pack, unpack
from spotify_ai_assets.training.safety import refuse_unsafe

LISTENERS, ITEMS = 64, 24
SETTINGS: dict[str, dict[str, Any]] = {
    "popularity": {"listeners": 2},
    "cooccurrence": {"neighbours": 10, "shrink": 1.0},
    "als": {"factors": 8, "iterations": 5, "alpha": 10.0, "regularization": 1.0},
    "ease": {"regularization": 5.0},
    "spectral": {"factors": 6, "neighbours": 10, "linear": 0.5},
    "two_tower": {"size": 16, "hidden": 32, "steps": 60, "batch_size": 64, "longest": 12, "dropout": 0.0},
    "sequence": {},
    "blend": {
        "members": {"als": {"factors": 6}, "cooccurrence": {}, "ease": {}, "popularity": {}, "spectral": {"factors": 4}},
        "weights": {"als": 0.5, "cooccurrence": 0.2, "ease": 1.0, "popularity": 0.1, "spectral": 0.7},
    },
}
KINDS = pytest.mark.parametrize("kind", SETTINGS)


def checkerboard() -> tuple[csr_matrix, np.ndarray]:
    """Even listeners like even items, odd ones odd items, each all but one."""
    listeners, items = np.arange(LISTENERS)[:, None], np.arange(ITEMS)
    withheld = (2 * (np.arange(LISTENERS) // 2) + np.arange(LISTENERS) % 2) % ITEMS
    matrix = csr_matrix(((listeners % 2 == items % 2) & (items != withheld[:, None])).astype(np.float32))
    return matrix, withheld


FACTS = Facts(
    countries=["DE" if row % 3 else "FR" for row in range(LISTENERS)],
    ages=np.arange(LISTENERS * (ITEMS // 2 - 1), dtype=np.float32) % 50,
    artists=(np.arange(ITEMS) // 2).astype(np.int32),
    content=np.random.default_rng(0).standard_normal((ITEMS, 12), dtype=np.float32)
    + 2 * (np.arange(ITEMS)[:, None] % 2).astype(np.float32),
)
_FITTED: dict[str, Model] = {}


def fit(kind: str) -> Model:
    return find_model(kind).fit(checkerboard()[0], SETTINGS[kind], FACTS)


@pytest.fixture
def model(kind: str) -> Model:
    if kind not in _FITTED:
        _FITTED[kind] = fit(kind)
    return _FITTED[kind]


@KINDS
def test_it_is_a_model_of_its_name(kind, model):
    assert isinstance(model, Model)
    assert (model.name, model.items) == (kind, ITEMS)
    assert isinstance(model, Embeds) == (kind in ("als", "spectral", "blend", "two_tower"))


@pytest.mark.parametrize("kind", [kind for kind in SETTINGS if kind != "popularity"])
def test_the_withheld_item_of_a_checkerboard_comes_first(model):
    matrix, withheld = checkerboard()
    ids, _ = top_by_model(model, matrix, 1)
    np.testing.assert_array_equal(ids[:, 0], withheld)


@KINDS
def test_what_was_heard_is_hidden_and_shown_if_asked(model):
    matrix, _ = checkerboard()
    hidden, _ = top_by_model(model, matrix, ITEMS, countries=FACTS.countries)
    for row, ids in enumerate(hidden.tolist()):
        unheard = set(range(ITEMS)) - set(matrix[[row]].indices.tolist())
        assert {item for item in ids if item >= 0} == unheard
    shown, _ = top_by_model(model, matrix, ITEMS, hide_seen=False)
    assert all(sorted(ids) == list(range(ITEMS)) for ids in shown.tolist())


@KINDS
def test_a_history_is_answered_alike_alone_and_among_those_learnt_from(model):
    matrix, _ = checkerboard()
    among = model.score(matrix, FACTS.countries)
    assert (among.dtype, among.shape) == (np.float32, (LISTENERS, ITEMS))
    for row in (0, 5):
        alone = model.score(matrix[[row]].copy(), [FACTS.countries[row]])
        np.testing.assert_allclose(alone[0], among[row], rtol=1e-5, atol=1e-6)
        if isinstance(model, Embeds):
            np.testing.assert_allclose(model.fold_in(matrix[[row]])[0], model.fold_in(matrix)[row], rtol=1e-5, atol=1e-6)
            assert model.item_vectors.shape == (ITEMS, model.fold_in(matrix[[row]]).shape[1])


@KINDS
def test_it_comes_back_from_its_files_as_it_was(kind, model, tmp_path: Path):
    files = pack(model)
    refuse_unsafe(files)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    matrix, _ = checkerboard()
    for again in (unpack(files), unpack(tmp_path)):
        assert again.name == kind
        assert pack(again) == files
        np.testing.assert_array_equal(again.score(matrix, FACTS.countries), model.score(matrix, FACTS.countries))


@KINDS
def test_equal_histories_make_equal_bytes(kind, model):
    assert pack(fit(kind)) == pack(model)


@KINDS
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    history=st.dictionaries(st.integers(0, ITEMS - 1), st.floats(0.125, 4, width=32), max_size=ITEMS),
    items=st.lists(st.integers(0, ITEMS - 1), max_size=8),
    country=st.sampled_from([None, "DE", "FR", "JP"]),
)
def test_what_explains_a_score_adds_up_to_it(model, history, items, country):
    heard = sorted(history)
    row = csr_matrix((np.array([history[item] for item in heard], np.float32), (np.zeros(len(heard), int), heard)), shape=(1, ITEMS))
    scores = model.score(row, None if country is None else [country])[0]
    why = model.explain(row, np.array(items, dtype=np.int64), country)
    assert why.by_play.shape == (len(items), len(heard))
    total = why.by_play.sum(axis=1) + sum(why.rest.values(), np.zeros(len(items)))
    np.testing.assert_allclose(total, scores[items], rtol=1e-4, atol=1e-4 * max(1.0, np.abs(why.by_play).max(initial=0)))


@KINDS
def test_strangers_get_numbers(model):
    matrix, _ = checkerboard()
    mixed = matrix[[0, 1]].tolil()
    mixed[0] = 0
    mixed = csr_matrix(mixed, dtype=np.float32)
    mixed.eliminate_zeros()
    scores = model.score(mixed, ["JP", "DE"])
    assert np.isfinite(scores).all()
    assert model.score(mixed[:0], []).shape == (0, ITEMS)


@KINDS
def test_settings_that_it_does_not_have_are_refused(kind):
    with pytest.raises(ValueError, match="unknown settings volume"):
        find_model(kind).fit(checkerboard()[0], {**SETTINGS[kind], "volume": 11})


@KINDS
def test_one_history_is_explained_at_a_time(model):
    with pytest.raises(ValueError, match="one history"):
        model.explain(checkerboard()[0], np.array([0]))
