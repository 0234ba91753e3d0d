"""The tidy form of all reports: one row per number, and the ways into and out of it.

Which numbers there are is computed in the module of each report; which measures a section has is in ``contracts.py``.
"""

from collections.abc import Iterable
from datetime import date
from typing import Any

import polars as pl

from spotify_ai_assets.contracts import DAY, Table
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.reports.contracts import SECTIONS

Frame = pl.DataFrame | pl.LazyFrame
ALL = "all"
_INDEX = ("section", "scope", "position", "item", "label", "detail")


def assemble(table: Table, day: date, sections: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Put the sections of a day together, as rows of the table in the order of its key."""
    return pl.concat(sections).with_columns(pl.lit(day).alias(DAY)).select(*table.schema).sort(table.primary_key)


def list_figures(table: Table, section: str, frame: pl.DataFrame) -> pl.DataFrame:
    """One row per measure of a section, of a frame with one row per item.

    Args:
        table: The table of figures.
        section: One of its sections.
        frame: A column per measure, ``position``, ``item`` and ``label``; ``scope`` and ``detail`` where there is more than one.
    """
    measures = SECTIONS[table.key][section]
    only = {"section": pl.lit(section), "scope": pl.lit(GLOBAL), "detail": pl.lit(None, pl.String)}
    return (
        frame.with_columns(*(value.alias(name) for name, value in only.items() if name not in frame.columns))
        .with_columns(pl.col("position").cast(pl.Int64), pl.col(measures).cast(pl.Float64))
        .unpivot(measures, index=_INDEX, variable_name="measure", value_name="value")
        .cast({"detail": pl.String})
    )


def head_figures(table: Table, section: str, **values: Any) -> pl.DataFrame:
    """The rows of a section that has one item only: a value per measure."""
    found = pl.DataFrame({"item": [ALL], "label": [ALL], "position": [1], **{name: [value] for name, value in values.items()}})
    return list_figures(table, section, found)


def number(frame: pl.DataFrame, per: str | None = None) -> pl.DataFrame:
    """The positions 1, 2, 3 … in the order of the rows, within each value of ``per``."""
    place = pl.int_range(1, pl.len() + 1)
    return frame.with_columns((place.over(per) if per else place).alias("position"))


def headlines(figures: pl.DataFrame, section: str = "headline") -> dict[tuple[date, str], float | None]:
    """The values of the section with the large numbers, by day and measure."""
    rows = figures.filter(pl.col("section") == section).select(DAY, "measure", "value").iter_rows()
    return {(day, measure): value for day, measure, value in rows}


def lists(figures: pl.DataFrame, section: str) -> dict[str, list[dict[str, Any]]]:
    """The lists of a section by scope, each item with its measures, in the order of their positions."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for row in figures.filter(pl.col("section") == section).sort("scope", "position").iter_rows(named=True):
        item = found.setdefault(row["scope"], {}).setdefault(
            row["position"], {name: row[name] for name in ("position", "item", "label", "detail")}
        )
        item[row["measure"]] = row["value"]
    return {scope: list(items.values()) for scope, items in found.items()}
