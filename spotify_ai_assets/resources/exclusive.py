"""A guard that keeps two runs of a job apart, whoever launched them."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from spotify_ai_assets.resources import open_lake, open_locks
from spotify_ai_assets.settings import Settings

_WAIT_S = 1.0


def exclusive(name: str) -> dg.ResourceDefinition:
    """A resource that only one run at a time can hold; a second one fails at once and says why.

    Args:
        name: What is to be done by one alone, such as the name of the job.
    """

    def hold(_context: dg.InitResourceContext) -> Iterator[None]:
        with open_locks(Settings.from_environment(), _WAIT_S).exclusive(f"job.{name}"):
            yield

    return dg.ResourceDefinition(hold, description=f"Held by one run of {name} at a time.")


def alone(name: str) -> dict[str, Any]:
    """What makes a job of a graph one that runs alone: arguments of ``to_job``.

    With a guard of its own a job takes nothing from the code location, so it brings the settings and the lake too. It runs in one
    process: only there the guard is held from the first op to the last.

    Args:
        name: The job.
    """
    return {
        "name": name,
        "tags": {"exclusive": name},
        "resource_defs": {
            "exclusive": exclusive(name),
            "settings": dg.ResourceDefinition(lambda _: Settings.from_environment()),
            "lake": dg.ResourceDefinition(lambda _: _lake()),
        },
        "executor_def": dg.in_process_executor,
    }


def _lake() -> Any:
    from spotify_ai_assets.tables import TABLES

    return open_lake(Settings.from_environment(), TABLES)
