"""Where things lie: known tracks where the model has them, new ones where their content says, artists among their tracks."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.als import ALS
from spotify_ai_assets.recommendations.models.popularity import Popularity
from spotify_ai_assets.recommendations.placing import place_artists, place_tracks

TRACKS, COLD = 80, 8


def checkerboard() -> csr_matrix:
    """Forty listeners of two tastes: each plays most tracks of one half."""
    rng = np.random.default_rng(0)
    own = (np.arange(40)[:, None] % 2 == np.arange(TRACKS)[None, :] % 2) & (rng.random((40, TRACKS)) < 0.7)
    return csr_matrix(own.astype(np.float32))


def content(taste: np.ndarray) -> np.ndarray:
    """Content that says the taste, with noise beside it."""
    rng = np.random.default_rng(1)
    return np.column_stack([taste == 0, taste == 1, 0.1 * rng.standard_normal((len(taste), 3))]).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> ALS:
    return ALS.fit(checkerboard(), {"factors": 8, "iterations": 5})


def test_new_tracks_lie_among_those_whose_content_is_like_theirs(model):
    taste = np.arange(TRACKS + COLD) % 2
    placed = place_tracks(model, content(taste))
    assert placed.shape == (TRACKS + COLD, 8) and np.allclose(np.linalg.norm(placed, axis=1), 1, atol=1e-5)
    near = placed[TRACKS:] @ placed[:TRACKS].T
    own = taste[TRACKS:, None] == taste[None, :TRACKS]
    assert (near[own].reshape(COLD, -1).mean(1) > near[~own].reshape(COLD, -1).mean(1) + 0.5).all()


def test_what_nothing_is_known_of_has_no_place(model):
    described = content(np.arange(TRACKS + COLD) % 2)
    described[-1] = 0
    placed = place_tracks(model, described)
    assert not placed[-1].any() and placed[:-1].any(1).all()


def test_with_too_few_examples_nothing_is_mapped(model):
    described = content(np.arange(TRACKS + COLD) % 2)
    described[: TRACKS - 10] = 0
    assert not place_tracks(model, described)[TRACKS:].any()


def test_a_model_without_a_space_places_nothing():
    with pytest.raises(TypeError, match="popularity"):
        place_tracks(Popularity.fit(checkerboard()), content(np.arange(TRACKS) % 2))


def test_an_artist_lies_where_most_of_their_listeners_are():
    vectors = np.array([[1, 0], [0, 1], [1, 0], [0, 0]], np.float32)
    placed = place_artists(vectors, np.array([0, 0, 1, 2]), np.array([8, 0, 3, 5]))
    assert placed[0] == pytest.approx(np.array([9, 1]) / np.sqrt(82)) and placed[1].tolist() == [1, 0] and not placed[2].any()
