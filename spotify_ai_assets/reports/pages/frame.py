"""What all pages share: where numbers come from, large numbers with their changes, bars, names, and the templates."""

import functools
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from spotify_ai_assets.listening.insight.contracts import UNKNOWN
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.locale import translate_plural
from spotify_ai_assets.reports.drawing import Line, draw_line, share_widths
from spotify_ai_assets.reports.notation import Notation, sign
from spotify_ai_assets.settings import LANGUAGES

if TYPE_CHECKING:
    from jinja2 import Environment

NAME_LENGTH = 160
_DIRECTIONS = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
"""Characters that turn the direction of what follows them; a name may do without."""
_UNSEEN = ("Cf", "Zl", "Zp", "Zs")
"""Kinds of characters that show nothing by themselves."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where numbers of a page come from.

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


Sources = Mapping[str, Sequence[Provenance]]
"""The partitions behind a page by asset key, oldest first."""


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
class Page:
    """What a page is made of.

    Attributes:
        figures: Rows of the report's table: those of the day, and of earlier days that trends and changes go back to.
        day: The day, the Sunday of the week, or the last day of the month.
        sources: What is behind the numbers.
        quality: Counts of intake and checks, for the page that shows them.
        disclosure: What was left out, where something may be.
    """

    figures: pl.DataFrame
    day: date
    sources: Sources = field(default_factory=dict)
    quality: Quality | None = None
    disclosure: "Disclosure | None" = None


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What a page does not tell.

    Attributes:
        smallest: Least number of listeners that something is told of.
        left_out: How many rows were left out or lost values.
    """

    smallest: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Change:
    """A large number against an earlier one, worded; ``tone`` tells whether the change is welcome."""

    text: str
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


_UNWELCOME = frozenset(["skip_rate", "suspicious_streams", "suspicious_plays", "suspicious_share", "cases", "accounts", "incidents"])
_EVEN = frozenset(["level_changes", "forecasts_shown", "genres", "moved_share", "entries", "rising_tracks", "rising_artists"])


def label_measure(measure: str, language: str) -> str:
    """The name of a measure as a heading."""
    labels = {
        "streams": _("Streams", language),
        "plays": _("Plays", language),
        "listeners": _("Listeners", language),
        "played_hours": _("Hours played", language),
        "sessions": _("Sessions", language),
        "skip_rate": _("Skip rate", language),
        "completion_rate": _("Completion rate", language),
        "genuine_streams": _("Genuine streams", language),
        "genuine_plays": _("Genuine plays", language),
        "genuine_hours": _("Hours played", language),
        "suspicious_streams": _("Suspicious streams", language),
        "suspicious_plays": _("Suspicious plays", language),
        "suspicious_share": _("Suspicious share", language),
        "rising_tracks": _("Rising tracks", language),
        "rising_artists": _("Rising artists", language),
        "entries": _("New on the chart", language),
        "level_changes": _("New levels in four weeks", language),
        "forecasts_shown": _("Forecasts shown", language),
        "cases": _("Suspicious cases", language),
        "accounts": _("Accounts in them", language),
        "incidents": _("Unusual volumes", language),
        "active_listeners": _("Active listeners", language),
        "new_listeners": _("New listeners", language),
        "retention_1": _("Back after a week", language),
        "retention_4": _("Back after four weeks", language),
        "genres": _("Genres", language),
        "moved_share": _("Pool that would move", language),
        "days": _("Days with music", language),
        "hours_a_day": _("Hours a day", language),
    }
    return labels[measure]


def write_measure(measure: str, value: float | None, notation: Notation) -> str:
    """A value as its measure is written."""
    if is_share(measure):
        return notation.percent(value)
    return notation.decimal(value) if "hours" in measure else notation.whole(value)


def is_share(measure: str) -> bool:
    """Whether a measure is between 0 and 1."""
    return measure.endswith(("_rate", "_share")) or measure.startswith("retention")


def make_headline(
    measure: str,
    history: Mapping[tuple[date, str], float | None],
    days: Sequence[date],
    versus: Iterable[date],
    notation: Notation,
    asset: str,
) -> Headline:
    """A large number with its past.

    Args:
        measure: What it counts.
        history: Values by day and measure.
        days: The days of the small line, the page's own last.
        versus: The days that it is compared with.
        notation: Writes it.
        asset: Where it comes from.
    """
    value = history.get((days[-1], measure))
    changes = (_change(measure, value, history.get((day, measure)), day, notation) for day in versus)
    return Headline(
        measure=measure,
        label=label_measure(measure, notation.language),
        value=write_measure(measure, value, notation),
        changes=tuple(change for change in changes if change is not None),
        sparkline=draw_line([history.get((day, measure)) for day in days], from_zero=False),
        asset=asset,
    )


