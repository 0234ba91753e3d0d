"""Recipes, from which a blend is fitted again at any time, and fitted models as files that hold no code."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors.numpy import load, load_file, save
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.blend import Blend, Config
from spotify_ai_assets.recommendations.models.contract import Facts, Model
from spotify_ai_assets.recommendations.models.kinds import find_model

DOCUMENT, ARRAYS = "model.json", "arrays.safetensors"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a blend is made: equal recipes and equal histories make equal models.

    Attributes:
        members: Settings of each member by its name, which begins with its kind: ``als``, ``spectral:wide``.
        weights: Of each member; one that earned none has 0 and is not fitted.

    Raises:
        ValueError: Names and weights do not go together, or a kind is unknown.
    """

    members: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        Config(self.members, self.weights)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits."""
        return hashlib.sha256(_canonical(self.as_json())).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        """A JSON document."""
        members = {name: dict(settings) for name, settings in sorted(self.members.items())}
        return {"members": members, "weights": {name: float(self.weights[name]) for name in members}}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what ``as_json`` wrote."""
        return cls(document["members"], document["weights"])


def fit_recipe(recipe: Recipe, matrix: csr_matrix, facts: Facts | None = None, watch: Callable[[str], None] | None = None) -> Blend:
    """Make a blend.

    Args:
        recipe: How.
        matrix: Weights above 0, shape (listeners, items).
        facts: What else is known.
        watch: Told each member's name as soon as that one is fitted.
    """
    return Blend.fit(matrix, recipe.as_json(), facts, watch)


def pack(model: Model) -> dict[str, bytes]:
    """A model as files: its settings as JSON, its arrays as safetensors; equal models have equal bytes."""
    config, arrays = model.parts()
    document = {"format": FORMAT, "kind": model.name, "config": config}
    return {DOCUMENT: _canonical(document), ARRAYS: save({name: np.ascontiguousarray(array) for name, array in arrays.items()})}


def unpack(files: Mapping[str, bytes] | Path) -> Model:
    """Make a model from its files again.

    Args:
        files: What ``pack`` gave, or the folder that has it.

    Raises:
        ValueError: They are of another format, or of a kind that is not known.
    """
    if isinstance(files, Path):
        document, arrays = json.loads((files / DOCUMENT).read_bytes()), load_file(files / ARRAYS)
    else:
        document, arrays = json.loads(files[DOCUMENT]), load(files[ARRAYS])
    if document["format"] != FORMAT:
        raise ValueError(f"a model of format {document['format']}, this reads format {FORMAT}")
    return find_model(document["kind"]).from_parts(document["config"], arrays)


def _canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
