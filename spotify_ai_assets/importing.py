"""Importing by hand: the jobs that landing sensors launch, in this process, on files that somebody named instead of the spool.

Content decides whose a file is: audio, and the tables that come with it, go through ``audio_intake``, all else through ``import_landing``.

The paths travel as a resource object and not as run configuration, since the instance would keep that: a path may name a person.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from spotify_ai_assets.audio.studio import Studio
from spotify_ai_assets.audio_runs import run_audio_intake
from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.launching import run_in_foreground
from spotify_ai_assets.listening.intake import FileReport
from spotify_ai_assets.listening.jobs import import_landing
from spotify_ai_assets.listening.landing import GivenFiles, Landing
from spotify_ai_assets.resources import open_vault
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import launch_tags
from spotify_ai_assets.settings import Settings

if TYPE_CHECKING:
    from spotify_ai_assets.audio.intake.receiving import Report


def import_files(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, paths: Sequence[Path], progress: Callable[..., None]
) -> "tuple[list[FileReport], list[Report]]":
    """Import files in place.

    Args:
        instance: Where the run is recorded.
        lake: Where rows go.
        settings: Names the vault and the default listener.
        paths: Files and folders.
        progress: Told the file and the records read so far, or of audio what is done, how many of it and of how many.

    Returns:
        What became of the files of listening and the catalogue, and of those of audio.

    Raises:
        PlatformError: The import itself failed; what was committed stays, and importing again goes on from there.
    """
    from spotify_ai_assets.audio.intake.landing import GivenAudio, split_audio

    audio, others = split_audio(paths)
    given = GivenFiles(others, watch=progress)
    if others or not audio:
        run_import(instance, lake, settings, given)
    reports = run_audio_intake(instance, lake, Studio(settings, watch=progress), GivenAudio(audio)) if audio else []
    return given.reports, reports


def run_import(instance: dg.DagsterInstance, lake: Lake, settings: Settings, landing: Landing) -> None:
    """Run the import job in this process on whatever files a landing offers.

    Raises:
        PlatformError: The import failed.
    """
    resources = {"lake": lake, "vault": open_vault(settings), "landing": landing, "settings": settings}
    result = run_in_foreground(import_landing, instance, launch_tags(), resources=resources)
    if not result.success:
        raise PlatformError(f"the import failed; see run {result.run_id}")
