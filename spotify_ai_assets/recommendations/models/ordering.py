"""The order of a history, which is in its weights: the greater an entry's weight, the later its place.

Of equal weights the lower item number comes first. The platform's weights fit this well enough to continue a radio, since they halve
every 90 days; what has sequences lines them up.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.parts import shape_of


def line_up(sequences: Sequence[np.ndarray], items: int) -> csr_matrix:
    """Sequences as histories: the weights of a row rise from above 0 to 1 in its order.

    Args:
        sequences: Numbers of items, the oldest first; of one that comes again the last place counts.
        items: How many there are.
    """
    columns, weights, pointers = [], [], [0]
    for sequence in sequences:
        found, places = np.unique(np.asarray(sequence, np.int32)[::-1], return_index=True)
        columns.append(found)
        weights.append((len(sequence) - places) / max(len(sequence), 1))
        pointers.append(pointers[-1] + len(found))
    indices = np.concatenate([*columns, np.empty(0, np.int32)])
    data = np.concatenate([*weights, np.empty(0)]).astype(np.float32)
    return csr_matrix((data, indices, np.asarray(pointers)), shape=(len(sequences), items))


def read_order(histories: csr_matrix, ages: np.ndarray | None = None) -> list[np.ndarray]:
    """Histories as sequences, the oldest item first.

    Args:
        histories: Their order is in their weights.
        ages: Days since the last play of each entry, where these are known: they decide before the weights.

    Returns:
        Numbers of items, a row each.
    """
    return [histories.indices[begin + order] for begin, order in zip(histories.indptr, find_places(histories, ages), strict=False)]


def find_places(histories: csr_matrix, ages: np.ndarray | None = None) -> list[np.ndarray]:
    """Where in its row each entry of a sequence stands, the oldest first; arguments as of ``read_order``."""
    rows = np.repeat(np.arange(shape_of(histories)[0]), np.diff(histories.indptr))
    keys = (histories.indices, histories.data, *(() if ages is None else (-ages,)), rows)
    order = np.lexsort(keys)
    return [order[begin:end] - begin for begin, end in pairwise(histories.indptr)]


def fade(histories: csr_matrix, share: float) -> csr_matrix:
    """The same histories, the last item counting 1 and each earlier one ``share`` times the one after it."""
    faded = np.empty(histories.nnz, np.float32)
    for order, begin in zip(find_places(histories), histories.indptr, strict=False):
        faded[begin + order] = share ** np.arange(len(order) - 1, -1, -1, dtype=np.float64)
    return csr_matrix((faded, histories.indices, histories.indptr), shape=histories.shape)
