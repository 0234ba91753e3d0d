"""What every run carries: a trace id, and the host, process and boot that it lives in, so that a dead one is recognised.

A run whose process was killed stays STARTED for ever and keeps its pool slots; nothing in the default launcher looks.
``bury_dead_runs`` does, at each start of the command line and each tick of its sensor.
"""

import os
import socket
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES  # no public name lists them

from spotify_ai_assets.resources.lake import Origin
from spotify_ai_assets.settings import ROOT

# Stable features behind names that are still marked beta; each process would print these.
for _message in ("Parameter `backfill_policy`", "Parameter `owners`", "Handling yaml-defined logging configuration"):
    warnings.filterwarnings("ignore", _message, dg.BetaWarning)

TRACE = "spotify_ai/trace_id"
ONLY_STALE = "spotify_ai/only_stale"
_HOST, _PID, _BOOT, _BIRTH = "spotify_ai/host", "spotify_ai/pid", "spotify_ai/boot_id", "spotify_ai/process_start"


QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Run configuration of runs in the foreground: their console is silent; the UI and the log file have everything."""


def open_instance() -> dg.DagsterInstance:
    """The instance of the UI: that of DAGSTER_HOME, else the one that the checkout's ``dagster.yaml`` describes."""
    os.environ.setdefault("DAGSTER_HOME", str(ROOT))
    return dg.DagsterInstance.get()


def launch_tags(**extra: str) -> dict[str, str]:
    """The tags of a run that is about to be launched: a new trace id and what else is given."""
    return {TRACE: uuid.uuid4().hex, **extra}


def trace_of(run_id: str, tags: Mapping[str, str]) -> str:
    """The trace of a run: what its launcher gave it, else its own id without the dashes."""
    return tags.get(TRACE) or run_id.replace("-", "")


def process_tags(pid: int | None = None) -> dict[str, str]:
    """Which process, of which boot of which host, a run lives in: this one unless given."""
    pid = pid or os.getpid()
    return {_HOST: socket.gethostname(), _PID: str(pid), _BOOT: _boot_id(), _BIRTH: _birth(pid)}


def claim(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Origin:
    """Note on a run which process executes it, and give it a trace id if its launcher did not.

    A run that is tried again has the tags of its parent, so what they say of a process is replaced.

    Returns:
        The run and its trace, for commits and log lines.
    """
    run = context.run
    noted = {TRACE: trace_of(run.run_id, run.tags), **process_tags(_worker(context.instance, run.run_id))}
    if any(run.tags.get(name) != value for name, value in noted.items()):
        context.instance.add_run_tags(run.run_id, noted)
    return Origin(run.run_id, noted[TRACE])


def refusals(event: dg.DagsterEvent) -> dict[str, str]:
    """The days that a failed step refused, each with the reason."""
    failure = event.step_failure_data.user_failure_data
    refused = failure.metadata.get("refused") if failure else None
    # The stubs allow JSON metadata to be any JSON; what is noted here is a mapping.
    return dict(refused.value) if isinstance(refused, dg.JsonMetadataValue) else {}  # type: ignore[arg-type]


def bury_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fail the runs of this host whose process is gone, and free the pool slots that they and finished runs still hold.

    A run that no step has claimed yet is left to Dagster's own run monitoring: its tags may be those of its parent.

    Returns:
        The ids of the runs that were failed.
    """
    buried = []
    for run in instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS_RUN_STATUSES), tags={_HOST: socket.gethostname()})):
        if _lives(run.tags) or run.tags.get(_PID) != str(_worker(instance, run.run_id)):
            continue
        instance.report_run_failed(run, "Its process is gone: killed, or the machine was restarted.")
        buried.append(run.run_id)
    _free_slots(instance)
    return buried


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
