"""Taking people out of the lake's tables: their partitions are written anew without their rows, and days that held nobody else go.

Everything here may be repeated; what is done already costs a look at each table.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta

import polars as pl

from spotify_ai_assets.contracts import Partition, Table
from spotify_ai_assets.listening.contracts import EVENTS, PLAYS
from spotify_ai_assets.maintenance.erasure.targets import about_listeners, pseudonym_columns
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.staleness import ABSENT, Ledger

_ANY = 16


def partitions_of_people(lake: Lake, table: Table, pseudonyms: Collection[str]) -> dict[Partition, int]:
    """The partitions of a table that hold rows of people, and how many rows each."""
    rows = lake.scan(table.key).filter(is_theirs(table, pseudonyms))
    if table.partitioned_by is None:
        count = rows.select(pl.len()).collect(engine="streaming").item()
        return {None: count} if count else {}
    found = rows.group_by(table.partitioned_by).len().sort(table.partitioned_by).collect(engine="streaming")
    return dict(found.iter_rows())


def is_theirs(table: Table, pseudonyms: Collection[str]) -> pl.Expr:
    """Which rows of a table are about people."""
    sought = pl.Series(list(pseudonyms), dtype=pl.String).implode()
    return pl.any_horizontal(pl.col(name).is_in(sought) for name in pseudonym_columns(table)).fill_null(value=False)


def count_rows(lake: Lake, pseudonyms: Collection[str]) -> dict[str, dict[str, int]]:
    """By table about listeners, how many partitions and rows hold people; tables without any are left out."""
    found = {table.key: partitions_of_people(lake, table, pseudonyms) for table in about_listeners(lake.tables)}
    return {key: {"partitions": len(parts), "rows": sum(parts.values())} for key, parts in found.items() if parts}


def remove_rows(lake: Lake, tables: Iterable[Table], pseudonyms: Collection[str]) -> dict[str, dict[str, int]]:
    """Write the partitions that hold people anew without their rows.

    Args:
        lake: The lake.
        tables: The tables to go through.
        pseudonyms: Of the people.

    Returns:
        By table, how many partitions were written and how many rows are gone; tables that held nobody are left out.
    """
    gone: dict[str, dict[str, int]] = {}
    for table in tables:
        parts = partitions_of_people(lake, table, pseudonyms) if pseudonyms else {}
        names = list(parts)
        for start in range(0, len(names), _ANY):  # a few at a time: their rows are in memory together
            theirs = is_theirs(table, pseudonyms)
            lake.update(table.key, names[start : start + _ANY], lambda _, rows, theirs=theirs: rows.filter(~theirs))
        if parts:
            gone[table.key] = {"partitions": len(parts), "rows": sum(parts.values())}
    return gone


def drop_empty_days(lake: Lake) -> int:
    """Drop the days of listens on which nothing is left; a platform that never saw who is gone has no such days.

    Returns:
        How many.
    """
    empty = [date.fromisoformat(name) for name, state in lake.states(EVENTS.key).items() if not state.rows]
    return len(lake.drop(EVENTS.key, empty))


def listened_days(lake: Lake) -> list[date]:
    """Every day from the first to the last that has listens."""
    days = Ledger(lake.states).days(EVENTS.key)
    return [days[0] + timedelta(days=offset) for offset in range((days[-1] - days[0]).days + 1)] if days else []


def vanished_days(lake: Lake, days: Collection[date]) -> list[date]:
    """Days that were made of listens that are all gone, before the first or after the last day that still has listens.

    Args:
        lake: The lake.
        days: All days that there should be.
    """
    states = lake.states(PLAYS.key)
    listened, known = set(Ledger(lake.states).days(EVENTS.key)), {date.fromisoformat(name): state for name, state in states.items()}
    gone = [day for day, state in known.items() if day not in listened and state.recipe.inputs.get(f"{EVENTS.key}@{day}", ABSENT) != ABSENT]
    if not gone:
        return []
    if not days:
        return sorted(known)
    first, last = min(days), max(days)
    return sorted(day for day in known if min(gone) <= day < first or last < day <= max(gone))


def drop_days(lake: Lake, tables: Iterable[Table], days: Collection[date]) -> Mapping[str, int]:
    """Drop days of tables that are made of listens; the table of plays, which tells that they vanished, last.

    Returns:
        By table, how many of its days were dropped.
    """
    ordered = sorted((table for table in tables if table.is_daily), key=lambda table: table.key == PLAYS.key)
    found = {table.key: len(lake.drop(table.key, days)) for table in ordered} if days else {}
    return {key: count for key, count in found.items() if count}
