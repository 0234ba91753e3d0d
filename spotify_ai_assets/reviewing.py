"""Reviews on demand: any range of days, of one listener or of all, after what they are made from was brought up to date."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import dagster as dg
import polars as pl

from spotify_ai_assets.backfill import Outcome, run_backfill
from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.listening.contracts import EVENTS, GLOBAL
from spotify_ai_assets.listening.insight.contracts import YEAR_IN_REVIEW
from spotify_ai_assets.listening.insight.years import review
from spotify_ai_assets.maintenance.jobs import MADE
from spotify_ai_assets.resources.identities import Vault
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.staleness import behind
from spotify_ai_assets.tables import TABLES


@dataclass(frozen=True, slots=True)
class Review:
    """A range of days in review.

    Attributes:
        first: Its first day.
        last: Its last day.
        rows: Rows of ``listening/year_in_review``, of the one listener or ``global``.
        outcome: What was made for it.
    """

    first: date
    last: date
    rows: pl.DataFrame
    outcome: Outcome


def span(lake: Lake, year: int | None, first: date | None, last: date | None) -> tuple[date, date]:
    """The days of a year, or from one day to another; the year of the newest listen unless given.

    Args:
        lake: Holds the listens.
        year: The calendar year.
        first: First day; without one that of the year, or of the oldest listen where only ``last`` is given.
        last: Last day; without one that of the year, or of the newest listen where only ``first`` is given.

    Raises:
        MissingInputError: Nothing was imported yet, or the first day is after the last.
    """
    days = sorted(lake.states(EVENTS.key))
    if not days:
        raise MissingInputError("nothing was imported yet; `spotify-ai import` does that")
    newest = date.fromisoformat(days[-1])
    outer = date.fromisoformat(days[0]), newest
    if year is not None or (first is None and last is None):
        chosen = newest.year if year is None else year
        outer = date(chosen, 1, 1), date(chosen, 12, 31)
    found = first or outer[0], last or outer[1]
    if found[0] > found[1]:
        raise MissingInputError(f"no day lies in this range: it begins on {found[0]} and ends on {found[1]}")
    return found


def review_days(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    lake: Lake,
    vault: Vault,
    first: date,
    last: date,
    listener: str | None,
    progress: Callable[[date, date, int, int], None],
) -> Review:
    """Review a range of days.

    Args:
        definitions: The code location.
        instance: Where the runs are recorded that bring the daily tables up to date.
        lake: Where they lie.
        vault: Knows the listener's pseudonym.
        first: First day.
        last: Last day.
        listener: The listener, as the imported files name them; all together when ``None``.
        progress: Told each range of days that is made, and days done of all.

    Raises:
        MissingInputError: The vault knows no such listener.
    """
    pseudonym = GLOBAL if listener is None else vault.find(listener)
    if pseudonym is None:
        raise MissingInputError("no listens of this listener were imported")
    known = sorted(lake.states(EVENTS.key))
    inside = [date.fromisoformat(name) for name in known if first.isoformat() <= name <= last.isoformat()]
    needed = {reads.key for reads in YEAR_IN_REVIEW.reads}
    tables = [table for table in behind(TABLES, needed) if table in MADE]
    outcome = run_backfill(definitions, instance, lake, tables, inside[0], inside[-1], progress=progress) if inside else Outcome()
    sources = {key: lake.scan(key, first=first, last=last) if TABLES[key].is_daily else lake.scan(key) for key in needed}
    rows = review(
        sources["listening/listener_track_days"],
        sources["listening/suspicious_streams"],
        sources["listening/track_days"],
        sources["catalog/artists"],
        first,
        last,
        only=pseudonym,
    )
    return Review(first, last, rows, outcome)
