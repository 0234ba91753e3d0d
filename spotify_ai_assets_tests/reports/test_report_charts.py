"""Charts by pygal stay within their frame, stretch, tell values without a script, and escape their texts."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spotify_ai_assets.reports.charts import Curve, Layer, draw_columns, draw_curves


def _write(value: float) -> str:
    return f"{value:g}"


def _curves(*curves: Curve, **other: object) -> ElementTree.Element:
    count = len(curves[0].values)
    options = {"label": "x", "tips": [f"tip {place}" for place in range(count)], "ticks": ["A", *[""] * (count - 2), "Z"][:count]}
    return ElementTree.fromstring(draw_curves(list(curves), write=_write, **options | other))  # pyright: ignore[reportArgumentType]


def _marks(chart: ElementTree.Element, style: str) -> list[ElementTree.Element]:
    return [each for each in chart.iter() if style in (each.get("class") or "").split()]


def _box(chart: ElementTree.Element) -> list[float]:
    stage = chart.find("svg")
    assert stage is not None
    return [float(number) for number in stage.get("viewBox", "").split()]


def test_an_area_runs_from_edge_to_edge() -> None:
    chart = _curves(Curve("area", [0.0, 50.0, 100.0]))
    left, above, width, height = _box(chart)

    (line,) = _marks(chart, "line")
    points = [float(number) for number in re.findall(r"[\d.]+", line.get("d", ""))]
    assert points == pytest.approx([left, above + height, left + width / 2, above + height / 2, left + width, above], abs=0.1)
    assert len(_marks(chart, "area")) == 1
    assert [text.text for text in _marks(chart, "tick")] == ["50", "100", "A", "Z"]


def test_each_place_has_a_tooltip_of_its_own_width() -> None:
    chart = _curves(Curve("line", [1.0, 2.0, None, 4.0]))
    left, _above, width, _height = _box(chart)

    touched = _marks(chart, "touch")
    assert [each.findtext("title") for each in touched] == ["tip 0", "tip 1", "tip 2", "tip 3"]
    starts = [float(each.get("x", 0)) for each in touched]
    ends = [start + float(each.get("width", 0)) for start, each in zip(starts, touched, strict=True)]
    assert starts[0] >= left - 0.1
    assert ends[-1] <= left + width + 0.1
    assert starts[1:] == pytest.approx(ends[:-1], abs=0.2)


def test_a_gap_breaks_the_line_and_a_lone_value_is_a_dot() -> None:
    chart = _curves(Curve("line", [1.0, 2.0, None, 4.0, None, None, 3.0]))

    assert [len(re.findall("[ML]", line.get("d", ""))) for line in _marks(chart, "line")] == [2]
    assert len(_marks(chart, "dot")) == 2


def test_a_band_is_one_surface_between_its_edges() -> None:
    chart = _curves(Curve("band", [1.0, 1.0, None, 1.0, 1.0], [3.0, 4.0, None, 4.0, 4.0]))

    assert [len(re.findall(r"[\d.]+ [\d.]+", band.get("d", ""))) for band in _marks(chart, "band")] == [4, 4]


def test_a_mark_stands_from_the_ground_to_the_top() -> None:
    chart = _curves(Curve("line", [1.0, 1.0, 1.0]), Curve("mark", [None, 1.0, None]))
    _left, above, _width, height = _box(chart)

    (mark,) = _marks(chart, "mark")
    assert [float(number) for number in re.findall(r"[\d.]+", mark.get("d", ""))][1::2] == pytest.approx([above + height, above], abs=0.1)


def test_columns_stack_to_their_sum() -> None:
    layers = [Layer("c0", [1.0, 2.0, None], ["a", "b", "c"]), Layer("c1", [1.0, 0.0, 2.0], ["d", "e", "f"])]
    chart = ElementTree.fromstring(draw_columns(layers, label="x", ticks=["A", "", "C"], write=_write, top=2.0))
    _left, above, _width, height = _box(chart)

    columns = [(each.findtext("title"), float(each.get("y", 0)), float(each.get("height", 0))) for each in _marks(chart, "column")]
    assert [title for title, _y, _height in columns] == ["a", "b", "d", "f"]
    assert [size for _title, _y, size in columns] == pytest.approx([height / 2, height, height / 2, height], abs=0.1)
    assert columns[2][1] == pytest.approx(above, abs=0.1)
    assert [text.text for text in _marks(chart, "tick")] == ["1", "2", "A", "C"]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_or_no_values_still_make_a_chart(count: int) -> None:
    texts = ["x"] * count
    curves = ElementTree.fromstring(draw_curves([Curve("area", [None] * count)], label="x", tips=texts, ticks=texts, write=_write))
    columns = ElementTree.fromstring(draw_columns([Layer("c0", [0.0] * count, texts)], label="x", ticks=texts, write=_write))

    assert len(_marks(curves, "ground")) == len(_marks(columns, "ground")) == 1


def test_nothing_of_pygals_script_style_or_date_is_left() -> None:
    text = draw_curves([Curve("area", [1.0, 2.0])], label="x", tips=["a", "b"], ticks=["", ""], write=_write)

    assert not re.search("script|<style|pygal|href|Generated|20[0-9][0-9]-", text)
    assert text == draw_curves([Curve("area", [1.0, 2.0])], label="x", tips=["a", "b"], ticks=["", ""], write=_write)


def test_texts_are_escaped() -> None:
    hostile = '</title></svg><script>alert(1)</script>"&'
    text = draw_columns([Layer("c0", [1.0], [hostile])], label=hostile, ticks=[hostile], write=lambda _value: hostile)

    assert "<script" not in text
    chart = ElementTree.fromstring(text)
    assert chart.get("aria-label") == hostile
    assert [each.findtext("title") for each in _marks(chart, "column")] == [hostile]


@given(st.lists(st.none() | st.floats(0, 1e12), min_size=2, max_size=40))
@example([None, 5e-324])
def test_every_point_lies_within_the_frame(values: list[float | None]) -> None:
    chart = _curves(Curve("line", values))
    left, above, width, height = _box(chart)

    for mark in (*_marks(chart, "line"), *_marks(chart, "dot")):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", mark.get("d", "").replace("h0", ""))]
        assert all(left - 0.1 <= x <= left + width + 0.1 for x in numbers[::2])
        assert all(above - 0.1 <= y <= above + height + 0.1 for y in numbers[1::2])
