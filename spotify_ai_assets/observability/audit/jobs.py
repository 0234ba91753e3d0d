"""Following what happens into the audit trail, and exporting its head.

What is recorded once is known by its name in the trail itself, so looking at something again costs a look-up and never a second
record: cursors only spare the work. The daemon's sensor and a command do the same and may do it at once.
"""

import inspect
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES  # no public name lists them

import spotify_ai_assets
from spotify_ai_assets.errors import PlatformError, TransientError
from spotify_ai_assets.loading import schedule, sensor
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.observability.audit.entries import (
    Finished,
    Inputs,
    Made,
    deed_of_configuration,
    deed_of_event,
    deed_of_pointer,
    deed_of_unreadable_run,
    deeds_of_run,
    digest,
    pointer_once,
    run_once,
)
from spotify_ai_assets.observability.audit.verification import export_heads
from spotify_ai_assets.resources.artifacts import open_artifacts
from spotify_ai_assets.resources.audit import Audit, Who, open_audit, who_asks, who_of
from spotify_ai_assets.resources.chain_records import canonical
from spotify_ai_assets.resources.exclusive import alone
from spotify_ai_assets.resources.keys import open_key
from spotify_ai_assets.resources.lake import Lake, State
from spotify_ai_assets.resources.texts import readable
from spotify_ai_assets.runs import launch_tags, trace_of
from spotify_ai_assets.settings import Settings

_CURSOR = "spotify_ai.audit_trail"
_RUNS, _NEWEST_RUNS = 200, 20
_EVENTS, _LOOK_BACK = 2000, 200
"""How many events are looked at in one go, and how many before the cursor once more: a database may show one late."""

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Cursor:
    """Up to where everything was looked at.

    Attributes:
        run: The newest run that was looked at.
        waiting: Runs before it that had not ended.
        event: The newest materialisation that was looked at.
    """

    run: str = ""
    waiting: list[str] = field(default_factory=list)
    event: int = 0


def catch_up(instance: dg.DagsterInstance, lake: Lake, settings: Settings, audit: Audit | None = None, seconds: float = 20.0) -> int:
    """Record what happened since the trail was looked after last: runs that ended, what they made, promotions, configuration.

    Args:
        instance: What happened.
        lake: What partitions were made from.
        settings: Name the data folder; their change is recorded.
        audit: The trail; that of the settings unless given.
        seconds: When to stop; the rest is for the next time.

    Returns:
        How many records were appended.

    Raises:
        TransientError: The trail does not answer; nothing is lost by that.
    """
    trail = audit or open_audit(settings)
    end = time.monotonic() + seconds
    parts: tuple[Callable[[_Cursor], int], ...] = (
        lambda cursor: _follow_runs(instance, lake, trail, cursor, end),
        lambda cursor: _follow_events(instance, trail, cursor),
        lambda _cursor: _follow_pointers(instance, settings, trail),
        lambda _cursor: _follow_configuration(instance, lake, settings, trail),
    )
    cursor, added, failures = _read_cursor(instance), 0, []
    for part in parts:
        reached = replace(cursor, waiting=[*cursor.waiting])
        try:
            added += part(reached)
        except TransientError:
            raise
        except Exception as error:  # what cannot be recorded of one part must not silence the others
            failures.append(error)
        else:
            cursor = reached
            instance.daemon_cursor_storage.set_cursor_values({_CURSOR: json.dumps(asdict(cursor))})
    if failures:
        raise failures[0]
    return added


def _read_cursor(instance: dg.DagsterInstance) -> _Cursor:
    kept = instance.daemon_cursor_storage.get_cursor_values({_CURSOR}).get(_CURSOR)
    cursor = _Cursor(**json.loads(kept)) if kept else _Cursor()
    # A run that was pruned has no place in the order any more, nor has an event of a database that was restored from before it.
    if cursor.run and instance.get_run_by_id(cursor.run) is None:
        cursor.run = ""
    if cursor.event > (instance.event_log_storage.get_maximum_record_id() or 0):
        cursor.event = 0
    return cursor


# Runs --------------------------------------------------------------------------------------------------------------------


