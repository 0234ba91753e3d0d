"""The large charts: series in, inline SVG out, drawn by pygal and made fit for a page.

pygal places marks, scales and tooltips. Its script and its style sheet are dropped here: colours come from ``page.css``, so a
chart follows light, dark and print, and a tooltip is a ``<title>`` of the browser's own. The plot stretches with the page while
its texts keep their size. Small lines and bars inside tables do not belong here (``drawing.py``).
"""

import functools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from spotify_ai_assets.reports.drawing import round_up

if TYPE_CHECKING:
    from markupsafe import Markup
    from pygal.graph.graph import Graph

Style = Literal["line", "thin", "area", "accent", "dashed", "band", "wide-band", "mark"]
_WIDTH = 1000
_ABOVE, _BELOW = 20, 26
"""Room for the label of the top grid line, and for the labels below the ground."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A series over evenly spaced positions.

    Attributes:
        style: How it is drawn; a class of ``page.css``.
        values: One value per position; ``None`` leaves a gap. The lower edge of a band.
        upper: The upper edge of a band.
    """

    style: Style
    values: Sequence[float | None]
    upper: Sequence[float | None] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """One part of stacked columns: a class of ``page.css``, its values, and the tooltip of each."""

    style: str
    values: Sequence[float | None]
    tips: Sequence[str]


def draw_curves(
    curves: Sequence[Curve],
    *,
    label: str,
    tips: Sequence[str],
    ticks: Sequence[str],
    write: Callable[[float], str],
    height: int = 170,
    top: float | None = None,
) -> "Markup":
    """Draw lines, areas and bands over one another.

    Args:
        curves: Back to front; a ``mark`` is a vertical line at each position that has a value.
        label: What the chart shows, for those who do not see it.
        tips: The tooltip of each position; it tells all curves.
        ticks: The label below each position; an empty one is left out.
        write: Writes the values of the scale.
        height: Height of the plot in pixels, without labels.
        top: Upper end of the scale; a round number above the largest value unless given.
    """
    known = [value for curve in curves for value in (*curve.values, *curve.upper) if value is not None and curve.style != "mark"]
    top = top or round_up(max(known, default=0))
    shapes = tuple(Curve(curve.style, tuple(curve.values), tuple(curve.upper)) for curve in curves)
    drawn = _draw_curves(shapes, tuple(place for place, text in enumerate(ticks) if text), len(tips), height, top)
    return _fill_in(drawn, label, {f"tip{place}": tip for place, tip in enumerate(tips)}, ticks, write, top)


def draw_columns(
    layers: Sequence[Layer],
    *,
    label: str,
    ticks: Sequence[str],
    write: Callable[[float], str],
    height: int = 170,
    top: float | None = None,
) -> "Markup":
    """Draw columns, the layers stacked from the ground upwards.

    Args:
        layers: The parts of each column.
        label: What the chart shows, for those who do not see it.
        ticks: The label below each column; an empty one is left out.
        write: Writes the values of the scale.
        height: Height of the plot in pixels, without labels.
        top: Upper end of the scale; a round number above the highest column unless given.
    """
    totals = [sum(value or 0 for value in column) for column in zip(*(layer.values for layer in layers), strict=True)]
    top = top or round_up(max(totals, default=0))
    shapes = tuple((layer.style, tuple(layer.values)) for layer in layers)
    drawn = _draw_columns(shapes, tuple(place for place, text in enumerate(ticks) if text), len(ticks), height, top)
    tips = {f"tip{row}.{place}": tip for row, layer in enumerate(layers) for place, tip in enumerate(layer.tips)}
    return _fill_in(drawn, label, tips, ticks, write, top)


# The same drawing serves all languages: pygal sees names of texts, and the texts are put in their places afterwards.
_BEGIN, _END = "\ue000", "\ue001"


def _fill_in(drawn: str, label: str, tips: Mapping[str, str], ticks: Sequence[str], write: Callable[[float], str], top: float) -> "Markup":
    from markupsafe import Markup, escape

    texts = {"label": label, "scale0": write(0), "scale1": write(top / 2), "scale2": write(top), **tips}
    texts |= {f"tick{place}": text for place, text in enumerate(ticks)}
    return Markup(re.sub(f"{_BEGIN}([^{_END}]+){_END}", lambda found: escape(texts[found[1]]), drawn))


