"""The best of many scores and the nearest of many items, found exactly by compiled loops. Nothing imports this at load.

A product of vectors is formed in registers, a few rows by a few dozen items at a time, and compared with the worst that each row
keeps while it is still in the nearest cache: of the scores nothing else is ever written. The sum over dimensions is formed in
their order, so that a score hangs neither on the rows beside it nor on the number of threads.

Compiled code is cached beside this file; the cache knows the age of this file only, so what is compiled together stays in it.
"""
# pyright: reportCallIssue=false
# numba's decorators confuse the type checker about what a call returns.

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.arithmetic import share_rows
from spotify_ai_assets.recommendations.models.parts import shape_of

if TYPE_CHECKING:
    from spotify_ai_assets.recommendations.models.contract import Model

_LANES, _VECTORS = (16, 4) if get_host_cpu_features().get("avx512f") else (8, 2)
_SIDE, _WIDTH = 6, _LANES * _VECTORS
"""Rows and items of a tile: as many sums as the processor has registers for, with room for what is multiplied."""

_PIECE = 40 * _SIDE
"""Rows that a thread takes at a time: their vectors stay in the second cache while the items pass by."""

_GLANCE = 64
"""Scores that are compared with the worst of the best together."""


@njit(cache=True, nogil=True)
def _sink(ids: np.ndarray, values: np.ndarray, size: int, item: int, value: float | np.floating) -> None:
    """Put an entry in the place of a heap's root, the worst: the lowest value and, among equals, the highest item."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (values[other] < values[child] or (values[other] == values[child] and ids[other] > ids[child])):
            child = other
        if value < values[child] or (value == values[child] and item > ids[child]):
            break
        ids[at], values[at] = ids[child], values[child]
        at = child
    ids[at], values[at] = item, value


@njit(cache=True, nogil=True)
def _holds(numbers: np.ndarray, wanted: int) -> bool | np.bool_:
    """Whether sorted numbers hold one."""
    at = np.searchsorted(numbers, wanted)
    return at < len(numbers) and numbers[at] == wanted


@njit(cache=True, nogil=True)
def _offer(
    tile: np.ndarray,
    side: int,
    first: int,
    end: int,
    offset: int,
    row: int,
    pointers: np.ndarray,
    seen: np.ndarray,
    ids: np.ndarray,
    values: np.ndarray,
) -> None:
    """Let columns ``first`` to ``end`` of a side of a tile into the full heap of a row: what exceeds its root and was not seen."""
    worst, hits = values[row, 0], 0
    for column in range(first, end):
        hits += tile[side, column] > worst
    if hits == 0:
        return
    hidden = seen[pointers[row] : pointers[row + 1]]
    for column in range(first, end):
        if tile[side, column] > values[row, 0] and not _holds(hidden, offset + column):
            _sink(ids[row], values[row], ids.shape[1], offset + column, tile[side, column])


@njit(cache=True, nogil=True)
def _offer_scores(
    first: int, end: int, scores: np.ndarray, pointers: np.ndarray, seen: np.ndarray, ids: np.ndarray, values: np.ndarray
) -> None:
    items = scores.shape[1]
    for row in range(first, end):
        for column in range(0, items, _GLANCE):
            _offer(scores, row, column, min(column + _GLANCE, items), 0, row, pointers, seen, ids, values)


@njit(cache=True, nogil=True)
def _order_rows(first: int, end: int, ids: np.ndarray, values: np.ndarray) -> None:
    """Turn heaps into lists, the best first."""
    for row in range(first, end):
        for size in range(ids.shape[1] - 1, 0, -1):
            item, value = ids[row, size], values[row, size]
            ids[row, size], values[row, size] = ids[row, 0], values[row, 0]
            _sink(ids[row], values[row], size, item, value)


def _heaps(rows: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((rows, k), -1, np.int32), np.full((rows, k), -np.inf, np.float32)


def _hidden(seen: csr_matrix | None, rows: int) -> tuple[np.ndarray, np.ndarray]:
    if seen is None:
        return np.zeros(rows + 1, np.int64), np.zeros(0, np.int32)
    ordered = seen if seen.has_sorted_indices else seen.sorted_indices()
    return ordered.indptr.astype(np.int64), ordered.indices.astype(np.int32)


def top_of(scores: np.ndarray, seen: csr_matrix | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best items of each row, what was seen left out; among equal scores the lower number is first.

    Args:
        scores: float32, shape (n, items); items at minus infinity or NaN are never taken.
        seen: What is hidden in each row.
        k: How many.

    Returns:
        Items, int32, and their scores, float32, shape (n, k), the best first; -1 and minus infinity where fewer remain.
    """
    dense = np.ascontiguousarray(scores, dtype=np.float32)
    ids, values = _heaps(len(dense), k)
    pointers, hidden = _hidden(seen, len(dense))

    def pick(first: int, end: int) -> None:
        _offer_scores(first, end, dense, pointers, hidden, ids, values)
        _order_rows(first, end, ids, values)

    if k:
        share_rows(pick, len(dense), _PIECE)
    return ids, values


