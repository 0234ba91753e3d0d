"""Backfills from the command line: what is stale, making it in a few ranged runs, counting it again.

The work is the ``backfill`` job, and for tables that have no days the ``refresh`` job, run in this process on the same instance as
the UI, so no daemon is needed and the history shows it. Progress is in the lake, where partitions are committed
as they are made: a killed backfill goes on where it stopped.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any

import dagster as dg

from spotify_ai_assets.contracts import SHARDS, Table, name_of
from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.launching import run_in_foreground
from spotify_ai_assets.loading import asset_key
from spotify_ai_assets.maintenance.jobs import CHUNK_DAYS, MADE, SOURCES, UNDATED, event_days
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.resources.digests import digest
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.run_events import describe_error
from spotify_ai_assets.runs import ONLY_STALE, TRACE, launch_tags, refusals
from spotify_ai_assets.staleness import Ledger, Stale, in_order, partitions_of, plan
from spotify_ai_assets.tables import TABLES

_UNKNOWN_SECONDS = 0.05
LONGEST_CHUNK_DAYS, SMALL_ROWS = 366, 50_000
"""A run has a cost of its own, so that a chunk of days goes on as long as it holds no more rows than this."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a backfill would do.

    Attributes:
        stale: What is out of date, and what may become so on the way.
        seconds: What making it cost before, by table; estimated where a table has no history.
    """

    stale: list[Stale]
    seconds: dict[str, float]


@dataclass(slots=True)
class Outcome:
    """What a backfill did.

    Attributes:
        runs: The Dagster runs, in order.
        days: Days that it went through.
        made: Partitions that were made again.
        changed: Those of them whose rows differ from before.
        refused: Days that were refused, by table and day, with the reason.
        failed: What failed otherwise, by table, with the reason: publishing its pages, for one.
    """

    runs: list[str] = field(default_factory=list)
    days: int = 0
    made: int = 0
    changed: int = 0
    refused: dict[str, dict[str, str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was refused and nothing failed."""
        return not self.refused and not self.failed


def select_tables(names: Iterable[str]) -> list[Table]:
    """The tables that names select, each after those that it reads: a full key, a domain, or nothing for all.

    Raises:
        MissingInputError: A name selects nothing.
    """
    wanted: set[str] = set()
    for name in names:
        found = {table.key for table in (*MADE, *UNDATED) if name in (table.key, table.domain)}
        if not found:
            raise MissingInputError(f"no table that is made from others is called {name}")
        wanted |= found
    return in_order(TABLES, wanted or {table.key for table in (*MADE, *UNDATED)})


def days_between(first: date | None, last: date | None, ledger: Ledger) -> list[date]:
    """The days of a range; where an end is open, up to the first or last day that has listens."""
    known = event_days(ledger)
    if not known and (first is None or last is None):
        return []
    begin, end = first or known[0], last or known[-1]
    return [begin + timedelta(days=offset) for offset in range((end - begin).days + 1)]


def make_plan(lake: Lake, tables: Sequence[Table], first: date | None, last: date | None) -> Plan:
    """What is stale between two days, and what it will cost by the median of past costs."""
    ledger = Ledger(lake.states)
    stale = plan(TABLES, [table.key for table in tables], days_between(first, last, ledger), ledger)
    seconds: dict[str, float] = {}
    for table in tables:
        past = [state.seconds for state in ledger.states(table.key).values()]
        count = sum(each.key == table.key for each in stale)
        if count:
            seconds[table.key] = count * (statistics.median(past) if past else _UNKNOWN_SECONDS)
    return Plan(stale, seconds)