def _name(text: str) -> str:
    return f"{_BEGIN}{text}{_END}"


@functools.lru_cache(maxsize=64)
def _draw_curves(curves: tuple[Curve, ...], ticks: tuple[int, ...], count: int, height: int, top: float) -> str:
    chart = _import_pygal().XY(
        **_options(top, height),
        allow_interruptions=True,
        xrange=(0, max(count - 1, 1)),
        x_labels=[{"value": place, "label": _name(f"tick{place}")} for place in ticks],
    )
    styles: list[str] = []
    for curve in curves:
        for style, points in _paths(curve, top):
            chart.add(style, points, show_dots=False)
            styles.append(style)
    for curve in curves:
        if dots := _lone_points(curve):
            chart.add("dot", dots, stroke=False)
            styles.append("dot")
    chart.add("touch", [{"value": (place, 0), "tooltip": _name(f"tip{place}")} for place in range(count)], stroke=False)
    return _page_svg(chart, [*styles, "touch"], height, count)


@functools.lru_cache(maxsize=64)
def _draw_columns(
    layers: tuple[tuple[str, tuple[float | None, ...]], ...], ticks: tuple[int, ...], count: int, height: int, top: float
) -> str:
    shown = [_name(f"tick{place}") if place in ticks else "" for place in range(count)]
    # A label is shown where it is a major one, and labels are told apart by their texts: the ones left out are all empty.
    majors = [text for text in shown if text] or ["none"]
    chart = _import_pygal().StackedBar(**_options(top, height), x_labels=shown, x_labels_major=majors, show_minor_x_labels=False)
    for row, (style, values) in enumerate(layers):
        chart.add(style, [{"value": value, "tooltip": _name(f"tip{row}.{place}")} for place, value in enumerate(values)])
    return _page_svg(chart, [f"column {style}" for style, _values in layers], height)


def _import_pygal() -> Any:
    """pygal without the hook that it leaves in the import system for plugins, which each later import would ask."""
    import pygal

    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != pygal.__name__]
    return pygal


def _options(top: float, height: int) -> dict[str, Any]:
    return {
        "js": [],
        "css": [],
        "no_prefix": True,
        "margin": 0,
        "spacing": 0,
        "width": _WIDTH,
        "height": height,
        "show_legend": False,
        "truncate_label": -1,
        "include_x_axis": True,
        "range": (0, top),
        "y_labels": [0, top / 2, top],
        "value_formatter": lambda value: _name(f"scale{round(2 * value / top)}"),
    }


def _paths(curve: Curve, top: float) -> Iterator[tuple[str, list[tuple[float, float] | None]]]:
    """The outlines that pygal draws for a curve; a surface is a line that comes back to where it began."""
    if curve.style == "mark":
        for place in (place for place, value in enumerate(curve.values) if value is not None):
            yield "mark", [(place, 0.0), (place, top)]
    elif curve.style in ("band", "wide-band", "area"):
        uppers = curve.upper or curve.values
        lowers = curve.values if curve.upper else [None if value is None else 0.0 for value in curve.values]
        for run in _runs(list(zip(lowers, uppers, strict=True))):
            yield curve.style, [*((place, high) for place, _low, high in run), *((place, low) for place, low, _high in reversed(run))]
        if curve.style == "area":
            yield "line", [None if value is None else (place, value) for place, value in enumerate(curve.values)]
    else:
        yield curve.style, [None if value is None else (place, value) for place, value in enumerate(curve.values)]


def _runs(edges: Sequence[tuple[float | None, float | None]]) -> Iterator[list[tuple[float, float, float]]]:
    run: list[tuple[float, float, float]] = []
    for place, (low, high) in enumerate(edges):
        if low is not None and high is not None:
            run.append((place, low, high))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _lone_points(curve: Curve) -> list[tuple[float, float]]:
    """The newest point of a line, and those between two gaps, which a line would not show."""
    if curve.style not in ("line", "area"):
        return []
    around = [None, *curve.values, None]
    is_lone = [before is None and after is None for before, after in zip(around, around[2:], strict=False)]
    last = len(curve.values) - 1
    return [(place, value) for place, value in enumerate(curve.values) if value is not None and (is_lone[place] or place == last)]


