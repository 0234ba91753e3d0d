"""The nearest vectors by looking at all of them: the small index, the measure of the others, and the last resort of filters."""

import numpy as np

_BLOCK = 1 << 24
"""Scores held at a time: 64 MiB."""


def find_exactly(queries: np.ndarray, vectors: np.ndarray, count: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The rows with the largest inner products.

    Args:
        queries: float32, shape (n, d).
        vectors: float32, shape (m, d).
        count: How many rows for each query.
        allowed: Which rows may be found, bool, shape (m,); all unless given.

    Returns:
        Rows, int64, the best first and of equals the first, -1 where there are no more; and their scores, float32, ``-inf`` there.
        Both of shape (n, count).
    """
    rows, scores = np.full((len(queries), count), -1, np.int64), np.full((len(queries), count), -np.inf, np.float32)
    # Few rows are taken out first; many are scored with the others and struck out then, which copies nothing.
    passing = None if allowed is None else np.flatnonzero(allowed)
    is_sparse = passing is not None and len(passing) < len(vectors) // 2
    pool = vectors[passing] if is_sparse else vectors
    many = min(count, len(pool))
    if not many:
        return rows, scores
    step = max(1, _BLOCK // len(pool))
    for start in range(0, len(queries), step):
        block = queries[start : start + step] @ pool.T
        if allowed is not None and not is_sparse:
            block[:, ~allowed] = -np.inf
        best = _top(block, many)
        found = np.take_along_axis(block, best, 1)
        scores[start : start + step, :many] = found
        rows[start : start + step, :many] = np.where(np.isfinite(found), best if passing is None or not is_sparse else passing[best], -1)
    return rows, scores


def rescore(queries: np.ndarray, vectors: np.ndarray, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The best of some candidates by their exact inner products, as ``find_exactly`` gives them.

    Args:
        queries: float32, shape (n, d).
        vectors: float32, shape (m, d).
        rows: Candidates of each query, int64, shape (n, many), -1 where there is none.
        count: At most so many as there are candidates.
    """
    rows = np.sort(rows, axis=1)  # of equals the first
    products = np.matmul(vectors[rows], queries[:, :, None])[:, :, 0]
    products[rows < 0] = -np.inf
    order = np.argsort(-products, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(products, order, 1)


def _top(scores: np.ndarray, count: int) -> np.ndarray:
    """Columns of the largest scores of each row, ordered; of equals the first."""
    if count < scores.shape[1]:
        bound = np.partition(scores, -count, axis=1)[:, -count]
        # All that reach the bound, so that of equals it is the first that come in, whatever the partition did.
        found = [np.flatnonzero(row >= low) for row, low in zip(scores, bound, strict=True)]
        return np.stack([each[np.argsort(-row[each], kind="stable")[:count]] for row, each in zip(scores, found, strict=True)])
    return np.argsort(-scores, axis=1, kind="stable")
