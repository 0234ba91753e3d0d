"""What of a report may be shown to whoever reads it: nothing that tells of fewer than k listeners (k-anonymity).

A row whose group is smaller is left out, and with it what would give it away: of parts that add up to a total another part, until
what is missing from the total rests on k listeners again (complementary suppression: Willenborg and de Waal, *Elements of
Statistical Disclosure Control*, 2001, chapter 3). The same holds for what is suspicious within a row, which stands beside the
whole and the genuine rest. The figures in the lake stay exact.

What is compared is a list and its totals on one page. Across lists nothing is: an artist's number less those of the artist's tracks
that the page lists is that of the tracks which it does not list, and may tell of fewer than k listeners; and whoever adds up a week of
daily pages may find what the weekly page leaves out. Where groups are only counted, what is missing is taken to rest on as few
listeners as these counts allow.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.reports.figures import ALL
from spotify_ai_assets.reports.support import Group, Support

Basis = Literal["listeners", "genuine", "suspicious"]
Place = tuple[str, str, int]
"""Section, scope and position of a row."""

LEAST = 10
"""Least number of listeners that something is told of, unless the settings say another."""
NOBODY = Group(0, 0, 0)
_SUSPICIOUS = ("suspicious_", "cases", "accounts", "genuine_")
"""How measures begin that tell what suspicious accounts did; the genuine rest beside a whole tells the same."""
_WHOLE = frozenset(["streams", "plays", "played_hours"])
_WEEKS = "weeks_since"
_KEPT = frozenset(["headline", "total", "hours", "days", "retention", "average_retention"])
"""Sections in which a row has a place of its own: its values are taken out, not the row."""
_GENUINE = {
    "reports/weekly_trends": frozenset(["tracks", "artists", "moves", "forecasts", "changes"]),
    "reports/anomalies": frozenset(["incidents"]),
    "reports/cohorts": frozenset(["headline", "genres", "funnels", "shares"]),
}
"""Sections whose figures are of genuine plays only."""
_OF_SUSPICIOUS = frozenset(["cases", "case_tracks"])
_HEADLINES_OF_COHORTS = {"new_listeners": 0, "retention_1": 1, "retention_4": 4}
"""Large numbers that are cells of the triangle too, by the weeks since a cohort came."""


@dataclass(slots=True)
class Row:
    """A row of a page, with all its measures.

    Attributes:
        item: What it is about.
        group: Who is behind it.
        values: Its measures.
        hidden: Measures that may not be shown.
    """

    item: str
    group: Group
    values: Mapping[str, float | None]
    hidden: set[str] = field(default_factory=set)

    def hide(self) -> None:
        """Show nothing of it."""
        self.hidden.update(self.values)

    def hide_suspicious(self) -> None:
        """Show neither what is suspicious in it nor the genuine rest; where only these two stand side by side, not the whole."""
        telling = {measure for measure in self.values if measure.startswith(_SUSPICIOUS)}
        is_beside = bool(telling) and all(measure.startswith("genuine_") for measure in telling)
        self.hidden.update(set(self.values) & _WHOLE if is_beside else telling)


@dataclass(frozen=True, slots=True)
class Family:
    """A total and the parts that add up to it, in whole or but for what is not listed.

    Attributes:
        total: The total; ``None`` where no row tells it and it can be computed all the same.
        group: Who is behind the total.
        value: The total's value.
        parts: The rows that are parts of it.
        measure: The measure of the parts that adds up.
        basis: Whose counts are compared.
        counts_heads: Whether the measure is itself a number of listeners, none of whom is in two parts.
        unlisted: Who is behind the largest part that is not listed.
    """

    total: tuple[Row, str] | None
    group: Group
    value: float
    parts: Sequence[Row]
    measure: str
    basis: Basis = "listeners"
    counts_heads: bool = False
    unlisted: int = 0

    def count(self, part: Row) -> int:
        """Who is behind a part."""
        return int(part.values.get(self.measure) or 0) if self.counts_heads else getattr(part.group, self.basis)

    @property
    def whole(self) -> int:
        """Who is behind the total."""
        return int(self.value) if self.counts_heads else getattr(self.group, self.basis)


@dataclass(frozen=True, slots=True)
class Shown:
    """What of a report may be shown.

    Attributes:
        figures: Its rows, without those that may not.
        left_out: How many rows were left out or lost values.
    """

    figures: pl.DataFrame
    left_out: int


@dataclass(frozen=True, slots=True)
class _Page:
    """The rows of a page, and who is behind what no row tells."""

    rows: Mapping[Place, Row]
    support: Support

    def of(self, section: str, scope: str | None = None) -> list[Row]:
        return [row for (each, where, _), row in self.rows.items() if each == section and scope in (None, where)]


def protect(key: str, figures: pl.DataFrame, support: Support, k: int) -> Shown:
    """Leave out what tells of fewer than k listeners.

    Args:
        key: The report's table.
        figures: Its rows of one day.
        support: Who is behind them; a row that it does not name rests on nobody and is left out unless it says zero.
        k: Least number of listeners that something may be told of; below 2 everything may.

    Returns:
        What may be shown.
    """
    if k < 2 or figures.is_empty():
        return Shown(figures, 0)
    page = _Page(_rows(figures, support), support)
    for (section, _, _), row in page.rows.items():
        _hide_small(row, _basis(key, section), k)
    families = list(_FAMILIES[key](page))
    # Each turn hides one part more at least; what is hidden in one family may be missing from another.
    while any([_complement(family, k) for family in families]):
        pass
    if key == "reports/cohorts":
        _hide_headlines(page)
    return Shown(_without(figures, page.rows), sum(bool(row.hidden) for row in page.rows.values()))


def _basis(key: str, section: str) -> Basis:
    if section in _OF_SUSPICIOUS:
        return "suspicious"
    return "genuine" if section in _GENUINE.get(key, ()) else "listeners"


def _rows(figures: pl.DataFrame, support: Support) -> dict[Place, Row]:
    values: dict[Place, dict[str, float | None]] = {}
    items: dict[Place, str] = {}
    for section, scope, position, item, measure, value in figures.select(
        "section", "scope", "position", "item", "measure", "value"
    ).iter_rows():
        items[section, scope, position] = item
        values.setdefault((section, scope, position), {})[measure] = value
    return {
        (section, scope, position): Row(
            items[section, scope, position],
            # What a cell of a cohort says of itself is more exact than any count of plays.
            _cohort(found)
            if section in ("retention", "average_retention")
            else support.get((section, scope, items[section, scope, position]), NOBODY),
            found,
        )
        for (section, scope, position), found in values.items()
    }


def _cohort(values: Mapping[str, float | None]) -> Group:
    """The smallest group that a cell of a cohort tells of: who came, who is still there, who is not, who is suspicious."""
    size, stayed, suspicious = int(values["size"] or 0), _stayed(values), int(values.get("suspicious_active") or 0)
    return Group(min([size, *(part for part in (stayed, size - stayed, suspicious) if part)]), stayed, suspicious)


def _stayed(values: Mapping[str, float | None]) -> int:
    if "active" in values:
        return int(values["active"] or 0) - int(values["suspicious_active"] or 0)
    return round((values["retention"] or 0.0) * (values["size"] or 0.0))


def _hide_small(row: Row, basis: Basis, k: int) -> None:
    told = [value for measure, value in row.values.items() if measure != _WEEKS]
    if any(told) and getattr(row.group, basis) < k:
        row.hide()
    # Where there is nothing suspicious the genuine part is the whole.
    elif basis == "listeners" and row.group.suspicious and min(row.group.suspicious, row.group.genuine or k) < k:
        row.hide_suspicious()


def _complement(family: Family, k: int) -> bool:
    """Hide one part more where what is missing from the total rests on too few; whether that was so."""
    if family.total and family.total[1] in family.total[0].hidden:
        return False
    shown = [part for part in family.parts if family.measure not in part.hidden and (part.values.get(family.measure) or 0) > 0]
    missing = family.value - sum(part.values[family.measure] or 0 for part in shown)
    if not shown or abs(missing) < 1e-9 * max(abs(family.value), 1):
        return False
    # At least: the total's listeners without those of the parts that are shown, or those of one part that is not.
    hidden = max((family.count(part) for part in family.parts if family.measure in part.hidden), default=family.unlisted)
    if max(family.unlisted, family.whole - sum(family.count(part) for part in shown), hidden) >= k:
        return False
    smallest = min(shown, key=lambda part: (family.count(part), part.item))
    if family.measure.startswith("suspicious_"):
        smallest.hide_suspicious()
    else:
        smallest.hide()
    return True


# Which numbers of a page add up ---------------------------------------------------------------------------------------------


def _under(
    totals: Sequence[Row], parts: Sequence[Row], measure: str, basis: Basis = "listeners", unlisted: Iterable[Group] = ()
) -> Iterable[Family]:
    most = max((getattr(group, basis) for group in unlisted), default=0)
    for row in totals:
        value = row.values.get(measure)
        if value is not None:
            yield Family((row, measure), row.group, value, parts, measure, basis, unlisted=most)


def _by_item(page: _Page, section: str, measure: str, basis: Basis) -> Iterable[Family]:
    """What a list tells of everywhere, and its parts in the countries."""
    parts: dict[str, dict[str, Row]] = {}
    for (each, scope, _), row in page.rows.items():
        if each == section and scope != GLOBAL:
            parts.setdefault(row.item, {})[scope] = row
    others: dict[str, list[Group]] = {}
    for (each, scope, item), group in page.support.items():
        if each == section and scope != GLOBAL and scope not in parts.get(item, {}):
            others.setdefault(item, []).append(group)
    for row in page.of(section, GLOBAL):
        yield from _under([row], list(parts.get(row.item, {}).values()), measure, basis, others.get(row.item, ()))


def _in_day(page: _Page) -> Iterable[Family]:
    for section in ("countries", "platforms"):
        yield from _under(page.of("headline"), page.of(section), "plays")
    yield from _by_item(page, "tops", "plays", "listeners")


def _in_week(page: _Page) -> Iterable[Family]:
    yield from _under(page.of("headline"), page.of("days"), "streams")
    yield from _under(page.of("headline"), page.of("days"), "suspicious_streams", "suspicious")
    for section in ("tracks", "artists"):
        yield from _by_item(page, section, "streams", "genuine")


def _in_anomalies(page: _Page) -> Iterable[Family]:
    for section, measure in (("countries", "streams"), ("platforms", "streams"), ("hours", "plays")):
        yield from _under(page.of("headline"), page.of(section), measure)
        yield from _under(page.of("headline"), page.of(section), f"suspicious_{measure}", "suspicious")
    yield from _by_item(page, "charts", "streams", "listeners")
    yield from _by_item(page, "charts", "suspicious_streams", "suspicious")
    for case in page.of("cases"):
        yield from _under([case], page.of("case_tracks", case.item), "streams", "suspicious")


def _in_cohorts(page: _Page) -> Iterable[Family]:
    """The countries of a genre, the genres of a country, the countries and devices of a cohort, and the cohorts of a week."""
    yield from _by_item(page, "genres", "streams", "genuine")
    for scope in sorted({scope for section, scope, _ in page.rows if section == "genres"}):
        # A share gives away the whole that it is a share of.
        listed = page.of("genres", scope)
        known = {row.item for row in listed} | {ALL}
        others = (
            group.genuine for (each, where, item), group in page.support.items() if (each, where) == ("genres", scope) and item not in known
        )
        whole = page.support.get(("genres", scope, ALL), NOBODY)
        yield Family(None, whole, 1.0, listed, "share", "genuine", unlisted=max(others, default=0))
    parts: dict[tuple[str, str, float | None], list[Row]] = {}
    for (section, scope, _), row in page.rows.items():
        if section == "retention" and scope != GLOBAL:
            parts.setdefault((scope.partition("/")[0], row.item, row.values[_WEEKS]), []).append(row)
    for whole in page.of("retention", GLOBAL):
        for dimension in ("country", "platform"):
            for measure in ("size", "active"):
                yield from _heads(whole, measure, parts.get((dimension, whole.item, whole.values[_WEEKS]), []), measure)
    for row in page.of("headline"):
        yield from _heads(row, "active_listeners", _newest(page), "active")


def _heads(whole: Row, told: str, parts: Sequence[Row], measure: str) -> Iterable[Family]:
    value = whole.values.get(told)
    if value is not None:
        yield Family((whole, told), whole.group, value, parts, measure, counts_heads=True)


def _newest(page: _Page) -> list[Row]:
    """The last cell of each cohort, which is of the page's own week."""
    found: dict[str, Row] = {}
    for row in page.of("retention", GLOBAL):
        if row.item not in found or (row.values[_WEEKS] or 0) > (found[row.item].values[_WEEKS] or 0):
            found[row.item] = row
    return list(found.values())


