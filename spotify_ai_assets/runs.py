"""What every run carries: a trace id, and the host, process and boot that it lives in, so that a dead one is recognised.

A run whose process was killed stays STARTED for ever and keeps its pool slots; nothing in the default launcher looks.
``bury_dead_runs`` does, at each start of the command line and each tick of its sensor. It sees the processes of its own host; of runs
on other hosts it hears the heart (``heartbeat.py``) and counts for how many ticks that was silent.
"""

import os
import socket
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES  # no public name lists them

from spotify_ai_assets.resources.audit import USER, user_name
from spotify_ai_assets.resources.heartbeat import beats_of, keep_beating
from spotify_ai_assets.resources.lake import Origin
from spotify_ai_assets.resources.traceparent import TRACEPARENT, as_trace, enter, launching, of_step, parse
from spotify_ai_assets.settings import ROOT

# Stable features behind names that are still marked beta; each process would print these.
for _message in ("Parameter `backfill_policy`", "Parameter `owners`", "Handling yaml-defined logging configuration"):
    warnings.filterwarnings("ignore", _message, dg.BetaWarning)

TRACE = "spotify_ai/trace_id"
ONLY_STALE = "spotify_ai/only_stale"
REAPED = "spotify_ai/reaped"
"""The tag of a run that was failed because it was dead; its value is the run's own id, since a retry inherits tags."""
SILENT_TICKS = 5
"""After so many looks, a minute apart, at which a heart had not beaten since the first, a run on another host is dead."""

_HOST, _PID, _BOOT, _BIRTH = "spotify_ai/host", "spotify_ai/pid", "spotify_ai/boot_id", "spotify_ai/process_start"


def open_instance() -> dg.DagsterInstance:
    """The instance of the UI: that of DAGSTER_HOME, else the one that the checkout's ``dagster.yaml`` describes."""
    os.environ.setdefault("DAGSTER_HOME", str(ROOT))
    return dg.DagsterInstance.get()


def launch_tags(**extra: str) -> dict[str, str]:
    """The tags of a run that is about to be launched: its trace, who asks for it and what else is given.

    The trace is that of what this process was started by, by its variable ``TRACEPARENT``, else a new one.
    """
    launched_by = launching()
    return {TRACE: launched_by.trace_id, TRACEPARENT: str(launched_by), USER: user_name(), **extra}


def trace_of(run_id: str, tags: Mapping[str, str]) -> str:
    """The trace of a run: what its launcher gave it, else its own id without the dashes."""
    return tags.get(TRACE) or run_id.replace("-", "")


def process_tags(pid: int | None = None) -> dict[str, str]:
    """Which process, of which boot of which host, a run lives in: this one unless given."""
    pid = pid or os.getpid()
    return {_HOST: socket.gethostname(), _PID: str(pid), _BOOT: _boot_id(), _BIRTH: _birth(pid)}


