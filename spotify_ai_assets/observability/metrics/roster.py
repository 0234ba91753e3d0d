"""What the code location declares, found by loading it in a process of its own: whether it loads is what is asked.

A process that loaded it once would not see that the code, or the environment of a fresh start, is broken by now.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_LONGEST_S = 180


@dataclass(frozen=True, slots=True)
class Policy:
    """How fresh an asset must be: made between ``lower_bound_s`` before a deadline and that deadline, or within a window.

    Attributes:
        cron: When the deadlines are; empty for a window.
        timezone: Of the cron string.
        lower_bound_s: How long before a deadline it may be made at the earliest, in seconds.
        window_s: How old it may be at most, in seconds, where it has no deadlines.
    """

    cron: str = ""
    timezone: str = "UTC"
    lower_bound_s: float = 0.0
    window_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Roster:
    """What a code location declares.

    Attributes:
        error: Why it does not load, by the kind of the error alone; empty where it loads.
        jobs: Its jobs.
        schedules: Its schedules.
        sensors: Its sensors.
        policies: Freshness policies by asset key.
    """

    error: str = ""
    jobs: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    sensors: tuple[str, ...] = ()
    policies: Mapping[str, Policy] = field(default_factory=dict)


def load_roster() -> Roster:
    """Load the code location in a fresh process; takes some seconds and never fails."""
    try:
        done = subprocess.run([sys.executable, "-m", __name__], capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Roster(error=type(error).__name__)
    try:
        return _roster(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, LookupError, TypeError):
        return Roster(error=_kind_of(done.stderr))


def read_roster() -> Roster:
    """The roster of the code location as this very process loads it."""
    return _roster(describe_location())


def _roster(told: Mapping[str, Any]) -> Roster:
    policies = {key: Policy(**policy) for key, policy in told["policies"].items()}
    return Roster("", tuple(told["jobs"]), tuple(told["schedules"]), tuple(told["sensors"]), policies)


def _kind_of(text: str) -> str:
    """The kind of the error that ended a process: the last line's first word, since what follows it may say anything."""
    last = (text.strip().splitlines() or ["Exit"])[-1]
    kind = last.partition(":")[0].rpartition(".")[2]
    return kind if kind.isidentifier() else "Error"


def describe_location() -> dict[str, Any]:
    """The roster of the code location as this process loads it, as JSON."""
    from spotify_ai_assets.definitions import defs

    definitions = defs()
    repository = definitions.get_repository_def()
    policies = {spec.key.to_user_string(): spec.freshness_policy for spec in definitions.resolve_all_asset_specs() if spec.freshness_policy}
    return {
        "jobs": sorted(name for name in repository.job_names if not name.startswith("__")),
        "schedules": sorted(each.name for each in repository.schedule_defs),
        "sensors": sorted(each.name for each in repository.sensor_defs),
        "policies": {key: _policy(policy) for key, policy in sorted(policies.items())},
    }


def _policy(policy: Any) -> dict[str, Any]:
    if cron := getattr(policy, "deadline_cron", ""):
        return {"cron": cron, "timezone": policy.timezone, "lower_bound_s": policy.lower_bound_delta.total_seconds()}
    return {"window_s": policy.fail_window.to_timedelta().total_seconds()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(describe_location()) + "\n")
