"""Jobs over all tables: making days, checking them, following what became stale, burying dead runs."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES  # no public name lists them

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.loading import CONTRACT_CHECK, asset_key, partition_metadata, sensor
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.resources.lake import WHOLE, Lake, Recipe, State
from spotify_ai_assets.runs import ONLY_STALE, Heard, bury_dead_runs, launch_tags, listen, refusals
from spotify_ai_assets.staleness import Ledger, Stale, plan, recipe_now
from spotify_ai_assets.tables import TABLES

CHUNK_DAYS = 31
_NEWEST = 10_000
"""How many materialisations are looked through, the newest first; the most that Dagster gives at a time."""

_SETTLED = "spotify_ai/settled"
MADE = [table for table in TABLES.values() if table.is_daily and table.reads]
"""The daily tables that are made from others."""
UNDATED = [table for table in TABLES.values() if not table.is_daily and table.reads and not table.is_model]
"""The sharded and whole tables that are made from others whenever those change."""
SOURCES = sorted({reads.key for table in MADE for reads in table.reads if TABLES[reads.key].is_daily and not TABLES[reads.key].reads})
"""The daily tables that others are made from and that intake fills."""

_assets = dg.AssetSelection.assets(*(asset_key(table) for table in MADE))
_contracts = dg.AssetSelection.checks(*(dg.AssetCheckKey(asset_key(table), CONTRACT_CHECK) for table in MADE))
_all_contracts = dg.AssetSelection.checks(*(dg.AssetCheckKey(asset_key(table), CONTRACT_CHECK) for table in TABLES.values() if table.reads))


backfill = dg.define_asset_job(
    "backfill",
    selection=_assets | _contracts,
    description=_("Makes a range of days of every daily table in one run. Each day is validated before it is committed."),
)

refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.assets(*(asset_key(table) for table in UNDATED)),
    description=_("Makes the tables that have no days, sharded ones and wholes, wherever they are out of date."),
)

verify = dg.define_asset_job(
    "verify",
    selection=dg.AssetSelection.all_asset_checks() - _all_contracts,
    description=_("Runs the checks of all assets without making anything."),
)


def event_days(ledger: Ledger) -> list[date]:
    """Every day from the first to the last that has listens; empty days between belong to the tables too."""
    days = [day for key in SOURCES for day in ledger.days(key)]
    return [min(days) + timedelta(days=offset) for offset in range((max(days) - min(days)).days + 1)] if days else []


def chunks(days: Iterable[date], without: Collection[date] = ()) -> Iterator[list[date]]:
    """Days cut into ranges for one run each: at most ``CHUNK_DAYS`` long, none over a day that is left out."""
    chunk: list[date] = []
    for day in sorted(set(days) - set(without)):
        if chunk and (day >= chunk[0] + timedelta(days=CHUNK_DAYS) or any(chunk[-1] < each < day for each in without)):
            yield chunk
            chunk = []
        chunk.append(day)
    if chunk:
        yield chunk


@dataclass(slots=True)
class _Memory:
    """What ``stale_days`` remembers from tick to tick, by digests of what is stale.

    Attributes:
        asked: The days it asked for then, and what was stale of each.
        refused: The days that were refused, and what was stale of each when it was asked for.
        ranges: The ranges that it asked for and that are still stale.
    """

    asked: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    ranges: list[str] = field(default_factory=list)


@sensor(job=backfill, minimum_interval_seconds=60, required_resource_keys={"lake"})
def stale_days(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Makes again what is out of date: days whose listens arrived late or were corrected, and all that depends on them.

    One run at a time, at most 31 days each. The same state is requested once: a day that was refused waits until its inputs
    or its code change, and the days around it are made without it.
    """
    lake: Lake = context.resources.lake
    if context.instance.get_runs_count(dg.RunsFilter(job_name=backfill.name, statuses=list(NOT_FINISHED_STATUSES))):
        return dg.SkipReason("a backfill is running")
    ledger = Ledger(lake.states)
    memory = _Memory(**json.loads(context.cursor)) if context.cursor else _Memory()
    memory.refused |= {name: memory.asked[name] for name in _refused_last(context.instance) if name in memory.asked}
    days, keys = event_days(ledger), [table.key for table in MADE]
    stale = plan(TABLES, keys, days, ledger)
    state = _state(stale, ledger)
    memory.refused = {name: seen for name, seen in memory.refused.items() if state.get(name) == seen}
    if memory.refused:  # what only waits for a refused day is not stale
        stale = plan(TABLES, keys, [day for day in days if str(day) not in memory.refused], ledger)
    waiting = [date.fromisoformat(name) for name in memory.refused]
    found = {each.partition for each in stale if isinstance(each.partition, date)}
    ranges = {_brief([(str(day), state.get(str(day))) for day in chunk]): chunk for chunk in chunks(found, waiting)}
    memory.ranges = [each for each in memory.ranges if each in ranges]
    requests = []
    if fresh := [each for each in ranges if each not in memory.ranges]:
        chunk = ranges[fresh[0]]
        memory.ranges.append(fresh[0])
        memory.asked = {str(day): state.get(str(day), "") for day in chunk}
        requests = [dg.RunRequest(tags=launch_tags(**{ONLY_STALE: "true"}, **range_tags(chunk[0], chunk[-1])))]
    return dg.SensorResult(
        requests,
        skip_reason=None if requests else "what is stale was refused; it waits for its inputs to change" if state else "nothing is stale",
        cursor=json.dumps(asdict(memory)),
    )


