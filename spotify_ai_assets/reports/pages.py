"""Pages as self-contained HTML: figures in, one text per language out, and the writing of it to disk.

A page needs no script and no network: a strict content security policy forbids both. Every name is escaped by jinja2 and
isolated from the direction of the text around it. No number is computed here beyond changes and sums of what is not shown.
"""

import functools
import os
import tempfile
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.locale import translate_plural
from spotify_ai_assets.reports.contracts import DAILY_LISTENING, TREND_DAYS
from spotify_ai_assets.reports.daily_listening import HEADLINES
from spotify_ai_assets.reports.drawing import Line, draw_line, share_widths
from spotify_ai_assets.reports.notation import FLAT, MINUS, Notation
from spotify_ai_assets.settings import LANGUAGES

if TYPE_CHECKING:
    from jinja2 import Environment

SOURCES = {
    "tops": "listening/charts",
    "artists": "listening/artist_days",
    "countries": "listening/country_days",
    "platforms": "listening/country_days",
    "trend": DAILY_LISTENING.key,
    "quality": "listening/imports",
    "listeners": "listening/listener_track_days",
    "sessions": "listening/sessions",
}
"""The asset behind a section or a headline; the other headlines are from ``listening/country_days``."""

COUNTRY_BARS = 9
COUNTRY_TOPS = 12
"""How many countries are shown before the others are summed up or folded away."""
NAME_LENGTH = 160


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a page's numbers come from.

    Attributes:
        asset: Asset key.
        partition: Partition of the asset, ``None`` for an asset without partitions.
        run_id: The run that made the partition.
        code_version: Code version with which it was made.
        digest: Digest of the partition's rows.
        url: Page of the run in the UI; anything but an http(s) address is shown without a link.
    """

    asset: str
    partition: str | None
    run_id: str
    code_version: str
    digest: str
    url: str | None = None

    @property
    def link(self) -> str | None:
        """The address, if it is safe to follow."""
        return self.url if self.url and self.url.startswith(("https://", "http://")) else None


@dataclass(frozen=True, slots=True)
class Quality:
    """What intake and checks found on a day.

    Attributes:
        files: Imported files.
        rows: Records in them: stored, duplicate and rejected ones together.
        stored: Records that became new rows.
        duplicate: Records that were known already.
        rejected: Refused records by rule.
        passed: Number of checks that passed, ``None`` where none is known.
        failed: Names of the checks that failed.
    """

    files: int
    rows: int
    stored: int
    duplicate: int
    rejected: Mapping[str, int]
    passed: int | None = None
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A headline against an earlier day, worded; ``tone`` tells whether the change is welcome."""

    text: str
    direction: Literal["up", "down", "flat"]
    tone: Literal["good", "bad", "even"]
    versus: date


@dataclass(frozen=True, slots=True)
class Headline:
    """One of the large numbers."""

    measure: str
    label: str
    value: str
    changes: tuple[Change, ...]
    sparkline: Line
    asset: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart."""

    label: str
    value: float
    width: float


def render_page(
    figures: pl.DataFrame,
    trend: pl.DataFrame,
    provenance: Mapping[str, Provenance],
    language: str,
    day: date,
    quality: Quality | None = None,
) -> str:
    """Lay out the page of a day.

    Args:
        figures: Rows of ``reports/daily_listening`` of the day.
        trend: Rows of the same table of the 27 days before, as far as they exist; other days and sections are ignored.
        provenance: What is behind the numbers, by asset key.
        language: One of ``settings.LANGUAGES``.
        day: The UTC day.
        quality: Counts of intake and checks; without them the page has no such section.

    Returns:
        A whole HTML document that loads nothing else.

    Raises:
        SettingsError: The language is not supported.
    """
    figures = figures.filter(pl.col(DAY) == day)
    notation = Notation(language)
    history = _headlines(pl.concat([trend.filter(pl.col(DAY) < day), figures]))
    days = [day - timedelta(days=ago) for ago in reversed(range(TREND_DAYS))]
    tops = _lists(figures, "tops")
    streams = {row["item"]: row["streams"] for row in _lists(figures, "countries").get(GLOBAL, [])}
    return _render(
        "daily_listening.html",
        notation,
        page=day.isoformat(),
        day=day,
        previous=day - timedelta(days=1) if (day - timedelta(days=1), "plays") in history else None,
        headlines=[_headline(measure, history, days, notation) for measure in HEADLINES],
        global_top=tops.pop(GLOBAL, []),
        country_tops=sorted(tops.items(), key=lambda item: (-streams.get(item[0], 0), item[0])),
        artists=_lists(figures, "artists").get(GLOBAL, []),
        country_tops_shown=COUNTRY_TOPS,
        countries=_country_bars(figures, notation),
        platforms=_bars([(_platform_name(row["item"], language), row["streams"]) for row in _lists(figures, "platforms").get(GLOBAL, [])]),
        trend=draw_line([history.get((each, "streams")) for each in days], from_zero=True),
        trend_days=[(each, history.get((each, "streams"))) for each in days],
        quality=quality,
        provenance=provenance,
        numbers={asset: number for number, asset in enumerate(provenance, start=1)},
        sources=SOURCES,
    )


def render_index(figures: pl.DataFrame, language: str) -> str:
    """Lay out the list of all days, newest first, with their headline numbers.

    Args:
        figures: Rows of ``reports/daily_listening`` of the days that have a page; other sections than the headline are ignored.
        language: One of ``settings.LANGUAGES``.

    Raises:
        SettingsError: The language is not supported.
    """
    values = _headlines(figures)
    days = sorted({day for day, _measure in values}, reverse=True)
    widths = dict(zip(days, share_widths([values[day, "streams"] or 0 for day in days]), strict=True))
    months: dict[tuple[int, int], list[date]] = {}
    for day in days:
        months.setdefault((day.year, day.month), []).append(day)
    return _render("index.html", Notation(language), page="index", months=list(months.values()), values=values, widths=widths)


def write_pages(folder: Path, page: date | Literal["index"], html: Mapping[str, str]) -> tuple[Path, ...]:
    """Write a page in its languages as ``<folder>/<language>/<page>.html``, each file either old or new, never half.

    Args:
        folder: Folder of all pages.
        page: The day, or ``index``.
        html: Documents by language.

    Returns:
        The files, in the order of ``html``.
    """
    paths = []
    for language, text in html.items():
        path = folder / language / f"{page}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes files for its owner only; a page is for whoever may read the folder.
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
        paths.append(path)
    return tuple(paths)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _headlines(figures: pl.DataFrame) -> dict[tuple[date, str], float | None]:
    rows = figures.filter(pl.col("section") == "headline").select(DAY, "measure", "value").iter_rows()
    return {(day, measure): value for day, measure, value in rows}


def _lists(figures: pl.DataFrame, section: str) -> dict[str, list[dict[str, Any]]]:
    """The lists of a section by scope, each item with its measures, in the order of their positions."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for row in figures.filter(pl.col("section") == section).sort("scope", "position").iter_rows(named=True):
        item = found.setdefault(row["scope"], {}).setdefault(
            row["position"], {name: row[name] for name in ("position", "item", "label", "detail")}
        )
        item[row["measure"]] = row["value"]
    return {scope: list(items.values()) for scope, items in found.items()}