def _page_svg(chart: "Graph", styles: Sequence[str], pixels: int, places: int | None = None) -> str:
    """What pygal drew, without its script, style sheet and margins, ready to be stretched.

    Curves have a number of places; columns have none.
    """
    plot, overlay = _layers(chart.render_tree())
    ground = plot.find("rect")
    assert ground is not None
    # pygal keeps a margin of 2 % on each side of what it draws.
    width, height = (float(ground.get(side, 0)) / 1.04 for side in ("width", "height"))
    left, above = 0.02 * width, 0.02 * height
    step = None if places is None else width / max(places - 1, 1)
    figure = Element(
        "svg",
        {
            "class": "plot" if step else "plot columned",
            "role": "img",
            "aria-label": _name("label"),
            "height": str(_ABOVE + pixels + _BELOW),
        },
    )
    size = {"y": str(_ABOVE), "width": "100%", "height": str(pixels)}
    box = {"viewBox": f"{left:g} {above:g} {width:g} {height:g}", "preserveAspectRatio": "none", "overflow": "visible"}
    stage = SubElement(figure, "svg", size | box)
    for guide in plot.iterfind("g[@class='axis y always_show']/g"):
        line, text = guide.find("path"), guide.find("text")
        if line is None or text is None:
            continue
        place = _numbers(line.get("d", ""))[1]
        is_ground = "guide" not in line.get("class", "")
        SubElement(stage, "path", {"class": "ground" if is_ground else "grid", "d": f"M{left:g} {place:g}h{width:g}"})
        if not is_ground:
            y = _ABOVE + pixels * (place - above) / height
            # Over a line there is room for the label above the grid; columns would hide it, so it stands beside them.
            at = {"x": "0", "y": f"{y - 6:.1f}"} if step else {"x": "-8", "y": f"{y + 4:.1f}", "text-anchor": "end"}
            SubElement(figure, "text", {"class": "tick", **at}).text = text.text
    # Where there is no value at all, pygal draws the scale but no series.
    for style, lines, dots in zip(styles, _series(plot), _series(overlay), strict=False):
        stage.extend(_marks(style, lines, dots, step, (left, above, width, height)))
    for text in plot.iterfind("g[@class='axis x']/g/text"):
        place = max((float(text.get("x", 0)) - left) / width, 0.0)
        anchor = "start" if place < 0.001 else "end" if place > 0.999 else "middle"
        at = {"x": f"{100 * place:.2f}%", "y": str(_ABOVE + pixels + 20), "text-anchor": anchor}
        SubElement(figure, "text", {"class": "tick", **at}).text = text.text
    return ElementTree.tostring(figure, encoding="unicode")


def _layers(drawn: Element) -> tuple[Element, Element]:
    found = {each.get("class"): each for each in drawn.iter("g")}
    return found["plot"], found["plot overlay"]


def _series(layer: Element) -> list[Element]:
    return [each for each in layer.iterfind("g") if each.get("class", "").startswith("series")]


def _marks(style: str, lines: Element, dots: Element, step: float | None, stage: tuple[float, float, float, float]) -> Iterator[Element]:
    """The marks of one series, each with its tooltip."""
    for line in lines.iterfind("path"):
        yield Element("path", {"class": style, "d": _shorten(line.get("d", ""))})
    for bar in lines.iterfind("g/g"):
        if (box := bar.find("rect")) is not None and float(box.get("height", 0)):
            sides = {side: _shorten(box.get(side, "0")) for side in ("x", "y", "width", "height")}
            yield _with_title(Element("rect", {"class": style, **sides}), bar)
    for dot in dots.iterfind("g"):
        if (circle := dot.find("circle")) is None:
            continue
        x, y = float(circle.get("cx", 0)), float(circle.get("cy", 0))
        if step and style == "touch":
            first, last = max(x - step / 2, stage[0]), min(x + step / 2, stage[0] + stage[2])
            sides = {"x": f"{first:.1f}", "y": f"{stage[1]:.1f}", "width": f"{last - first:.1f}", "height": f"{stage[3]:.1f}"}
            yield _with_title(Element("rect", {"class": style, **sides}), dot)
        else:
            # A line of no length with round ends: a circle would be stretched.
            yield Element("path", {"class": style, "d": f"M{x:.1f} {y:.1f}h0"})


def _with_title(mark: Element, described: Element) -> Element:
    if (title := described.find("title")) is not None:
        mark.append(title)
    return mark


def _numbers(path: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?[\d.]+", path)]


def _shorten(path: str) -> str:
    return re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), path)
