"""Danceability by detrended fluctuation analysis.

S. Streich and P. Herrera, "Detrended Fluctuation Analysis of Music Signals: Danceability Estimation and further Semantic
Characterization", AES 118th Convention, Barcelona, 2005. The level of a dance track returns with its beat: what accumulates over longer
times grows slowly, so the exponent of its fluctuation is small; that of a track without beat is near 1.5.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME = 0.01  # seconds
SHORTEST, LONGEST, RATIO = 0.31, 8.8, 1.1  # seconds, seconds and step between segment lengths, as in the paper
LARGEST = 3.0  # of the reciprocal exponent; Essentia's documentation of the same measure gives 0 to about 3 as its range
HOPS = 50  # places of a segment within its own length


def measure_danceability(mono: "NDArray[np.float32]", rate: int = 22_050) -> float | None:
    """How regularly the level of a signal moves, from 0 to 1.

    The standard deviations of frames of 10 ms are summed up; segments of 310 ms to 8.8 s of that sum, a tenth longer each time, lose
    their straight line; ``F`` is the root mean square of what is left. The exponent is the slope of ``log F`` over the logarithm of the
    length plus three frames, averaged over all steps of length. The answer is its reciprocal over 3, cut at 1.

    Args:
        mono: Shape (n,).
        rate: Samples per second.

    Returns:
        0 to 1, larger where dancing is easier; ``None`` where fewer than two lengths fit into the signal or nothing in it moves.
    """
    levels = frame_levels(mono, rate)
    lengths = segment_lengths(len(levels))
    if len(lengths) < 2:
        return None
    fluctuation = _fluctuate(levels, lengths)
    if fluctuation.min() <= 1e-9 * max(1e-9, float(levels.max())):
        return None
    slopes = np.diff(np.log(fluctuation)) / np.diff(np.log(lengths + 3.0))
    exponent = float(slopes.mean())
    return 1.0 if exponent <= 1 / LARGEST else 1 / (LARGEST * exponent)


def frame_levels(mono: "NDArray[np.float32]", rate: int) -> "NDArray[np.float64]":
    """Standard deviations of frames of 10 ms, shape (frames,); a last frame that is not whole is left out."""
    count = int(len(mono) / (rate * FRAME))
    starts = np.rint(np.arange(count + 1) * (rate * FRAME)).astype(np.intp)
    if count < 1 or starts[1] < 2:
        return np.zeros(0)
    used = mono[: starts[-1]]
    sizes = np.diff(starts)
    means = np.add.reduceat(used, starts[:-1]) / sizes
    squares = np.add.reduceat(used * used, starts[:-1]) / sizes
    return np.sqrt(np.clip(squares.astype(np.float64) - means.astype(np.float64) ** 2, 0, None))


def segment_lengths(frames: int) -> "NDArray[np.intp]":
    """Lengths of segments in frames: each a tenth longer than the one before, none longer than the signal."""
    steps = int(np.log(LONGEST / SHORTEST) / np.log(RATIO)) + 1
    lengths = (SHORTEST / FRAME * RATIO ** np.arange(steps)).astype(np.intp)
    return lengths[lengths <= frames]


def _fluctuate(levels: "NDArray[np.float64]", lengths: "NDArray[np.intp]") -> "NDArray[np.float64]":
    """Root mean square of what a straight line leaves of the segments of the summed-up levels, for each length.

    The residual of a regression is known from the sums of y, of y squared and of x times y, and those of every segment from running sums.
    """
    walk = np.cumsum(levels - levels.mean())
    sums = np.zeros((3, len(walk) + 1))
    np.cumsum([walk, np.arange(len(walk)) * walk, walk * walk], axis=1, out=sums[:, 1:])
    return np.array([_leave(sums, int(length)) for length in lengths])


def _leave(sums: "NDArray[np.float64]", length: int) -> float:
    starts = np.arange(0, sums.shape[1] - length, max(1, length // HOPS))
    sum_y, sum_xy, sum_yy = sums[:, starts + length] - sums[:, starts]
    sum_xy -= (starts + (length - 1) / 2) * sum_y
    spread = length * (length * length - 1) / 12
    residual = sum_yy - sum_y * sum_y / length - sum_xy * sum_xy / spread
    return float(np.sqrt(np.clip(residual, 0, None).mean() / length))
