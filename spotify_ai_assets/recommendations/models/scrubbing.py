"""Models without what they learnt of some items: their columns stay, since others are counted by them, but nothing is left in them."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.contract import Model
from spotify_ai_assets.recommendations.models.kinds import find_model
from spotify_ai_assets.recommendations.models.parts import matrix_of, matrix_parts

_SPARSE = ".indptr"
"""What the name of one array of each sparse matrix ends with."""

_EASE: Mapping[str, tuple[int, ...]] = {"weights": (0, 1), "factors": (0,), "own": (0,)}

_AXES: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "popularity": {"world": (0,), "tables": (1,)},
    "cooccurrence": {"weights": (0, 1)},
    "als": {"item_vectors": (0,)},
    "ease": _EASE,
    "spectral": {"into": (0,), "item_vectors": (0,), "linear": (0, 1)},
    "two_tower": {"item_vectors": (0,), "weights.*": ()},
    "sequence": {
        "popularity": (0,),
        **{f"neighbours*/{name}": axes for name, axes in _EASE.items()},
        "transitions*/weights": (0, 1),
        **{f"attention*/{name}": (0,) for name in ("items", "bias")},
        **{f"attention*/{name}": () for name in ("places", "layers.*", "norm.*")},
    },
}
"""The arrays and sparse matrices of each kind, by patterns of their names, and which of their axes are items."""


def scrub(model: Model, columns: np.ndarray) -> Model:
    """Make a model that knows nothing of some items: no entry of theirs, zeros where there must be a value.

    Args:
        model: Any kind.
        columns: Numbers of the items.

    Raises:
        ValueError: A part of the model is not known to be of items or not, so that something could be left.
    """
    config, arrays = model.parts()
    left = _scrub(model.name, config, arrays, np.asarray(columns, np.int64))
    return type(model).from_parts(config, left)


def _scrub(kind: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray], columns: np.ndarray) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    if kind == "blend":
        for name, settings in config["members"].items():
            mine = {array.removeprefix(f"{name}/"): values for array, values in arrays.items() if array.startswith(f"{name}/")}
            scrubbed = _scrub(find_model(name).name, settings, mine, columns)
            found |= {f"{name}/{array}": values for array, values in scrubbed.items()}
        return found
    matrices = {name.removesuffix(_SPARSE) for name in arrays if name.endswith(_SPARSE)}
    for name in matrices:
        found |= _drop(name, arrays, _axes_of(kind, name), columns)
    for name in arrays.keys() - found.keys():
        found[name] = _zero(arrays[name], _axes_of(kind, name), columns)
    return found


def _axes_of(kind: str, name: str) -> tuple[int, ...]:
    for pattern, axes in _AXES.get(kind, {}).items():
        if fnmatchcase(name, pattern):
            return axes
    raise ValueError(f"{kind}: nobody said which items {name} tells of")


def _zero(array: np.ndarray, axes: tuple[int, ...], columns: np.ndarray) -> np.ndarray:
    changed = array.copy()
    for axis in axes:
        changed[(slice(None),) * axis + (columns,)] = 0
    return changed


def _drop(name: str, arrays: Mapping[str, np.ndarray], axes: tuple[int, ...], columns: np.ndarray) -> dict[str, np.ndarray]:
    entries = matrix_of(name, arrays).tocoo(copy=True)
    kept = np.ones(entries.nnz, bool)
    for axis in axes:
        kept &= ~np.isin(entries.coords[axis], columns)
    entries.data[~kept] = 0
    left = csr_matrix(entries)
    left.eliminate_zeros()
    left.sort_indices()
    return matrix_parts(name, left)
