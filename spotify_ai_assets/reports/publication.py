"""Figures of the lake become pages in the folder of reports.

How a page looks is in ``pages.py``; which figures it shows in ``daily_listening.py``.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from spotify_ai_assets.reports.contracts import DAILY_LISTENING, TREND_DAYS
from spotify_ai_assets.reports.pages import Provenance, Quality, render_index, render_page, write_pages
from spotify_ai_assets.resources.lake import Lake, State
from spotify_ai_assets.settings import LANGUAGES, Settings

_SOURCES = list(dict.fromkeys([reads.key for reads in DAILY_LISTENING.reads]))


def publish_days(lake: Lake, settings: Settings, made: Iterable[date], all_days: Iterable[date]) -> None:
    """Write the pages of days whose figures were made, and of those that have none yet.

    Args:
        lake: Holds the figures.
        settings: Where pages lie and how the UI is reached.
        made: Days whose figures were made just now.
        all_days: All days of the run.
    """
    folder = settings.reports / "daily_listening"
    states = {key: lake.states(key) for key in _SOURCES}
    days = set(made) | {day for day in all_days if not _page(folder, day).exists()}
    days = sorted(day for day in days if day.isoformat() in states[DAILY_LISTENING.key])
    if not days:
        return
    figures = lake.scan(DAILY_LISTENING.key, first=days[0] - timedelta(days=TREND_DAYS), last=days[-1]).collect()
    imported = lake.state("listening/imports", None)
    imports, rejected = lake.scan("listening/imports").collect(), lake.scan("listening/rejected").collect()
    for day in days:
        trend = figures.filter(pl.col("day").is_between(day - timedelta(days=TREND_DAYS - 1), day))
        provenance = {key: _provenance(key, day, states[key].get(day.isoformat()), settings) for key in _SOURCES}
        provenance["listening/imports"] = _provenance("listening/imports", None, imported, settings)
        found = {key: each for key, each in provenance.items() if each}
        quality = _quality(imports, rejected, day)
        write_pages(folder, day, {language: render_page(trend, trend, found, language, day, quality) for language in LANGUAGES})
    everything = lake.scan(DAILY_LISTENING.key).filter(pl.col("section") == "headline").collect()
    write_pages(folder, "index", {language: render_index(everything, language) for language in LANGUAGES})


def _page(folder: Path, day: date) -> Path:
    return folder / LANGUAGES[-1] / f"{day}.html"


def _provenance(key: str, day: date | None, state: State | None, settings: Settings) -> Provenance | None:
    if state is None:
        return None
    run = state.origin.run_id
    url = f"{settings.ui_url}/runs/{run}" if run else None
    return Provenance(key, day.isoformat() if day else None, run, state.recipe.code_version, state.digest, url)


def _quality(imports: pl.DataFrame, rejected: pl.DataFrame, day: date) -> Quality | None:
    """Counts of the files that hold listens of a day."""
    files = imports.filter(pl.col("first_day") <= day, pl.col("last_day") >= day)
    if files.is_empty():
        return None
    rules = rejected.join(files, on="file_sha256", how="semi").group_by("rule").len("rows").sort("rule")
    return Quality(
        files=files.height,
        rows=int(files["rows"].sum()),
        stored=int(files["stored"].sum()),
        duplicate=int(files["duplicate"].sum()),
        rejected=dict(rules.iter_rows()),
    )
