"""Audio's jobs in this process, on the same instance as the UI: taking files and what follows from them, training models."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from spotify_ai_assets.audio.jobs import FOLLOWING
from spotify_ai_assets.audio.studio import Studio
from spotify_ai_assets.contracts import SHARDS
from spotify_ai_assets.errors import MissingInputError, PlatformError
from spotify_ai_assets.loading import asset_key
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import ONLY_STALE, QUIET, launch_tags, process_tags
from spotify_ai_assets.staleness import Ledger, plan
from spotify_ai_assets.tables import TABLES

if TYPE_CHECKING:
    from spotify_ai_assets.audio.intake.receiving import Landing, Report


def run_audio_intake(
    instance: dg.DagsterInstance, lake: Lake, studio: Studio, landing: "Landing", *, completes: bool = True
) -> "list[Report]":
    """Run the intake of audio on whatever a landing offers, and all that follows from it.

    What follows from a table that still waits for its model, as anomalies do from embeddings, takes a second run: Dagster leaves out
    a step behind one that gave nothing.

    Args:
        instance: Where runs are recorded.
        lake: Where tables go.
        studio: The store, the pool and the models.
        landing: Where files come from.
        completes: Whether to make what the first run left out; whoever trains models next makes it afterwards.

    Returns:
        What became of each file.

    Raises:
        PlatformError: The intake failed.
    """
    from spotify_ai_assets.audio.intake.receiving import Reported

    reported = Reported(landing)
    resources = {"lake": lake, "studio": studio, "audio_landing": reported, "settings": studio.settings}
    tags = launch_tags(**{ONLY_STALE: "true"}, **range_tags(SHARDS[0], SHARDS[-1]))
    _run(instance, "audio_intake", resources, tags)
    if completes and (left := list(dict.fromkeys(each.key for each in plan(TABLES, FOLLOWING, [], Ledger(lake.states))))):
        _run(instance, "audio_intake", resources, {**tags, **launch_tags()}, [asset_key(TABLES[key]) for key in left])
    return reported.reports


def train_models(instance: dg.DagsterInstance, lake: Lake, studio: Studio, model: str | None = None, *, only_stale: bool = False) -> None:
    """Train a model of audio, or all of them; each serves only if its gate lets it.

    Args:
        instance: Where the run is recorded.
        lake: What they learn from.
        studio: Where they are kept.
        model: The key of one; all unless given.
        only_stale: Leave alone those whose inputs are what they were.

    Raises:
        MissingInputError: There is no such model.
        PlatformError: A training failed.
    """
    if model is not None and not (model in TABLES and TABLES[model].is_model):
        raise MissingInputError(f"no model is called {model}")
    resources = {"lake": lake, "studio": studio, "settings": studio.settings}
    tags = launch_tags(**({ONLY_STALE: "true"} if only_stale else {}))
    _run(instance, "audio_models", resources, tags, [asset_key(TABLES[model])] if model else None)


def _run(
    instance: dg.DagsterInstance, job: str, resources: dict[str, Any], tags: dict[str, str], selection: list[dg.AssetKey] | None = None
) -> None:
    from spotify_ai_assets.definitions import defs

    definition = defs().resolve_job_def(job)
    if selection:  # chosen before the resources are replaced: of one whose resources were, Dagster makes no part
        definition = definition.get_subset(asset_selection=frozenset(selection))
    result = definition.execute_in_process(
        instance=instance, run_config=QUIET, tags={**tags, **process_tags()}, resources=resources, raise_on_error=False
    )
    if not result.success:
        raise PlatformError(f"{job} failed; see run {result.run_id}")
