"""Silence at both ends of a signal."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLD = -60.0  # dB against full scale
WINDOW = 0.01  # seconds
PORTION = 16  # windows looked at together: most files begin with sound, so little of them is read


def find_silence(samples: "NDArray[np.float32]", rate: int) -> tuple[float, float]:
    """Lengths of the silence at the start and at the end, in milliseconds.

    A window of 10 ms is silent where the standard deviation of every channel lies below -60 dB against full scale; a constant offset is
    therefore silent. What is left after the last whole window belongs to the silence at the end if the window before it does.

    Args:
        samples: Shape (frames, channels), full scale is 1.
        rate: Frames per second.

    Returns:
        Milliseconds at the start and at the end, in steps of 10 ms. A wholly silent signal has its length in both places.
    """
    frames = len(samples)
    window = max(2, round(rate * WINDOW))
    count = frames // window
    first = _first_loud(samples[: count * window], window, count, forwards=True)
    if first is None:
        return 1000.0 * frames / rate, 1000.0 * frames / rate
    last = _first_loud(samples[: count * window], window, count, forwards=False)
    behind = 0 if not last else frames - (count - last) * window
    return 1000.0 * first * window / rate, 1000.0 * behind / rate


def _first_loud(samples: "NDArray[np.float32]", window: int, count: int, *, forwards: bool) -> int | None:
    """Number of silent windows before the first that is not, seen from one end; ``None`` where all are silent."""
    limit = 10 ** (THRESHOLD / 10)
    for start in range(0, count, PORTION):
        stop = min(start + PORTION, count)
        first, end = (start, stop) if forwards else (count - stop, count - start)
        cut = samples[first * window : end * window].reshape(end - first, window, -1).astype(np.float64)
        loud = np.flatnonzero(cut.var(axis=1).max(axis=1) >= limit)
        if len(loud):
            return start + int(loud[0] if forwards else end - first - 1 - loud[-1])
    return None
