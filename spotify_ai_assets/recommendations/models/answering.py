"""A model of taste behind the registry's contract: rows of histories in, rows of scores out."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.contract import Model
from spotify_ai_assets.recommendations.models.kinds import find_model


class Answering:
    """Any model of taste by its kind.

    Args:
        model: The model.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Make it again.

        Args:
            config: ``kind``, and the model's own ``config``.
            arrays: The model's.
        """
        return cls(find_model(config["kind"]).from_parts(config["config"], arrays))

    def predict(self, cases: np.ndarray) -> np.ndarray:
        """Scores of all items.

        Args:
            cases: Weights, 0 where nothing was played, shape (n, items).

        Returns:
            float32, shape (n, items).
        """
        return self.model.score(csr_matrix(np.asarray(cases, np.float32)))
