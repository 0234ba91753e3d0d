"""Lines and bars stay within their frame and show gaps as gaps."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.reports.drawing import draw_line, round_up, share_widths


def test_a_line_runs_from_corner_to_corner() -> None:
    line = draw_line([0, 50, 100], from_zero=True)

    assert line.path == "M0 100L50 50L100 0"
    assert line.area == "M0 100L0 100L50 50L100 0L100 100Z"
    assert line.last == (100.0, 0.0)
    assert line.ticks == (0.0, 50.0, 100.0)


def test_a_missing_day_breaks_the_line_and_a_lone_day_is_a_dot() -> None:
    line = draw_line([1, None, 1, 1, None], from_zero=True)

    assert line.path == "M0 0h0M50 0L75 0"
    assert line.last is None


def test_a_line_without_values_is_empty() -> None:
    line = draw_line([None, None], from_zero=False)

    assert (line.path, line.area, line.last, line.ticks) == ("", "", None, ())


def test_equal_values_make_a_level_line() -> None:
    assert draw_line([7, 7], from_zero=False).path == "M0 100L100 100"


@pytest.mark.parametrize(("value", "top"), [(0, 1), (1, 1), (3, 4), (77_000, 80_000), (80_001, 100_000), (0.03, 0.04), (5e-324, 1)])
def test_the_top_of_the_scale_is_a_round_number(value: float, top: float) -> None:
    assert round_up(value) == pytest.approx(top)


@given(st.lists(st.none() | st.floats(0, 1e15), max_size=40), st.booleans())
def test_every_point_lies_within_the_frame(values: list[float | None], from_zero: bool) -> None:
    line = draw_line(values, from_zero=from_zero)

    numbers = [float(number) for number in re.findall(r"-?[\d.]+(?:e[+-]?\d+)?", line.path.replace("h0", ""))]
    assert all(-0.01 <= number <= 100.01 for number in numbers)
    assert len(numbers) == 2 * sum(value is not None for value in values)


def test_bars_are_relative_to_the_longest() -> None:
    assert share_widths([3, 1, 0]) == [100.0, 33.33, 0.0]
    assert share_widths([0, 0]) == [0.0, 0.0]
    assert share_widths([]) == []
