"""Jobs run in this process, on the same instance as the UI."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.events import RunFailureReason  # no public name says why a run failed

from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.runs import process_tags

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Run configuration of runs in the foreground: their console is silent; the UI and the log file have everything."""


def run_in_foreground(
    job: dg.JobDefinition, instance: dg.DagsterInstance, tags: Mapping[str, str], config: Mapping[str, Any] | None = None, **options: Any
) -> dg.ExecuteInProcessResult:
    """Run a job in this process.

    Args:
        job: What to run.
        instance: Where the run is recorded.
        tags: Of the run, as ``launch_tags`` makes them.
        config: Of its ops.
        options: Others of ``execute_in_process``: ``resources``, ``asset_selection``.

    Returns:
        Its result; whoever calls looks whether it succeeded.

    Raises:
        KeyboardInterrupt: Somebody stopped it. Dagster fails the run and returns, so that whoever has more to do would go on.
    """
    result = job.execute_in_process(
        instance=instance, run_config={**QUIET, **(config or {})}, tags={**tags, **process_tags()}, raise_on_error=False, **options
    )
    failed = result.filter_events(lambda event: event.is_job_failure)
    if any(event.job_failure_data.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION for event in failed):
        raise KeyboardInterrupt
    return result


def run_job(
    instance: dg.DagsterInstance,
    job: str,
    resources: Mapping[str, Any],
    tags: Mapping[str, str],
    selection: Sequence[dg.AssetKey] | None = None,
    config: Mapping[str, Any] | None = None,
) -> str:
    """Run a job of the code location, or a part of its assets.

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
