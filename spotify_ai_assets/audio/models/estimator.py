"""The perceptual estimator as it serves: built from its JSON and its arrays alone, answering rows of numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from spotify_ai_assets.audio.models.perceptual import predict, to_matrix

MISSING = float(np.finfo(np.float64).min)
"""Stands for a value that is missing: an input contract lets no NaN through."""

MEANING = "columns of audio/features, vectors spread out; the lowest float64 stands for a missing value"
"""What it takes, in words."""


def take_cases(features: pl.DataFrame, inputs: Sequence[Sequence[Any]]) -> np.ndarray:
    """What the estimator takes of rows of ``audio/features``: float64, shape (rows, values), ``MISSING`` where there is no value."""
    return np.nan_to_num(to_matrix(features, inputs), nan=MISSING)


def count_values(inputs: Sequence[Sequence[Any]]) -> int:
    """How many numbers a row has: one for each plain column, its length for each vector."""
    return sum(max(length, 1) for _, length in inputs)


class Estimator:
    """Answers for rows of ``take_cases``, in the order of the labels of its JSON.

    Args:
        meta: The JSON object of ``perceptual.Trained``.
        arrays: Its arrays.
    """

    def __init__(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._meta, self._arrays = meta, dict(arrays)

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "Estimator":
        """Build it, as the registry does."""
        return cls(config, arrays)

    def predict(self, cases: np.ndarray) -> np.ndarray:
        """Estimates: float64, shape (rows, labels), of float64 of shape (rows, values); ``MISSING`` counts as the median."""
        cases = np.where(cases == MISSING, np.nan, cases)
        columns: dict[str, pl.Series] = {}
        place = 0
        for name, length in self._meta["inputs"]:
            part = cases[:, place : place + max(length, 1)]
            columns[name] = pl.Series(part.tolist(), dtype=pl.List(pl.Float64)) if length else pl.Series(part[:, 0])
            place += max(length, 1)
        return predict(self._arrays, self._meta, pl.DataFrame(columns)).select(list(self._meta["labels"])).to_numpy()
