"""Figures of the lake become pages and files in the folder of reports.

How a page looks is in ``pages/``; which figures it shows in the module of each report. Below the folder of reports lie::

    <language>/index.html                 all reports
    <report>/<language>/index.html        all days of a report
    <report>/<language>/<day>.html        the page of a day
    <report>/<day>.json, <day>.csv        its figures
    <report>/schema.json                  what the JSON documents look like

Nothing there is about one person; a listener's own year is written where its reader says (``write_review``).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import polars as pl

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.reports.contracts import ANOMALIES, COHORTS, DAILY_LISTENING, TABLES, WEEKLY_TRENDS, YEAR_IN_REVIEW
from spotify_ai_assets.reports.documents import schema_path, write_csv, write_json
from spotify_ai_assets.reports.files import write_file
from spotify_ai_assets.reports.pages.anomalies import render_anomalies
from spotify_ai_assets.reports.pages.cohorts import render_cohorts
from spotify_ai_assets.reports.pages.daily_listening import render_day
from spotify_ai_assets.reports.pages.frame import Page, Provenance, Quality
from spotify_ai_assets.reports.pages.index import render_home, render_index
from spotify_ai_assets.reports.pages.weekly_trends import render_week
from spotify_ai_assets.reports.pages.year_in_review import render_review, render_year
from spotify_ai_assets.resources.lake import Lake, State
from spotify_ai_assets.settings import LANGUAGES, Settings

_IMPORTS = "listening/imports"


@dataclass(frozen=True, slots=True)
class Report:
    """A report as it is published.

    Attributes:
        table: Its figures.
        render: Lays out a page in a language.
        days_before: How far back the trends and changes of a page go.
        has_quality: Whether a page tells what intake found on its day.
    """

    table: Table
    render: Callable[[Page, str], str]
    days_before: int
    has_quality: bool = False

    @property
    def name(self) -> str:
        """Its folder."""
        return self.table.key.partition("/")[2]


def _own_days(table: Table) -> int:
    return max((-(reads.first or 0) for reads in table.reads if reads.key == table.key), default=0)


DAILY_REPORT = Report(DAILY_LISTENING, render_day, _own_days(DAILY_LISTENING), has_quality=True)
WEEKLY_REPORT = Report(WEEKLY_TRENDS, render_week, _own_days(WEEKLY_TRENDS))
ANOMALY_REPORT = Report(ANOMALIES, render_anomalies, _own_days(ANOMALIES))
COHORT_REPORT = Report(COHORTS, render_cohorts, _own_days(COHORTS))
YEAR_REPORT = Report(YEAR_IN_REVIEW, render_review, _own_days(YEAR_IN_REVIEW))
REPORTS = {report.table.key: report for report in (DAILY_REPORT, WEEKLY_REPORT, ANOMALY_REPORT, COHORT_REPORT, YEAR_REPORT)}


def publish_days(lake: Lake, settings: Settings, made: Iterable[date], all_days: Iterable[date], report: Report = DAILY_REPORT) -> None:
    """Write the pages and files of days whose figures were made, and of those that have none yet.

    Args:
        lake: Holds the figures.
        settings: Where pages lie and how the UI is reached.
        made: Days whose figures were made just now.
        all_days: All days of the run.
        report: What is published.
    """
    table, folder = report.table, settings.reports / report.name
    wanted = set(made) | {day for day in all_days if table.has(day) and not _last_written(folder, day).exists()}
    if not wanted:
        return
    states = {key: lake.states(key) for key in [*dict.fromkeys(reads.key for reads in table.reads), table.key]}
    days = sorted(day for day in wanted if day.isoformat() in states[table.key])
    if not days:
        return
    figures = lake.scan(table.key, first=days[0] - timedelta(days=report.days_before), last=days[-1]).collect()
    quality = _quality_of_days(lake, settings) if report.has_quality else None
    for day in days:
        _publish(report, figures, day, _sources(table, states, day, settings), settings, quality)
    write_file(folder / "schema.json", schema_path(table.key).read_text(encoding="utf-8"))
    everything = lake.scan(table.key).filter(pl.col("section").is_in(["headline", "total"])).collect()
    for language in LANGUAGES:
        write_file(folder / language / "index.html", render_index(table.key, everything, language))
    _publish_home(settings.reports)


publish_weeks = partial(publish_days, report=WEEKLY_REPORT)
publish_anomalies = partial(publish_days, report=ANOMALY_REPORT)
publish_cohorts = partial(publish_days, report=COHORT_REPORT)
publish_years = partial(publish_days, report=YEAR_REPORT)


def write_review(path: Path, rows: pl.DataFrame, first: date, last: date, language: str) -> None:
    """Write a review of any range of days as one page to a file of the reader's choice.

    Args:
        path: The file. What a listener's own page tells is personal: the folder of reports is not the place for it.
        rows: Rows of ``listening/year_in_review`` of one listener, or of the globe.
        first: First day of the range.
        last: Last day of the range.
        language: One of ``settings.LANGUAGES``.
    """
    is_own = "listener_id" not in rows.columns or set(rows["listener_id"]) != {GLOBAL}
    write_file(path, render_year(rows, first, last, language, is_own=is_own), mode=0o600 if is_own else 0o644)


def _publish(
    report: Report,
    figures: pl.DataFrame,
    day: date,
    sources: Mapping[str, tuple[Provenance, ...]],
    settings: Settings,
    quality: "_QualityOfDays | None",
) -> None:
    folder = settings.reports / report.name
    shown = figures.filter(pl.col("day").is_between(day - timedelta(days=report.days_before), day))
    own = shown.filter(pl.col("day") == day)
    found = None
    if quality:
        sources = {**sources, **quality.sources}
        found = quality.of(day)
    page = Page(shown, day, sources, found)
    for language in LANGUAGES:
        write_file(folder / language / f"{day}.html", report.render(page, language))
    write_file(folder / f"{day}.json", write_json(report.table.key, own, day, sources))
    write_file(_last_written(folder, day), write_csv(own))


def _last_written(folder: Path, day: date) -> Path:
    return folder / f"{day}.csv"


def _publish_home(folder: Path) -> None:
    """List all reports that have pages, by what lies in their folders."""
    days = {
        key: [date.fromisoformat(path.stem) for path in (folder / key.partition("/")[2] / LANGUAGES[0]).glob("[0-9]*.html")]
        for key in TABLES
    }
    for language in LANGUAGES:
        write_file(folder / language / "index.html", render_home(days, language))


def _sources(table: Table, states: Mapping[str, Mapping[str, State]], day: date, settings: Settings) -> dict[str, tuple[Provenance, ...]]:
    """The partitions that a day's figures were made from, and their own."""
    found: dict[str, tuple[Provenance, ...]] = {}
    for reads in table.reads:
        if reads.key != table.key:
            first, last = day + timedelta(days=reads.first or 0), day + timedelta(days=reads.last)
            names = ((first + timedelta(days=ahead)).isoformat() for ahead in range((last - first).days + 1))
            parts = [_provenance(reads.key, name, states[reads.key][name], settings) for name in names if name in states[reads.key]]
            found[reads.key] = tuple(parts)
    own = _provenance(table.key, day.isoformat(), states[table.key][day.isoformat()], settings)
    return {key: parts for key, parts in found.items() if parts} | {table.key: (own,)}


