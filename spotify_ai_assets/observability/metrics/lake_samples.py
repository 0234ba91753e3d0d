"""Samples of the lake and of what is made from it: tables, what is out of date, intake, models and indices."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.observability.metrics.families import Sample
from spotify_ai_assets.resources import lake_care
from spotify_ai_assets.resources.artifacts import Artifacts
from spotify_ai_assets.resources.lake import Lake, State
from spotify_ai_assets.staleness import Ledger, plan

_SLICES = 64
"""Models with more figures than this are shown without slices."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What is known of the tables of a lake.

    Attributes:
        states: Of every readable table, its partitions' states by name.
        unreadable: Keys of tables that cannot be read, or whose log is not whole.
        stale: How many partitions are out of date, by table.
    """

    states: Mapping[str, Mapping[str, State]]
    unreadable: tuple[str, ...]
    stale: Mapping[str, int]


def read_tables(lake: Lake) -> Tables:
    """Look at every table: its log, the footers of its files, and what is out of date."""
    states: dict[str, Mapping[str, State]] = {}
    unreadable = []
    for key in lake.tables:
        try:
            if lake_care.is_torn(lake.storage, key):
                unreadable.append(key)
            states[key] = lake.states(key)
        except (PlatformError, OSError):
            unreadable.append(key)
    return Tables(states, tuple(dict.fromkeys(unreadable)), _count_stale(lake.tables, states))


def _count_stale(tables: Mapping[str, Table], states: Mapping[str, Mapping[str, State]]) -> dict[str, int]:
    ledger = Ledger(lambda key: states.get(key, {}))
    daily = {read.key for table in tables.values() for read in table.reads if tables[read.key].is_daily and not tables[read.key].reads}
    days = sorted({day for key in daily for day in ledger.days(key)})
    span = [date.fromordinal(number) for number in range(days[0].toordinal(), days[-1].toordinal() + 1)] if days else []
    # A model is trained when asked for, so it is not stale whenever its inputs changed.
    followed = [table.key for table in tables.values() if table.reads and not table.is_model]
    found: dict[str, int] = dict.fromkeys(followed, 0)
    for each in plan(tables, followed, span, ledger):
        found[each.key] += 1
    return found


def tell_lake(tables: Tables, contracts: Mapping[str, Table]) -> Iterator[Sample]:
    """Rows, bytes, files, partitions, the newest day, and what is out of date, by table."""
    for key in contracts:
        yield Sample("spotify_ai_table_readable", (key,), key not in tables.unreadable)
        states = tables.states.get(key, {})
        figures = {
            "rows": sum(state.rows for state in states.values()),
            "bytes": sum(state.size for state in states.values()),
            "files": sum(len(state.paths) for state in states.values()),
            "partitions": len(states),
            "making_seconds": sum(state.seconds for state in states.values()),
        }
        for name, value in figures.items():
            yield Sample(f"spotify_ai_asset_{name}", (key,), value)
        if contracts[key].is_daily and states:
            newest = datetime.fromisoformat(max(states)).replace(tzinfo=UTC)
            yield Sample("spotify_ai_asset_newest_day_timestamp_seconds", (key,), newest.timestamp())
        if key in tables.stale:
            yield Sample("spotify_ai_asset_stale_partitions", (key,), tables.stale[key])
        status = "missing" if not states else "stale" if tables.stale.get(key) else "fresh"
        yield Sample("dagster_asset_stale_status", (key, status), 1)


def read_quality(lake: Lake) -> Iterator[Sample]:
    """Counts of intake and of what it rejected, from the tables whose columns tell them."""
    for key, table in lake.tables.items():
        names = set(table.schema)
        if {"stored", "duplicate", "rejected"} <= names:
            sums = lake.scan(key).select(pl.col("stored", "duplicate", "rejected").sum()).collect().row(0, named=True)
            for result, rows in sums.items():
                yield Sample("spotify_ai_intake_rows", (key, result), rows)
        if "rule" in names and key.endswith("/rejected"):
            for rule, rows in lake.scan(key).group_by("rule").len().sort("rule").collect().iter_rows():
                yield Sample("spotify_ai_rejected_rows", (key, rule), rows)


def read_models(lake: Lake, artifacts: Artifacts) -> Iterator[Sample]:
    """Versions and ages of artifacts, and what was measured of models and indices."""
    for name in artifacts.names():
        versions = artifacts.versions(name)
        yield Sample("spotify_ai_artifact_versions", (name,), len(versions))
        created = {each.version: datetime.fromisoformat(each.created_at).timestamp() for each in versions}
        used = {alias: version for alias, version in artifacts.pointers(name).aliases.items() if version in created}
        for alias, version in sorted((used or {"newest": versions[-1].version}).items()):
            yield Sample("spotify_ai_artifact_created_timestamp_seconds", (name, alias), created[version])
    for key, table in lake.tables.items():
        if table.primary_key in (("metric",), ("metric", "slice")):
            yield from _measured(lake.scan(key).collect(), key)


def _measured(rows: pl.DataFrame, key: str) -> Iterator[Sample]:
    """The figures of a model's or an index's table; without slices where they are many."""
    if "slice" not in rows.columns:
        rows = rows.with_columns(slice=pl.lit(""))
    if rows.height > _SLICES:
        rows = rows.filter(slice="").head(_SLICES)
    for metric, part, value in rows.drop_nulls("value").select("metric", "slice", "value").iter_rows():
        yield Sample("spotify_ai_model_metric", (key, metric, part), value)
