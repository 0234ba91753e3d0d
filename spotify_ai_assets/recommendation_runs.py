"""Recommendations' jobs in this process, on the same instance as the UI: training, and refreshing what follows from plays."""

import dagster as dg

from spotify_ai_assets.catalog.embedding import TextStudio
from spotify_ai_assets.contracts import SHARDS
from spotify_ai_assets.launching import run_job
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.recommendations.contracts import MODEL
from spotify_ai_assets.recommendations.workshop import Workshop
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import ONLY_STALE, launch_tags

RECOMMENDER = MODEL.key


def train_recommender(instance: dg.DagsterInstance, lake: Lake, workshop: Workshop, *, only_stale: bool = False) -> str:
    """Rehearse a recipe, fit the winner, and make indices, a release and all shelves.

    Args:
        instance: Where the run is recorded.
        lake: What it learns from.
        workshop: Where models and releases are kept.
        only_stale: Leave alone what is up to date.

    Returns:
        The id of the run.

    Raises:
        PlatformError: It failed, or nothing may serve.
    """
    return _run(instance, "recommendations_training", lake, workshop, only_stale=only_stale)


def refresh_recommendations(instance: dg.DagsterInstance, lake: Lake, workshop: Workshop) -> str:
    """Bring interactions, indices, the release and shelves up to date with the model that serves.

    Returns:
        The id of the run.

    Raises:
        PlatformError: It failed.
    """
    return _run(instance, "recommendations_refresh", lake, workshop, only_stale=True)


def _run(instance: dg.DagsterInstance, job: str, lake: Lake, workshop: Workshop, *, only_stale: bool) -> str:
    settings = workshop.settings
    resources = {"lake": lake, "settings": settings, "workshop": workshop, "texts": TextStudio(settings)}
    stale = {ONLY_STALE: "true"} if only_stale else {}
    return run_job(instance, job, resources, launch_tags(**stale, **range_tags(SHARDS[0], SHARDS[-1])))
