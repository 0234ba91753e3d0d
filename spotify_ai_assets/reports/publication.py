"""Figures of the lake become pages and files in the folder of reports.

How a page looks is in ``pages/``; which figures it shows in the module of each report. Below the folder of reports lie::

    <language>/index.html                 all reports
    <report>/<language>/index.html        all days of a report
    <report>/<language>/<day>.html        the page of a day
    <report>/<day>.json, <day>.csv        its figures
    <report>/schema.json                  what the JSON documents look like

Nothing there is about fewer listeners than the settings say (``disclosure.py``): what was published when they said less, or nothing,
is published anew at the next occasion, and nothing is taken from it until then. A listener's own year is written where its reader
says (``write_review``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from spotify_ai_assets.contracts import DAY, Table
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.reports.contracts import ANOMALIES, COHORTS, DAILY_LISTENING, TABLES, WEEKLY_TRENDS, YEAR_IN_REVIEW
from spotify_ai_assets.reports.disclosure import LEAST, Shown, protect
from spotify_ai_assets.reports.documents import read_json, read_k, schema_path, write_csv, write_json
from spotify_ai_assets.reports.files import write_file
from spotify_ai_assets.reports.pages.anomalies import render_anomalies
from spotify_ai_assets.reports.pages.cohorts import render_cohorts
from spotify_ai_assets.reports.pages.daily_listening import render_day
from spotify_ai_assets.reports.pages.frame import Disclosure, Page, Provenance, Quality
from spotify_ai_assets.reports.pages.index import render_home, render_index
from spotify_ai_assets.reports.pages.weekly_trends import render_week
from spotify_ai_assets.reports.pages.year_in_review import render_review, render_year
from spotify_ai_assets.reports.support import count_support
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


def publish_days(lake: Lake, settings: Settings, made: Iterable[date], all_days: Iterable[date], report: Report) -> None:
    """Write the pages and files of days whose figures were made, of those that have none yet, and of those that tell too much.

    Args:
        lake: Holds the figures.
        settings: Where pages lie and how the UI is reached.
        made: Days whose figures were made just now.
        all_days: All days of the run.
        report: What is published.
    """
    table, folder = report.table, settings.reports / report.name
    outdated = _outdated(folder, settings.k_anonymity)
    wanted = set(made) | outdated | {day for day in all_days if table.has(day) and not _is_published(folder, day)}
    if not wanted:
        return
    states = {key: lake.states(key) for key in [*dict.fromkeys(reads.key for reads in table.reads), table.key]}
    days = sorted(day for day in wanted if day.isoformat() in states[table.key])
    for day in outdated.difference(days):
        _withdraw(folder, day)
    if not days:
        return
    told = _Told(lake, report, settings, days)
    quality = _quality_of_days(lake, settings) if report.has_quality else None
    for day in days:
        _publish(report, told, day, _sources(table, states, day, settings), settings, quality)
    write_file(folder / "schema.json", schema_path(table.key).read_text(encoding="utf-8"))
    everything = told.headlines(map(date.fromisoformat, states[table.key]))
    for language in LANGUAGES:
        write_file(folder / language / "index.html", render_index(table.key, everything, language))
    _publish_home(settings.reports)


def write_review(path: Path, rows: pl.DataFrame, first: date, last: date, language: str, *, k: int = LEAST) -> None:
    """Write a review of any range of days as one page to a file of the reader's choice.

    Args:
        path: The file. What a listener's own page tells is personal: the folder of reports is not the place for it.
        rows: Rows of ``listening/year_in_review`` of one listener, or of the globe.
        first: First day of the range.
        last: Last day of the range.
        language: One of ``settings.LANGUAGES``.
        k: Of how many listeners everybody's page tells something, at least.
    """
    is_own = "listener_id" not in rows.columns or set(rows["listener_id"]) != {GLOBAL}
    write_file(path, render_year(rows, first, last, language, is_own=is_own, k=k), mode=0o600 if is_own else 0o644)


def _publish(
    report: Report,
    told: "_Told",
    day: date,
    sources: Mapping[str, tuple[Provenance, ...]],
    settings: Settings,
    quality: "_QualityOfDays | None",
) -> None:
    folder = settings.reports / report.name
    own = told.of(day)
    found = None
    if quality:
        sources = {**sources, **quality.sources}
        found = quality.of(day)
    page = Page(pl.concat([*told.before(day), own]), day, sources, found, told.disclosure(day))
    for language in LANGUAGES:
        write_file(folder / language / f"{day}.html", report.render(page, language))
    write_file(folder / f"{day}.csv", write_csv(own))
    # The last: it says under which k all of them are.
    write_file(folder / f"{day}.json", write_json(report.table.key, own, day, sources, settings.k_anonymity))


def _is_published(folder: Path, day: date) -> bool:
    return all((folder / f"{day}{suffix}").exists() for suffix in (".csv", ".json"))


def _outdated(folder: Path, k: int) -> set[date]:
    """The days that were published when fewer listeners than k were told of, or nobody said of how many."""
    return {date.fromisoformat(path.stem) for path in folder.glob("[0-9]*.json") if read_k(path) < k} if k > 1 else set()


def _withdraw(folder: Path, day: date) -> None:
    """Remove what was published of a day that has no figures any more."""
    pages = [folder / language / f"{day}.html" for language in LANGUAGES]
    for path in (*pages, folder / f"{day}.csv", folder / f"{day}.json"):
        path.unlink(missing_ok=True)


class _Told:
    """What may be told of each day: of the days that are published now by counting who is behind it, of others what they told.

    Every page goes through here: what it may not tell of a day no trend, list or file tells either.
    """

    def __init__(self, lake: Lake, report: Report, settings: Settings, days: Sequence[date]) -> None:
        self._lake, self._report, self._settings = lake, report, settings
        rows = lake.scan(report.table.key, first=days[0], last=days[-1]).filter(pl.col(DAY).is_in(list(days))).collect()
        self._shown = {day: self._protect(day, rows.filter(pl.col(DAY) == day)) for day in days}

    def _protect(self, day: date, rows: pl.DataFrame) -> Shown:
        k, key = self._settings.k_anonymity, self._report.table.key
        return protect(key, rows, count_support(key, rows, self._read, day), k) if k > 1 else Shown(rows, 0)

    def _read(self, key: str, first: date | None, last: date | None) -> pl.LazyFrame:
        return self._lake.scan(key) if first is None else self._lake.scan(key, first=first, last=last)

    def of(self, day: date) -> pl.DataFrame:
        """The rows of a day; none where nothing was published of it."""
        if day not in self._shown:
            self._shown[day] = Shown(self._published(day), 0)
        return self._shown[day].figures

    def _published(self, day: date) -> pl.DataFrame:
        path, k = self._settings.reports / self._report.name / f"{day}.json", self._settings.k_anonymity
        is_told = path.exists() and (k < 2 or read_k(path) >= k)
        rows = read_json(path.read_text(encoding="utf-8")) if is_told else []
        return pl.DataFrame([{DAY: day, **row} for row in rows], schema=self._report.table.schema)

    def before(self, day: date) -> list[pl.DataFrame]:
        """The rows of the earlier days that a page shows."""
        return [self.of(day - timedelta(days=ago)) for ago in range(self._report.days_before, 0, -1)]

    def disclosure(self, day: date) -> Disclosure | None:
        """What a page says of it."""
        k = self._settings.k_anonymity
        return Disclosure(k, self._shown[day].left_out) if k > 1 else None

    def headlines(self, days: Iterable[date]) -> pl.DataFrame:
        """The large numbers of days."""
        return pl.concat([self.of(day).filter(pl.col("section").is_in(["headline", "total"])) for day in sorted(days)])


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