def run_backfill(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    lake: Lake,
    tables: Sequence[Table],
    first: date | None,
    last: date | None,
    *,
    progress: Callable[[date, date, int, int], None] = lambda first, last, done, total: None,
) -> Outcome:
    """Make everything that is stale between two days, chunk by chunk, and in one run what has no days.

    A chunk is one ranged run of the ``backfill`` job. A refused day fails its run after all other days were made; the chunk is
    then run again without it, so that what does not depend on it is made and recorded.

    Args:
        definitions: The code location.
        instance: Where the runs are recorded.
        lake: Where everything lies.
        tables: What to make.
        first: First day, or ``None`` for the first that has listens.
        last: Last day, or ``None`` for the last that has listens.
        progress: Told each chunk's days, and days done of all.
    """
    outcome = Outcome()
    daily = [table for table in tables if table.is_daily]
    days = days_between(first, last, Ledger(lake.states)) if daily else []
    keys = [table.key for table in daily]
    trace = launch_tags()[TRACE]
    for chunk in _chunks(days, Ledger(lake.states)):
        progress(chunk[0], chunk[-1], outcome.days, len(days))
        outcome.days += len(chunk)
        ledger = Ledger(lake.states)
        stale = sorted(each.partition for each in plan(TABLES, keys, chunk, ledger) if isinstance(each.partition, date))
        if stale:
            _run_range(definitions, instance, lake, daily, stale[0], stale[-1], trace, outcome)
    if days:
        progress(days[0], days[-1], len(days), len(days))
    for _, undated in groupby((table for table in tables if not table.is_daily), key=lambda table: table.domain):
        selected = list(undated)
        if plan(TABLES, [table.key for table in selected], [], Ledger(lake.states)):
            _run(definitions, instance, lake, "refresh", selected, (SHARDS[0], SHARDS[-1]), trace, outcome)
    return outcome


def _chunks(days: Sequence[date], ledger: Ledger) -> Iterator[list[date]]:
    """Days cut into ranges for one run each: a month, or up to a year where the days are small."""
    chunk: list[date] = []
    rows = 0
    for day in days:
        if len(chunk) >= CHUNK_DAYS and (rows > SMALL_ROWS or len(chunk) >= LONGEST_CHUNK_DAYS):
            yield chunk
            chunk, rows = [], 0
        chunk.append(day)
        rows += sum(state.rows for key in SOURCES if (state := ledger.state(key, day)))
    if chunk:
        yield chunk


def _run_range(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    lake: Lake,
    tables: Sequence[Table],
    first: date,
    last: date,
    trace: str,
    outcome: Outcome,
) -> None:
    refused = _run(definitions, instance, lake, "backfill", tables, (first, last), trace, outcome)
    bad = {date.fromisoformat(name) for days in refused.values() for name in days}
    for begin, end in _around(first, last, bad):
        _run_range(definitions, instance, lake, tables, begin, end, trace, outcome)


def _run(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    lake: Lake,
    job: str,
    tables: Sequence[Table],
    span: tuple[date, date] | tuple[str, str],
    trace: str,
    outcome: Outcome,
) -> dict[str, dict[str, str]]:
    """One run over a range of days or shards, and what it changed.

    Returns:
        The refused partitions and reasons by table.
    """
    before = {table.key: lake.states(table.key) for table in tables}
    refused = _execute(definitions, instance, job, tables, span, trace, outcome)
    for table in tables:
        for name, state in lake.states(table.key).items():
            old = before[table.key].get(name)
            if old is None or old.paths != state.paths:
                outcome.made += 1
                outcome.changed += old is None or old.digest != state.digest
    for key, days in refused.items():
        outcome.refused.setdefault(key, {}).update(days)
    return refused


def _around(first: date, last: date, bad: set[date]) -> list[tuple[date, date]]:
    """The ranges that remain of a range without some of its days; none where none of its days is bad."""
    if not bad:
        return []
    ranges, begin = [], first
    for day in [*sorted(bad), last + timedelta(days=1)]:
        if begin < day:
            ranges.append((begin, day - timedelta(days=1)))
        begin = day + timedelta(days=1)
    return ranges