def claim(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Origin:
    """Note on a run which process executes it, and give it a trace id if its launcher did not.

    A run that is tried again has the tags of its parent, so what they say of a process is replaced. Children of this process and the
    messages that it sends belong to the step from now on.

    Returns:
        The run and its trace, for commits and log lines.
    """
    run = context.run
    trace = trace_of(run.run_id, run.tags)
    enter(of_step(as_trace(trace), run.run_id, context.get_step_execution_context().step.key))
    noted = {TRACE: trace, **_launched_by(as_trace(trace), run.tags), **process_tags(_worker(context.instance, run.run_id))}
    if any(run.tags.get(name) != value for name, value in noted.items()):
        context.instance.add_run_tags(run.run_id, noted)
    keep_beating(context.instance, run.run_id)
    return Origin(run.run_id, noted[TRACE])


def _launched_by(trace: str, tags: Mapping[str, str]) -> dict[str, str]:
    """What a run was launched by, where its tags do not say so in this trace."""
    told = parse(tags.get(TRACEPARENT))
    return {} if told and told.trace_id == trace else {TRACEPARENT: str(launching(trace))}


def refusals(event: dg.DagsterEvent) -> dict[str, str]:
    """The days that a failed step refused, each with the reason."""
    failure = event.step_failure_data.user_failure_data
    refused = failure.metadata.get("refused") if failure else None
    # The stubs allow JSON metadata to be any JSON; what is noted here is a mapping.
    return dict(refused.value) if isinstance(refused, dg.JsonMetadataValue) else {}  # type: ignore[arg-type]


class Heard(NamedTuple):
    """What was heard of a run on another host.

    Attributes:
        beat: The beat that came last.
        ticks: At how many looks since then there was no other.
    """

    beat: str
    ticks: int


def listen(instance: dg.DagsterInstance, heard: Mapping[str, Heard]) -> dict[str, Heard]:
    """Listen to the hearts of the runs on other hosts.

    Looks are counted and times are not compared, so that neither a clock that jumps nor two that differ declare anybody dead. A run
    whose heart never beat is left alone: it may be one that has not begun.

    Args:
        instance: Where they are recorded.
        heard: What this gave at the look before.
    """
    here = socket.gethostname()
    away = [
        run for run in instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS_RUN_STATUSES))) if run.tags.get(_HOST) not in (None, here)
    ]
    found = {}
    for run_id, beat in beats_of(instance, [run.run_id for run in away]).items():
        before = heard.get(run_id)
        found[run_id] = Heard(beat, before.ticks + 1 if before and before.beat == beat else 0)
    return found


def bury_dead_runs(instance: dg.DagsterInstance, heard: Mapping[str, Heard] | None = None) -> list[str]:
    """Fail the runs whose process is gone, and free the pool slots that they and finished runs still hold.

    A run that no step has claimed yet is left to Dagster's own run monitoring: its tags may be those of its parent. Where a daemon
    runs, it tries a run once more that was failed here and that it can launch.

    Args:
        instance: Where they are recorded.
        heard: What ``listen`` gave of runs on other hosts; without it only those of this host are judged.

    Returns:
        The ids of the runs that were failed.
    """
    buried = []
    for run in instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS_RUN_STATUSES))):
        reason = _death(run, heard or {})
        if reason and run.tags.get(_PID) == str(_worker(instance, run.run_id)):
            instance.add_run_tags(run.run_id, {REAPED: run.run_id})
            instance.report_run_failed(run, reason)
            buried.append(run.run_id)
    _free_slots(instance)
    return buried


def _death(run: dg.DagsterRun, heard: Mapping[str, Heard]) -> str | None:
    """What a run died of, ``None`` of one that lives or that nobody here can judge."""
    if run.tags.get(_HOST) == socket.gethostname():
        return None if _lives(run.tags) else "Its process is gone: killed, or the machine was restarted."
    told = heard.get(run.run_id)
    if told and told.ticks >= SILENT_TICKS:
        return "Its host is gone, or cut off: nothing was heard of it for some minutes."
    return None


def _worker(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """The process that a run was started in; its steps may have processes of their own. ``None`` before its start."""
    started = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_START)
    return started[-1].get_dagster_event().pid if started else None


def _free_slots(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    for run_id in storage.get_concurrency_run_ids() if storage.supports_global_concurrency_limits else ():
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            storage.free_concurrency_slots_for_run(run_id)


def _lives(tags: Mapping[str, str]) -> bool:
    return tags.get(_BOOT) == _boot_id() and tags.get(_BIRTH) == _birth(int(tags.get(_PID, "0")))


def _boot_id() -> str:
    return _read("/proc/sys/kernel/random/boot_id").strip()


def _birth(pid: int) -> str:
    """When a process started, in clock ticks since boot: a pid that was given to another process has another one."""
    return "".join(_read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19:20])


def _read(path: str) -> str:
    """A file of Linux's /proc; empty where there is none, so that elsewhere no run counts as dead."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
