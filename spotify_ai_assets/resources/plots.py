"""Markdown for the metadata of the Dagster UI: small plots and previews of frames.

Names of tracks and artists come from outside; here they become text that neither Markdown nor HTML can be made of. Pages for
readers do not belong here (``reports``).
"""

import base64
import functools
import io
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Literal, NamedTuple

import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg

PLOT_BYTES = 12_288
"""Largest PNG of a plot; its Markdown is a third longer."""

WIDTH_PX, HEIGHT_PX, COLOURS = 480, 200, 64
CELL_LENGTH = 60
_DPI = 100
_INK, _QUIET, _ACCENT = "#1b1a17", "#8a857b", "#14694a"
# Everything but letters, digits and a few harmless signs becomes a numeric character reference: Markdown reads those as text.
_ACTIVE = re.compile(r"[^\w ,.%/–−…\u2060-]|_|^[+-]")
# The UI makes links of bare addresses even then; a word joiner inside keeps them text.
_ADDRESS = re.compile(r":(?=//)|www(?=\.)|@", re.IGNORECASE)
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


class Plot(NamedTuple):
    """What ``plot_markdown`` draws: its arguments."""

    title: str
    kind: Literal["line", "bar"]
    x: Sequence[object]
    y: Sequence[float | None]


def plot_markdown(title: str, kind: Literal["line", "bar"], x: Sequence[object], y: Sequence[float | None]) -> str:
    """Draw a small plot and embed it in Markdown.

    Args:
        title: What is plotted, with its unit; also the text for those who cannot see it.
        kind: ``line`` over days or numbers, or horizontal ``bar``s with names, the first on top (at most 8 are drawn).
        x: Dates, times or numbers of a line in ascending order; names of bars.
        y: Finite values, as many as ``x``; anything else is a gap.

    Returns:
        ``![title](data:image/png;base64,...)`` with a picture of 480 x 200 px and at most ``PLOT_BYTES`` bytes.

    Raises:
        ValueError: ``x`` and ``y`` differ in length.
    """
    if len(x) != len(y):
        raise ValueError("a plot needs as many values as positions")
    values = [math.nan if value is None or not math.isfinite(value) else float(value) for value in y]

    def draw(axes: "Axes") -> None:
        _draw_line(axes, x, values) if kind == "line" else _draw_bars(axes, x[:8], values[:8])

    return draw_markdown(title, draw, left=0.1 if kind == "line" else 0.34)


def draw_markdown(title: str, draw: Callable[["Axes"], None], *, left: float = 0.1) -> str:
    """Draw anything into the frame of a small plot and embed it in Markdown.

    Args:
        title: What is drawn, with its unit; also the text for those who cannot see it.
        draw: Draws into the axes.
        left: Where the axes begin, as a share of the width.

    Returns:
        As ``plot_markdown``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_PX / _DPI, HEIGHT_PX / _DPI), dpi=_DPI)
    # Fixed margins, wide enough for the longest name: a layout that is computed takes as long as the rest of the drawing.
    axes = figure.add_axes((left, 0.13, 0.97 - left, 0.74))
    axes.set_title(drawable(title), loc="left", fontsize=8, color=_INK, parse_math=False)
    draw(axes)
    axes.tick_params(labelsize=7, colors=_QUIET, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_QUIET)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return f"![{escape_markdown(title)}](data:image/png;base64,{base64.b64encode(_png(canvas)).decode()})"


def preview_markdown(frame: pl.DataFrame, columns: Sequence[str], rows: int = 5) -> str:
    """A small Markdown table of a frame's first rows.

    Args:
        frame: Any frame.
        columns: The columns to show; give only a contract's ``public_columns``.
        rows: How many rows at most.

    Returns:
        The table, each cell cut to ``CELL_LENGTH`` characters and inert, numbers to the right.
    """
    shown = frame.select(columns).head(rows)
    lines = [
        [escape_markdown(name) for name in shown.columns],
        ["---:" if dtype.is_numeric() else "---" for dtype in shown.dtypes],
        *([escape_markdown("" if value is None else str(value)) for value in row] for row in shown.iter_rows()),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escape_markdown(text: str, length: int = CELL_LENGTH) -> str:
    """Text that Markdown shows as it is: no HTML, link, image, emphasis, code, cell border or line break comes of it.

    Invisible characters, those that turn the direction of text among them, are dropped; longer text is cut.
    """
    visible = "".join(
        " " if char in "\r\n\t" else char for char in text[: 4 * length] if char in "\r\n\t" or unicodedata.category(char) not in _INVISIBLE
    )
    cut = visible if len(visible) <= length else visible[: length - 1] + "…"
    return _ACTIVE.sub(lambda found: f"&#{ord(found[0])};", _ADDRESS.sub("\\g<0>\u2060", cut))


def _draw_line(axes: "Axes", x: Sequence[object], values: list[float]) -> None:
    # Stubs of matplotlib know no sequence of dates or strings.
    axes.plot(x, values, color=_ACCENT, linewidth=1.4, solid_capstyle="round", marker="o" if len(values) == 1 else None, markersize=3)  # pyright: ignore[reportArgumentType]
    axes.grid(axis="y", color="#e3dfd6", linewidth=0.6)
    axes.set_ylim(bottom=min([0.0, *(value for value in values if not math.isnan(value))]))
    days = [day for day in x if isinstance(day, date)]
    if days:
        # matplotlib's own choice of dates warns on a single one; the newest day always has its label.
        chosen = days[:: -max(1, -(-len(days) // 5))]
        # Ticks may be dates, of which the stubs know nothing.
        axes.set_xticks(chosen, [f"{day:%Y-%m-%d}" for day in chosen])  # pyright: ignore[reportArgumentType]


def _draw_bars(axes: "Axes", x: Sequence[object], values: list[float]) -> None:
    places = range(len(values))
    axes.barh(places, values, color=_ACCENT, height=0.6)
    axes.set_yticks(places, [drawable(str(name), 28) for name in x], parse_math=False)
    axes.invert_yaxis()


def drawable(text: str, length: int = 70) -> str:
    """Text in characters that matplotlib's own font has, so that none is missing wherever it is drawn."""
    cut = text if len(text) <= length else text[: length - 1] + "…"
    return "".join(char if ord(char) in _glyphs() and unicodedata.category(char) not in _INVISIBLE else "·" for char in cut)


@functools.cache
def _glyphs() -> frozenset[int]:
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf").get_charmap())


def _png(canvas: "FigureCanvasAgg") -> bytes:
    from PIL import Image

    size = canvas.get_width_height()
    picture = Image.frombytes("RGBA", size, canvas.buffer_rgba().tobytes()).convert("RGB")
    buffer = io.BytesIO()
    picture.quantize(COLOURS).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