def _follow_runs(instance: dg.DagsterInstance, lake: Lake, audit: Audit, cursor: _Cursor, end: float) -> int:
    fresh = instance.get_run_records(limit=_RUNS, ascending=True, cursor=cursor.run or None)
    late = instance.get_run_records(dg.RunsFilter(run_ids=cursor.waiting)) if cursor.waiting else []
    seen = {record.storage_id: record for record in [*late, *instance.get_run_records(limit=_NEWEST_RUNS), *fresh]}
    ended = {record.dagster_run.run_id for record in seen.values() if record.dagster_run.status in FINISHED_STATUSES}
    untold = ended - {each.removeprefix(run_once("")) for each in audit.chain.known(map(run_once, ended))}
    in_order = {record.storage_id for record in fresh}
    inputs, added, is_held = partial(_inputs, lake, {}), 0, False
    cursor.waiting = []
    for number, record in sorted(seen.items()):
        name = record.dagster_run.run_id
        if name in untold and time.monotonic() <= end:
            added += _record_run(instance, record, audit, inputs)
        elif name in untold or name not in ended:
            is_held |= name in untold and number in in_order  # the cursor stays before it
            cursor.waiting.append(name)
        if number in in_order and not is_held:
            cursor.run = name
    return added


def _record_run(instance: dg.DagsterInstance, record: dg.RunRecord, audit: Audit, inputs: Inputs) -> int:
    """Record the end of a run; of one whose record cannot be told, that it ended: it must not stop the trail."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return len(audit.record_all(deeds_of_run(_finished(instance, record), inputs)))
    except (TransientError, OSError, SQLAlchemyError):  # nothing is wrong with the run
        raise
    except Exception as error:
        run, kind = record.dagster_run, type(error).__name__
        _LOG.error("what run %s did cannot be recorded: %s", run.run_id, kind)
        return len(audit.record_all([deed_of_unreadable_run(run.run_id, run.job_name, run.status.value.lower(), kind)]))


def _finished(instance: dg.DagsterInstance, record: dg.RunRecord) -> Finished:
    run = record.dagster_run
    events = instance.all_logs(run.run_id, of_type={dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.STEP_FAILURE})
    made = tuple(_made(entry) for entry in events if entry.asset_materialization)
    seconds = None if record.start_time is None or record.end_time is None else round(record.end_time - record.start_time, 3)
    # A sensor's request has the tags of the daemon's user too; the run's own tags say which sensor it was.
    who = who_of(run.tags)
    outcome = run.status.value.lower()
    config = run.run_config if isinstance(run.run_config, Mapping) else {}
    return Finished(run.run_id, run.job_name, outcome, who, trace_of(run.run_id, run.tags), config, seconds, len(events) - len(made), made)


def _made(entry: dg.EventLogEntry) -> Made:
    event = entry.asset_materialization
    assert event is not None
    told = {name: value.value for name, value in event.metadata.items()}
    return Made(
        readable(event.asset_key.to_user_string()),
        readable(event.partition or ""),
        readable(str(told.get("digest", ""))),
        _number(told.get("dagster/partition_row_count", told.get("dagster/row_count"))),
        _number(told.get("bytes")),
        float(_number(told.get("seconds"))),
    )


def _number(value: object) -> Any:
    """A figure of an event; 0 where it is none, such as NaN, which no record can hold."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else 0


def _inputs(lake: Lake, known: dict[str, Mapping[str, State]], made: Made) -> Mapping[str, str] | None:
    """What a partition was made from, as long as nobody has made it again."""
    if made.table not in lake.tables:
        return None
    if made.table not in known:
        try:
            known[made.table] = lake.states(made.table)
        except PlatformError:  # the table cannot be read now; the trail does not wait for it
            known[made.table] = {}
    state = known[made.table].get(made.partition)
    return state.recipe.inputs if state and state.digest.startswith(made.digest or "-") else None


# Materialisations outside of runs ------------------------------------------------------------------------------------------


def _follow_events(instance: dg.DagsterInstance, audit: Audit, cursor: _Cursor) -> int:
    since = dg.EventRecordsFilter(dg.DagsterEventType.ASSET_MATERIALIZATION, after_cursor=max(cursor.event - _LOOK_BACK, 0))
    # Dagster's public question is for one asset at a time; the sensors of Dagster itself ask the storage.
    records = instance.event_log_storage.get_event_records(since, limit=_EVENTS, ascending=True)
    runless = {_event_once(each): each for each in records if not each.run_id}
    fresh = runless.keys() - audit.chain.known(runless)
    deeds = [
        deed_of_event(made, {"kind": "platform" if made.digest else "ui"}, "", once)
        for once, made in ((once, _made(each.event_log_entry)) for once, each in runless.items() if once in fresh)
    ]
    added = len(audit.record_all(deeds)) if deeds else 0
    cursor.event = max([cursor.event, *(each.storage_id for each in records)])
    return added


def _event_once(record: dg.EventLogRecord) -> str:
    """A number alone names no event: a restored database gives its numbers once more."""
    return f"event:{record.storage_id}:{record.timestamp:.6f}"


# Promotions ----------------------------------------------------------------------------------------------------------------


