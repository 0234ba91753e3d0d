"""Importing by hand: the ``import_landing`` job in this process, on files that somebody named instead of the spool.

The paths travel as a resource object and not as run configuration, since the instance would keep that: a path may name a person.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg

from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.listening.intake import FileReport
from spotify_ai_assets.listening.jobs import import_landing
from spotify_ai_assets.listening.landing import GivenFiles, Landing
from spotify_ai_assets.resources import open_vault
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import QUIET, launch_tags, process_tags
from spotify_ai_assets.settings import Settings


def import_files(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, paths: Sequence[Path], progress: Callable[[str, int], None]
) -> list[FileReport]:
    """Import files in place.

    Args:
        instance: Where the run is recorded.
        lake: Where rows go.
        settings: Names the vault and the default listener.
        paths: Files and folders.
        progress: Told the file and the records read so far.

    Raises:
        PlatformError: The import itself failed; what was committed stays, and importing again goes on from there.
    """
    given = GivenFiles(paths, watch=progress)
    run_import(instance, lake, settings, given)
    return given.reports


def run_import(instance: dg.DagsterInstance, lake: Lake, settings: Settings, landing: Landing) -> None:
    """Run the import job in this process on whatever files a landing offers.

    Raises:
        PlatformError: The import failed.
    """
    result = import_landing.execute_in_process(
        instance=instance,
        run_config=QUIET,
        tags={**launch_tags(), **process_tags()},
        resources={"lake": lake, "vault": open_vault(settings), "landing": landing, "settings": settings},
        raise_on_error=False,
    )
    if not result.success:
        raise PlatformError(f"the import failed; see run {result.run_id}")
