"""Fixtures of the tests of audio."""

from collections.abc import Iterator

import audio_world
import pytest
from audio_world import World

from spotify_ai_assets.audio.intake.sandbox import Pool


@pytest.fixture(scope="session")
def measuring() -> Iterator[Pool]:
    """One child that measures."""
    with Pool(1) as started:
        yield started


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world after its import, before any model."""
    return audio_world.imported(audio_world.shared_folder(tmp_path_factory))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world whose models were trained and have answered."""
    return audio_world.trained(audio_world.shared_folder(tmp_path_factory))