def _follow_pointers(instance: dg.DagsterInstance, settings: Settings, audit: Audit) -> int:
    events = {pointer_once(name, event): (name, event) for name, event in _pointer_events(settings)}
    fresh = events.keys() - audit.chain.known(events)
    deeds = [deed_of_pointer(name, event, _asker(instance, event)) for once, (name, event) in events.items() if once in fresh]
    return len(audit.record_all(deeds)) if deeds else 0


def _pointer_events(settings: Settings) -> Iterator[tuple[str, Mapping[str, Any]]]:
    artifacts = open_artifacts(settings)
    for name in sorted(_pointed(settings.data / "artifacts")):
        for event in artifacts.pointers(name).history:
            yield name, event


def _pointed(root: Path) -> Iterator[str]:
    """The artifacts with pointers; folders of versions, of which there may be very many, are not looked into."""
    for folder, below, files in os.walk(root):
        if "pointers.json" in files:
            yield Path(folder).relative_to(root).as_posix()
            below.clear()
        below[:] = [each for each in below if not each.startswith(".")]


def _asker(instance: dg.DagsterInstance, event: Mapping[str, Any]) -> Who:
    """Who asked for a change of pointers: whoever launched the run that did it, or somebody at the command line."""
    origin = event.get("origin") or {}
    run = instance.get_run_by_id(str(origin.get("dagster_run_id") or "-"))
    return who_of(run.tags) if run else {"kind": "user", **({"name": str(origin["user"])} if origin.get("user") else {})}


# Configuration -------------------------------------------------------------------------------------------------------------


def _follow_configuration(instance: dg.DagsterInstance, lake: Lake, settings: Settings, audit: Audit) -> int:
    last = audit.newest("configured")
    now = describe_configuration(instance, lake, settings)
    deed = deed_of_configuration(now, last.body["outputs"] if last else None, who_asks(), last.sequence if last else 0)
    return len(audit.record_all([deed])) if deed else 0


def describe_configuration(instance: dg.DagsterInstance, lake: Lake, settings: Settings) -> dict[str, str]:
    """A digest of everything that is configured, by name: settings, contracts, the instance, what is switched on and off.

    Settings are digested with a key, since some are secret and others name a person.
    """
    key = open_key(settings, "audit").hex()
    found = {f"setting {each.name}": digest(f"{key} {each.name} {getattr(settings, each.name)}") for each in fields(settings)}
    found["package"] = digest(canonical(sorted((each.key, each.code_version) for each in lake.tables.values())))
    described = Path(os.environ.get("DAGSTER_HOME") or Path(spotify_ai_assets.__file__).parent.parent) / "dagster.yaml"
    found["dagster.yaml"] = digest(described.read_text()) if described.is_file() else ""
    for state in instance.all_instigator_state() if instance.schedule_storage else ():
        # What runs because the code says so is no decision of anybody until it is switched.
        found[f"{state.instigator_type.value.lower()} {state.instigator_name}"] = state.status.value.lower()
    return found


@sensor(minimum_interval_seconds=60, required_resource_keys={"lake", "settings"})
def audit_trail(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Records in the audit trail what happened: runs that ended, what they made from what, promotions, changes of the configuration."""
    added = catch_up(context.instance, context.resources.lake, context.resources.settings)
    return dg.SkipReason(f"{added} records were appended" if added else "nothing new happened")


# Heads ---------------------------------------------------------------------------------------------------------------------


@dg.op(
    required_resource_keys={"settings", "exclusive"},
    out=dg.Out(dg.Nothing),  # else its None is written to the disk for who comes after
    description=_("Counts both chains again and exports their signed heads."),
)
def witness_heads(context: dg.OpExecutionContext) -> None:
    """Export the heads of the audit trail and the erasure ledger."""
    tags = context.run.tags
    figures = export_heads(context.resources.settings, who_of(tags), context.run.run_id, trace_of(context.run.run_id, tags))
    context.add_output_metadata(figures)


@dg.graph
def audit_heads() -> None:
    """Counts the audit trail and the erasure ledger again and exports their signed heads beside the backups.

    What is cut off or written anew afterwards is found, since it differs from what was witnessed. A broken chain fails the run.
    """
    witness_heads()


export_audit_heads = audit_heads.to_job(
    description=_(inspect.cleandoc(audit_heads.description or "")),
    **alone("export_audit_heads"),
    op_retry_policy=dg.RetryPolicy(max_retries=2, delay=2),
)


@schedule(job=export_audit_heads, cron_schedule="7 * * * *", execution_timezone="UTC")
def hourly_audit_heads(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Exports the signed heads of the audit trail and the erasure ledger every hour."""
    return dg.RunRequest(run_key=f"{context.scheduled_execution_time:%Y-%m-%dT%H}", tags=launch_tags())
