"""Sums over many rows at once: sparse products, folding in, scores in units of their spread. Nothing imports this at load.

Each row is computed by itself and always in the same order, so that no answer hangs on the rows beside it or on how many threads
share the rows. Threads are plain ones that call compiled code without the interpreter's lock: numba's own do not bear being called
from several threads at once, as a service does.
"""
# pyright: reportCallIssue=false
# numba's decorators confuse the type checker about what a call returns.

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import config, njit
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.parts import shape_of

_PIECE = 256
"""Rows that a thread takes at a time."""


def share_rows(task: Callable[[int, int], None], rows: int, piece: int) -> None:
    """Call a task for pieces of rows, first and end, on as many threads as numba was given."""
    pieces = [(first, min(first + piece, rows)) for first in range(0, rows, piece)]
    # numba sets its configuration as attributes when it is imported, where no type checker sees them.
    threads: int = config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    if min(len(pieces), threads) < 2:
        for each in pieces:
            task(*each)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda each: task(*each), pieces):
            pass


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _dot(left: np.ndarray, right: np.ndarray) -> float:
    total = 0.0
    for at in range(len(left)):
        total += np.float64(left[at]) * np.float64(right[at])
    return total


@njit(cache=True, nogil=True)
def _solve(matrix: np.ndarray, right: np.ndarray) -> None:
    """Solve a positive definite system in place by Cholesky's factors; of the matrix only the lower half is read, and destroyed."""
    size = len(right)
    for row in range(size):
        for column in range(row):
            matrix[row, column] = (matrix[row, column] - _dot(matrix[row, :column], matrix[column, :column])) / matrix[column, column]
        matrix[row, row] = np.sqrt(matrix[row, row] - _dot(matrix[row, :row], matrix[row, :row]))
        right[row] = (right[row] - _dot(matrix[row, :row], right[:row])) / matrix[row, row]
    for row in range(size - 1, -1, -1):
        right[row] /= matrix[row, row]
        for column in range(row):
            right[column] -= right[row] * matrix[row, column]


@njit(cache=True, nogil=True)
def _fold_by_entry(items: np.ndarray, surplus: np.ndarray, item_vectors: np.ndarray, vector: np.ndarray) -> None:
    """With ``S = diag(sqrt(surplus))``: ``(I + S Z Z' S) t = S^-1 (1 + surplus)`` and ``x = Z' S t``."""
    count, roots = len(items), np.sqrt(surplus)
    matrix, right = np.eye(count), (1 + surplus) / roots
    for a in range(count):
        for b in range(a + 1):
            matrix[a, b] += roots[a] * roots[b] * _dot(item_vectors[items[a]], item_vectors[items[b]])
    _solve(matrix, right)
    for a in range(count):
        for at in range(len(vector)):
            vector[at] += roots[a] * right[a] * item_vectors[items[a], at]


@njit(cache=True, nogil=True)
def _fold_by_dimension(items: np.ndarray, surplus: np.ndarray, item_vectors: np.ndarray, vector: np.ndarray) -> None:
    matrix = np.eye(len(vector))
    for entry in range(len(items)):
        placed, more = item_vectors[items[entry]], surplus[entry]
        for a in range(len(vector)):
            for b in range(a + 1):
                matrix[a, b] += more * placed[a] * placed[b]
            vector[a] += (1 + more) * placed[a]
    _solve(matrix, vector)


@njit(cache=True, nogil=True)
def _fold(
    first: int, end: int, pointers: np.ndarray, items: np.ndarray, surplus: np.ndarray, item_vectors: np.ndarray, vectors: np.ndarray
) -> None:
    """One system for each history: an unknown for each entry, or for each dimension where there are more entries."""
    for row in range(first, end):
        entries = slice(pointers[row], pointers[row + 1])
        if pointers[row + 1] - pointers[row] <= vectors.shape[1]:
            _fold_by_entry(items[entries], surplus[entries], item_vectors, vectors[row])
        else:
            _fold_by_dimension(items[entries], surplus[entries], item_vectors, vectors[row])