@intrinsic
def _multiply_tile(typing, left, row, right, item, depth, tile):
    """Inner products of ``_SIDE`` rows of a flat array from a row on with one panel of items, each item's sums in a lane."""

    def generate(context, builder, signature, arguments):
        lanes, word = ir.VectorType(ir.FloatType(), _LANES), arguments[4].type
        rows, items, products = (context.make_array(signature.args[at])(context, builder, arguments[at]).data for at in (0, 2, 5))
        fused = cgutils.get_or_insert_function(builder.module, ir.FunctionType(lanes, [lanes] * 3), f"llvm.fma.v{_LANES}f32")
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
        nothing = ir.Constant(lanes, ir.Undefined)

        def place(base, index, vector):
            return builder.bitcast(builder.gep(base, [builder.add(index, ir.Constant(word, vector * _LANES))]), lanes.as_pointer())

        begins = [
            builder.gep(rows, [builder.mul(builder.add(arguments[1], ir.Constant(word, side)), arguments[4])]) for side in range(_SIDE)
        ]
        panel = builder.gep(items, [builder.mul(arguments[3], arguments[4])])
        sums = [[cgutils.alloca_once_value(builder, ir.Constant(lanes, [0.0] * _LANES)) for _ in range(_VECTORS)] for _ in begins]
        with cgutils.for_range(builder, arguments[4]) as loop:
            at = builder.mul(loop.index, ir.Constant(word, _WIDTH))
            factors = [builder.load(place(panel, at, vector), align=4) for vector in range(_VECTORS)]
            for begin, mine in zip(begins, sums, strict=True):
                number = builder.load(builder.gep(begin, [loop.index]))
                one = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
                spread = builder.shuffle_vector(one, nothing, everywhere)
                for total, factor in zip(mine, factors, strict=True):
                    builder.store(builder.call(fused, [spread, factor, builder.load(total)]), total)
        for side, mine in enumerate(sums):
            for vector, total in enumerate(mine):
                builder.store(builder.load(total), place(products, ir.Constant(word, side * _WIDTH), vector), align=4)
        return context.get_dummy_value()

    return types.void(left, types.intp, right, types.intp, types.intp, tile), generate


@njit(cache=True, nogil=True)
def _offer_products(
    first: int,
    end: int,
    left: np.ndarray,
    panels: np.ndarray,
    items: int,
    depth: int,
    pointers: np.ndarray,
    seen: np.ndarray,
    ids: np.ndarray,
    values: np.ndarray,
) -> None:
    flat = np.empty(_SIDE * _WIDTH, np.float32)
    tile = flat.reshape(_SIDE, _WIDTH)
    for offset in range(0, items, _WIDTH):
        width = min(_WIDTH, items - offset)
        for row in range(first, end, _SIDE):
            _multiply_tile(left, row, panels, offset, depth, flat)
            for side in range(min(_SIDE, end - row)):
                _offer(tile, side, 0, width, offset, row + side, pointers, seen, ids, values)


