"""The search for many patterns at once, compiled; imported inside functions only."""

import numpy as np
from numba import njit

ANCHOR = 6
"""Bytes of a pattern that are looked up; none may be shorter."""
BITS = 18
"""Size of the first filter as a power of two: 32 KiB, which stay in the nearest cache."""

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: Knuth, The Art of Computer Programming 3, 6.4
_SHIFT = np.uint64(64 - BITS)
_BYTE = np.uint64(8)
_TOP = np.uint64(8 * (ANCHOR - 1))
_THREE = np.uint64(3)
_SEVEN = np.uint64(7)


@njit(cache=True, nogil=True)
def _find_anchor(anchors, word):
    low, high = 0, len(anchors)
    while low < high:
        middle = (low + high) // 2
        if anchors[middle] < word:
            low = middle + 1
        else:
            high = middle
    return low if low < len(anchors) and anchors[low] == word else -1


@njit(cache=True, nogil=True)
def _stands_at(data, start, blob, begin, end):
    if start + end - begin > len(data):
        return False
    for index in range(begin + ANCHOR, end):  # noqa: SIM110 - a generator is no loop to the compiler
        if data[start + index - begin] != blob[index]:
            return False
    return True


@njit(cache=True, nogil=True)
def find_patterns(data, begin, end, bitmap, anchors, groups, blob, offsets, positions, found):
    """Find where patterns begin: a bitmap of hashed anchors, then a binary search among anchors, then all bytes.

    Args:
        data: uint8[n], what is searched.
        begin: First place at which a pattern may begin.
        end: Place before which it must begin; it may reach beyond.
        bitmap: uint8[2 ** BITS / 8], a bit for the hash of each anchor.
        anchors: uint64[k], distinct first six bytes of the patterns, sorted.
        groups: int64[k + 1], first pattern of each anchor.
        blob: uint8[], all patterns, those of an anchor together.
        offsets: int64[m + 1], where each pattern begins in ``blob``.
        positions: int64[capacity], filled with the places.
        found: int64[capacity], filled with the patterns; the capacity must exceed the number of patterns of one anchor.

    Returns:
        How many were found, and the place to go on from: ``end``, or earlier where the capacity is used up.
    """
    size = len(data)
    last = min(end, size - ANCHOR + 1)
    count = 0
    if begin >= last:
        return count, end
    word = np.uint64(0)
    for index in range(ANCHOR - 1):
        word |= np.uint64(data[begin + index]) << np.uint64(8 * (index + 1))
    for start in range(begin, last):
        word = (word >> _BYTE) | (np.uint64(data[start + ANCHOR - 1]) << _TOP)
        slot = (word * _MULTIPLIER) >> _SHIFT
        if not (bitmap[slot >> _THREE] >> (slot & _SEVEN)) & 1:
            continue
        group = _find_anchor(anchors, word)
        if group < 0:
            continue
        if count + groups[group + 1] - groups[group] > len(positions):
            return count, start
        for pattern in range(groups[group], groups[group + 1]):
            if _stands_at(data, start, blob, offsets[pattern], offsets[pattern + 1]):
                positions[count] = start
                found[count] = pattern
                count += 1
    return count, end