def _change(measure: str, value: float | None, before: float | None, versus: date, notation: Notation) -> Change | None:
    if value is None or before is None:
        return None
    if is_share(measure):
        difference, text = round(100 * (value - before), 1), notation.points(value - before)
    elif before == 0:
        difference, text = value, sign(value) + write_measure(measure, value, notation)
    else:
        difference, text = round(100 * (value / before - 1), 1), notation.change(value / before - 1)
    if measure in _EVEN or difference == 0:
        return Change(text, "even", versus)
    return Change(text, "good" if (difference > 0) != (measure in _UNWELCOME) else "bad", versus)


def make_bars(rows: Iterable[tuple[str, float]]) -> list[Bar]:
    """Bars relative to the longest."""
    rows = list(rows)
    return [Bar(label, value, width) for (label, value), width in zip(rows, share_widths([value for _label, value in rows]), strict=True)]


def name_platform(platform: str, language: str) -> str:
    """A kind of device by its name."""
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
        "all": _("All devices", language),
    }
    return names.get(platform, platform)


def name_place(code: str, notation: Notation) -> str:
    """A country by its name, or everywhere."""
    return _("Worldwide", notation.language) if code == "global" else notation.country(code)


def name_genre(genre: str, language: str) -> str:
    """A genre as the catalogue names it, or that it names none."""
    return _("unknown", language) if genre == UNKNOWN else genre


def readable(name: str) -> str:
    """A name without control characters and turns of direction, cut where no honest name would go on; empty if nothing shows."""
    text = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cs") and char not in _DIRECTIONS).strip()
    if all(unicodedata.category(char) in _UNSEEN for char in text):
        return ""
    return text if len(text) <= NAME_LENGTH else text[: NAME_LENGTH - 1] + "…"


def isolated(name: str) -> str:
    """A readable name as part of a plain text, such as a tooltip, where no markup keeps its direction to itself."""
    return f"\u2068{readable(name)}\u2069"


@dataclass(frozen=True, slots=True)
class SourceLine:
    """Neighbouring partitions of an asset that one run made with one code version."""

    asset: str
    partitions: str
    newest: Provenance


def _source_lines(sources: Sources, notation: Notation) -> list[SourceLine]:
    lines = []
    for asset, parts in sources.items():
        runs: list[list[Provenance]] = []
        for part in parts:
            if runs and (runs[-1][-1].run_id, runs[-1][-1].code_version) == (part.run_id, part.code_version):
                runs[-1].append(part)
            else:
                runs.append([part])
        lines += [SourceLine(asset, _name_partitions(run, notation.language), run[-1]) for run in reversed(runs)]
    return lines


def _name_partitions(parts: Sequence[Provenance], language: str) -> str:
    if len(parts) == 1:
        return parts[0].partition or "–"
    text = translate_plural("{first} to {last}, {count} partition", "{first} to {last}, {count} partitions", len(parts), language)
    return text.format(first=parts[0].partition, last=parts[-1].partition, count=len(parts))


def render(template: str, notation: Notation, sources: Sources, **values: Any) -> str:
    """Fill in a template.

    Args:
        template: File in ``templates/``.
        notation: Writes numbers and dates; its language is the page's.
        sources: What is behind the numbers; each asset gets a number by which the page refers to it.
        values: What else the template shows.
    """
    language = notation.language
    return (
        _environment()
        .get_template(template)
        .render(
            _=partial(_, language=language),
            translate_plural=partial(translate_plural, language=language),
            notation=notation,
            language=language,
            languages=values.pop("languages", LANGUAGES),
            disclosure=values.pop("disclosure", None),
            place=partial(name_place, notation=notation),
            platform=partial(name_platform, language=language),
            genre=partial(name_genre, language=language),
            measure_label=partial(label_measure, language=language),
            write=partial(write_measure, notation=notation),
            sources={asset: parts for asset, parts in sources.items() if parts},
            source_lines=_source_lines(sources, notation),
            numbers={asset: place for place, asset in enumerate((asset for asset, parts in sources.items() if parts), start=1)},
            **values,
        )
    )


@functools.cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["readable"] = readable
    environment.filters["isolated"] = isolated
    return environment
