"""Jobs of the code location run in this process, on the same instance as the UI."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.runs import run_in_foreground


def run_job(
    instance: dg.DagsterInstance,
    job: str,
    resources: Mapping[str, Any],
    tags: Mapping[str, str],
    selection: Sequence[dg.AssetKey] | None = None,
    config: Mapping[str, Any] | None = None,
) -> str:
    """Run a job, or a part of its assets.

    Args:
        instance: Where the run is recorded.
        job: Its name.
        resources: In place of the code location's own.
        tags: Of the run, as ``launch_tags`` makes them.
        selection: Some of its assets; all unless given.
        config: Of its ops; never anything personal or secret, since the instance keeps it.

    Returns:
        The id of the run.

    Raises:
        PlatformError: It failed.
    """
    from spotify_ai_assets.definitions import defs

    definition = defs().resolve_job_def(job)
    if selection:  # chosen before the resources are replaced: of one whose resources were, Dagster makes no part
        definition = definition.get_subset(asset_selection=frozenset(selection))
    result = run_in_foreground(definition, instance, tags, config, resources=dict(resources))
    if not result.success:
        raise PlatformError(f"{job} failed; see run {result.run_id}")
    return result.run_id
