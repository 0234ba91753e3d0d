"""A release of the small world, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import serving_world

from spotify_ai_assets.recommendations.releases import Releases
from spotify_ai_assets.recommendations.serving.stock import Stock
from spotify_ai_assets.settings import Settings


@pytest.fixture(scope="session")
def served_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings whose data folder has a release."""
    folder: Path = tmp_path_factory.mktemp("served")
    settings = Settings.from_environment({"SPOTIFY_AI_DATA": str(folder), "SPOTIFY_AI_PSEUDONYM_SEED": "test"})
    serving_world.serve(settings)
    return settings


@pytest.fixture(scope="session")
def served(served_settings: Settings) -> Releases:
    """Its releases."""
    from spotify_ai_assets.recommendations.releases import open_releases

    return open_releases(served_settings)


@pytest.fixture(scope="session")
def stock(served: Releases) -> Iterator[Stock]:
    """What the release knows."""
    yield served.read_current(Stock)