def _headline(measure: str, history: Mapping[tuple[date, str], float | None], days: Sequence[date], notation: Notation) -> Headline:
    language = notation.language
    labels = {
        "streams": _("Streams", language),
        "plays": _("Plays", language),
        "listeners": _("Listeners", language),
        "played_hours": _("Hours played", language),
        "sessions": _("Sessions", language),
        "skip_rate": _("Skip rate", language),
        "completion_rate": _("Completion rate", language),
    }
    value = history.get((days[-1], measure))
    write = notation.percent if measure.endswith("_rate") else notation.decimal if measure == "played_hours" else notation.whole
    changes = (_change(measure, value, history.get((day, measure)), day, notation) for day in (days[-2], days[-8]))
    return Headline(
        measure=measure,
        label=labels[measure],
        value=write(value),
        changes=tuple(change for change in changes if change is not None),
        sparkline=draw_line([history.get((day, measure)) for day in days], from_zero=False),
        asset=SOURCES.get(measure, SOURCES["countries"]),
    )


def _change(measure: str, value: float | None, before: float | None, versus: date, notation: Notation) -> Change | None:
    if value is None or before is None:
        return None
    if measure.endswith("_rate"):
        difference = round(100 * (value - before), 1)
        size = _("{points} pp", notation.language).format(points=notation.decimal(abs(difference)))
    elif before == 0:
        return None
    else:
        difference = round(100 * (value / before - 1), 1)
        size = notation.percent(abs(difference) / 100)
    if difference == 0:
        return Change(FLAT + size, "flat", "even", versus)
    rises = difference > 0
    welcome = rises != (measure == "skip_rate")
    return Change(("+" if rises else MINUS) + size, "up" if rises else "down", "good" if welcome else "bad", versus)


def _country_bars(figures: pl.DataFrame, notation: Notation) -> list[Bar]:
    rows = [(notation.country(row["item"]), row["streams"]) for row in _lists(figures, "countries").get(GLOBAL, [])]
    shown, others = rows[:COUNTRY_BARS], rows[COUNTRY_BARS:]
    if len(others) > 1:
        text = translate_plural("{count} other country", "{count} other countries", len(others), notation.language)
        return _bars([*shown, (text.format(count=notation.whole(len(others))), sum(value for _label, value in others))])
    return _bars(rows)


def _bars(rows: Iterable[tuple[str, float]]) -> list[Bar]:
    rows = list(rows)
    return [Bar(label, value, width) for (label, value), width in zip(rows, share_widths([value for _label, value in rows]), strict=True)]


def _platform_name(platform: str, language: str) -> str:
    names = {
        "android": "Android",
        "ios": "iOS",
        "windows": "Windows",
        "macos": "macOS",
        "linux": "Linux",
        "web": _("Web player", language),
        "cast": _("Cast device", language),
        "console": _("Games console", language),
        "car": _("Car", language),
        "speaker": _("Speaker", language),
        "tv": _("TV", language),
        "other": _("Other device", language),
        "unknown": _("Unknown device", language),
    }
    return names.get(platform, platform)


def _render(template: str, notation: Notation, **values: Any) -> str:
    language = notation.language
    return (
        _environment()
        .get_template(template)
        .render(
            _=partial(_, language=language),
            translate_plural=partial(translate_plural, language=language),
            notation=notation,
            language=language,
            languages=LANGUAGES,
            **values,
        )
    )


@functools.cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["readable"] = _readable
    return environment


def _readable(name: str) -> str:
    """A name without control characters, cut where no honest name would go on."""
    text = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cs")).strip()
    return text if len(text) <= NAME_LENGTH else text[: NAME_LENGTH - 1] + "…"
