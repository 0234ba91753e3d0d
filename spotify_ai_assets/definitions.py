"""The code location: every domain, one set of resources, one executor."""

import dagster as dg

from spotify_ai_assets.audio.studio import Studio, open_audio_landing
from spotify_ai_assets.catalog.embedding import TextStudio
from spotify_ai_assets.listening.landing import open_landing
from spotify_ai_assets.loading import load_domain
from spotify_ai_assets.recommendations.workshop import Workshop
from spotify_ai_assets.resources import open_lake, open_vault
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import DOMAINS, TABLES

_EXECUTORS = {"in_process": dg.in_process_executor, "multiprocess": dg.multiprocess_executor}


@dg.definitions
def defs() -> dg.Definitions:
    """Everything that the platform orchestrates."""
    settings = Settings.from_environment()
    resources = {
        "lake": open_lake(settings, TABLES),
        "vault": dg.ResourceDefinition(lambda _: open_vault(settings)),  # opened by the runs that need it
        "landing": open_landing(settings),
        "audio_landing": dg.ResourceDefinition(lambda _: open_audio_landing(settings)),  # what lies there when a run begins
        "studio": Studio(settings),
        "texts": TextStudio(settings),
        "workshop": Workshop(settings),
        "settings": settings,
    }
    return dg.Definitions.merge(
        *(load_domain(f"spotify_ai_assets.{domain}") for domain in DOMAINS),
        dg.Definitions(resources=resources, executor=_EXECUTORS[settings.executor]),
    )