def _hide_headlines(page: _Page) -> None:
    """What is hidden in the triangle is not told above it."""
    hidden = {row.values[_WEEKS] for row in _newest(page) if "size" in row.hidden or row.values["size"] is None}
    for row in page.of("headline"):
        row.hidden.update(measure for measure, weeks in _HEADLINES_OF_COHORTS.items() if weeks in hidden)


def _in_year(page: _Page) -> Iterable[Family]:
    for section in ("months", "weekdays", "genres"):
        yield from _under(page.of("total"), page.of(section), "plays")
        yield from _under(page.of("total"), page.of(section), "genuine_plays", "genuine")


_FAMILIES: Mapping[str, Callable[[_Page], Iterable[Family]]] = {
    "reports/daily_listening": _in_day,
    "reports/weekly_trends": _in_week,
    "reports/anomalies": _in_anomalies,
    "reports/cohorts": _in_cohorts,
    "reports/year_in_review": _in_year,
}


# What is left ---------------------------------------------------------------------------------------------------------------


def _without(figures: pl.DataFrame, rows: Mapping[Place, Row]) -> pl.DataFrame:
    """The figures without what is hidden: without a row of a list, with no value where a row has its place."""
    gone = [(*place, measure) for place, row in rows.items() for measure in row.hidden if measure != _WEEKS or place[0] not in _KEPT]
    dropped = [place for place, row in rows.items() if place[0] not in _KEPT and len(row.hidden) == len(row.values)]
    line = ["section", "scope", "position"]
    kinds = {"section": pl.String, "scope": pl.String, "position": pl.Int64}
    without_values = pl.DataFrame(gone, schema={**kinds, "measure": pl.String}, orient="row").with_columns(is_hidden=pl.lit(True))
    shown = (
        figures.join(pl.DataFrame(dropped, schema=kinds, orient="row"), on=line, how="anti", maintain_order="left")
        .join(without_values, on=[*line, "measure"], how="left", maintain_order="left")
        .with_columns(value=pl.when("is_hidden").then(None).otherwise("value"))
        .drop("is_hidden")
    )
    return _average_again(shown) if "average_retention" in set(shown["section"]) else shown


def _average_again(figures: pl.DataFrame) -> pl.DataFrame:
    """Retention by weeks since, over the cells that are shown: an average with the others would give them away."""
    line = ["scope", "position"]
    cells = figures.filter(pl.col("section") == "retention").pivot("measure", index=line, values="value")
    if "size" not in cells.columns:
        return figures
    averages = (
        cells.drop_nulls("size")
        .group_by("scope", item=pl.col(_WEEKS).cast(pl.Int64).cast(pl.String))
        .agg(
            (pl.col("active") - pl.col("suspicious_active")).sum().alias("retention"),
            pl.col("size").sum(),
        )
        .with_columns(pl.col("retention") / pl.col("size"))
        .unpivot(["retention", "size"], index=["scope", "item"], variable_name="measure", value_name="average")
        .with_columns(section=pl.lit("average_retention"))
    )
    return (
        figures.join(averages, on=["section", "scope", "item", "measure"], how="left", maintain_order="left")
        .with_columns(value=pl.when(pl.col("section") == "average_retention").then("average").otherwise("value"))
        .drop("average")
    )
