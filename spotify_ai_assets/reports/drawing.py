"""Geometry of the charts: series of numbers in, SVG coordinates out. Markup and words do not belong here (``templates/``).

Coordinates run from 0 to 100 on both axes, y downwards; the templates stretch them to the width of the page.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """A series as a line.

    Attributes:
        path: The line as SVG path data, broken where values are missing.
        area: The surface between line and ground as SVG path data.
        last: The newest point, if it has a value.
        ticks: Values of the grid lines, from the ground upwards, evenly spaced.
    """

    path: str
    area: str
    last: tuple[float, float] | None
    ticks: tuple[float, ...]


def draw_line(values: Sequence[float | None], *, from_zero: bool) -> Line:
    """Draw a series over evenly spaced days.

    Args:
        values: One value per day, oldest first; ``None`` leaves a gap.
        from_zero: Whether the ground is zero and the top a round number, or the smallest and the largest value.
    """
    known = [value for value in values if value is not None]
    if not known:
        return Line("", "", None, ())
    low, high = (0.0, round_up(max(known))) if from_zero else (min(known), max(known))
    height = (high - low) or 1.0
    step = 100 / max(len(values) - 1, 1)
    points = [
        None if value is None else (round(index * step, 2), round(100 - 100 * (value - low) / height, 2))
        for index, value in enumerate(values)
    ]
    runs = _runs(points)
    return Line(
        # A day between two gaps is a line of no length, which round line ends show as a dot.
        path="".join("M" + "L".join(f"{x:g} {y:g}" for x, y in run) + "h0" * (len(run) == 1) for run in runs),
        area="".join(f"M{run[0][0]:g} 100L" + "L".join(f"{x:g} {y:g}" for x, y in run) + f"L{run[-1][0]:g} 100Z" for run in runs),
        last=points[-1],
        ticks=(low, (low + high) / 2, high),
    )


def _runs(points: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is not None:
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def round_up(value: float) -> float:
    """The next number whose half is easy to read as well: 1, 2, 4, 6 or 8 times a power of ten; 1 for nothing.

    A number too small for a power of ten of its own is nothing.
    """
    if value < sys.float_info.min:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in (1, 2, 4, 6, 8) if value <= step * power), 10 * power)


def share_widths(values: Sequence[float]) -> list[float]:
    """Lengths of bars in per cent of the longest, with two decimals."""
    longest = max(values, default=0) or 1
    return [round(100 * value / longest, 2) for value in values]
