"""How near items are to what somebody plays: the score of tracks that hardly anybody has heard yet.

It has two parts, and each is a sum over the plays of the history, so that both say exactly which plays carried them:

* content: the cosine of the item's vector and the weighted mean of the history's vectors;
* artist: the weight on the item's artist, relative to the artist most played, times ``ARTIST``.
"""

from dataclasses import dataclass

import numpy as np

ARTIST = 0.5
"""An unheard track of the artist most played is as near as a stranger's whose cosine is higher by this."""


@dataclass(frozen=True, slots=True, eq=False)
class Leaning:
    """What one history leans towards.

    Attributes:
        content: What each play adds to the mean vector, divided by the mean's length, float64, shape (plays, d).
        artists: Number of each play's artist, shape (plays,).
        weights: What each play adds to the nearness of its artist, float64, shape (plays,).
    """

    content: np.ndarray
    artists: np.ndarray
    weights: np.ndarray

    def score(self, vectors: np.ndarray, artists: np.ndarray) -> np.ndarray:
        """The nearness of items, float32, shape (items,).

        Args:
            vectors: Unit vectors of the items, shape (items, d); zeros where there is none.
            artists: Numbers of their artists, shape (items,).
        """
        of_artist = np.bincount(self.artists, self.weights, minlength=int(artists.max(initial=0)) + 1)
        return (vectors @ self.content.sum(0) + of_artist[artists]).astype(np.float32)

    def explain(self, vectors: np.ndarray, artists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What each play adds by content, and what by artist; both float64, shape (items, plays). Arguments as of ``score``."""
        return vectors.astype(np.float64) @ self.content.T, np.where(artists[:, None] == self.artists[None, :], self.weights, 0.0)


def lean(weights: np.ndarray, vectors: np.ndarray, artists: np.ndarray) -> Leaning:
    """What a history leans towards.

    Args:
        weights: Of its plays, above 0, shape (plays,).
        vectors: Their unit vectors, shape (plays, d); zeros where there is none.
        artists: Numbers of their artists, shape (plays,).
    """
    weights = weights.astype(np.float64)
    weighted = vectors.astype(np.float64) * weights[:, None]
    length = float(np.linalg.norm(weighted.sum(0)))
    most = float(np.bincount(artists, weights).max()) if len(weights) else 1.0
    return Leaning(weighted / (length or 1.0), artists, ARTIST * weights / most)