def _provenance(key: str, partition: str | None, state: State, settings: Settings) -> Provenance:
    run = state.origin.run_id
    url = f"{settings.ui_url}/runs/{run}" if run else None
    return Provenance(key, partition, run, state.recipe.code_version, state.digest, url)


@dataclass(frozen=True, slots=True)
class _QualityOfDays:
    """What intake found, ready to be counted by day."""

    imports: pl.DataFrame
    rejected: pl.DataFrame
    sources: Mapping[str, tuple[Provenance, ...]]

    def of(self, day: date) -> Quality | None:
        """Counts of the files that hold listens of a day."""
        files = self.imports.filter(pl.col("first_day") <= day, pl.col("last_day") >= day)
        if files.is_empty():
            return None
        rules = self.rejected.join(files, on="file_sha256", how="semi").group_by("rule").len("rows").sort("rule")
        return Quality(
            files=files.height,
            rows=int(files["rows"].sum()),
            stored=int(files["stored"].sum()),
            duplicate=int(files["duplicate"].sum()),
            rejected=dict(rules.iter_rows()),
        )


def _quality_of_days(lake: Lake, settings: Settings) -> _QualityOfDays:
    state = lake.state(_IMPORTS, None)
    sources = {_IMPORTS: (_provenance(_IMPORTS, None, state, settings),)} if state else {}
    return _QualityOfDays(lake.scan(_IMPORTS).collect(), lake.scan("listening/rejected").collect(), sources)