def _state(stale: Iterable[Stale], ledger: Ledger) -> dict[str, str]:
    """By day, a digest of what is out of date and of what it would be made from now."""
    found: dict[str, list[tuple[str, Recipe]]] = defaultdict(list)
    for each in stale:
        if any(not reason.startswith("may change") for reason in each.reasons):
            found[str(each.partition)].append((each.key, recipe_now(TABLES[each.key], each.partition, TABLES, ledger)))
    return {
        name: _brief(sorted((key, recipe.code_version, sorted(recipe.inputs.items())) for key, recipe in recipes))
        for name, recipes in found.items()
    }


def _brief(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _refused_last(instance: dg.DagsterInstance) -> set[str]:
    """The days that the newest backfill refused."""
    runs = instance.get_runs(dg.RunsFilter(job_name=backfill.name), limit=1)
    failures = [event for run in runs for event in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)]
    return {day for event in failures for day in refusals(event.get_dagster_event())}


@sensor(minimum_interval_seconds=60, required_resource_keys={"lake"})
def dead_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Fails runs whose process is gone, frees the pool slots that they hold, and records what they had committed.

    Of this host it sees the processes, a restart of the machine included; a run on another host is dead once its heart was silent
    for some minutes. The daemon then tries it once more.
    """
    before = {run_id: Heard(*told) for run_id, told in json.loads(context.cursor or "{}").items()}
    heard = listen(context.instance, before)
    buried, told = settle_dead_runs(context.instance, context.resources.lake, heard)
    words = f"{buried} dead runs were failed, {told} partitions recorded" if buried or told else "no dead runs"
    return dg.SensorResult(skip_reason=words, cursor=json.dumps(heard))


def settle_dead_runs(instance: dg.DagsterInstance, lake: Lake, heard: Mapping[str, Heard] | None = None) -> tuple[int, int]:
    """Fail the runs whose process is gone, and record what failed runs had committed.

    Args:
        instance: Where runs are recorded.
        lake: What they commit to.
        heard: What was heard of runs on other hosts.

    Returns:
        How many runs were failed, and how many partitions recorded.
    """
    buried = bury_dead_runs(instance, heard)
    ended = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
    # The tag holds the run's own id, since a run that is tried again has the tags of its parent.
    unsettled = {run.run_id for run in instance.get_runs(ended, limit=50) if run.tags.get(_SETTLED) != run.run_id}
    told = report_unrecorded(instance, lake, unsettled)
    for run_id in unsettled:
        instance.add_run_tags(run_id, {_SETTLED: run_id})
    return len(buried), told


def report_unrecorded(instance: dg.DagsterInstance, lake: Lake, runs: Collection[str]) -> int:
    """Tell Dagster of partitions that runs committed to the lake without recording them, one event each.

    A ranged run that dies records nothing of the table that it was making, although its days are committed.

    Returns:
        How many were told.
    """
    told = 0
    for key, table in lake.tables.items() if runs else ():
        made = {name: state for name, state in lake.states(key).items() if state.origin.run_id in runs}
        for name in made.keys() - _recorded(instance, table, made):
            state = made[name]
            instance.report_runless_asset_event(
                dg.AssetMaterialization(asset_key(table), partition=name or None, metadata=partition_metadata(state))
            )
            told += 1
    return told


def _recorded(instance: dg.DagsterInstance, table: Table, made: Mapping[str, State]) -> set[str]:
    """The partitions whose newest materialisation has the digest that they have in the lake."""
    wanted = dg.AssetRecordsFilter(asset_key(table), asset_partitions=sorted(made) if table.partitioned_by else None)
    found: dict[str, str] = {}
    for record in instance.fetch_materializations(wanted, limit=_NEWEST).records:
        if record.asset_materialization and (digest := record.asset_materialization.metadata.get("digest")):
            found.setdefault(record.partition_key or WHOLE, str(digest.value))
    return {name for name, state in made.items() if found.get(name) == state.digest[:16]}


leaves = dg.AutomationConditionSensorDefinition(
    "leaves",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=60,
    description=_("Refreshes the leaves of the graph, such as reports, when their inputs were made again and passed their checks."),
)