def top_items(vectors: np.ndarray, item_vectors: np.ndarray, seen: csr_matrix | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The items whose vectors have the largest inner products, exactly; the products are never kept.

    Args:
        vectors: float32, shape (n, d).
        item_vectors: float32, shape (items, d).
        seen: What is hidden in each row.
        k: How many.

    Returns:
        As ``top_of``.
    """
    (rows, depth), items = vectors.shape, len(item_vectors)
    ids, values = _heaps(rows, k)
    pointers, hidden = _hidden(seen, rows)
    left, right = np.zeros((-(-rows // _SIDE) * _SIDE, depth), np.float32), np.zeros((-(-items // _WIDTH) * _WIDTH, depth), np.float32)
    left[:rows], right[:items] = vectors, item_vectors
    panels = right.reshape(-1, _WIDTH, depth).transpose(0, 2, 1).ravel()

    def pick(first: int, end: int) -> None:
        _offer_products(first, end, left.ravel(), panels, items, depth, pointers, hidden, ids, values)
        _order_rows(first, end, ids, values)

    if k:
        share_rows(pick, rows, _PIECE)
    return ids, values


def top_by_model(
    model: "Model", histories: csr_matrix, k: int, *, hide_seen: bool = True, countries: Sequence[str] | None = None, block: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """The best items for histories by a model.

    Args:
        model: Any kind.
        histories: Shape (n, items).
        k: How many.
        hide_seen: Leave out what a history holds.
        countries: Country of each history.
        block: Histories scored at a time.

    Returns:
        As ``top_of``.
    """
    listeners, _ = shape_of(histories)
    ids, values = _heaps(listeners, k)
    for first in range(0, listeners, block):
        rows = histories[first : first + block]
        homes = None if countries is None else countries[first : first + block]
        best = top_of(model.score(rows, homes), rows if hide_seen else None, k)
        ids[first : first + block], values[first : first + block] = best
    return ids, values


@njit(cache=True, nogil=True)
def _gather(
    first: int,
    end: int,
    of_items: tuple[np.ndarray, np.ndarray, np.ndarray],
    of_listeners: tuple[np.ndarray, np.ndarray, np.ndarray],
    listeners: np.ndarray,
    norms: tuple[np.ndarray, np.ndarray],
    shrink: float,
    has_itself: bool,
    ids: np.ndarray,
    values: np.ndarray,
) -> None:
    """Similarities of items ``first`` to ``end`` with all that share a listener, the highest kept in a heap of each."""
    item_pointers, item_listeners, item_weights = of_items
    pointers, items, weights = of_listeners
    targets, sources = norms
    sums, touched = np.zeros(len(targets)), np.empty(len(targets), np.int32)
    for target in range(first, end):
        count = 0
        for entry in range(item_pointers[target], item_pointers[target + 1]):
            listener = item_listeners[entry]
            weight = item_weights[entry] * listeners[listener]
            for at in range(pointers[listener], pointers[listener + 1]):
                source = items[at]
                if sums[source] == 0:
                    touched[count] = source
                    count += 1
                sums[source] += weight * weights[at]
        for at in range(count):
            source = touched[at]
            value = np.float32(sums[source] / (sources[source] * targets[target] + shrink))
            sums[source] = 0
            worst = values[target, 0]
            if (has_itself or source != target) and (value > worst or (value == worst and source < ids[target, 0])):
                _sink(ids[target], values[target], ids.shape[1], source, value)


def nearest_items(
    matrix: csr_matrix,
    listeners: np.ndarray,
    *,
    targets: np.ndarray,
    sources: np.ndarray,
    shrink: float,
    keep: int,
    has_itself: bool = False,
) -> csr_matrix:
    """The nearest items of each item: ``sum_u(l_u r_ui r_uj) / (s_i t_j + shrink)``, the highest ``keep`` sources i of each target j.

    Args:
        matrix: Weights r above 0, shape (listeners, items), sorted indices.
        listeners: The factor l of each listener, above 0.
        targets: The norm t of each item when it is scored.
        sources: The norm s of each item in a history.
        shrink: Added to the product of the norms.
        keep: At most so many for each.
        has_itself: Whether an item may be its own neighbour.

    Returns:
        float32, shape (items, items), sources in rows and targets in columns, sorted indices.
    """
    _, items = shape_of(matrix)
    by_item = csr_matrix(matrix.T, dtype=np.float32)
    by_item.sort_indices()
    of_items = (by_item.indptr.astype(np.int64), by_item.indices, by_item.data)
    of_listeners = (matrix.indptr.astype(np.int64), matrix.indices, matrix.data.astype(np.float32))
    ids, values = _heaps(items, min(keep, items))
    norms = (targets.astype(np.float64), sources.astype(np.float64))

    def gather(first: int, end: int) -> None:
        _gather(first, end, of_items, of_listeners, listeners.astype(np.float64), norms, float(shrink), has_itself, ids, values)

    share_rows(gather, items, 1024)
    kept = ids >= 0
    columns = np.repeat(np.arange(items, dtype=np.int32), kept.sum(axis=1))
    weights = csr_matrix((values[kept], (ids[kept], columns)), shape=(items, items), dtype=np.float32)
    weights.sort_indices()
    return weights
