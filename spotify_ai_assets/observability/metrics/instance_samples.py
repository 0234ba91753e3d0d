"""Samples of what a Dagster instance knows: runs, ticks, daemons, pools, materialisations, checks; and of what the code declares."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from spotify_ai_assets.observability.metrics.families import Sample
from spotify_ai_assets.observability.metrics.roster import Policy, Roster

if TYPE_CHECKING:
    from spotify_ai_assets.resources.instance_facts import Checked, Daemon, Made, Pool, Runs, Ticker

LOCATION = "spotify_ai_assets"
UNKNOWN = "__unknown__"
"""The location of a job that the code location does not declare; no code location is named so."""
ACTIVE = ("queued", "starting", "started")


def tell_runs(runs: "Runs", roster: Roster, completed: Mapping[tuple[str, ...], int]) -> Iterator[Sample]:
    """Runs by job and status; a known job without runs is told as 0.

    Args:
        runs: The runs.
        roster: Which jobs there are.
        completed: Runs that ended since the endpoint started, by job and status.
    """
    known = set(roster.jobs)
    oldest: dict[tuple[str, str], float] = {}
    counts = {(job, status): 0 for job in known for status in ACTIVE}
    for run in runs.active:
        place = run.job, run.status
        counts[place] = counts.get(place, 0) + 1
        oldest[place] = min(oldest.get(place, run.since), run.since)
    for (job, status), count in sorted(counts.items()):
        yield Sample("dagster_active_runs", (job, _location(job, known), status), count)
    for (job, status), since in sorted(oldest.items()):
        yield Sample("dagster_active_run_since_timestamp_seconds", (job, _location(job, known), status), since)
    for (job, status), count in sorted(runs.kept.items()):
        yield Sample("dagster_kept_runs", (job, _location(job, known), status), count)
    ended = {(job, status): 0 for job in known | set(runs.last) for status in ("success", "failure")} | dict(completed)
    for (job, status), count in sorted(ended.items()):
        yield Sample("dagster_completed_runs_total", (job, _location(job, known), status), count)
    for job, run in sorted(runs.last.items()):
        labels = job, _location(job, known), run.status
        yield Sample("dagster_last_run_info", labels, 1)
        yield Sample("dagster_last_run_timestamp_seconds", labels, run.ended_at)
        if run.seconds is not None:
            yield Sample("dagster_last_run_duration_seconds", labels, run.seconds)


def _location(job: str, known: Iterable[str]) -> str:
    """Runs of the command line have no code location in the instance, though their jobs have."""
    return LOCATION if job in known or job.startswith("__") else UNKNOWN


def tell_ticks(tickers: "Iterable[Ticker]", roster: Roster, failures: Mapping[tuple[str, ...], int]) -> Iterator[Sample]:
    """Schedules and sensors that are declared; the instance remembers those of former code, too.

    Args:
        tickers: Those that the instance knows.
        roster: Which there are.
        failures: Ticks that failed since the endpoint started, by kind and name.
    """
    declared = {"schedule": set(roster.schedules), "sensor": set(roster.sensors)}
    for each in sorted(tickers, key=lambda each: (each.kind, each.name)):
        if not roster.error and each.name not in declared[each.kind]:
            continue
        labels = each.name, LOCATION
        yield Sample(f"dagster_{each.kind}_status", (*labels, "running" if each.is_running else "stopped"), 1)
        yield Sample("dagster_tick_failures_total", (each.kind, *labels), failures.get((each.kind, each.name), 0))
        if each.last_at is not None:
            yield Sample(f"dagster_{each.kind}_last_tick_status", (*labels, each.last_status), 1)
            yield Sample(f"dagster_{each.kind}_last_tick_timestamp_seconds", labels, each.last_at)


def tell_daemons(daemons: "Iterable[Daemon]") -> Iterator[Sample]:
    """Daemons; one that never beat has no heartbeat, rather than one in 1970."""
    for each in daemons:
        yield Sample("dagster_daemon_healthy", (each.kind, "true"), each.is_healthy)
        if each.beat_at is not None:
            yield Sample("dagster_daemon_last_heartbeat_timestamp_seconds", (each.kind,), each.beat_at)


def tell_location(roster: Roster, tried_at: float) -> Iterator[Sample]:
    """Whether the code location loads."""
    yield Sample("dagster_code_location_load_error", (LOCATION,), bool(roster.error))
    yield Sample("dagster_code_location_tried_timestamp_seconds", (LOCATION,), tried_at)


def tell_pools(pools: "Iterable[Pool]") -> Iterator[Sample]:
    """Pools of slots."""
    for each in pools:
        figures = {"active_slots": each.active, "assigned_steps": each.assigned, "pending_steps": each.pending}
        if each.limit is not None:
            figures["limit"] = each.limit
        for name, value in figures.items():
            yield Sample(f"dagster_op_pool_concurrency_{name}", (each.name,), value)


def tell_assets(made: "Mapping[str, Made]", deadlines: Mapping[str, tuple[float, float]]) -> Iterator[Sample]:
    """Materialisations, and what the policies of assets ask for.

    Args:
        made: Last materialisations by asset key.
        deadlines: By asset key the newest deadline that has passed, and since when it must have been made for it.
    """
    for key, each in sorted(made.items()):
        if each.at is not None:
            yield Sample("dagster_asset_last_materialization_timestamp_seconds", (key,), each.at)
        if each.run_status:
            yield Sample("dagster_asset_last_materialization_status", (key, each.run_status), 1)
    for key, (deadline, required) in sorted(deadlines.items()):
        yield Sample("spotify_ai_asset_freshness_deadline_timestamp_seconds", (key,), deadline)
        yield Sample("spotify_ai_asset_freshness_required_timestamp_seconds", (key,), required)


def find_deadlines(policies: Mapping[str, Policy], made: "Mapping[str, Made]", now: float) -> dict[str, tuple[float, float]]:
    """By asset key the first deadline that it missed, else the newest that has passed, and since when it must have been made for it.

    All in seconds since 1970. What is late stays late since the first deadline that it missed, whichever come after it.

    Args:
        policies: Freshness policies by asset key.
        made: Last materialisations by asset key. A window's deadline is its end; before it, the present.
        now: The time, in seconds since 1970.
    """
    from spotify_ai_assets.resources.instance_facts import last_deadline, next_deadline

    found = {}
    for key, policy in policies.items():
        at = (made[key].at if key in made else None) or now
        if policy.cron:
            missed = next_deadline(policy.cron, policy.timezone, at + policy.lower_bound_s)
            deadline = missed if missed <= now else last_deadline(policy.cron, policy.timezone, now)
            found[key] = deadline, deadline - policy.lower_bound_s
        else:
            found[key] = min(at + policy.window_s, now), now - policy.window_s
    return found


def tell_checks(checked: "Iterable[Checked]") -> Iterator[Sample]:
    """Asset checks, and what the steps cost that evaluated them."""
    for each in checked:
        yield Sample("dagster_asset_check_failed", (each.asset, each.name, each.severity), not each.passed)
        yield Sample("dagster_asset_check_timestamp_seconds", (each.asset, each.name), each.at)
        for name in ("cpu_seconds", "peak_memory_bytes"):
            if name in each.figures:
                yield Sample(f"spotify_ai_asset_{name}", (each.asset,), each.figures[name])
