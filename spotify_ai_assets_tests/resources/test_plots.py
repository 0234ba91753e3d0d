"""Plots stay small whatever they show; names in previews stay names."""

import base64
import io
import math
import re
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spotify_ai_assets.resources.plots import CELL_LENGTH, COLOURS, PLOT_BYTES, escape_markdown, plot_markdown, preview_markdown

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "](javascript:alert(1))",
    "![x](https://example.org/pixel.png)",
    "a | b\n| c |",
    "`code` **bold** _it_ ~~gone~~",
    "=HYPERLINK(1)",
    "\u202egnp.exe",
    "nul\x00name",
    "$\\frac{",
    "# heading",
    "1. list",
    "&lt;b&gt;",
]


def _picture(markdown: str) -> tuple[bytes, Image.Image]:
    found = re.fullmatch(r"!\[[^\]\n]*\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert found
    raw = base64.b64decode(found[1])
    return raw, Image.open(io.BytesIO(raw))


def test_a_busy_line_is_a_small_picture() -> None:
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(1000)]
    raw, picture = _picture(plot_markdown("Plays", "line", days, [1000 * math.sin(number) for number in range(1000)]))

    assert picture.size == (480, 200)
    assert len(picture.getcolors() or []) <= COLOURS
    assert 1000 < len(raw) <= PLOT_BYTES


def test_the_same_values_give_the_same_picture() -> None:
    assert plot_markdown("Plays", "line", [1, 2], [3.0, 4.0]) == plot_markdown("Plays", "line", [1, 2], [3.0, 4.0])
    assert plot_markdown("Plays", "line", [1, 2], [3.0, 4.0]) != plot_markdown("Plays", "line", [1, 2], [4.0, 3.0])


@pytest.mark.parametrize(
    ("x", "y"),
    [([], []), ([date(2026, 1, 1)], [4.0]), ([1, 2, 3], [None, math.nan, math.inf]), ([date(2026, 1, 1), date(2026, 1, 2)], [-1.0, None])],
)
@pytest.mark.parametrize("kind", ["line", "bar"])
def test_gaps_and_single_values_are_drawn_without_a_warning(kind: str, x: list[object], y: list[float | None]) -> None:
    raw, _drawn = _picture(plot_markdown("Plays", kind, x, y))  # pyright: ignore[reportArgumentType]

    assert len(raw) <= PLOT_BYTES


@pytest.mark.parametrize("name", [*HOSTILE, "日本語", "🎧" * 50])
def test_a_hostile_name_is_drawn_as_text(name: str) -> None:
    raw, _drawn = _picture(plot_markdown(name, "bar", [name] * 8, [1.0] * 8))

    assert len(raw) <= PLOT_BYTES


def test_positions_without_values_are_refused() -> None:
    with pytest.raises(ValueError, match="as many values"):
        plot_markdown("Plays", "line", [1, 2], [1.0])


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_keeps_to_its_cell(name: str) -> None:
    table = preview_markdown(pl.DataFrame({"name": [name], "plays": [3]}), ["name", "plays"])

    header, ruler, row = table.split("\n")
    assert (header, ruler) == ("| name | plays |", "| --- | ---: |")
    assert row.count("|") == 3
    assert row.endswith(" | 3 |")
    assert not set(row) & set("<>[]()`*_~$\\!=\u202e\x00")


def test_a_bare_address_does_not_become_a_link() -> None:
    assert not re.search(
        r"https?://|www\.|@\w", _read(escape_markdown("see https://example.org WWW.example.org or me@example.org")), re.IGNORECASE
    )


def test_a_preview_shows_the_asked_columns_and_rows_only() -> None:
    frame = pl.DataFrame({"listener_id": ["f" * 32] * 9, "plays": range(9), "rate": [None, *[0.5] * 8]})

    table = preview_markdown(frame, ["plays", "rate"], rows=3)

    assert table == "| plays | rate |\n| ---: | ---: |\n| 0 |  |\n| 1 | 0.5 |\n| 2 | 0.5 |"


@given(st.text(max_size=200))
def test_every_text_is_inert_and_still_readable(text: str) -> None:
    escaped = escape_markdown(text)

    assert not set(escaped) & set("<>[]()`*_~$\\|!=\n\r\x00\u202e")
    assert not re.sub(r"&#\d+;", "", escaped).count("&")
    assert len(_read(escaped).replace("\u2060", "")) <= CELL_LENGTH


def _read(markdown: str) -> str:
    return re.sub(r"&#(\d+);", lambda found: chr(int(found[1])), markdown)
