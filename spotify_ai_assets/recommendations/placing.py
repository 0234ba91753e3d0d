"""Where tracks, artists and listeners lie in one space: the model's for what it knows, mapped from text and sound for the rest."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spotify_ai_assets.recommendations.models.contract import Model
    from spotify_ai_assets.recommendations.models.two_tower import TwoTower

_RIDGE = 10.0
_LEAST_PAIRS = 50
"""Known tracks with content below which nothing can be mapped."""


def place_tracks(model: "Model", content: np.ndarray) -> np.ndarray:
    """Vectors of tracks by the model's space, and of those that it does not know by their content.

    A model with towers places content itself. Otherwise a ridge regression from content to the vectors of known tracks does
    (as Gantner et al., 2010, map attributes to factors).

    Args:
        model: The model; its items are the first rows.
        content: What tracks read and sound like, shape (tracks, d); rows of zeros where nothing is known.

    Returns:
        float32, shape (tracks, d'), of unit length; rows of zeros where a track cannot be placed.
    """
    known = model.items
    tower = _tower(model)
    if tower is not None:
        return _unit(np.concatenate([tower.item_vectors, tower.item_vectors_of(content[known:])]))
    vectors = _unit(_space(model))
    has_content = np.abs(content).sum(1) > 0
    taught = np.flatnonzero(has_content[:known] & (np.abs(vectors).sum(1) > 0))
    mapped = np.zeros((len(content) - known, vectors.shape[1]), np.float32)
    asked = np.flatnonzero(has_content[known:])
    if len(taught) >= _LEAST_PAIRS and len(asked):
        inputs = content[taught].astype(np.float64)
        gram = inputs.T @ inputs + _RIDGE * np.eye(inputs.shape[1])
        mapped[asked] = content[known:][asked] @ np.linalg.solve(gram, inputs.T @ vectors[taught])
    return _unit(np.concatenate([vectors, mapped]))


def place_artists(vectors: np.ndarray, artists: np.ndarray, plays: np.ndarray) -> np.ndarray:
    """Vectors of artists: the mean of their tracks', weighted by how much they are played.

    Args:
        vectors: Of tracks, shape (tracks, d).
        artists: Number of each track's artist, shape (tracks,).
        plays: What each track weighs, shape (tracks,).

    Returns:
        float32, shape (artists, d), of unit length; rows of zeros where no track is placed.
    """
    summed = np.zeros((int(artists.max(initial=-1)) + 1, vectors.shape[1]))
    np.add.at(summed, artists, vectors * (1 + plays)[:, None])
    return _unit(summed)


def _space(model: "Model") -> np.ndarray:
    from spotify_ai_assets.recommendations.models.contract import Embeds

    if not isinstance(model, Embeds):
        raise TypeError(f"a {model.name} model has no space")
    return model.item_vectors


def _tower(model: "Model") -> "TwoTower | None":
    """The towers of a blend, where they are part of it."""
    from spotify_ai_assets.recommendations.models.blend import Blend
    from spotify_ai_assets.recommendations.models.two_tower import TwoTower

    if not isinstance(model, Blend):
        return None
    return next((each for name, each in model.members.items() if isinstance(each, TwoTower) and model.weights[name] > 0), None)


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros(vectors.shape, np.float32), where=lengths > 0, casting="unsafe").astype(np.float32)
