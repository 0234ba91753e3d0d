"""The figures of a year in review: of everybody for the page, or of one listener for a page that is only theirs.

Layout and wording do not belong here (``pages/``).
"""

from datetime import date

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.reports.contracts import YEAR_IN_REVIEW
from spotify_ai_assets.reports.figures import Frame, assemble, list_figures

LENGTHS = {"total": None, "months": None, "weekdays": None, "tracks": 20, "artists": 20, "genres": 10}
"""How long the lists are; what has no length is told in full."""
_HOUR_MS = 3_600_000


def summarise_year(rows: Frame, day: date) -> pl.DataFrame:
    """Compute every number of a year's page.

    Args:
        rows: ``listening/year_in_review`` of one listener, or of all and then only those of the globe count.
        day: The last day of the month up to which the year is reviewed, or of another range.

    Returns:
        Rows of ``reports/year_in_review``, in the order of its key; no listener's id is among them.
    """
    found = rows.lazy().filter(pl.col(DAY) == day).collect()
    return tell_year(found.filter(pl.col("listener_id") == GLOBAL), day)


def tell_year(rows: pl.DataFrame, day: date) -> pl.DataFrame:
    """The same of rows that are all about one listener, or all about everybody."""
    counted = rows.with_columns(
        played_hours=pl.col("played_ms") / _HOUR_MS,
        genuine_hours=(pl.col("played_ms") - pl.col("suspicious_played_ms")) / _HOUR_MS,
        genuine_plays=pl.col("plays") - pl.col("suspicious_plays"),
        genuine_streams=pl.col("streams") - pl.col("suspicious_streams"),
    ).drop("section", DAY, "listener_id", strict=False)
    sections = [
        list_figures(YEAR_IN_REVIEW, name, counted.filter(rows["section"] == name).sort("position").head(length or counted.height))
        for name, length in LENGTHS.items()
    ]
    return assemble(YEAR_IN_REVIEW, day, sections)