def _execute(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    tables: Sequence[Table],
    span: tuple[date, date] | tuple[str, str],
    trace: str,
    outcome: Outcome,
) -> dict[str, dict[str, str]]:
    result = run_in_foreground(
        definitions.resolve_job_def(job),
        instance,
        {TRACE: trace, ONLY_STALE: "true", **range_tags(*span)},
        asset_selection=[asset_key(table) for table in tables],
    )
    outcome.runs.append(result.run_id)
    refused: dict[str, dict[str, str]] = {}
    for event in (event for event in result.all_events if event.is_step_failure):
        key = (event.step_key or "").replace("__", "/", 1)
        if days := refusals(event):
            refused[key] = days
        else:
            outcome.failed[key] = describe_error(event.step_failure_data.error)
    return refused


def recount(
    lake: Lake, tables: Sequence[Table], first: date | None, last: date | None, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Read every partition between two days again and compare its rows with its recorded digest and count.

    Returns:
        ``{"partitions": number, "rows": number, "differing": [names], "stale": [names]}``.
    """
    ledger = Ledger(lake.states)
    days = days_between(first, last, ledger)
    found = [
        (table, each, state)
        for table in tables
        for each in partitions_of(table, days, TABLES, ledger)
        if (state := ledger.state(table.key, each))
    ]
    differing = []
    for done, (table, each, state) in enumerate(found, 1):
        rows = lake.open(table.key, [state], from_disk=True).collect().sort(table.primary_key)
        if digest(rows.drop(table.partitioned_by or [])) != state.digest or rows.height != state.rows:
            differing.append(f"{table.key}@{name_of(each)}")
        progress(table.key, done, len(found))
    stale = plan(TABLES, [table.key for table in tables], days, ledger)
    return {
        "partitions": len(found),
        "rows": sum(state.rows for *_, state in found),
        "differing": differing,
        "stale": [f"{each.key}@{name_of(each.partition)}" for each in stale],
    }


def describe_status(instance: dg.DagsterInstance, lake: Lake) -> dict[str, Any]:
    """Every table with its extent and what of it is stale, and the newest runs."""
    ledger = Ledger(lake.states)
    days = event_days(ledger)
    stale = Counter(each.key for each in plan(TABLES, [table.key for table in (*MADE, *UNDATED)], days, ledger))
    tables = []
    for key, table in TABLES.items():
        states = ledger.states(key)
        names = sorted(states) if table.is_daily else []
        tables.append(
            {
                "table": key,
                "partitions": len(states),
                "first": names[0] if names else None,
                "last": names[-1] if names else None,
                "rows": sum(state.rows for state in states.values()),
                "megabytes": round(sum(state.size for state in states.values()) / 1e6, 1),
                "stale": stale[key] if table.reads and not table.is_model else None,
            }
        )
    runs = [
        {
            "run": record.dagster_run.run_id,
            "job": record.dagster_run.job_name,
            "status": record.dagster_run.status.value,
            "started": datetime.fromtimestamp(record.start_time, UTC).isoformat(timespec="seconds") if record.start_time else None,
        }
        for record in instance.get_run_records(limit=10)
    ]
    return {"tables": tables, "runs": runs}


def run_checks(definitions: dg.Definitions, instance: dg.DagsterInstance) -> dict[str, Any]:
    """Run every check without making anything.

    Returns:
        ``{"passed": number, "failed": [names], "warned": [names], "run": id}``.
    """
    result = run_in_foreground(definitions.resolve_job_def("verify"), instance, launch_tags())
    found = result.get_asset_check_evaluations()
    failed = [each for each in found if not each.passed]
    return {
        "run": result.run_id,
        "passed": sum(each.passed for each in found),
        "failed": sorted(_check_name(each) for each in failed if each.severity == dg.AssetCheckSeverity.ERROR),
        "warned": sorted(_check_name(each) for each in failed if each.severity == dg.AssetCheckSeverity.WARN),
    }


def _check_name(evaluation: Any) -> str:
    return f"{evaluation.asset_key.to_user_string()}:{evaluation.check_name}"