def fold_histories(histories: csr_matrix, alpha: float, item_vectors: np.ndarray) -> np.ndarray:
    """The vector x of each history that solves ``(I + sum_i(alpha w_i z_i z_i')) x = sum_i((1 + alpha w_i) z_i)``.

    Args:
        histories: Weights w above 0, shape (n, items).
        alpha: How much more a weight of 1 counts than an item that is not there.
        item_vectors: z, float32, shape (items, d).

    Returns:
        float32, shape (n, d).
    """
    listeners, _ = shape_of(histories)
    vectors = np.zeros((listeners, item_vectors.shape[1]))
    arrays = histories.indptr.astype(np.int64), histories.indices, alpha * histories.data.astype(np.float64), item_vectors
    share_rows(lambda first, end: _fold(first, end, *arrays, vectors), listeners, _PIECE)
    return vectors.astype(np.float32)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _multiply(
    first: int, end: int, pointers: np.ndarray, columns: np.ndarray, weights: np.ndarray, dense: np.ndarray, product: np.ndarray
) -> None:
    for row in range(first, end):
        for entry in range(pointers[row], pointers[row + 1]):
            weight, source = weights[entry], dense[columns[entry]]
            for at in range(dense.shape[1]):
                product[row, at] += weight * source[at]


def multiply(sparse: csr_matrix, dense: np.ndarray) -> np.ndarray:
    """A sparse matrix times a dense one, float32, on all threads."""
    rows, _ = shape_of(sparse)
    product = np.zeros((rows, dense.shape[1]), np.float32)
    arrays = sparse.indptr.astype(np.int64), sparse.indices, sparse.data.astype(np.float32), np.ascontiguousarray(dense, dtype=np.float32)
    share_rows(lambda first, end: _multiply(first, end, *arrays, product), rows, _PIECE)
    return product


@njit(cache=True, nogil=True, fastmath={"contract"})
def _spread(
    first: int,
    end: int,
    pointers: np.ndarray,
    columns: np.ndarray,
    weights: np.ndarray,
    right: tuple[np.ndarray, np.ndarray, np.ndarray],
    product: np.ndarray,
) -> None:
    right_pointers, right_columns, right_weights = right
    for row in range(first, end):
        for entry in range(pointers[row], pointers[row + 1]):
            weight = weights[entry]
            for at in range(right_pointers[columns[entry]], right_pointers[columns[entry] + 1]):
                product[row, right_columns[at]] += weight * right_weights[at]


def multiply_sparse(left: csr_matrix, right: csr_matrix) -> np.ndarray:
    """A sparse matrix times a sparse one as a dense one, float32, on all threads."""
    (rows, _), (_, columns) = shape_of(left), shape_of(right)
    product = np.zeros((rows, columns), np.float32)
    arrays = left.indptr.astype(np.int64), left.indices, left.data.astype(np.float32)
    spread = right.indptr.astype(np.int64), right.indices, right.data
    share_rows(lambda first, end: _spread(first, end, *arrays, spread, product), rows, _PIECE)
    return product


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _add_scaled(first: int, end: int, scores: np.ndarray, weight: float, total: np.ndarray, factors: np.ndarray) -> None:
    for row in range(first, end):
        level = 0.0
        for at in range(scores.shape[1]):
            level += np.float64(scores[row, at])
        level /= scores.shape[1]
        spread = 0.0
        for at in range(scores.shape[1]):
            spread += (np.float64(scores[row, at]) - level) ** 2
        spread = np.sqrt(spread / scores.shape[1])
        # Rounding alone makes equal scores differ: nothing is told by them.
        factors[row] = weight / spread if spread > 1e-7 * abs(level) else 0.0
        factor = np.float32(factors[row])
        for at in range(scores.shape[1]):
            total[row, at] += factor * scores[row, at]


def add_scaled(scores: np.ndarray, weight: float, total: np.ndarray) -> np.ndarray:
    """Add scores to a total, in place, each row divided by its standard deviation; rows of equal scores add nothing.

    Args:
        scores: float32, shape (n, items).
        weight: Of what is added.
        total: float32, shape (n, items).

    Returns:
        What each row was multiplied by, float64, shape (n,).
    """
    factors = np.zeros(len(scores))
    dense = np.ascontiguousarray(scores, dtype=np.float32)
    if dense.size:
        share_rows(lambda first, end: _add_scaled(first, end, dense, weight, total, factors), len(dense), 64)
    return factors
