"""Audio's jobs in this process, on the same instance as the UI: taking files and what follows from them, training models."""

from typing import TYPE_CHECKING

import dagster as dg

from spotify_ai_assets.audio.jobs import FOLLOWING
from spotify_ai_assets.audio.studio import Studio
from spotify_ai_assets.contracts import SHARDS
from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.launching import run_job
from spotify_ai_assets.loading import asset_key
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import ONLY_STALE, launch_tags
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
    resources = {"lake": lake, "studio": studio, "audio_landing": landing, "settings": studio.settings}
    tags = launch_tags(**{ONLY_STALE: "true"}, **range_tags(SHARDS[0], SHARDS[-1]))
    run_job(instance, "audio_intake", resources, tags)
    if completes and (left := list(dict.fromkeys(each.key for each in plan(TABLES, FOLLOWING, [], Ledger(lake.states))))):
        run_job(instance, "audio_intake", resources, {**tags, **launch_tags()}, [asset_key(TABLES[key]) for key in left])
    return landing.reports


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
    run_job(instance, "audio_models", resources, tags, [asset_key(TABLES[model])] if model else None)
