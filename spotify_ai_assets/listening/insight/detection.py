"""The online detector of unusual rows in a series: one for all series, with constants that no series changes.

A row is novel as far as the nearest past stretch of the series is from the stretch that ends with it: of one row, which sees new
values, and of ``LONG`` rows, which sees new shapes. How unusual a novelty is, only the series itself can tell: it is ranked among
the past ones (a conformal p-value, after Burnaev and Ishimtsev, arXiv 1608.04585). Both ranks are averaged as logarithms and
ranked again, and the score of a rank falls with it and rises with the length of the past, slower than a p-value does: the longer
a series is watched, the rarer are its alarms. Novelties are smoothed, as a short-term average of errors is in Ahmad et al.
(Neurocomputing 262, 2017).

What series there are and what an alarm means belongs to ``anomalies``.
"""

from collections.abc import Iterable

import numpy as np

LONG = 32
"""Rows of the long stretch."""
SMOOTHING = 0.2
"""Weight of the newest novelty in the smoothed one."""
GROWTH = 0.75
"""Exponent of the length of the past; with 1 the score would be 1 less the p-value."""
ALARM = 0.86
"""Scores from here on are alarms."""
MEMORY = 16_384
"""Past rows that are remembered at least; twice as many at most."""


class Detector:
    """Scores the rows of one series as they come; the score of a row hangs on it and on rows before it only.

    Args:
        rest: Number of rows after an alarm in which there is no other: their score is 0.
    """

    def __init__(self, rest: int = 0) -> None:
        self._rest = rest
        self._until = 0
        self._row = 0
        self._short = _Novelties(1)
        self._long = _Novelties(LONG)
        self._distances = _Distances()
        self._surprises = _Ranked()

    def update(self, values: Iterable[float]) -> np.ndarray:
        """Score the next rows.

        Args:
            values: Finite numbers.

        Returns:
            Scores from 0 to 1, one for each row. However the rows are cut into calls, the scores are the same.
        """
        return np.array([self._score(float(value)) for value in values])

    def _score(self, value: float) -> float:
        nearest = self._distances.of_next(value)
        ranks = [p for p in (self._short.rank(nearest[0]), self._long.rank(nearest[1])) if p is not None]
        row, self._row = self._row, self._row + 1
        if not ranks:
            return 0.0
        place, rows = self._surprises.place(-float(np.mean(np.log(ranks))))
        score = max(0.0, 1.0 - place / rows**GROWTH)
        if row < self._until:
            return 0.0
        if score >= ALARM:
            self._until = row + 1 + self._rest
        return score


class _Ranked:
    """Values of the past, among which the next one has a place."""

    def __init__(self) -> None:
        self._past = np.empty(1024)
        self._size = 0

    def place(self, value: float) -> tuple[int, int]:
        """The place of a value, 1 where it is larger than all before it, and how many there are with it; it is remembered."""
        if self._size == len(self._past):
            if self._size >= 2 * MEMORY:
                self._past[:MEMORY] = self._past[-MEMORY:]
                self._size = MEMORY
            else:
                self._past = np.concatenate([self._past, np.empty_like(self._past)])
        place = int(np.count_nonzero(self._past[: self._size] >= value)) + 1
        self._past[self._size] = value
        self._size += 1
        return place, self._size


class _Novelties:
    """Smoothed novelties of stretches of one length and how rare they are."""

    def __init__(self, length: int) -> None:
        self._before_first = 2 * length - 1
        self._smoothed: float | None = None
        self._ranked = _Ranked()

    def rank(self, nearest: float | None) -> float | None:
        """The share of novelties so far that are as large as this one; None before there is a past."""
        if nearest is None:
            return None
        novelty = float(np.sqrt(nearest))
        self._smoothed = novelty if self._smoothed is None else self._smoothed + SMOOTHING * (novelty - self._smoothed)
        place, rows = self._ranked.place(self._smoothed)
        return place / rows


class _Distances:
    """Squared distances from the newest stretch to each one before it, of one row and of ``LONG`` rows.

    A stretch of 2 h rows is two of h rows, so a distance is the sum of two: that of the stretches that end now, and that of those
    that ended h rows ago. Sums of squares only: equal stretches are at distance 0 exactly.
    """

    def __init__(self) -> None:
        self._size = 0
        self._values = np.empty(1024)
        # For each length h < LONG the distances of the last h rows to all rows; row t lies at t % h.
        self._rows = {h: np.zeros((h, 1024)) for h in _halves()}

    def of_next(self, value: float) -> tuple[float | None, float | None]:
        """Take the next value; the distances to the nearest stretch that ended before the newest began, None without one."""
        self._make_room()
        now = self._size
        self._values[now] = value
        self._size += 1
        distance = np.square(self._values[:now] - value)
        nearest = float(distance.min()) if now else None
        for h, rows in self._rows.items():
            ring = rows[now % h]
            longer = distance.copy()
            longer[h:] += ring[: max(now - h, 0)]
            # Where there is no stretch of 2 h rows, what stands here is never read: see the bounds below.
            ring[:now] = distance
            distance = longer
        return nearest, float(distance[LONG - 1 : now - LONG + 1].min()) if now >= 2 * LONG - 1 else None

    def _make_room(self) -> None:
        if self._size < len(self._values):
            return
        if self._size >= 2 * MEMORY:
            # All row numbers move by a multiple of LONG, so that each ring keeps its order.
            self._values[:MEMORY] = self._values[-MEMORY:]
            for rows in self._rows.values():
                rows[:, :MEMORY] = rows[:, -MEMORY:]
            self._size = MEMORY
        else:
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
            self._rows = {h: np.concatenate([rows, np.zeros_like(rows)], axis=1) for h, rows in self._rows.items()}


def _halves() -> list[int]:
    return [1 << power for power in range(LONG.bit_length() - 1)]
